#pragma once
// The demo images that come inside the skiff binary.

#include <string_view>

#include "base/error.hpp"
#include "image/content_store.hpp"

namespace skiff::image {

/// Makes `hitcounter:1.0`, `hitcounter:2.0` and the same under `skiff.local/` known to the store. Does
/// nothing when this binary's images are there already, and leaves names alone that somebody has given to
/// other images.
Status install_demo_images(ContentStore& store);

}  // namespace skiff::image
