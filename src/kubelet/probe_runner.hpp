#pragma once
// Runs the probes of all containers of a node on a few threads and tells when a result changes.

#include <map>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "kubelet/handlers.hpp"

namespace skiff::kubelet {

enum class ProbeKind { Startup, Readiness, Liveness };
std::string_view to_string(ProbeKind kind);  // "Startup", ...

struct ProbeNews {
  std::string pod_uid;
  std::string container_id;
  ProbeKind kind = ProbeKind::Readiness;
  bool success = false;
  std::string output;
  bool decided = false;  // the threshold was reached: the container's state changes
};

/// Counts results against the thresholds. Pure.
class ProbeCount {
 public:
  /// True when `success` has been seen often enough to be the new result.
  bool add(bool success, const api::Probe& probe);

 private:
  bool last_ = false;
  int in_a_row_ = 0;
};

class ProbeRunner {
 public:
  using Listener = std::function<void(const ProbeNews&)>;

  /// `listener` is called on a probe thread for every failure and for every decided result that is new.
  ProbeRunner(const Handlers& handlers, Clock& clock, Listener listener, int threads = 4);

  struct Subject {
    std::string pod_uid;
    HandlerTarget target;
    TimePoint started_at;
  };
  /// Starts a probe; one that runs already is left alone.
  void add(const Subject& subject, ProbeKind kind, const api::Probe& probe);
  void remove(const std::string& container_id);

 private:
  struct Key {
    std::string container_id;
    ProbeKind kind;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    Subject subject;
    api::Probe probe;
    TimePoint due;
    bool running = false;
    ProbeCount count;
    std::optional<bool> told;
  };
  void run(std::stop_token stop);
  std::optional<Key> take_due(std::stop_token stop, Entry& copy);
  void finish(const Key& key, const CheckResult& result);

  const Handlers& handlers_;
  Clock& clock_;
  Listener listener_;
  Mutex mutex_;
  CondVar changed_;
  std::map<Key, Entry> entries_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;  // last
};

}  // namespace skiff::kubelet
