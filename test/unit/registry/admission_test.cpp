#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include <mutex>
#include <thread>

#include "api/gen/admissionregistration.hpp"
#include "api/gen/core.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/node.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "api/json.hpp"
#include "base/encoding.hpp"
#include "registry/admission.hpp"
#include "registry/pod_security.hpp"
#include "registry/webhook_caller.hpp"
#include "support/test_cluster.hpp"

using namespace skiff;
using nlohmann::json;
using registry::Draft;
using registry::RequestContext;

namespace {

struct Fixture : test::TestCluster<> {
  Fixture() {
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    create<api::ServiceAccount>(R"({"metadata":{"name":"default","namespace":"default"}})");
  }

  // The message of the refusal, or "".
  template <class T>
  std::string refusal(const std::string& text, RequestContext context = {}) {
    const registry::Resource& resource = registry.of(api::kind_of<T>());
    Result<Draft> draft = registry.decode(api::kind_of<T>(), text, context);
    REQUIRE(draft.ok());
    auto written = registry.create(resource, resource.kind->namespaced ? "default" : "", std::move(draft).value(), context);
    warnings = context.warnings;
    return written.ok() ? "" : written.error().message();
  }

  void make_quota(const std::string& hard, const std::string& used, const std::string& scopes = "") {
    auto quota = create<api::ResourceQuota>(R"({"metadata":{"name":"q","namespace":"default"},"spec":{"hard":)" + hard +
                                            scopes + "}}");
    quota.status.hard = quota.spec.hard;
    quota.status.used = api::from_json<api::ResourceQuotaStatus>("{\"used\":" + used + "}").value().used;
    REQUIRE(client.update_status(quota).ok());
  }
  std::string used(const std::string& resource) { return get<api::ResourceQuota>("q")->status.used.at(resource).text(); }

  std::vector<std::string> warnings;
};

std::string pod_with(const std::string& name, const std::string& resources) {
  return R"({"metadata":{"name":")" + name + R"("},"spec":{"containers":[{"name":"c","image":"i","resources":)" + resources +
         "}]}}";
}

}  // namespace

TEST_CASE("LimitRanges fill in what containers leave out and refuse what is too much", "[admission]") {
  Fixture cluster;
  cluster.create<api::LimitRange>(R"({"metadata":{"name":"l","namespace":"default"},"spec":{"limits":[
    {"type":"Container","default":{"cpu":"500m","memory":"64Mi"},"defaultRequest":{"cpu":"100m"},
     "max":{"cpu":"1"},"min":{"memory":"16Mi"},"maxLimitRequestRatio":{"cpu":"5"}},
    {"type":"PersistentVolumeClaim","max":{"storage":"1Gi"}}]}})");

  CHECK(cluster.refusal<api::Pod>(pod_with("plain", "{}")) == "");
  auto pod = cluster.get<api::Pod>("plain");
  CHECK(pod->spec.containers[0].resources.limits.at("cpu").text() == "500m");
  CHECK(pod->spec.containers[0].resources.requests.at("memory").text() == "64Mi");
  CHECK(pod->metadata.annotations.at("kubernetes.io/limit-ranger") ==
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c");
  CHECK(pod->status.qosClass == "Burstable");

  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({"limits":{"cpu":"2"},"requests":{"cpu":"1"}})", "maximum cpu usage per Container is 1, but limit is 2"},
      {R"({"limits":{"cpu":"1"},"requests":{"cpu":"100m"}})",
       "cpu max limit to request ratio per Container is 5, but provided ratio is 10.000000"},
      {R"({"limits":{"memory":"8Mi"}})", "minimum memory usage per Container is 16Mi, but request is 8Mi"}};
  for (const auto& [resources, message] : rows)
    CHECK(cluster.refusal<api::Pod>(pod_with("p", resources)) == "pods \"p\" is forbidden: " + message);
  CHECK(cluster.refusal<api::PersistentVolumeClaim>(
            R"({"metadata":{"name":"big"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"2Gi"}}}})") ==
        "persistentvolumeclaims \"big\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request "
        "is 2Gi");
}

