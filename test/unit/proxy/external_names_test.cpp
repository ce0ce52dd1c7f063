#include "proxy/external_names.hpp"

#include <catch2/catch.hpp>

#include "support/fake_clock.hpp"

namespace skiff::proxy {
namespace {

net::Address ip(std::string_view text) { return net::parse_address(text).value(); }

TEST_CASE("names outside are asked for once somebody wants them, and again in time") {
  test::FakeClock clock;
  Mutex mutex;
  CondVar moved;
  std::vector<net::Address> answer;
  int asked = 0, changes = 0;
  ExternalNames names(clock, [&](const std::string& name) {
    MutexLock lock(mutex);
    ++asked;
    moved.notify_all();
    return name == "known.org" ? answer : std::vector<net::Address>();
  });
  names.on_change([&] {
    MutexLock lock(mutex);
    ++changes;
    moved.notify_all();
  });
  auto wait_until = [&](auto condition) {
    MutexLock lock(mutex);
    auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!condition())
      if (!moved.wait_until(mutex, deadline, condition)) return false;
    return true;
  };
  answer = {ip("192.0.2.2"), ip("192.0.2.1")};
  names.start();
  CHECK(names.addresses("known.org").empty());
  REQUIRE(wait_until([&] { return changes == 1; }));
  CHECK(names.addresses("known.org") == std::vector{ip("192.0.2.1"), ip("192.0.2.2")});
  clock.wait_for_waiters(1);
  clock.advance(ExternalNames::kFresh);
  REQUIRE(wait_until([&] { return asked == 2; }));
  clock.wait_for_waiters(1);
  CHECK(changes == 1);  // the same
  {
    MutexLock lock(mutex);
    answer.clear();
  }
  clock.advance(ExternalNames::kFresh);
  REQUIRE(wait_until([&] { return asked == 3; }));
  clock.wait_for_waiters(1);
  // Nobody answers: what was known holds, and is asked for soon.
  CHECK(names.addresses("known.org").size() == 2);
  {
    MutexLock lock(mutex);
    answer = {ip("fd00::1")};
  }
  clock.advance(ExternalNames::kAgain);
  REQUIRE(wait_until([&] { return changes == 2; }));
  CHECK(names.addresses("known.org") == std::vector{ip("fd00::1")});
  names.keep_only({});
  CHECK(names.addresses("other.org").empty());
  names.stop();
}

}  // namespace
}  // namespace skiff::proxy
