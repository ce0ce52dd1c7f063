#pragma once

#include <deque>
#include <map>
#include <string>
#include <thread>

#include "api/gen/core.hpp"
#include "base/random.hpp"
#include "client/client.hpp"

namespace skiff::client {

/// What an event is about.
api::ObjectReference reference_to(const AnyRef& object);
template <class T>
api::ObjectReference reference_to(const Ref<T>& object) {
  return reference_to(AnyRef(object));
}

/// Writes v1 Events in the background (client-go's EventRecorder): equal ones (object, reason, message, source)
/// within an hour become one Event whose count grows. Never blocks; when more than 1000 wait, new ones are dropped.
/// Any thread.
class EventRecorder {
 public:
  /// `component` as in source.component ("kubelet", "deployment-controller"); `host` for the kubelet's node.
  EventRecorder(Client& client, Clock& clock, Random& random, std::string component, std::string host = "");
  ~EventRecorder();

  void normal(const api::ObjectReference& about, const std::string& reason, const std::string& message) {
    record(about, "Normal", reason, message);
  }
  void warning(const api::ObjectReference& about, const std::string& reason, const std::string& message) {
    record(about, "Warning", reason, message);
  }
  void record(const api::ObjectReference& about, const std::string& type, const std::string& reason,
              const std::string& message);

 private:
  struct Known {
    ObjectKey key;       // of the Event object
    std::int32_t count = 0;
    TimePoint last;
  };
  void run(std::stop_token stop);
  void write(api::Event event);

  Client& client_;
  Clock& clock_;
  Random& random_;
  const std::string component_, host_;
  std::map<std::string, Known> known_;  // the writer thread's
  Mutex mutex_;
  CondVar changed_;
  std::deque<api::Event> waiting_ GUARDED_BY(mutex_);
  std::int64_t last_stamp_ GUARDED_BY(mutex_) = 0;  // what the newest event is named by
  std::jthread thread_;
};

}  // namespace skiff::client