TEST_CASE("a quota says what it lacks", "[admission]") {
  Fixture cluster;
  cluster.make_quota(R"({"pods":"2","requests.cpu":"1"})", R"({"pods":"1","requests.cpu":"500m"})");
  CHECK(cluster.refusal<api::Pod>(pod_with("p", "{}")) ==
        "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c");
  CHECK(cluster.refusal<api::Pod>(pod_with("p", R"({"requests":{"cpu":"600m"}})")) ==
        "pods \"p\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: "
        "requests.cpu=1");
  CHECK(cluster.refusal<api::Pod>(pod_with("p", R"({"requests":{"cpu":"300m"}})")) == "");
  CHECK(cluster.used("pods") == "2");
  CHECK(cluster.used("requests.cpu") == "800m");
  CHECK(cluster.refusal<api::Pod>(pod_with("p2", R"({"requests":{"cpu":"1m"}})")) ==
        "pods \"p2\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
}

TEST_CASE("a charge is given back when the object is not written", "[admission]") {
  Fixture cluster;
  cluster.make_quota(R"({"configmaps":"5"})", R"({"configmaps":"0"})");
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"m"}})") == "");
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"m"}})") == "configmaps \"m\" already exists");
  CHECK(cluster.used("configmaps") == "1");
  RequestContext dry;
  dry.dry_run = true;
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"n"}})", dry) == "");
  CHECK(cluster.used("configmaps") == "1");
  CHECK_FALSE(cluster.registry.admission().quota().pending("default"));
}

TEST_CASE("a quota whose use is unknown admits nothing", "[admission]") {
  Fixture cluster;
  auto quota = cluster.create<api::ResourceQuota>(
      R"({"metadata":{"name":"q","namespace":"default"},"spec":{"hard":{"count/configmaps":"5"}}})");
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"m"}})") == "");  // nothing is enforced yet
  quota.status.hard = quota.spec.hard;
  REQUIRE(cluster.client.update_status(quota).ok());
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"n"}})") ==
        "configmaps \"n\" is forbidden: status unknown for quota: q, resources: count/configmaps");
}

TEST_CASE("scopes choose what a quota counts", "[admission]") {
  Fixture cluster;
  cluster.make_quota(R"({"pods":"0"})", R"({"pods":"0"})", R"(,"scopes":["BestEffort"])");
  CHECK(cluster.refusal<api::Pod>(pod_with("burstable", R"({"requests":{"cpu":"1m"}})")) == "");
  CHECK(cluster.refusal<api::Pod>(pod_with("besteffort", "{}")) != "");
}

TEST_CASE("a quota holds however many write at once", "[admission]") {
  Fixture cluster;
  cluster.make_quota(R"({"configmaps":"25","count/configmaps":"30"})", R"({"configmaps":"0","count/configmaps":"0"})");
  std::atomic<int> created = 0;
  {
    std::vector<std::jthread> writers;
    for (int writer = 0; writer < 8; ++writer)
      writers.emplace_back([&, writer] {
        for (int i = 0; i < 10; ++i) {
          api::ConfigMap map;
          map.metadata.namespace_ = "default";
          map.metadata.name = fmt::format("m-{}-{}", writer, i);
          created += cluster.client.create(std::move(map)).ok() ? 1 : 0;
        }
      });
  }
  CHECK(created == 25);
  CHECK(cluster.list<api::ConfigMap>().size() == 25);
  CHECK(cluster.used("configmaps") == "25");
  CHECK(cluster.used("count/configmaps") == "25");
}

