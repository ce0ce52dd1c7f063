#pragma once
// The loop that every controller runs in, written once.

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/work_queue.hpp"

namespace skiff::client {

/// What a reconcile asks for: nothing more, or to be called again after a delay.
struct Requeue {
  std::optional<Duration> after;
  static Requeue never() { return {}; }
  static Requeue in(Duration delay) { return {delay}; }
};

/// Compares the world with the wish for one key and acts. Level-triggered, idempotent; an error is retried with
/// backoff. Never called for the same key by two threads at once.
class Reconciler {
 public:
  virtual ~Reconciler() = default;
  virtual std::string name() const = 0;
  virtual Result<Requeue> reconcile(const ObjectKey& key) = 0;
};

/// Owns a queue and the worker threads that feed `reconciler` (not owned; outlives this).
class ControllerRunner {
 public:
  ControllerRunner(Clock& clock, Reconciler& reconciler) : queue_(clock), reconciler_(reconciler) {}
  ~ControllerRunner() { stop(); }

  WorkQueue& queue() { return queue_; }
  void start(int workers = 1);
  /// Requests a stop and joins.
  void stop();

 private:
  void run(std::stop_token stop);

  WorkQueue queue_;
  Reconciler& reconciler_;
  std::vector<std::jthread> workers_;
};

}  // namespace skiff::client
