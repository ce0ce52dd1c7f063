#include "kubelet/images.hpp"

#include "image/reference.hpp"

namespace skiff::kubelet {

ImageChoice choose_image(const image::ContentStore& store, const std::string& image, const std::string& pull_policy) {
  ImageChoice choice;
  Result<image::Reference> reference = image::parse_reference(image);
  if (!reference.ok()) {
    choice.reason = "InvalidImageName";
    choice.message =
        fmt::format("Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": {1}",
                    image, reference.error().message());
    return choice;
  }
  choice.name = reference.value().canonical();
  Result<image::Image> found = store.resolve(image);
  if (found.ok() && pull_policy == "Always" && store.was_pulled(image)) {
    choice.pull = true;
  } else if (found.ok()) {
    choice.image = std::move(found).value();
  } else if (found.error().code() != Code::NotFound) {
    choice.reason = "ImageInspectError";
    choice.message =
        fmt::format("Failed to inspect image \"{}\": {}", image, found.error().message());
  } else if (pull_policy == "Never") {
    choice.reason = "ErrImageNeverPull";
    choice.message =
        fmt::format("Container image \"{}\" is not present with pull policy of Never", image);
  } else {
    choice.pull = true;
  }
  return choice;
}

}  // namespace skiff::kubelet
