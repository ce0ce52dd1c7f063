#include "image/access.hpp"

#include <algorithm>

#include "image/digest.hpp"

namespace skiff::image {

std::string hash_of(const Credentials& credentials) {
  std::string text;
  for (const std::string* part :
       {&credentials.username, &credentials.password, &credentials.identity_token, &credentials.registry_token})
    text += fmt::format("{}:{}", part->size(), *part);  // lengths: no two lists of parts read the same
  return digest_of(text);
}

Access granted_by(const std::optional<Credentials>& used) {
  if (!used || used->secret.empty()) return {.anyone = true, .secrets = {}, .hashes = {}};
  return {.anyone = false, .secrets = {used->secret}, .hashes = {hash_of(*used)}};
}

void merge(Access& into, const Access& more) {
  into.anyone = into.anyone || more.anyone;
  into.secrets.insert(more.secrets.begin(), more.secrets.end());
  into.hashes.insert(more.hashes.begin(), more.hashes.end());
}

bool may_use(const AccessByRepository& known, const std::string& repository, const std::vector<Credentials>& credentials) {
  if (known.empty()) return true;
  auto access = known.find(repository);
  if (access == known.end()) return false;
  return access->second.anyone || std::any_of(credentials.begin(), credentials.end(), [&](const Credentials& one) {
           return (!one.secret.empty() && access->second.secrets.contains(one.secret)) ||
                  access->second.hashes.contains(hash_of(one));
         });
}

}  // namespace skiff::image
