#include "kubelet/probe_runner.hpp"

#include <algorithm>

namespace skiff::kubelet {

std::string_view to_string(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::Startup:
      return "Startup";
    case ProbeKind::Readiness:
      return "Readiness";
    case ProbeKind::Liveness:
      return "Liveness";
  }
  return "";
}

bool ProbeCount::add(bool success, const api::Probe& probe) {
  in_a_row_ = success == last_ ? in_a_row_ + 1 : 1;
  last_ = success;
  int needed = success ? probe.successThreshold : probe.failureThreshold;
  return in_a_row_ >= std::max(needed, 1);
}

ProbeRunner::ProbeRunner(const Handlers& handlers, Clock& clock, Listener listener, int threads)
    : handlers_(handlers), clock_(clock), listener_(std::move(listener)) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this](std::stop_token stop) { run(stop); });
}

void ProbeRunner::add(const Subject& subject, ProbeKind kind, const api::Probe& probe) {
  MutexLock lock(mutex_);
  Entry entry;
  entry.subject = subject;
  entry.probe = probe;
  entry.due = std::max(subject.started_at + std::chrono::seconds(probe.initialDelaySeconds), clock_.now());
  entries_.try_emplace(Key{subject.target.container_id, kind}, std::move(entry));
  changed_.notify_one();
}

void ProbeRunner::remove(const std::string& container_id) {
  MutexLock lock(mutex_);
  for (ProbeKind kind : {ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness})
    entries_.erase(Key{container_id, kind});
}

std::optional<ProbeRunner::Key> ProbeRunner::take_due(std::stop_token stop, Entry& copy) {
  MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    TimePoint next = TimePoint::max();
    for (auto& [key, entry] : entries_) {
      if (entry.running) continue;
      if (entry.due <= clock_.now()) {
        entry.running = true;
        copy = entry;
        return key;
      }
      next = std::min(next, entry.due);
    }
    clock_.wait(mutex_, changed_, stop, next);
  }
  return std::nullopt;
}

void ProbeRunner::run(std::stop_token stop) {
  Entry entry;
  while (std::optional<Key> key = take_due(stop, entry))
    finish(*key, handlers_.check(entry.probe, entry.subject.target));
}

void ProbeRunner::finish(const Key& key, const CheckResult& result) {
  ProbeNews news{"", key.container_id, key.kind, result.success, result.output, false};
  {
    MutexLock lock(mutex_);
    auto found = entries_.find(key);
    if (found == entries_.end()) return;  // the container ended meanwhile
    Entry& entry = found->second;
    entry.running = false;
    entry.due = clock_.now() + std::chrono::seconds(std::max(entry.probe.periodSeconds, 1));
    bool decided = entry.count.add(result.success, entry.probe);
    // A failed liveness or startup probe is told each time it is decided: the container may not be gone yet.
    news.decided = decided && (entry.told != result.success || !result.success);
    if (decided) entry.told = result.success;
    news.pod_uid = entry.subject.pod_uid;
    bool done = key.kind == ProbeKind::Startup && decided && result.success;
    if (done) entries_.erase(found);
    changed_.notify_one();
  }
  if (!news.success || news.decided) listener_(news);
}

}  // namespace skiff::kubelet
