#pragma once
// A container of a pod in the runtime's words.

#include <map>
#include <string>

#include "api/gen/pod.hpp"
#include "image/content_store.hpp"
#include "kubelet/environment.hpp"
#include "kubelet/volumes.hpp"
#include "runtime/container_spec.hpp"
#include "runtime/seccomp.hpp"

namespace skiff::kubelet {

/// Labels by which the kubelet finds its containers again.
inline constexpr const char* kPodUid = "pod.uid";
inline constexpr const char* kPodName = "pod.name";
inline constexpr const char* kPodNamespace = "pod.namespace";
inline constexpr const char* kContainerName = "container.name";
inline constexpr const char* kAttempt = "container.attempt";
inline constexpr const char* kImage = "container.image";
inline constexpr const char* kImageId = "container.imageID";

/// What a container spec is made from.
struct ContainerInput {
  const api::Pod& pod;
  const api::Container& container;
  const image::Image& image;
  runtime::SeccompProfiles& seccomp;
  std::string image_name;  // in full
  Environment environment;
  PodVolumes volumes;
  runtime::Node* node = nullptr;  // whose view of the volumes sub paths are made in; null: they are there
  std::string id, sandbox, directory, cgroup, log_path;
  std::string hostname;
  int attempt = 0;
  std::string hosts_file, resolv_file, hostname_file;  // "" for none
  std::string termination_file;
  std::string seccomp_directory;  // of Localhost profiles
  std::int64_t node_memory = 0;
  bool devices_guarded = true;  // else CAP_MKNOD is given only to who asks for it
};

/// An error's message is what the container waits with (CreateContainerConfigError).
Result<runtime::ContainerSpec> make_container_spec(const ContainerInput& input);

/// "name_namespace(uid)", as the kubelet writes a pod in messages.
std::string describe(const api::Pod& pod);

/// The signal that stops a container: its own, its image's, or SIGTERM.
int stop_signal(const api::Container& container, const image::Config& config);
int signal_number(const std::string& name);  // "SIGTERM", "TERM", "15"; 15 for anything else

}  // namespace skiff::kubelet
