#include "client/metadata_feed.hpp"

#include <pthread.h>

#include "base/backoff.hpp"
#include "base/log.hpp"

namespace skiff::client {

MetadataFeed::MetadataFeed(Client& client, Clock& clock, std::vector<const api::KindInfo*> kinds)
    : client_(client), clock_(clock), kinds_(std::move(kinds)) {}

MetadataFeed::~MetadataFeed() { stop(); }

void MetadataFeed::start() {
  if (thread_.joinable()) return;
  thread_ = std::jthread([this](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "metadata-feed");
    run(stop);
  });
}

void MetadataFeed::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

bool MetadataFeed::wait_synced(std::stop_token stop) {
  MutexLock lock(mutex_);
  while (!synced_ && !stop.stop_requested()) clock_.wait(mutex_, synced_changed_, stop);
  return synced_;
}

void MetadataFeed::run(std::stop_token stop) {
  Backoff backoff(100ms, 10s);
  while (!stop.stop_requested()) {
    Status ended = follow(stop);
    if (stop.stop_requested()) return;
    if (ended.ok() || ended.error().code() == Code::Expired || ended.error().code() == Code::Gone) {
      backoff.reset();
      continue;
    }
    log::debug("metadata-feed", "{}", ended.error().message());
    clock_.wait_for(stop, backoff.next());
  }
}

Status MetadataFeed::follow(std::stop_token stop) {
  TRY_ASSIGN(std::unique_ptr<MetadataWatch> watch,
             client_.watch_metadata(kinds_, [this](const MetadataEvent& event) { tell(event); }));
  listed();
  while (!stop.stop_requested()) {
    TRY_ASSIGN(MetadataEvent event, watch->next(stop));
    tell(event);
  }
  return ok();
}

void MetadataFeed::tell(const MetadataEvent& event) {
  for (const Handler& handler : handlers_) handler(event);
}

void MetadataFeed::listed() {
  {
    MutexLock lock(mutex_);
    if (!synced_) {
      synced_ = true;
      synced_changed_.notify_all();
      return;
    }
  }
  for (const auto& handler : gap_handlers_) handler();
}

}  // namespace skiff::client
