// Other versions of the API: what comes in, what is stored of it, what goes out again.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "api/versions.hpp"

using namespace skiff;
using nlohmann::json;

namespace {

const api::OtherVersion& version(const std::string& api_version, const std::string& kind) {
  for (const api::OtherVersion& one : api::other_versions())
    if (one.api_version() == api_version && one.kind == kind) return one;
  FAIL("no " << api_version << " " << kind);
  return api::other_versions().front();
}

json stored(const std::string& api_version, const std::string& kind, json object) {
  REQUIRE(api::to_stored_version(version(api_version, kind), object).ok());
  return object;
}

json seen(const std::string& api_version, const std::string& kind, json object) {
  api::from_stored_version(version(api_version, kind), object);
  return object;
}

}  // namespace

TEST_CASE("a Deployment of 2016 gets its template's labels and its time's defaults") {
  json old = json::parse(R"({"apiVersion":"extensions/v1beta1","kind":"Deployment","metadata":{"name":"web"},
    "spec":{"rollbackTo":{"revision":1},"template":{"metadata":{"labels":{"app":"web"}},"spec":{}}}})");
  json now = stored("extensions/v1beta1", "Deployment", old);
  CHECK(now["apiVersion"] == "apps/v1");
  CHECK(now["spec"]["selector"] == json({{"matchLabels", {{"app", "web"}}}}));
  CHECK(now["metadata"]["labels"] == json({{"app", "web"}}));
  CHECK(now["spec"]["strategy"]["rollingUpdate"] == json({{"maxSurge", 1}, {"maxUnavailable", 1}}));
  CHECK(now["spec"]["progressDeadlineSeconds"] == 2147483647);
  CHECK_FALSE(now["spec"].contains("rollbackTo"));
  CHECK(stored("apps/v1beta1", "Deployment", old)["spec"]["revisionHistoryLimit"] == 2);

  SECTION("what it says itself stays") {
    old["spec"]["selector"] = {{"matchLabels", {{"tier", "x"}}}};
    old["spec"]["strategy"] = {{"type", "Recreate"}};
    old["metadata"]["labels"] = {{"mine", "1"}};
    now = stored("extensions/v1beta1", "Deployment", old);
    CHECK(now["spec"]["selector"]["matchLabels"] == json({{"tier", "x"}}));
    CHECK(now["spec"]["strategy"] == json({{"type", "Recreate"}}));
    CHECK(now["metadata"]["labels"] == json({{"mine", "1"}}));
  }
}

TEST_CASE("an Ingress of v1beta1 there and back") {
  json old = json::parse(R"({"spec":{"backend":{"serviceName":"default","servicePort":80},"rules":[{"host":"a.b","http":
    {"paths":[{"path":"/x","pathType":"ImplementationSpecific","backend":{"serviceName":"web","servicePort":"http"}}]}}]}})");
  for (const char* api_version : {"extensions/v1beta1", "networking.k8s.io/v1beta1"}) {
    json now = stored(api_version, "Ingress", old);
    CHECK(now["spec"]["defaultBackend"] == json::parse(R"({"service":{"name":"default","port":{"number":80}}})"));
    CHECK(now["spec"]["rules"][0]["http"]["paths"][0]["backend"] ==
          json::parse(R"({"service":{"name":"web","port":{"name":"http"}}})"));
    json back = seen(api_version, "Ingress", now);
    CHECK(back["apiVersion"] == api_version);
    CHECK(back["spec"] == old["spec"]);
  }
  old["spec"]["rules"][0]["http"]["paths"][0].erase("pathType");
  CHECK(stored("extensions/v1beta1", "Ingress", old)["spec"]["rules"][0]["http"]["paths"][0]["pathType"] ==
        "ImplementationSpecific");
}

