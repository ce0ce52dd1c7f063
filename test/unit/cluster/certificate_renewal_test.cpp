// Certificates grow old by a clock that the test moves.

#include "cluster/certificate_renewal.hpp"

#include <catch2/catch.hpp>

#include "support/fake_clock.hpp"
#include "unit/apiserver/temporary_directory.hpp"

using namespace skiff;
using namespace skiff::cluster;

namespace {

struct World {
  test::TemporaryDirectory home;
  test::FakeClock clock;
  Settings settings;
  Identity identity;

  World() {
    settings.config.home = home.path();
    settings.config.name = "skiff";
    identity = establish_identity(settings, clock.wall_now()).value();
  }
  Leaves leaves() { return establish_leaves(identity, settings, {"localhost"}, clock.wall_now()).value(); }
};

}  // namespace

TEST_CASE("leaves are kept for two thirds of their life, and made anew then") {
  World world;
  const Leaves first = world.leaves();
  world.clock.advance(std::chrono::hours(24 * 243));
  CHECK(world.leaves().server.certificate == first.server.certificate);
  world.clock.advance(std::chrono::hours(24));
  const Leaves second = world.leaves();
  CHECK(second.server.certificate != first.server.certificate);
  CHECK(second.admin.certificate != first.admin.certificate);
  CHECK(second.front_proxy.certificate != first.front_proxy.certificate);
  CHECK(world.leaves().admin.certificate == second.admin.certificate);
  CHECK(apiserver::expiry_of(second.server.certificate).value() > world.clock.wall_now() + std::chrono::hours(24 * 364));
}

TEST_CASE("a running cluster takes new certificates into use, trying again when that fails") {
  World world;
  Mutex mutex;
  CondVar changed;
  std::vector<std::string> used;
  int failures = 1;
  CertificateRenewal renewal(world.clock, world.leaves(),
                             {.establish = [&](WallTime) -> Result<Leaves> { return world.leaves(); },
                              .put_into_use = [&](const Leaves& leaves) -> Status {
                                MutexLock lock(mutex);
                                if (failures-- > 0) return Error(Code::Unavailable, "not yet");
                                used.push_back(leaves.server.certificate);
                                changed.notify_all();
                                return ok();
                              }});
  renewal.start();
  world.clock.wait_for_waiters(1);
  world.clock.advance(std::chrono::hours(2));
  world.clock.wait_for_waiters(1);
  {
    MutexLock lock(mutex);
    CHECK(used.empty());
  }
  world.clock.advance(std::chrono::hours(24 * 250));
  MutexLock lock(mutex);
  for (int turn = 0; turn < 1000 && used.empty(); ++turn) {  // the failure's back-off, whenever that begins
    world.clock.advance(std::chrono::seconds(1));
    changed.wait_until(mutex, std::chrono::steady_clock::now() + 10ms, [&] { return !used.empty(); });
  }
  CHECK(used == std::vector<std::string>{world.leaves().server.certificate});
}
