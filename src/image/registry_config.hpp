#pragma once
// Which registries there are, how they are reached and who we are there: the words of k3s' registries.yaml and of
// docker's config.json.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "image/reference.hpp"

namespace skiff::image {

struct Credentials {
  std::string username, password;
  std::string identity_token;   // exchanged for an access token
  std::string registry_token;   // is one
  std::string secret;           // which pull secret it is of; "": the host's own
};

/// What docker's `auths` say: a key may be a host ("ghcr.io"), a URL ("https://index.docker.io/v1/"), a host with the
/// beginning of a path ("registry.example/team") or a pattern of labels ("*.registry.example").
using CredentialsByHost = std::vector<std::pair<std::string, Credentials>>;

/// Both forms of pull secrets: {"auths": {...}} (.dockerconfigjson) and the bare map (.dockercfg). Invalid: neither.
Result<CredentialsByHost> parse_docker_credentials(std::string_view json);
/// Those that fit, the most specific first.
std::vector<Credentials> matching(const CredentialsByHost& known, const Reference& image);

struct RegistryHost {
  std::string ca_file;                 // beside the system's authorities; "": none
  bool skip_verify = false;
  std::vector<Credentials> credentials;
};

struct RegistryConfig {
  std::map<std::string, std::vector<std::string>> mirrors;  // by domain or "*": URLs, tried in order before the registry
  std::map<std::string, RegistryHost> hosts;                // by host[:port]
  std::string https_proxy, http_proxy;                      // URLs; "": none
  std::vector<std::string> no_proxy;                        // hosts and domains

  /// registries.yaml of k3s, as JSON: {"mirrors": {DOMAIN: {"endpoint": [URL]}}, "configs": {HOST: {"auth": {...},
  /// "tls": {...}}}}. The proxy is not in it. Invalid: not of that form.
  static Result<RegistryConfig> parse(std::string_view json);
  /// HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment, in either case.
  void take_proxy_from_environment();
};

/// Where a request goes.
struct Endpoint {
  bool tls = true;
  std::string host;                    // "registry-1.docker.io", "[::1]"
  int port = 443;
  std::string prefix;                  // of paths: "" or "/proxy"

  std::string authority() const;       // host, with the port unless it is the scheme's own
  std::string url() const;
  bool loopback() const;
};

/// Invalid: no http or https URL.
Result<Endpoint> parse_endpoint(std::string_view url);
/// Where images of `domain` are asked for: mirrors, then the registry itself (docker.io: registry-1.docker.io), by HTTPS
/// and, on the host's loopback only, by plain HTTP after that.
Result<std::vector<Endpoint>> endpoints_of(const RegistryConfig& config, const std::string& domain);
/// Whether requests to `host` go around the proxy.
bool bypasses_proxy(const RegistryConfig& config, const Endpoint& endpoint);

}  // namespace skiff::image
