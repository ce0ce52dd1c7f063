#include <catch2/catch.hpp>

#include "api/gen/apps.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/json.hpp"
#include "api/status.hpp"
#include "registry/registry.hpp"
#include "support/fake_clock.hpp"

using namespace skiff;
using namespace skiff::registry;
using client::ObjectKey;
using client::PatchType;

namespace {

const char* const kDeployment =
    R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},
       "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x:1"}]}}}})";

struct Cluster {
  test::FakeClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  Registry registry{*store, clock, random};

  Cluster() {
    api::Namespace ns;
    ns.metadata.name = "default";
    REQUIRE(registry.local_client().create(ns).ok());
  }
  static RequestContext as(const char* manager) {
    RequestContext context;
    context.field_manager = manager;
    return context;
  }
  const Resource& deployments() { return registry.of(api::kind_of<api::Deployment>()); }
  Result<UpdateResult> apply(const char* manager, const std::string& body, const std::string& subresource = "") {
    RequestContext context = as(manager);
    return registry.apply(as_stored(deployments()), {"default", "d"}, body, subresource, context);
  }
  Result<Object> patch(const char* manager, PatchType type, const char* body, const std::string& subresource = "") {
    RequestContext context = as(manager);
    return registry.patch(as_stored(deployments()), {"default", "d"}, type, body, subresource, context);
  }
  client::Ref<api::Deployment> get() {
    return registry.get(deployments(), {"default", "d"}).value().any().as<api::Deployment>();
  }
  /// "manager/operation/subresource" of each entry.
  std::string managers() {
    std::string all;
    auto deployment = get();
    for (const api::ManagedFieldsEntry& one : deployment->metadata.managedFields)
      all += (all.empty() ? "" : " ") + one.manager + "/" + one.operation + (one.subresource.empty() ? "" : "/" + one.subresource);
    return all;
  }
  std::string fields(const std::string& manager) {
    auto deployment = get();
    for (const api::ManagedFieldsEntry& one : deployment->metadata.managedFields)
      if (one.manager == manager) return one.fieldsV1.json;
    return "";
  }
  void create(const char* manager) {
    RequestContext context = as(manager);
    Draft draft = registry.decode(api::kind_of<api::Deployment>(), kDeployment, context).value();
    REQUIRE(registry.create(deployments(), "default", std::move(draft), context).ok());
  }
};

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().message();
}

}  // namespace

TEST_CASE("a creator owns what it sent and what was defaulted, not what the system fills in") {
  Cluster c;
  c.create("kubectl-create");
  CHECK(c.managers() == "kubectl-create/Update");
  CHECK(c.fields("kubectl-create") ==
        R"({"f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"f:revisionHistoryLimit":{},"f:selector":{},)"
        R"("f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{},"f:maxUnavailable":{}},"f:type":{}},)"
        R"("f:template":{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":)"
        R"({".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},)"
        R"("f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},)"
        R"("f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}})");
  CHECK(c.get()->metadata.managedFields[0].apiVersion == "apps/v1");
  CHECK(c.get()->metadata.managedFields[0].fieldsType == "FieldsV1");
}

TEST_CASE("updaters take fields from each other; nothing changed, nothing written") {
  Cluster c;
  c.create("one");
  c.clock.advance(10s);
  REQUIRE(c.patch("two", PatchType::Merge, R"({"spec":{"replicas":2},"status":{"replicas":9}})").ok());
  CHECK(c.managers() == "one/Update two/Update");
  CHECK(c.fields("two") == R"({"f:spec":{"f:replicas":{}}})");
  CHECK(c.fields("one").find("f:replicas") == std::string::npos);
  std::string before = c.get()->metadata.resourceVersion;
  c.clock.advance(10s);
  REQUIRE(c.patch("three", PatchType::Merge, R"({"spec":{"replicas":2}})").ok());
  CHECK(c.get()->metadata.resourceVersion == before);
  REQUIRE(c.patch("four", PatchType::Merge, R"({"status":{"replicas":2},"spec":{"replicas":7}})", "status").ok());
  CHECK(c.managers() == "one/Update two/Update four/Update/status");
  CHECK(c.fields("four") == R"({"f:status":{"f:replicas":{}}})");
  RequestContext context = Cluster::as("scaler");
  REQUIRE(c.registry.patch_scale(c.deployments(), {"default", "d"}, PatchType::Merge, R"({"spec":{"replicas":5}})", context).ok());
  CHECK(c.managers() == "one/Update four/Update/status scaler/Update/scale");
}

