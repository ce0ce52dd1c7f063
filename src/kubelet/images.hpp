#pragma once
// The image hook: from a container's image name and pull policy to layers on disk.

#include "api/gen/pod.hpp"
#include "image/content_store.hpp"

namespace skiff::kubelet {

/// The image of a container, or the waiting reason and message the kubelet shows.
struct ImageChoice {
  std::optional<image::Image> image;
  std::string reason, message;
  std::string name;  // in full: "docker.io/library/nginx:1.25"
  std::string repository;  // "docker.io/library/nginx"
  bool pull = false; // a registry has to be asked
};

/// What `pull_policy` makes of what is present. Always asks again only for what a registry gave us: an image that was
/// loaded by hand is meant to be used.
ImageChoice choose_image(const image::ContentStore& store, const std::string& image, const std::string& pull_policy);
/// The image is here, but was given only to others: the registry is asked again, or, with a policy of Never, nobody.
void withhold(ImageChoice& choice, const std::string& image, const std::string& pull_policy);

}  // namespace skiff::kubelet
