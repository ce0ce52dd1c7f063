#pragma once
// Pods from files in a directory of the node: they run without an API server's word; the API shows a mirror of each.

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "api/gen/pod.hpp"
#include "base/clock.hpp"
#include "base/fd.hpp"
#include "client/object.hpp"

namespace skiff::kubelet {

/// The hash of the file a static pod, or a mirror, is of; "" for other pods.
std::string static_hash(const api::Pod& pod);
std::string mirrored_hash(const api::Pod& pod);

/// What a file's text means: the name gets "-<node>", the UID depends on file, node and content. `file` is its path. Invalid: no pod.
Result<api::Pod> static_pod(const std::string& text, const std::string& file, const std::string& node);

/// The object that stands for a static pod in the API. `node_uid` owns it.
api::Pod mirror_of(const api::Pod& pod, const std::string& node_uid);

class StaticPods {
 public:
  struct Uses {
    std::function<void(const client::Ref<api::Pod>&)> update;
    std::function<void(const std::string& uid)> removed;
  };
  StaticPods(std::string directory, std::string node, Uses uses)
      : directory_(std::move(directory)), node_(std::move(node)), uses_(std::move(uses)) {}
  ~StaticPods() { stop(); }

  /// Those of the files that are there now; they count as told. Before start().
  std::vector<client::Ref<api::Pod>> read();
  /// Follows the directory from here on.
  Status start();
  void stop();

 private:
  std::map<std::string, client::Ref<api::Pod>> load() const;
  void compare();
  void run(std::stop_token stop);

  const std::string directory_, node_;
  const Uses uses_;
  std::map<std::string, client::Ref<api::Pod>> known_;  // by UID; the thread's once it runs
  UniqueFd inotify_, wake_;
  std::jthread thread_;  // last
};

}  // namespace skiff::kubelet
