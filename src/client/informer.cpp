#include "client/informer.hpp"

#include <pthread.h>

#include <algorithm>
#include <charconv>

#include "base/backoff.hpp"
#include "base/log.hpp"

namespace skiff::client {
namespace {

std::vector<std::string> controller_uid(const AnyRef& object) {
  const api::OwnerReference* owner = controller_of(object.metadata());
  return owner ? std::vector<std::string>{owner->uid} : std::vector<std::string>{};
}

std::int64_t number(const std::string& text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

AnyInformer::AnyInformer(Client& client, Clock& clock, const api::KindInfo& kind, ListOptions options)
    : client_(client), clock_(clock), kind_(kind), options_(std::move(options)) {
  indexes_["controller"].values_of = controller_uid;
}

AnyInformer::~AnyInformer() { stop(); }

void AnyInformer::on_change(Handler handler) { handlers_.push_back(std::move(handler)); }

void AnyInformer::add_index(const std::string& name, IndexFunction values_of) {
  MutexLock lock(mutex_);
  indexes_[name].values_of = std::move(values_of);
}

void AnyInformer::start() {
  if (thread_.joinable()) return;
  thread_ = std::jthread([this](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), (std::string("inf-") + kind_.plural).substr(0, 15).c_str());
    run(stop);
  });
}

void AnyInformer::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

bool AnyInformer::synced() const {
  MutexLock lock(mutex_);
  return synced_;
}

bool AnyInformer::wait_synced(std::stop_token stop) {
  MutexLock lock(mutex_);
  while (!synced_ && !stop.stop_requested()) clock_.wait(mutex_, synced_changed_, stop);
  return synced_;
}

AnyRef AnyInformer::get(const ObjectKey& key) const {
  MutexLock lock(mutex_);
  auto found = cache_.find(key);
  return found == cache_.end() ? AnyRef() : found->second;
}

std::vector<AnyRef> AnyInformer::list(const std::string& namespace_) const {
  MutexLock lock(mutex_);
  std::vector<AnyRef> objects;
  auto from = namespace_.empty() ? cache_.begin() : cache_.lower_bound({namespace_, ""});
  for (; from != cache_.end() && (namespace_.empty() || from->first.namespace_ == namespace_); ++from)
    objects.push_back(from->second);
  return objects;
}

std::vector<AnyRef> AnyInformer::by_index(const std::string& index, const std::string& value) const {
  MutexLock lock(mutex_);
  std::vector<AnyRef> objects;
  auto named = indexes_.find(index);
  if (named == indexes_.end()) return objects;
  auto keys = named->second.keys.find(value);
  if (keys == named->second.keys.end()) return objects;
  for (const ObjectKey& key : keys->second) objects.push_back(cache_.at(key));
  return objects;
}

size_t AnyInformer::size() const {
  MutexLock lock(mutex_);
  return cache_.size();
}

std::int64_t AnyInformer::revision() const {
  MutexLock lock(mutex_);
  return revision_;
}

void AnyInformer::run(std::stop_token stop) {
  Backoff backoff(100ms, 10s);
  while (!stop.stop_requested()) {
    Status ended = list_and_watch(stop);
    if (stop.stop_requested()) return;
    if (ended.ok() || ended.error().code() == Code::Expired || ended.error().code() == Code::Gone) {
      backoff.reset();
      continue;
    }
    log::debug("informer", "{}: {}", kind_.plural, ended.error().message());
    clock_.wait_for(stop, backoff.next());
  }
}

Status AnyInformer::list_and_watch(std::stop_token stop) {
  TRY_ASSIGN(AnyList list, client_.list(kind_, options_));
  replace(list);
  TRY_ASSIGN(std::unique_ptr<Watch> watch, client_.watch(kind_, options_, list.resource_version));
  while (!stop.stop_requested()) {
    TRY_ASSIGN(WatchEvent event, watch->next(stop));
    apply(event);
  }
  return ok();
}

void AnyInformer::replace(const AnyList& list) {
  std::vector<Change> changes;
  {
    MutexLock lock(mutex_);
    std::set<ObjectKey> gone;
    for (const auto& [key, object] : cache_) gone.insert(key);
    for (const AnyRef& item : list.items) {
      ObjectKey key = key_of(item.metadata());
      gone.erase(key);
      auto known = cache_.find(key);
      if (known == cache_.end() || known->second.metadata().resourceVersion != item.metadata().resourceVersion)
        changes.push_back(store_locked(key, item));
    }
    for (const ObjectKey& key : gone) changes.push_back(store_locked(key, {}));
    revision_ = number(list.resource_version);
  }
  for (const Change& change : changes) notify(change);
  MutexLock lock(mutex_);
  synced_ = true;
  synced_changed_.notify_all();
}

void AnyInformer::apply(const WatchEvent& event) {
  Change change;
  {
    MutexLock lock(mutex_);
    if (event.type != WatchEvent::Type::Bookmark) {
      bool deleted = event.type == WatchEvent::Type::Deleted;
      change = store_locked(key_of(event.object.metadata()), deleted ? AnyRef() : event.object);
      if (deleted) change.before = event.object;  // its last state, with deletionTimestamp and finalizers as they were
    }
    revision_ = std::max(revision_, number(event.resource_version));
  }
  if (change.before || change.now) notify(change);
}

AnyInformer::Change AnyInformer::store_locked(const ObjectKey& key, const AnyRef& now) {
  Change change{{}, now};
  auto known = cache_.find(key);
  if (known != cache_.end()) change.before = known->second;
  for (auto& [name, index] : indexes_) {
    if (change.before)
      for (const std::string& value : index.values_of(change.before)) {
        auto keys = index.keys.find(value);
        if (keys == index.keys.end()) continue;
        keys->second.erase(key);
        if (keys->second.empty()) index.keys.erase(keys);
      }
    if (now)
      for (const std::string& value : index.values_of(now)) index.keys[value].insert(key);
  }
  if (now) cache_[key] = now;
  else if (known != cache_.end()) cache_.erase(known);
  return change;
}

void AnyInformer::notify(const Change& change) {
  for (const Handler& handler : handlers_) handler(change.before, change.now);
}

AnyInformer& Informers::any(const api::KindInfo& kind, const std::string& field_selector) {
  MutexLock lock(mutex_);
  std::unique_ptr<AnyInformer>& informer = informers_[{&kind, field_selector}];
  if (!informer)
    informer = std::make_unique<AnyInformer>(
        client_, clock_, kind, ListOptions{.namespace_ = {}, .label_selector = {}, .field_selector = field_selector});
  return *informer;
}

void Informers::start() {
  MutexLock lock(mutex_);
  for (auto& [kind, informer] : informers_) informer->start();
}

bool Informers::wait_synced(std::stop_token stop) {
  std::vector<AnyInformer*> all;
  {
    MutexLock lock(mutex_);
    for (auto& [kind, informer] : informers_) all.push_back(informer.get());
  }
  return std::all_of(all.begin(), all.end(), [&](AnyInformer* informer) { return informer->wait_synced(stop); });
}

void Informers::stop() {
  MutexLock lock(mutex_);
  for (auto& [kind, informer] : informers_) informer->stop();
}

void Fence::wrote(const ObjectKey& key, std::int64_t revision) {
  MutexLock lock(mutex_);
  std::int64_t& last = last_write_[key];
  last = std::max(last, revision);
}

bool Fence::passed(const ObjectKey& key, std::int64_t cache_revision) const {
  MutexLock lock(mutex_);
  auto last = last_write_.find(key);
  return last == last_write_.end() || last->second <= cache_revision;
}

void Fence::forget(const ObjectKey& key) {
  MutexLock lock(mutex_);
  last_write_.erase(key);
}

}  // namespace skiff::client
