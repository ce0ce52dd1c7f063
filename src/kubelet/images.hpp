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
};

/// There is no registry to pull from: an image is present or it is missing, and `reason` then is
/// ErrImageNeverPull or ErrImagePull.
ImageChoice choose_image(const image::ContentStore& store, const std::string& image, const std::string& pull_policy);

}  // namespace skiff::kubelet
