// Who we are at which registry, where that is, and what a pull says when nobody answers.

#include <catch2/catch.hpp>

#include "image/pull.hpp"
#include "image/registry_config.hpp"
#include "support.hpp"

using namespace skiff;
using namespace skiff::image;

namespace {

Reference name(std::string_view text) { return parse_reference(text).value(); }

std::vector<std::string> users(const CredentialsByHost& known, std::string_view image) {
  std::vector<std::string> names;
  for (const Credentials& one : matching(known, name(image))) names.push_back(one.username);
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("pull secrets of both forms are read, and the most specific entry comes first") {
  CredentialsByHost known = parse_docker_credentials(R"({"auths": {
      "https://index.docker.io/v1/": {"auth": "aHViOnA="},
      "r.example": {"username": "all", "password": "x"},
      "r.example/team": {"username": "team", "password": "x"},
      "*.wild.example": {"username": "wild"},
      "r.example:5000": {"username": "port"}}})").value();
  CHECK(users(known, "nginx") == Names{"hub"});
  CHECK(users(known, "r.example/team/app:1") == Names{"team", "all"});
  CHECK(users(known, "r.example/teams/app") == Names{"all"});
  CHECK(users(known, "a.wild.example/x") == Names{"wild"});
  CHECK(users(known, "a.b.wild.example/x").empty());
  CHECK(users(known, "r.example:5000/x") == Names{"port"});
  CHECK(matching(known, name("nginx"))[0].password == "p");
  CHECK(users(parse_docker_credentials(R"({"r.example": {"auth": "dTpw"}})").value(), "r.example/x") == Names{"u"});
  CHECK(parse_docker_credentials("[]").error().code() == Code::Invalid);
}

TEST_CASE("an image is asked for at its mirrors, then at its registry; plain HTTP only on loopback") {
  RegistryConfig config = RegistryConfig::parse(R"({"mirrors": {"docker.io": {"endpoint": ["http://m:5000/v2/"]},
      "*": {"endpoint": ["https://all.example/proxy"]}}, "configs": {"h": {"tls": {"insecure_skip_verify": true}}}})").value();
  auto urls = [&](const char* domain) {
    Names all;
    for (const Endpoint& endpoint : endpoints_of(config, domain).value()) all.push_back(endpoint.url());
    return all;
  };
  CHECK(urls("docker.io") == Names{"http://m:5000", "https://registry-1.docker.io"});
  CHECK(urls("r.example") == Names{"https://all.example/proxy", "https://r.example"});
  config.mirrors.clear();
  CHECK(urls("localhost:5000") == Names{"https://localhost:5000", "http://localhost:5000"});
  CHECK(config.hosts["h"].skip_verify);
  CHECK_FALSE(RegistryConfig::parse(R"({"mirrors": {"x": {"endpoint": ["ftp://x"]}}})").ok());
  config.no_proxy = {".corp.example", "10.0.0.1"};
  CHECK(bypasses_proxy(config, {.host = "r.corp.example"}));
  CHECK(bypasses_proxy(config, {.host = "localhost"}));
  CHECK_FALSE(bypasses_proxy(config, {.host = "r.example"}));
}

TEST_CASE("a registry that does not answer is a reason in containerd's words") {
  test::TempDirectory directory;
  auto store = ContentStore::open(directory / "store").value();
  SystemClock clock;
  Result<Pulled> pulled = pull(*store, {name("localhost:1/x:1")}, {}, clock, {});
  REQUIRE_FALSE(pulled.ok());
  CHECK(pulled.error().code() == Code::Unavailable);
  CHECK(pulled.error().message() ==
        "failed to pull and unpack image \"localhost:1/x:1\": failed to resolve reference \"localhost:1/x:1\": failed to do "
        "request: Head \"http://localhost:1/v2/x/manifests/1\": dial tcp localhost:1: connect: connection refused");
}
