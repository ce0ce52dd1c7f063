#pragma once
// The distribution protocol (OCI distribution-spec v1.1) for one repository at one endpoint.

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "image/registry_http.hpp"

namespace skiff::image {

struct FetchedManifest {
  std::string text;
  std::string digest;
};

/// Authorises itself as the registry asks: not at all, by Basic, or by a bearer token from the named realm. With several
/// credentials each is tried. One thread.
class RegistryClient {
 public:
  RegistryClient(const Endpoint& endpoint, std::string repository, const RegistryConfig& config,
                 std::vector<Credentials> credentials, Clock& clock);
  ~RegistryClient();

  /// A manifest or index by tag or digest; its digest is checked. NotFound; Forbidden: the registry lets us not.
  Result<FetchedManifest> manifest(const std::string& reference, const std::stop_token& stop);

  /// Writes a blob into `file` (empty, named `path` in errors) and checks its digest on the way. A broken transfer goes on
  /// where it stopped, and what a registry refuses for the moment (429, 5xx) is asked again, with growing pauses.
  Status blob(const std::string& digest, const UniqueFd& file, const std::string& path, const std::stop_token& stop);

  /// What the registry let us in with; nothing: it asked for nothing, or what it asks nobody needs a password for.
  std::optional<Credentials> used() const { return used_; }

 private:
  struct Challenge {
    bool basic = false;
    std::string realm, service, scope;
  };
  class BlobWriter;

  Result<RegistryAnswer> get(const std::string& path, std::map<std::string, std::string> headers, const BodySink* sink,
                             const std::stop_token& stop);
  Result<RegistryAnswer> follow(RegistryAnswer answer, const std::string& path, const std::map<std::string, std::string>& headers,
                                const BodySink* sink, const std::stop_token& stop);
  Status authorize(const Challenge& challenge, const Credentials* credentials, const std::stop_token& stop);
  Result<std::string> token(const Challenge& challenge, const Credentials* credentials, const std::stop_token& stop);
  static std::optional<Challenge> challenge_of(const RegistryAnswer& answer);

  const Endpoint endpoint_;
  const std::string repository_;
  const RegistryConfig& config_;
  const std::vector<Credentials> credentials_;
  Clock& clock_;
  RegistryHttp http_;
  std::string authorization_;
  size_t next_credentials_ = 0;
  std::optional<Credentials> used_;
};

}  // namespace skiff::image