TEST_CASE("autoscalers of every version keep all they say") {
  const json v2 = json::parse(R"({"metadata":{"name":"h"},"spec":{"maxReplicas":5,"metrics":[
    {"type":"Pods","pods":{"metric":{"name":"qps"},"target":{"type":"AverageValue","averageValue":"10"}}},
    {"type":"Object","object":{"describedObject":{"kind":"Service","name":"s"},"metric":{"name":"m"},
      "target":{"type":"Value","value":"3"}}},
    {"type":"External","external":{"metric":{"name":"e","selector":{"matchLabels":{"a":"b"}}},
      "target":{"type":"AverageValue","averageValue":"7"}}},
    {"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":60}}}],
    "behavior":{"scaleDown":{"stabilizationWindowSeconds":5}}},
    "status":{"currentMetrics":[{"type":"Resource","resource":{"name":"cpu","current":{"averageUtilization":12}}}],
    "conditions":[{"type":"AbleToScale","status":"True"}]}})");
  for (const char* api_version : {"autoscaling/v1", "autoscaling/v2beta1", "autoscaling/v2beta2"}) {
    INFO(api_version);
    json there = seen(api_version, "HorizontalPodAutoscaler", v2);
    json back = stored(api_version, "HorizontalPodAutoscaler", there);
    back.erase("apiVersion");
    back.erase("kind");
    back["metadata"].erase("annotations");
    CHECK(back == v2);
  }
  json v1 = seen("autoscaling/v1", "HorizontalPodAutoscaler", v2);
  CHECK(v1["spec"]["targetCPUUtilizationPercentage"] == 60);
  CHECK(v1["status"]["currentCPUUtilizationPercentage"] == 12);
  CHECK(json::parse(v1["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].get<std::string>())[0] ==
        json::parse(R"({"type":"Pods","pods":{"metricName":"qps","targetAverageValue":"10"}})"));
}

TEST_CASE("events are one store under two names") {
  json theirs = json::parse(R"({"regarding":{"kind":"Pod","name":"p"},"note":"hello","reportingController":"c",
    "deprecatedCount":2,"eventTime":"2026-01-01T00:00:00.000000Z"})");
  json core = stored("events.k8s.io/v1", "Event", theirs);
  CHECK(core["apiVersion"] == "v1");
  CHECK(core["involvedObject"]["name"] == "p");
  CHECK(core["message"] == "hello");
  CHECK(core["reportingComponent"] == "c");
  CHECK(core["count"] == 2);
  json back = seen("events.k8s.io/v1", "Event", core);
  back.erase("apiVersion");
  back.erase("kind");
  CHECK(back == theirs);
}

TEST_CASE("the smaller conversions") {
  struct Row {
    const char *api_version, *kind, *old, *now;
    bool returns;
  };
  const Row rows[] = {
      {"policy/v1beta1", "PodDisruptionBudget", R"({"spec":{"selector":{}}})",
       R"({"spec":{"selector":{"matchExpressions":[{"key":"pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match","operator":"Exists"}]}}})",
       true},
      {"rbac.authorization.k8s.io/v1alpha1", "RoleBinding", R"({"subjects":[{"kind":"User","name":"*","apiVersion":"rbac.authorization.k8s.io/v1alpha1"}]})",
       R"({"subjects":[{"kind":"Group","name":"system:authenticated","apiGroup":"rbac.authorization.k8s.io"}]})", false},
      {"authorization.k8s.io/v1beta1", "SubjectAccessReview", R"({"spec":{"group":["a"]}})", R"({"spec":{"groups":["a"]}})", true},
      {"node.k8s.io/v1alpha1", "RuntimeClass", R"({"spec":{"runtimeHandler":"h"}})", R"({"handler":"h"})", true},
      {"flowcontrol.apiserver.k8s.io/v1beta2", "PriorityLevelConfiguration", R"({"spec":{"limited":{"assuredConcurrencyShares":7}}})",
       R"({"spec":{"limited":{"nominalConcurrencyShares":7}}})", true},
      {"discovery.k8s.io/v1beta1", "EndpointSlice",
       R"({"endpoints":[{"topology":{"kubernetes.io/hostname":"n","topology.kubernetes.io/zone":"z","rack":"r"}}]})",
       R"({"endpoints":[{"nodeName":"n","zone":"z","deprecatedTopology":{"rack":"r"}}]})", false},
      {"batch/v2alpha1", "ScheduledJob", R"({"spec":{"schedule":"* * * * *"}})",
       R"({"spec":{"schedule":"* * * * *","successfulJobsHistoryLimit":2147483647,"failedJobsHistoryLimit":2147483647}})", false},
      {"extensions/v1beta1", "DaemonSet", R"({"spec":{"templateGeneration":3}})", R"({"spec":{"updateStrategy":{"type":"OnDelete"}}})", false},
      {"admissionregistration.k8s.io/v1beta1", "ValidatingWebhookConfiguration", R"({"webhooks":[{"name":"a"}]})",
       R"({"webhooks":[{"name":"a","failurePolicy":"Ignore","matchPolicy":"Exact","timeoutSeconds":30,"sideEffects":"Unknown","admissionReviewVersions":["v1beta1"]}]})",
       false},
  };
  for (const Row& row : rows) {
    INFO(row.api_version << " " << row.kind);
    json now = stored(row.api_version, row.kind, json::parse(row.old));
    json back = seen(row.api_version, row.kind, now);
    now.erase("apiVersion");
    now.erase("kind");
    CHECK(now == json::parse(row.now));
    back.erase("apiVersion");
    back.erase("kind");
    if (row.returns) CHECK(back == json::parse(row.old));
  }
}

