#include "image/registry_config.hpp"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/encoding.hpp"

namespace skiff::image {

namespace {

using Json = nlohmann::json;

std::string text_of(const Json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// {"auth": base64("user:password")} or the parts by name; k3s spells two of them otherwise.
Credentials credentials_from(const Json& json) {
  Credentials out{text_of(json, "username"), text_of(json, "password"), text_of(json, "identitytoken"),
                  text_of(json, "registrytoken"), ""};
  if (out.identity_token.empty()) out.identity_token = text_of(json, "identity_token");
  if (std::string auth = text_of(json, "auth"); out.username.empty() && !auth.empty()) {
    std::string plain = base64_decode(auth).value_or("");
    size_t colon = plain.find(':');
    out.username = plain.substr(0, colon);
    if (colon != std::string::npos) out.password = plain.substr(colon + 1);
  }
  return out;
}

// "https://index.docker.io/v1/" -> {"index.docker.io", ""}; "r.example/team" -> {"r.example", "team"}.
std::pair<std::string, std::string> host_and_path(std::string_view key) {
  if (size_t scheme = key.find("://"); scheme != key.npos) key.remove_prefix(scheme + 3);
  size_t slash = key.find('/');
  std::string host(key.substr(0, slash));
  std::string path(slash == key.npos ? std::string_view() : key.substr(slash + 1));
  while (!path.empty() && path.back() == '/') path.pop_back();
  if (path == "v1" || path == "v2") path.clear();
  return {host, path};
}

// Label by label; `*` in a label stands for anything within it.
bool host_matches(std::string_view pattern, std::string_view host) {
  std::vector<std::string> wanted = split(pattern, '.'), has = split(host, '.');
  if (wanted.size() != has.size()) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    size_t star = wanted[i].find('*');
    if (star == std::string::npos) {
      if (wanted[i] != has[i]) return false;
      continue;
    }
    std::string_view before = std::string_view(wanted[i]).substr(0, star), after = std::string_view(wanted[i]).substr(star + 1);
    if (has[i].size() < before.size() + after.size() || !has[i].starts_with(before) || !has[i].ends_with(after)) return false;
  }
  return true;
}

bool is_docker_hub(std::string_view host) {
  return host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io";
}

std::string from_environment(const char* upper, const char* lower) {
  const char* value = std::getenv(upper);
  if (value == nullptr || *value == 0) value = std::getenv(lower);
  return value ? value : "";
}

RegistryHost host_from(const Json& json) {
  RegistryHost host;
  if (auto auth = json.find("auth"); auth != json.end() && auth->is_object())
    host.credentials.push_back(credentials_from(*auth));
  if (auto tls = json.find("tls"); tls != json.end() && tls->is_object()) {
    host.ca_file = text_of(*tls, "ca_file");
    auto skip = tls->find("insecure_skip_verify");
    host.skip_verify = skip != tls->end() && skip->is_boolean() && skip->get<bool>();
  }
  return host;
}

}  // namespace

Result<CredentialsByHost> parse_docker_credentials(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return error(Code::Invalid, "the pull secret is no JSON object");
  auto auths = json.find("auths");
  const Json& entries = auths != json.end() ? *auths : json;
  if (!entries.is_object()) return error(Code::Invalid, "'auths' of the pull secret is no object");
  CredentialsByHost all;
  for (const auto& [key, value] : entries.items())
    if (value.is_object()) all.emplace_back(key, credentials_from(value));
  return all;
}

std::vector<Credentials> matching(const CredentialsByHost& known, const Reference& image) {
  std::vector<std::pair<size_t, const Credentials*>> found;
  for (const auto& [key, credentials] : known) {
    auto [host, path] = host_and_path(key);
    bool same = (is_docker_hub(host) && is_docker_hub(image.domain)) || host_matches(host, image.domain);
    bool within = path.empty() || image.path == path || image.path.starts_with(path + "/");
    if (same && within) found.emplace_back(key.size(), &credentials);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<Credentials> out;
  for (const auto& [length, credentials] : found) out.push_back(*credentials);
  return out;
}

Result<RegistryConfig> RegistryConfig::parse(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_null()) return RegistryConfig();  // an empty file
  if (!json.is_object()) return error(Code::Invalid, "is no object with 'mirrors' and 'configs'");
  RegistryConfig config;
  if (auto mirrors = json.find("mirrors"); mirrors != json.end() && mirrors->is_object())
    for (const auto& [domain, mirror] : mirrors->items()) {
      std::vector<std::string>& urls = config.mirrors[domain];
      if (auto list = mirror.find("endpoint"); mirror.is_object() && list != mirror.end() && list->is_array())
        for (const Json& url : *list)
          if (url.is_string()) urls.push_back(url.get<std::string>());
      for (const std::string& url : urls)
        if (Result<Endpoint> endpoint = parse_endpoint(url); !endpoint.ok())
          return std::move(endpoint).error().in(fmt::format("mirror of '{}'", domain));
    }
  if (auto configs = json.find("configs"); configs != json.end() && configs->is_object())
    for (const auto& [host, settings] : configs->items())
      if (settings.is_object()) config.hosts[host] = host_from(settings);
  return config;
}

void RegistryConfig::take_proxy_from_environment() {
  https_proxy = from_environment("HTTPS_PROXY", "https_proxy");
  http_proxy = from_environment("HTTP_PROXY", "http_proxy");
  no_proxy = split(from_environment("NO_PROXY", "no_proxy"), ',');
}

std::string Endpoint::authority() const {
  bool usual = port == (tls ? 443 : 80);
  return usual ? host : fmt::format("{}:{}", host, port);
}

std::string Endpoint::url() const { return fmt::format("{}://{}{}", tls ? "https" : "http", authority(), prefix); }

bool Endpoint::loopback() const { return host == "localhost" || host.starts_with("127.") || host == "[::1]"; }

Result<Endpoint> parse_endpoint(std::string_view url) {
  Endpoint endpoint;
  std::string_view rest = url;
  if (rest.starts_with("https://")) rest.remove_prefix(8);
  else if (rest.starts_with("http://")) rest.remove_prefix(7), endpoint.tls = false, endpoint.port = 80;
  else return error(Code::Invalid, "'{}' is no http or https URL", url);
  size_t slash = std::min(rest.find('/'), rest.size());
  endpoint.prefix = rest.substr(slash);
  while (!endpoint.prefix.empty() && endpoint.prefix.back() == '/') endpoint.prefix.pop_back();
  if (endpoint.prefix == "/v2") endpoint.prefix.clear();
  std::string_view authority = rest.substr(0, slash);
  size_t colon = authority.rfind(':');
  bool has_port = colon != authority.npos && authority.find(']', colon) == authority.npos;
  endpoint.host = authority.substr(0, has_port ? colon : authority.size());
  if (has_port) endpoint.port = std::atoi(std::string(authority.substr(colon + 1)).c_str());
  if (endpoint.host.empty() || endpoint.port < 1 || endpoint.port > 65535)
    return error(Code::Invalid, "'{}' names no host", url);
  return endpoint;
}

Result<std::vector<Endpoint>> endpoints_of(const RegistryConfig& config, const std::string& domain) {
  std::vector<Endpoint> endpoints;
  auto mirrors = config.mirrors.find(domain);
  if (mirrors == config.mirrors.end()) mirrors = config.mirrors.find("*");
  if (mirrors != config.mirrors.end())
    for (const std::string& url : mirrors->second) {
      TRY_ASSIGN(Endpoint mirror, parse_endpoint(url));
      endpoints.push_back(std::move(mirror));
    }
  TRY_ASSIGN(Endpoint origin, parse_endpoint("https://" + (domain == "docker.io" ? "registry-1.docker.io" : domain)));
  endpoints.push_back(origin);
  if (origin.loopback()) {
    if (domain.find(':', domain.find(']') == std::string::npos ? 0 : domain.find(']')) == std::string::npos) origin.port = 80;
    origin.tls = false;
    endpoints.push_back(origin);
  }
  return endpoints;
}

bool bypasses_proxy(const RegistryConfig& config, const Endpoint& endpoint) {
  if (endpoint.loopback()) return true;
  return std::any_of(config.no_proxy.begin(), config.no_proxy.end(), [&](std::string_view domain) {
    while (!domain.empty() && (domain.front() == ' ' || domain.front() == '.' || domain.front() == '*')) domain.remove_prefix(1);
    return !domain.empty() && (endpoint.host == domain || endpoint.host.ends_with("." + std::string(domain)));
  });
}

}  // namespace skiff::image
