#include "client/event_recorder.hpp"

#include <pthread.h>

#include <algorithm>

#include "base/log.hpp"

namespace skiff::client {
namespace {

constexpr size_t kMaxWaiting = 1000;
constexpr size_t kMaxKnown = 4096;
constexpr Duration kAggregation = 1h;

std::string aggregation_key(const api::Event& event) {
  const api::ObjectReference& about = event.involvedObject;
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", about.kind, about.namespace_, about.name, about.uid,
                     about.fieldPath, event.reason, event.message);
}

std::int64_t nanoseconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::string name_of(const api::Event& event, std::int64_t stamp) {
  return fmt::format("{}.{:x}", event.involvedObject.name, stamp);
}

}  // namespace

api::ObjectReference reference_to(const AnyRef& object) {
  api::ObjectReference reference;
  reference.apiVersion = object.kind().api_version();
  reference.kind = object.kind().kind;
  reference.namespace_ = object.metadata().namespace_;
  reference.name = object.metadata().name;
  reference.uid = object.metadata().uid;
  reference.resourceVersion = object.metadata().resourceVersion;
  return reference;
}

EventRecorder::EventRecorder(Client& client, Clock& clock, Random& random, std::string component, std::string host)
    : client_(client), clock_(clock), random_(random), component_(std::move(component)), host_(std::move(host)),
      thread_([this](std::stop_token stop) {
        ::pthread_setname_np(::pthread_self(), "events");
        run(stop);
      }) {}

EventRecorder::~EventRecorder() = default;

void EventRecorder::record(const api::ObjectReference& about, const std::string& type, const std::string& reason,
                           const std::string& message) {
  api::Event event;
  event.metadata.namespace_ = about.namespace_.empty() ? "default" : about.namespace_;
  event.involvedObject = about;
  event.type = type;
  event.reason = reason;
  event.message = message.substr(0, 1024);  // the API's limit
  event.source.component = component_;
  event.source.host = host_;
  event.reportingComponent = component_;
  event.reportingInstance = host_;
  event.firstTimestamp = event.lastTimestamp = api::Time::from(clock_.wall_now());
  event.count = 1;
  std::int64_t now = nanoseconds_of(clock_.wall_now());
  MutexLock lock(mutex_);
  if (waiting_.size() >= kMaxWaiting) return;
  // By name is in order of time: lists show events of one second as they happened.
  last_stamp_ = std::max(last_stamp_ + 1, now);
  event.metadata.name = name_of(event, last_stamp_);
  waiting_.push_back(std::move(event));
  changed_.notify_one();
}

void EventRecorder::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    api::Event event;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !stop.stop_requested()) clock_.wait(mutex_, changed_, stop);
      if (stop.stop_requested()) return;
      event = std::move(waiting_.front());
      waiting_.pop_front();
    }
    write(std::move(event));
  }
}

void EventRecorder::write(api::Event event) {
  if (known_.size() > kMaxKnown) known_.clear();
  Known& known = known_[aggregation_key(event)];
  TimePoint now = clock_.now();
  if (known.count > 0 && now - known.last < kAggregation) {
    Result<Ref<api::Event>> counted = client_.update_with_retry<api::Event>(known.key, [&](api::Event& stored) {
      stored.count = known.count + 1;
      stored.lastTimestamp = event.lastTimestamp;
      return true;
    });
    if (counted.ok()) {
      ++known.count;
      known.last = now;
      return;
    }
  }
  Result<Ref<api::Event>> created = client_.create(event);
  if (!created.ok() && created.error().code() == Code::AlreadyExists) {  // of another recorder, at the same time
    auto offset = static_cast<std::int64_t>(random_.next() % 1000);
    event.metadata.name = name_of(event, nanoseconds_of(clock_.wall_now()) + offset);
    created = client_.create(event);
  }
  if (created.ok()) known = {key_of(*created.value()), 1, now};
  else log::debug("events", "{} {}: {}", event.reason, event.involvedObject.name, created.error().message());
}

}  // namespace skiff::client