TEST_CASE("a CustomResourceDefinition of v1beta1 has one schema for all versions") {
  json now = stored("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", json::parse(R"({"spec":{"group":"g.io",
    "version":"v1","validation":{"openAPIV3Schema":{"properties":{"spec":{"type":"object"}}}},"subresources":{"status":{}},
    "additionalPrinterColumns":[{"name":"A","type":"string","JSONPath":".spec.a"}],
    "conversion":{"strategy":"Webhook","webhookClientConfig":{"url":"https://x"}}}})"));
  const json& version = now["spec"]["versions"][0];
  CHECK(version["name"] == "v1");
  CHECK(version["schema"]["openAPIV3Schema"]["type"] == "object");
  CHECK(version["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"] == true);
  CHECK(version["subresources"] == json::parse(R"({"status":{}})"));
  CHECK(version["additionalPrinterColumns"][0]["jsonPath"] == ".spec.a");
  CHECK(now["spec"]["conversion"]["webhook"] ==
        json::parse(R"({"clientConfig":{"url":"https://x"},"conversionReviewVersions":["v1beta1"]})"));
  CHECK(now["spec"]["scope"] == "Namespaced");
  json open = stored("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition",
                     json::parse(R"({"spec":{"version":"v1","preserveUnknownFields":false}})"));
  CHECK(open["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["type"] == "object");
}

TEST_CASE("no document makes a conversion fail in any way but a Status") {
  const json odd[] = {json::object(),
                      json::parse(R"({"spec":1,"metadata":"x","status":[],"webhooks":{},"subjects":3,"endpoints":"e"})"),
                      json::parse(R"({"spec":{"template":[],"rules":[1,{"http":{"paths":[2,{"backend":"b"}]}}],"backend":7,
      "metrics":[null,{"resource":1,"pods":"x","object":[],"external":2}],"selector":4,"versions":[1],"conversion":"c",
      "limited":9,"parameters":1,"strategy":"s","updateStrategy":3,"scaleRef":"r","cpuUtilization":4},
      "status":{"currentMetrics":[1],"conditions":[2]},"metadata":{"labels":3,"annotations":
      {"autoscaling.alpha.kubernetes.io/metrics":"[1,{\"pods\":3}]","autoscaling.alpha.kubernetes.io/behavior":"{"}}})")};
  for (const api::OtherVersion& version : api::other_versions())
    for (json document : odd) {
      INFO(version.api_version() << " " << version.kind << " " << document.dump());
      CHECK_NOTHROW(api::to_stored_version(version, document).ok());
      CHECK_NOTHROW(api::from_stored_version(version, document));
    }
}
