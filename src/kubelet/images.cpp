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
  choice.repository = reference.value().name();
  Result<image::Image> found = store.resolve(image);
  if (found.ok() && pull_policy == "Always" && store.was_pulled(image)) {
    choice.pull = true;
  } else if (found.ok()) {
    choice.image = std::move(found).value();
  } else if (found.error().code() != Code::NotFound) {
    choice.reason = "ImageInspectError";
    choice.message =
        fmt::format("Failed to inspect image \"{}\": {}", image, found.error().message());
  } else {
    withhold(choice, image, pull_policy);
  }
  return choice;
}

void withhold(ImageChoice& choice, const std::string& image, const std::string& pull_policy) {
  choice.image.reset();
  choice.pull = pull_policy != "Never";
  if (choice.pull) return;
  choice.reason = "ErrImageNeverPull";
  choice.message = fmt::format("Container image \"{}\" is not present with pull policy of Never", image);
}

}  // namespace skiff::kubelet
