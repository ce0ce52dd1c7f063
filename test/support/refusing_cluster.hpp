#pragma once
// A registry in memory that says what it refuses, for tables of fields and messages.

#include <catch2/catch.hpp>

#include "api/gen/core.hpp"
#include "registry/registry.hpp"
#include "support/fake_clock.hpp"

namespace skiff::test {

using namespace skiff::registry;

struct RefusingCluster {
  test::FakeClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  Registry registry;
  std::vector<std::string> warnings;

  explicit RefusingCluster(const ServiceRangeOptions& ranges = {}) : registry(*store, clock, random, ranges) {
    api::Namespace ns;
    ns.metadata.name = "default";
    REQUIRE(registry.local_client().create(ns).ok());
    api::ServiceAccount account;
    account.metadata.name = "default";
    REQUIRE(registry.local_client().create(account).ok());
  }

  /// The causes as "field: message", one a line; "" when the object was taken.
  template <class T>
  std::string create(const std::string& json) {
    const Resource& resource = registry.of(api::kind_of<T>());
    RequestContext context;
    Result<Draft> draft = registry.decode(api::kind_of<T>(), json, context);
    if (!draft.ok()) return draft.error().message();
    Result<Object> made =
        registry.create(resource, resource.kind->namespaced ? "default" : "", std::move(draft).value(), context);
    warnings = context.warnings;
    return made.ok() ? "" : causes(made.error());
  }
  template <class T>
  std::string patch(const std::string& json, const std::string& name = "x", const std::string& subresource = "") {
    const Resource& resource = registry.of(api::kind_of<T>());
    RequestContext context;
    Result<Object> made = registry.patch(as_stored(resource), {resource.kind->namespaced ? "default" : "", name},
                                         client::PatchType::StrategicMerge, json, subresource, context);
    return made.ok() ? "" : causes(made.error());
  }

 private:
  static std::string causes(const Error& error) {
    const api::StatusDetail* detail = api::detail_of(error);
    if (error.code() != Code::Invalid || !detail) return error.message();
    std::string lines;
    for (const api::StatusDetail::Cause& cause : detail->causes)
      lines += (lines.empty() ? "" : "\n") + cause.field + ": " + cause.message;
    return lines;
  }
};

struct Case {
  std::string json, refusal;
};

template <class T>
void check_all(const std::vector<Case>& cases) {
  RefusingCluster cluster;
  for (const Case& one : cases) {
    INFO(one.json);
    CHECK(cluster.create<T>(one.json) == one.refusal);
  }
}

}  // namespace skiff::test