TEST_CASE("the pod security levels, in Kubernetes' words", "[admission]") {
  Fixture cluster;
  auto namespace_ = *cluster.get<api::Namespace>("default");
  namespace_.metadata.labels["pod-security.kubernetes.io/enforce"] = "restricted";
  REQUIRE(cluster.client.update(namespace_).ok());
  CHECK(cluster.refusal<api::Pod>(pod_with("p", "{}")) ==
        "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container "
        "\"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set "
        "securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set "
        "securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set "
        "securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")");
  CHECK(cluster.refusal<api::Pod>(R"({"metadata":{"name":"good"},"spec":{
    "securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
    "containers":[{"name":"c","image":"i","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}})") == "");
  CHECK(cluster.refusal<api::Namespace>(
            R"({"metadata":{"name":"n","labels":{"pod-security.kubernetes.io/warn":"strict"}}})") ==
        "Namespace \"n\" is invalid: metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"strict\": must be one "
        "of privileged, baseline, restricted");
}

TEST_CASE("what baseline forbids", "[admission]") {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"("hostNetwork":true,"hostPID":true)", "host namespaces (hostNetwork=true, hostPID=true)"},
      {R"("volumes":[{"name":"v","hostPath":{"path":"/"}}])", "hostPath volumes (volume \"v\")"},
      {R"("securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]})", "forbidden sysctls (kernel.msgmax)"},
      {R"("securityContext":{"seccompProfile":{"type":"Unconfined"}})",
       "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")"}};
  for (const auto& [fields, wanted] : rows) {
    auto pod = api::from_json<api::Pod>(R"({"spec":{"containers":[{"name":"c","image":"i"}],)" + fields + "}}").value();
    auto found = registry::security_violations({registry::SecurityLevel::Baseline}, pod.metadata, pod.spec);
    REQUIRE(found.size() == 1);
    CHECK(fmt::format("{} ({})", found[0].reason, found[0].detail) == wanted);
  }
}

TEST_CASE("levels and versions of pod security are read as they are written", "[admission]") {
  CHECK(registry::security_version("latest") == registry::SecurityPolicy::kLatest);
  CHECK(registry::security_version("v1.24") == 24);
  for (const char* bad : {"", "1.24", "v1.", "v1.024", "v2.1", "v1.x"}) CHECK_FALSE(registry::security_version(bad));
}

TEST_CASE("a runtime class brings its overhead and must exist", "[admission]") {
  Fixture cluster;
  cluster.create<api::RuntimeClass>(
      R"({"metadata":{"name":"kata"},"handler":"kata","overhead":{"podFixed":{"cpu":"250m"}},"scheduling":{"nodeSelector":{"vm":"yes"}}})");
  auto pod = [](const std::string& name, const std::string& more) {
    return R"({"metadata":{"name":")" + name + R"("},"spec":{"containers":[{"name":"c","image":"i"}],)" + more + "}}";
  };
  CHECK(cluster.refusal<api::Pod>(pod("p", R"("runtimeClassName":"kata")")) == "");
  CHECK(cluster.get<api::Pod>("p")->spec.overhead.at("cpu").text() == "250m");
  CHECK(cluster.get<api::Pod>("p")->spec.nodeSelector.at("vm") == "yes");
  CHECK(cluster.refusal<api::Pod>(pod("x", R"("runtimeClassName":"none")")) ==
        "pods \"x\" is forbidden: pod rejected: RuntimeClass \"none\" not found");
}

// ---- webhooks

namespace {

/// Answers reviews as told, and keeps what it was asked.
class FakeWebhooks final : public registry::WebhookCaller {
 public:
  using Answer = std::function<json(const json& request)>;

  Result<std::string> post(const registry::WebhookTarget& target, const std::string& text, Duration) override {
    json review = json::parse(text);
    std::lock_guard lock(mutex_);
    asked.push_back(review["request"]);
    if (!answers.contains(target.url)) return Error(Code::Unavailable, "Post \"" + target.url + "\": connection refused");
    json response = answers[target.url](review["request"]);
    response["uid"] = review["request"]["uid"];
    return json{{"kind", "AdmissionReview"}, {"apiVersion", "admission.k8s.io/v1"}, {"response", response}}.dump();
  }

  std::map<std::string, Answer> answers;
  std::vector<json> asked;

 private:
  std::mutex mutex_;
};

struct Hooked : Fixture {
  Hooked() { registry.admission().set_webhook_caller(hooks); }

