#pragma once
// Who may use an image that a registry gave only to somebody with a password (KubeletEnsureSecretPulledImages).

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "image/registry_config.hpp"

namespace skiff::image {

/// What is known of the pulls of one image by one name. The registry said yes to these.
struct Access {
  bool anyone = false;             // it asked for no password, or took one of the host's
  std::set<std::string> secrets;   // Credentials::secret
  std::set<std::string> hashes;    // of credentials

  bool operator==(const Access&) const = default;
};
/// By repository ("docker.io/library/nginx"): what a password opens by one name it need not open by another.
using AccessByRepository = std::map<std::string, Access>;

/// A hash that shows whether two passwords are the same, and not what they are.
std::string hash_of(const Credentials& credentials);
/// What a pull with `used` (nothing: it needed none) shows.
Access granted_by(const std::optional<Credentials>& used);
void merge(Access& into, const Access& more);

/// Whether whoever has `credentials` may use an image without asking the registry once more. An image of which no pull is
/// known was brought to the host by its owner and is everybody's (the policy NeverVerifyPreloadedImages).
bool may_use(const AccessByRepository& known, const std::string& repository, const std::vector<Credentials>& credentials);

}  // namespace skiff::image
