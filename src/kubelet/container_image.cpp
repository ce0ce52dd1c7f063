// The image of a container or volume: on disk already, or pulled while the pod's worker does other things. What goes wrong
// becomes the reason that the container waits with (pkg/kubelet/images).

#include <cmath>

#include "image/reference.hpp"
#include "kubelet/image_pulls.hpp"
#include "kubelet/pod_runtime.hpp"

namespace skiff::kubelet {
namespace {

// As Go prints a duration of whole milliseconds: 350ms, 1.2s, 1m0.5s.
std::string duration_text(Duration duration) {
  auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  if (milliseconds < 1000) return fmt::format("{}ms", milliseconds);
  auto minutes = milliseconds / 60'000;
  std::string seconds = fmt::format("{:g}s", static_cast<double>(milliseconds % 60'000) / 1000);
  return minutes == 0 ? seconds : fmt::format("{}m{}", minutes, seconds);
}

Result<image::CredentialsByHost> read_secret(client::Client& client, const client::ObjectKey& key) {
  TRY_ASSIGN(client::Ref<api::Secret> secret, client.get<api::Secret>(key));
  for (const char* form : {".dockerconfigjson", ".dockercfg"}) {
    auto found = secret->data.find(form);
    if (found == secret->data.end()) continue;
    TRY_ASSIGN(image::CredentialsByHost all, image::parse_docker_credentials(found->second.data));
    for (auto& [host, credentials] : all)
      credentials.secret = fmt::format("{}/{}/{}", secret->metadata.uid, key.namespace_, key.name);
    return all;
  }
  return image::CredentialsByHost();
}

}  // namespace

std::vector<image::Credentials> PodRuntime::pull_credentials(const Start& start, const image::Reference& image) {
  image::CredentialsByHost known;
  std::string missing;
  for (const api::LocalObjectReference& ref : start.pod.spec.imagePullSecrets) {
    Result<image::CredentialsByHost> read = read_secret(system_.client, {start.pod.metadata.namespace_, ref.name});
    if (!read.ok()) missing += (missing.empty() ? "" : ", ") + ref.name;
    else known.insert(known.end(), read.value().begin(), read.value().end());
  }
  if (!missing.empty())
    system_.events.warning(about(start.pod), "FailedToRetrieveImagePullSecret",
                           fmt::format("Unable to retrieve some image pull secrets ({}); attempting to pull the image may "
                                       "not succeed.",
                                       missing));
  return image::matching(known, image);
}

// Whether an earlier failure is still to be looked at, or waited for.
bool PodRuntime::pull_held_back(const Start& start, ContainerRecord& record, const std::string& image) {
  TimePoint now = system_.clock.now();
  if (record.image_backoff.just_failed(now)) {
    start.alarm.at(record.image_backoff.shown_until());
    return true;
  }
  if (!record.image_backoff.waiting(now)) return false;
  start.alarm.at(record.image_backoff.next());
  if (record.waiting_reason == "ImagePullBackOff") return true;
  std::string message = fmt::format("Back-off pulling image \"{}\": ErrImagePull: {}", image, record.waiting_message);
  system_.events.normal(about(start.pod, start.container), "BackOff", fmt::format("Back-off pulling image \"{}\"", image));
  wait_with(start, record, "ImagePullBackOff", message);
  return true;
}

std::optional<image::Image> PodRuntime::pull_image(const Start& start, ContainerRecord& record, const std::string& image) {
  if (pull_held_back(start, record, image)) return std::nullopt;
  api::ObjectReference subject = about(start.pod, start.container);
  if (!record.pulling) {
    record.pulling = image::PullRequest{image::parse_reference(image).value()};  // choose_image has judged it
    record.pulling->credentials = pull_credentials(start, record.pulling->image);
    record.waiting_reason = record.waiting_message = "";
    system_.events.normal(subject, "Pulling", fmt::format("Pulling image \"{}\"", image));
  }
  std::optional<ImagePulls::Outcome> outcome = system_.pulls.pull(start.pod.metadata.uid, *record.pulling);
  if (!outcome) return std::nullopt;  // woken when it is over
  record.pulling.reset();
  Result<image::Image> found = outcome->pulled.ok() ? system_.images.resolve(image) : outcome->pulled.error();
  if (found.ok()) {
    record.image_backoff.reset();
    system_.events.normal(subject, "Pulled",
                          fmt::format("Successfully pulled image \"{}\" in {} ({} including waiting). Image size: {} bytes.",
                                      image, duration_text(outcome->took), duration_text(outcome->waited),
                                      found.value().size));
    return std::move(found).value();
  }
  record.image_backoff.failed(system_.clock.now());
  start.alarm.at(record.image_backoff.shown_until());
  system_.events.warning(subject, "Failed", fmt::format("Failed to pull image \"{}\": {}", image, found.error().message()));
  wait_with(start, record, "ErrImagePull", found.error().message());
  return std::nullopt;
}

// The pod's secrets are read only where it matters whose they are.
bool PodRuntime::may_use(const Start& start, const image::Image& image, const std::string& repository) {
  if (image::may_use(image.access, repository, {})) return true;
  Result<image::Reference> name = image::parse_reference(repository);
  return name.ok() && image::may_use(image.access, repository, pull_credentials(start, name.value()));
}

std::optional<image::Image> PodRuntime::find_image(const Start& start, ContainerRecord& record, const ImageWish& wish,
                                                   std::string& name) {
  ImageChoice choice = choose_image(system_.images, wish.image, wish.pull_policy);
  name = choice.name;
  if (choice.image && !may_use(start, *choice.image, choice.repository)) withhold(choice, wish.image, wish.pull_policy);
  // A pull that was begun has something to tell, also when its image is here by now.
  if (choice.pull || record.pulling) return pull_image(start, record, wish.image);
  api::ObjectReference subject = about(start.pod, start.container);
  if (choice.image) {
    record.image_backoff.reset();
    system_.events.normal(subject, "Pulled",
                          fmt::format("Container image \"{}\" already present on machine and can be accessed by the pod",
                                      wish.image));
    return std::move(choice.image);
  }
  TimePoint now = system_.clock.now();
  if (record.image_backoff.waiting(now) && record.waiting_reason == choice.reason) {
    start.alarm.at(record.image_backoff.next());
    return std::nullopt;
  }
  record.image_backoff.failed(now);
  start.alarm.at(record.image_backoff.next());
  system_.events.warning(subject, choice.reason == "ErrImageNeverPull" ? "ErrImageNeverPull" : "InspectFailed",
                         choice.message);
  wait_with(start, record, choice.reason, choice.message);
  return std::nullopt;
}

}  // namespace skiff::kubelet