  template <class Configuration>
  void configure(const std::string& name, const std::string& more = "",
                 const std::string& rule = R"("operations":["*"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"])") {
    create<Configuration>(R"({"metadata":{"name":")" + name + R"("},"webhooks":[{"name":")" + name +
                          R"(.example.com","clientConfig":{"url":"https://)" + name +
                          R"("},"rules":[{)" + rule + R"(}],"sideEffects":"None","admissionReviewVersions":["v1"])" + more + "}]}");
  }

  static json patch(const json& operations) {
    return {{"allowed", true}, {"patchType", "JSONPatch"}, {"patch", base64_encode(operations.dump())}};
  }

  FakeWebhooks hooks;
};

using Mutating = api::MutatingWebhookConfiguration;
using Validating = api::ValidatingWebhookConfiguration;

}  // namespace

TEST_CASE("a mutating webhook changes what is written and a validating one refuses", "[webhooks]") {
  Hooked cluster;
  cluster.configure<Mutating>("adds", "", R"("operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"])");
  cluster.configure<Validating>("denies");
  cluster.hooks.answers["https://adds"] = [](const json&) {
    return Hooked::patch({{{"op", "add"}, {"path", "/data"}, {"value", {{"added", "yes"}}}}});
  };
  cluster.hooks.answers["https://denies"] = [](const json& request) -> json {
    if (request["name"] != "bad") return {{"allowed", true}, {"warnings", {"careful"}}};
    return {{"allowed", false}, {"status", {{"code", 403}, {"reason", "Forbidden"}, {"message", "not this one"}}}};
  };
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"good"}})") == "");
  CHECK(cluster.get<api::ConfigMap>("good")->data.at("added") == "yes");
  CHECK(cluster.warnings == std::vector<std::string>{"careful"});
  CHECK(cluster.hooks.asked.back()["object"]["data"]["added"] == "yes");
  CHECK(cluster.hooks.asked.back()["operation"] == "CREATE");
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"bad"}})") ==
        "admission webhook \"denies.example.com\" denied the request: not this one");
  // What it is not for does not reach it.
  size_t asked = cluster.hooks.asked.size();
  CHECK(cluster.refusal<api::Secret>(R"({"metadata":{"name":"s"}})") == "");
  CHECK(cluster.hooks.asked.size() == asked);
  // In-process writers are asked about too, deletions with the old object.
  CHECK(cluster.client.remove<api::ConfigMap>({"default", "good"}).ok());
  CHECK(cluster.hooks.asked.back()["operation"] == "DELETE");
  CHECK(cluster.hooks.asked.back()["oldObject"]["metadata"]["name"] == "good");
}

TEST_CASE("a webhook for scales sees a Scale, and may change how many", "[webhooks]") {
  Hooked cluster;
  cluster.create<api::ReplicationController>(
      R"({"metadata":{"name":"r"},"spec":{"replicas":1,"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},
          "spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  const char* rule =
      R"("operations":["UPDATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["replicationcontrollers/scale"])";
  cluster.configure<Mutating>("halves", "", rule);
  cluster.configure<Validating>("looks", "", rule);
  cluster.hooks.answers["https://halves"] = [](const json& request) {
    int wanted = request["object"]["spec"]["replicas"];
    return Hooked::patch({{{"op", "replace"}, {"path", "/spec/replicas"}, {"value", wanted / 2}}});
  };
  cluster.hooks.answers["https://looks"] = [](const json&) -> json { return {{"allowed", true}}; };
  const registry::Resource& resource = cluster.registry.of(api::kind_of<api::ReplicationController>());
  registry::RequestContext context;
  auto scaled = cluster.registry.patch_scale(resource, {"default", "r"}, client::PatchType::Merge,
                                             R"({"spec":{"replicas":8}})", context);
  REQUIRE(scaled.ok());
  CHECK(cluster.get<api::ReplicationController>("r")->spec.replicas == 4);
  const json& seen = cluster.hooks.asked.back();
  CHECK(seen["kind"] == json{{"group", "autoscaling"}, {"version", "v1"}, {"kind", "Scale"}});
  CHECK(seen["object"]["spec"]["replicas"] == 4);
  CHECK(seen["oldObject"]["spec"]["replicas"] == 1);
  CHECK(seen["oldObject"]["kind"] == "Scale");
}