TEST_CASE("managers are kept when a client sends none, and dropped when it sends an empty one") {
  Cluster c;
  c.create("one");
  REQUIRE(c.patch("two", PatchType::Merge, R"({"metadata":{"managedFields":[],"labels":{"x":"y"}}})").ok());
  CHECK(c.managers() == "one/Update two/Update");
  REQUIRE(c.patch("two", PatchType::Merge, R"({"metadata":{"managedFields":[{}]}})").ok());
  CHECK(c.managers().empty());
  REQUIRE(c.patch("two", PatchType::Merge, R"({"metadata":{"labels":{"x":"z"}}})").ok());
  CHECK(c.managers().empty());
  REQUIRE(c.apply("me", R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"q":"r"}}})").ok());
  CHECK(c.managers() == "me/Apply before-first-apply/Update");
}

TEST_CASE("apply creates, changes, conflicts and removes") {
  Cluster c;
  Result<UpdateResult> created = c.apply("me", kDeployment);
  REQUIRE(message(created) == "");
  CHECK(created.value().created);
  CHECK(c.managers() == "me/Apply");
  CHECK(c.fields("me").find("strategy") == std::string::npos);  // defaults are nobody's
  CHECK(c.get()->spec.strategy.type == "RollingUpdate");
  REQUIRE(c.patch("kubectl-scale", PatchType::Merge, R"({"spec":{"replicas":4}})").ok());
  std::string yaml = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n  replicas: 2\n";
  Result<UpdateResult> refused = c.apply("me", yaml);
  CHECK(message(refused) ==
        R"(Apply failed with 1 conflict: conflict with "kubectl-scale" using apps/v1: .spec.replicas)");
  CHECK(c.get()->spec.replicas == 4);
  RequestContext context = Cluster::as("you");
  context.force = true;
  REQUIRE(c.registry.apply_scale(c.deployments(), {"default", "d"}, R"({"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":3}})", context).ok());
  CHECK(c.get()->spec.replicas == 3);
  CHECK(c.managers() == "me/Apply you/Apply/scale");
  std::string version = c.get()->metadata.resourceVersion;
  std::string same = kDeployment;
  same.replace(same.find("\"replicas\":1,"), 13, "");
  REQUIRE(message(c.apply("me", same)) == "");
  REQUIRE(message(c.apply("me", same)) == "");
  CHECK(c.get()->spec.replicas == 3);
}

TEST_CASE("what cannot be applied is refused in Kubernetes' words") {
  Cluster c;
  CHECK(message(c.apply("", kDeployment)) ==
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
  CHECK(message(c.apply("me", R"({"apiVersion":"apps/v1beta1","kind":"Deployment"})")) ==
        "Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1");
  CHECK(message(c.apply("me", R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","managedFields":[]}})")) ==
        "metadata.managedFields must be nil");
  Result<UpdateResult> unknown = c.apply("me", R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replica":1}})");
  CHECK(message(unknown) == "failed to create typed patch object (default/d; apps/v1, Kind=Deployment): "
                            ".spec.replica: field not declared in schema");
  CHECK(api::detail_of(unknown.error())->undecorated);
  CHECK(c.apply("me", "a: [b").error().code() == Code::BadRequest);
}

TEST_CASE("the server's own components have names") {
  Cluster c;
  std::unique_ptr<client::Client> scheduler = c.registry.client_for("kube-scheduler");
  api::ConfigMap map;
  map.metadata.name = "m";
  map.metadata.namespace_ = "default";
  map.data["k"] = "v";
  auto created = scheduler->create(map);
  REQUIRE(created.ok());
  CHECK(created.value()->metadata.managedFields[0].manager == "kube-scheduler");
  REQUIRE(scheduler->patch(api::kind_of<api::ConfigMap>(), {"default", "m"}, PatchType::Apply,
                           R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"k":"w"}})").ok());
  CHECK(scheduler->get<api::ConfigMap>({"default", "m"}).value()->data.at("k") == "w");
}
