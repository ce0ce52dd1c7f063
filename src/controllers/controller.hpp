#pragma once
// What every controller of this room is: a Reconciler that owns its queue and its workers. Handlers on
// informers only enqueue keys; reconcile() compares and acts.

#include <string>

#include "base/random.hpp"
#include "client/client.hpp"
#include "client/controller.hpp"
#include "client/informer.hpp"
#include "client/work_queue.hpp"

namespace skiff::controllers {

using client::AnyRef;
using client::key_of;
using client::ObjectKey;
using client::Ref;
using client::Requeue;

/// What controllers are made with; outlives them.
struct Context {
  client::Client& client;
  client::Informers& informers;
  Clock& clock;
  Random& random;
};

class Controller : public client::Reconciler {
 public:
  /// `name` as kube-controller-manager spells it; it is in the log and in the events.
  Controller(const Context& context, std::string name, int workers = 1)
      : client_(context.client),
        clock_(context.clock),
        name_(std::move(name)),
        workers_(workers),
        runner_(context.clock, *this) {}

  std::string name() const final { return name_; }
  void start() { runner_.start(workers_); }
  void stop() { runner_.stop(); }

 protected:
  client::WorkQueue& queue() { return runner_.queue(); }
  api::Time wall_now() const { return api::Time::from(clock_.wall_now()); }

  client::Client& client_;
  Clock& clock_;

 private:
  const std::string name_;
  const int workers_;
  client::ControllerRunner runner_;
};

}  // namespace skiff::controllers
