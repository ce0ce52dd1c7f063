// Pulls from a registry that asks for passwords and tokens, breaks off, refuses, and stands behind a proxy.

#include "image/pull.hpp"
#include "support/fake_clock.hpp"
#include "unit/image/registry_server.hpp"

namespace skiff::image::test {
namespace {

struct PullFixture : Fixture {
  Result<Pulled> pull(const std::string& name, std::vector<Credentials> credentials = {}) {
    return image::pull(*store, {parse_reference(name).value(), std::move(credentials)}, config, clock, {});
  }
  /// What the failure says, or "pulled".
  std::string outcome(const std::string& name, std::vector<Credentials> credentials = {}) {
    Result<Pulled> pulled = pull(name, std::move(credentials));
    return pulled.ok() ? "pulled" : pulled.error().message();
  }
  RegistryConfig config;
  SystemClock clock;
};

Credentials alice(const std::string& secret = "") { return {"alice", "wonderland", "", "", secret}; }

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("a password is sent only to who asks for it, as Basic") {
  PullFixture fixture;
  RegistryServer registry;
  registry.users = {{"alice", "wonderland"}};
  std::string name = registry.add("team/app", "1", "x");
  CHECK(contains(fixture.outcome(name), "pull access denied, repository does not exist or may require authorization"));
  CHECK(contains(fixture.outcome(name, {{"alice", "wrong", "", "", ""}}), "pull access denied"));
  REQUIRE(fixture.outcome(name, {{"bob", "x", "", "", ""}, alice()}) == "pulled");
  CHECK(registry.requests().front() == "GET /v2/team/app/manifests/1");  // nobody tells a password unasked
  CHECK(registry.count("as bob:x") == 1);
}

TEST_CASE("a token comes from the realm that the registry names") {
  PullFixture fixture;
  RegistryServer tokens, registry;
  registry.users = tokens.users = {{"alice", "wonderland"}};
  registry.realm = fmt::format("http://{}/token", tokens.host());
  std::string name = registry.add("team/app", "1", "x");
  REQUIRE(fixture.outcome(name, {alice()}) == "pulled");
  CHECK(tokens.requests() ==
        Lines{"GET /token?scope=repository%3Ateam%2Fapp%3Apull&service=test as alice:wonderland",
              "GET /token?scope=repository%3Ateam%2Fapp%3Apull&service=test as alice:wonderland"});  // documents, layers
  CHECK(registry.count("as alice:wonderland") == 0);
  CHECK(contains(fixture.outcome(name, {{"alice", "wrong", "", "", ""}}),
                 "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized"));
}

TEST_CASE("a password does not leave in the clear for a token, nor to a mirror") {
  PullFixture fixture;
  TempDirectory certificates;
  make_certificate(certificates.path());
  RegistryServer plain, registry(certificates.path());
  plain.users = registry.users = {{"alice", "wonderland"}};
  registry.realm = fmt::format("http://{}/token", plain.host());
  std::string name = registry.add("team/app", "1", "x");
  fixture.config.hosts[registry.host()].ca_file = certificates / "cert.pem";
  CHECK(contains(fixture.outcome(name, {alice()}), fmt::format("the token realm \"{}\" is not HTTPS", registry.realm)));
  CHECK(plain.requests().empty());
  registry.realm.clear();
  fixture.config.mirrors[registry.host()] = {"http://" + plain.host()};
  CHECK(fixture.outcome(name, {alice()}) == "pulled");
  CHECK(plain.count("/v2/team/app/manifests/1") > 0);  // asked, and told nothing
  CHECK(plain.count(" as ") == 0);
}

TEST_CASE("a transfer that breaks off goes on where it stopped") {
  PullFixture fixture;
  RegistryServer registry;
  std::string name = registry.add("big", "1", std::string(3'000'000, 'x'));
  registry.cut_at = 1'000'000;
  REQUIRE(fixture.outcome(name) == "pulled");
  CHECK(registry.count(registry.layer() + " bytes=1000000-") == 1);
  CHECK(fixture.must_resolve(name).size == 3'000'000);
}

TEST_CASE("what a registry refuses for the moment is asked again") {
  int status = GENERATE(429, 500, 503);
  CAPTURE(status);
  PullFixture fixture;
  RegistryServer registry;
  std::string name = registry.add("busy", "1", "x");
  registry.refuse_with = status;
  registry.refuse = 2;
  CHECK(fixture.outcome(name) == "pulled");
  registry.refuse_with = 400;
  registry.refuse = 1;
  name = registry.add("busy", "2", "y");
  CHECK(contains(fixture.outcome(name), "unexpected status: 400"));
}

TEST_CASE("a registry is reached through the proxy unless NO_PROXY names it") {
  PullFixture fixture;
  TempDirectory certificates;
  make_certificate(certificates.path());
  RegistryServer registry(certificates.path());
  registry.add("app", "1", "x");
  ConnectProxy proxy(registry.port);
  fixture.config.hosts["registry.test"].ca_file = certificates / "cert.pem";
  fixture.config.https_proxy = fmt::format("http://127.0.0.1:{}", proxy.port);
  REQUIRE(fixture.outcome("registry.test/app:1") == "pulled");
  for (const std::string& asked : proxy.asked_for()) CHECK(asked == "CONNECT registry.test:443");
  size_t before = proxy.asked_for().size();
  CHECK(before > 0);
  fixture.config.no_proxy = {"registry.test"};
  CHECK(fixture.outcome("registry.test/app:1") != "pulled");  // there is no such host
  CHECK(proxy.asked_for().size() == before);
}

TEST_CASE("an image that a registry gave for a password is for those who have it") {
  PullFixture fixture;
  RegistryServer registry;
  registry.users = {{"alice", "wonderland"}};
  std::string name = registry.add("team/app", "1", "x");
  const std::string repository = registry.host() + "/team/app";
  REQUIRE(fixture.outcome(name, {alice("uid/ns/secret")}) == "pulled");
  auto access = [&] { return fixture.must_resolve(name).access; };
  CHECK(may_use(access(), repository, {alice("uid/ns/secret")}));
  CHECK(may_use(access(), repository, {alice("other")}));                              // the same password
  CHECK(may_use(access(), repository, {{"alice", "new", "", "", "uid/ns/secret"}}));   // the same secret, changed
  CHECK_FALSE(may_use(access(), repository, {{"bob", "x", "", "", "other"}}));
  CHECK_FALSE(may_use(access(), repository, {}));
  CHECK_FALSE(may_use(access(), "elsewhere/team/app", {alice("uid/ns/secret")}));      // another name proves nothing
  SECTION("until the registry gives it to anybody") {
    registry.users.clear();
    REQUIRE(fixture.outcome(name) == "pulled");
    CHECK(may_use(access(), repository, {}));
  }
  SECTION("or its owner tags it by hand") {
    REQUIRE(fixture.store->tag(name, "mine:1").ok());
    CHECK(may_use(access(), "docker.io/library/mine", {}));
    CHECK_FALSE(may_use(access(), repository, {}));
  }
  SECTION("and another process knows it") {
    auto other = ContentStore::open(fixture.directory / "store").value();
    CHECK(other->resolve(name).value().access == access());
  }
  SECTION("and nobody knows it once the image is gone") {
    REQUIRE(fixture.store->remove(name, {}).ok());
    CHECK_FALSE(contains(read(fixture.directory / "store/index.json"), "secret"));
  }
}

TEST_CASE("an image that was loaded by hand stays everybody's when it is pulled for a password as well") {
  PullFixture fixture;
  RegistryServer registry;
  registry.users = {{"alice", "wonderland"}};
  std::string name = registry.add("team/app", "1", "x");
  std::string layer = Tar().file("content", "x").end();
  fixture.must_load(tar_of(oci_layout("mine:1", {layer}, Compression::Gzip)));
  CHECK(fixture.must_resolve("mine:1").access.empty());
  REQUIRE(fixture.outcome(name, {alice("s")}) == "pulled");
  Image image = fixture.must_resolve("mine:1");
  REQUIRE(image.id == fixture.must_resolve(name).id);
  CHECK(may_use(image.access, "docker.io/library/mine", {}));
  CHECK_FALSE(may_use(image.access, registry.host() + "/team/app", {}));
}

}  // namespace skiff::image::test
