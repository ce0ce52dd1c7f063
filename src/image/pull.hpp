#pragma once
// Pulling an image: from a name and who asks to an image in the store.

#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "image/content_store.hpp"
#include "image/registry_config.hpp"

namespace skiff::image {

struct PullRequest {
  Reference image;
  std::vector<Credentials> credentials = {};   // tried before those of the configuration
};

struct Pulled {
  std::string id;
  bool new_content = false;     // false: all of it was there
  std::uint64_t size = 0;       // bytes of its compressed blobs
};

/// Asks the registry (or its mirrors) for `request.image`, downloads what `store` lacks (several layers at once, resuming
/// what breaks) and imports it. Any thread; several pulls may run at once, also of the same image. Errors read as
/// containerd words them; NotFound, Forbidden, Unavailable (worth another try), Invalid (damaged or hostile), Canceled.
Result<Pulled> pull(ContentStore& store, const PullRequest& request, const RegistryConfig& config, Clock& clock,
                    std::stop_token stop);

}  // namespace skiff::image
