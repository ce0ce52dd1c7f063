// Which pods share a pull, and which may use what another pulled.

#include "kubelet/image_pulls.hpp"

#include "base/mutex.hpp"
#include "kubelet/images.hpp"
#include "unit/image/registry_server.hpp"

namespace skiff::kubelet {
namespace {

using image::test::Fixture;
using image::test::RegistryServer;

// A pull manager whose news a test can wait for.
struct Pulls {
  std::string outcome(const std::string& pod, const image::PullRequest& request) {
    while (true) {
      if (auto outcome = pulls.pull(pod, request)) return outcome->pulled.ok() ? "pulled" : outcome->pulled.error().message();
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return woken.erase(pod) > 0; });
    }
  }

  Fixture images;
  image::RegistryConfig config;
  SystemClock clock;
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> woken;
  ImagePulls pulls{*images.store, config, clock, [this](const std::string& pod) {
                     std::lock_guard lock(mutex);
                     woken.insert(pod);
                     changed.notify_all();
                   }};
};

image::PullRequest request(const std::string& name, const std::string& user) {
  return {image::parse_reference(name).value(), {{user, "pw", "", "", "secret-of-" + user}}};
}

}  // namespace

TEST_CASE("pods with the same password share a pull, others have their own") {
  Pulls test;
  RegistryServer registry;
  registry.users = {{"alice", "pw"}};
  std::string name = registry.add("team/app", "1", "x");
  registry.hold = true;
  CHECK_FALSE(test.pulls.pull("a", request(name, "alice")));
  CHECK_FALSE(test.pulls.pull("b", request(name, "alice")));
  CHECK_FALSE(test.pulls.pull("thief", request(name, "mallory")));
  registry.hold = false;
  CHECK(test.outcome("a", request(name, "alice")) == "pulled");
  CHECK(test.outcome("b", request(name, "alice")) == "pulled");
  CHECK(test.outcome("thief", request(name, "mallory")).find("pull access denied") != std::string::npos);
  CHECK(registry.count("GET /v2/team/app/manifests/1 as alice") == 1);
}

TEST_CASE("an image that is here for others is pulled again, or with a policy of Never not to be had") {
  Fixture images;
  images.must_load(image::test::docker_archive({"app:1"}, {image::test::Tar().file("a", "x").end()}));
  ImageChoice choice = choose_image(*images.store, "app:1", "IfNotPresent");
  REQUIRE(choice.image);
  CHECK(choice.repository == "docker.io/library/app");
  withhold(choice, "app:1", "IfNotPresent");
  CHECK((choice.pull && !choice.image));
  choice = choose_image(*images.store, "app:1", "Never");
  withhold(choice, "app:1", "Never");
  CHECK(choice.reason == "ErrImageNeverPull");
  CHECK(choice.message == "Container image \"app:1\" is not present with pull policy of Never");
  CHECK((!choice.pull && !choice.image));
}

}  // namespace skiff::kubelet
