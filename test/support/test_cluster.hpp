#pragma once
// An API server in memory with its in-process client and informers, for tests of what lives on the client.

#include <catch2/catch.hpp>

#include <functional>
#include <memory>
#include <string>

#include "api/json.hpp"
#include "client/informer.hpp"
#include "registry/registry.hpp"
#include "support/fake_clock.hpp"

namespace skiff::test {

/// `Time` is FakeClock, or SystemClock for measurements. Destroy what registered handlers only after stop().
template <class Time = FakeClock>
class TestCluster {
 public:
  TestCluster() {
    for (const registry::Resource& resource : registry.resources())
      if (resource.strategy.stored) served.push_back(resource.kind);
  }
  ~TestCluster() { informers.stop(); }

  /// Starts the informers and waits for their first lists. Registers a wake-up for wait_for() on `kinds`.
  template <class... Kinds>
  void start() {
    (informers.any(api::kind_of<Kinds>()).on_change([this](const auto&, const auto&) {
      MutexLock lock(mutex_);
      ++changes_;
      changed_.notify_all();
    }),
     ...);
    informers.start();
    REQUIRE(informers.wait_synced({}));
  }

  /// Waits until `condition` holds, looking again after every change of the kinds given to start().
  [[nodiscard]] bool wait_for(const std::function<bool()>& condition, Duration patience = 10s) {
    auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
      std::uint64_t seen = 0;
      {
        MutexLock lock(mutex_);
        seen = changes_;
      }
      if (condition()) return true;
      MutexLock lock(mutex_);
      bool more = changed_.wait_until(mutex_, deadline, [&] { return changes_ != seen; });
      if (!more) return condition();
    }
  }

  /// Creates from JSON, with a failing check when it is refused.
  template <class T>
  T create(const std::string& json) {
    Result<T> object = api::from_json<T>(json);
    INFO(json);
    if (!object.ok()) FAIL(object.error().message());
    auto created = client.create(std::move(object).value());
    if (!created.ok()) FAIL(created.error().message());
    return *created.value();
  }
  template <class T>
  client::Ref<T> get(const std::string& name, const std::string& namespace_ = "default") {
    auto found = client.get<T>({api::kind_of<T>().namespaced ? namespace_ : "", name});
    return found.ok() ? found.value() : nullptr;
  }
  template <class T>
  std::vector<client::Ref<T>> list(const std::string& labels = "", const std::string& namespace_ = "") {
    return client.list<T>({.namespace_ = namespace_, .label_selector = labels}).value();
  }

  Time clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  registry::Registry registry{*store, clock, random};
  client::Client& client = registry.local_client();
  client::Informers informers{client, clock};
  std::vector<const api::KindInfo*> served;

 private:
  Mutex mutex_;
  CondVar changed_;
  std::uint64_t changes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace skiff::test
