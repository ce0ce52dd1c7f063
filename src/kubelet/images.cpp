#include "kubelet/images.hpp"

#include "image/reference.hpp"

namespace skiff::kubelet {

ImageChoice choose_image(const image::ContentStore& store, const api::Container& container) {
  ImageChoice choice;
  Result<image::Reference> reference = image::parse_reference(container.image);
  if (!reference.ok()) {
    choice.reason = "InvalidImageName";
    choice.message =
        fmt::format("Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": {1}",
                    container.image, reference.error().message());
    return choice;
  }
  choice.name = reference.value().canonical();
  Result<image::Image> found = store.resolve(container.image);
  if (found.ok()) {
    choice.image = std::move(found).value();
    return choice;
  }
  if (found.error().code() != Code::NotFound) {
    choice.reason = "ImageInspectError";
    choice.message =
        fmt::format("Failed to inspect image \"{}\": {}", container.image, found.error().message());
  } else if (container.imagePullPolicy == "Never") {
    choice.reason = "ErrImageNeverPull";
    choice.message =
        fmt::format("Container image \"{}\" is not present with pull policy of Never", container.image);
  } else {
    choice.reason = "ErrImagePull";
    choice.message = fmt::format(
        "failed to pull and unpack image \"{}\": not found: load it with `skiff image load FILE.tar`",
        choice.name);
  }
  return choice;
}

}  // namespace skiff::kubelet