TEST_CASE("a new node is tainted until somebody has seen it ready", "[admission]") {
  Fixture cluster;
  cluster.create<api::Node>(R"({"metadata":{"name":"n"}})");
  auto node = cluster.client.get<api::Node>({"", "n"});
  REQUIRE(node.ok());
  REQUIRE(node.value()->spec.taints.size() == 1);
  CHECK(node.value()->spec.taints[0].key == "node.kubernetes.io/not-ready");
  CHECK(node.value()->spec.taints[0].effect == "NoSchedule");
  api::Node ready = *node.value();
  ready.spec.taints.clear();
  CHECK(cluster.client.update(ready).ok());
  CHECK(cluster.client.get<api::Node>({"", "n"}).value()->spec.taints.empty());
}

TEST_CASE("a webhook that cannot be asked fails the request, or not", "[webhooks]") {
  Hooked cluster;
  cluster.configure<Validating>("gone", R"(,"failurePolicy":"Ignore")");
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"a"}})") == "");
  cluster.configure<Validating>("lost");
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"b"}})") ==
        "failed calling webhook \"lost.example.com\": failed to call webhook: Post \"https://lost\": connection refused");
}

TEST_CASE("a webhook that asked for it sees what later ones changed", "[webhooks]") {
  Hooked cluster;
  cluster.configure<Mutating>("a-counts", R"(,"reinvocationPolicy":"IfNeeded")");
  cluster.configure<Mutating>("b-adds");
  int calls = 0;
  cluster.hooks.answers["https://a-counts"] = [&](const json&) -> json { return ++calls, json{{"allowed", true}}; };
  cluster.hooks.answers["https://b-adds"] = [](const json&) {
    return Hooked::patch({{{"op", "add"}, {"path", "/data"}, {"value", {{"k", "v"}}}}});
  };
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"m"}})") == "");
  CHECK(calls == 2);
}

TEST_CASE("selectors and other versions decide which requests a webhook gets", "[webhooks]") {
  Hooked cluster;
  cluster.configure<Validating>("labelled", R"(,"objectSelector":{"matchLabels":{"watch":"me"}})");
  cluster.configure<Validating>("elsewhere", R"(,"namespaceSelector":{"matchLabels":{"other":"ns"}})");
  cluster.configure<Validating>("old", "", R"("operations":["CREATE"],"apiGroups":["apps"],"apiVersions":["v1beta2"],"resources":["deployments"])");
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"plain"}})") == "");
  CHECK(cluster.hooks.asked.empty());
  CHECK(cluster.refusal<api::ConfigMap>(R"({"metadata":{"name":"m","labels":{"watch":"me"}}})") != "");
  CHECK(cluster.hooks.asked.size() == 1);
}

TEST_CASE("a webhook with side effects does not see a dry run", "[webhooks]") {
  Hooked cluster;
  auto configuration = api::from_json<Validating>(R"({"metadata":{"name":"v"},"webhooks":[{"name":"a.b.c",
    "clientConfig":{"url":"https://x"},"sideEffects":"Some","admissionReviewVersions":["v1"]}]})").value();
  auto refused = cluster.client.create(configuration);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message() ==
        "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"v\" is invalid: webhooks[0].sideEffects: Unsupported "
        "value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"");
}

TEST_CASE("webhook configurations are checked", "[webhooks]") {
  Hooked cluster;
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"("name":"short","clientConfig":{"url":"https://x"})",
       "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots"},
      {R"("name":"a.b.c","clientConfig":{})", "webhooks[0].clientConfig: Required value: exactly one of url or service is required"},
      {R"("name":"a.b.c","clientConfig":{"url":"http://x"})",
       "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: "
       "https://host[/path]"},
      {R"("name":"a.b.c","clientConfig":{"url":"https://x"},"timeoutSeconds":31)",
       "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"}};
  for (const auto& [fields, message] : rows)
    CHECK(cluster.refusal<Mutating>(R"({"metadata":{"name":"m"},"webhooks":[{"sideEffects":"None","admissionReviewVersions":["v1"],)" +
                                    fields + "}]}") ==
          "MutatingWebhookConfiguration.admissionregistration.k8s.io \"m\" is invalid: " + message);
}
