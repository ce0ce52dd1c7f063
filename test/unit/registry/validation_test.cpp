// What the rules of kinds refuse and how they word it: a table of fields and messages for each kind.

#include <catch2/catch.hpp>

#include "api/gen/apps.hpp"
#include "api/gen/batch.hpp"
#include "api/gen/autoscaling.hpp"
#include "api/gen/core.hpp"
#include "api/gen/discovery.hpp"
#include "api/gen/networking.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/policy.hpp"
#include "api/gen/scheduling.hpp"
#include "api/gen/storage.hpp"
#include "api/gen/volume.hpp"
#include "support/refusing_cluster.hpp"

using namespace skiff;
using namespace skiff::registry;

using test::Case;
using test::check_all;
using Cluster = test::RefusingCluster;

namespace {

std::string pod(const std::string& spec) { return R"({"metadata":{"name":"x"},"spec":{)" + spec + "}}"; }
std::string container(const std::string& fields) {
  return pod(R"("containers":[{"name":"c","image":"i",)" + fields + "}]");
}
std::string workload(const std::string& spec) {
  return R"({"metadata":{"name":"x"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
      "spec":{"containers":[{"name":"c","image":"i"}]}})" + spec + "}}";
}
std::string job(const std::string& spec) {
  return R"({"metadata":{"name":"x"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}})" +
         spec + "}}";
}

}  // namespace

TEST_CASE("containers are refused in Kubernetes' words") {
  check_all<api::Pod>({
      {pod(R"("containers":[])"), "spec.containers: Required value"},
      {pod(R"("containers":[{"name":"c"}])"), "spec.containers[0].image: Required value"},
      {pod(R"("containers":[{"name":"c","image":"i"},{"name":"c","image":" i"}])"),
       "spec.containers[1].name: Duplicate value: \"c\"\n"
       "spec.containers[1].image: Invalid value: \" i\": must not have leading or trailing whitespace"},
      {container(R"("imagePullPolicy":"Sometimes")"),
       "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", "
       "\"IfNotPresent\", \"Never\""},
      {container(R"("ports":[{"containerPort":0},{"containerPort":70000,"name":"web_"}])"),
       "spec.containers[0].ports[0].containerPort: Required value\n"
       "spec.containers[0].ports[1].name: Invalid value: \"web_\": must contain only alpha-numeric characters (a-z, "
       "0-9), and hyphens (-)\n"
       "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"},
      {container(R"("ports":[{"containerPort":1,"hostPort":9},{"containerPort":2,"hostPort":9}])"),
       "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\""},
      {container(R"("env":[{"name":"A","value":"1","valueFrom":{"fieldRef":{"fieldPath":"spec.nope"}}}])"),
       "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting "
       "fieldPath: field label not supported: spec.nope\n"
       "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"},
      {container(R"("env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"status.phase"}}}])"),
       "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: "
       "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", "
       "\"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""},
      {container(R"("env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['a/b']"}}}],"image":"")"),
       "spec.containers[0].image: Required value"},
      {container(R"("volumeMounts":[{"name":"v","mountPath":"/a"}])"),
       "spec.containers[0].volumeMounts[0].name: Not found: \"v\""},
      {container(R"("resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1","foo":"1"}})"),
       "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource type or fully "
       "qualified\n"
       "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource for containers\n"
       "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1\n"
       // requests are by default what the limits are
       "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource type or fully "
       "qualified\n"
       "spec.containers[0].resources.requests[foo]: Invalid value: \"foo\": must be a standard resource for containers"},
      {container(R"("livenessProbe":{"successThreshold":2,"exec":{"command":["a"]},"tcpSocket":{"port":1}})"),
       "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type\n"
       "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"},
      {container(R"("readinessProbe":{"httpGet":{"port":"x y"}})"),
       "spec.containers[0].readinessProbe.httpGet.port: Invalid value: \"x y\": must contain only alpha-numeric "
       "characters (a-z, 0-9), and hyphens (-)"},
      {container(R"("securityContext":{"runAsUser":-1})"),
       "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"},
      {pod(R"("initContainers":[{"name":"c","image":"i","lifecycle":{}}],"containers":[{"name":"c","image":"i"}])"),
       "spec.initContainers[0].name: Duplicate value: \"c\"\n"
       "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always"},
  });
}

TEST_CASE("pod specs are refused in Kubernetes' words") {
  const std::string good = R"("containers":[{"name":"c","image":"i"}],)";
  check_all<api::Pod>({
      {pod(good + R"("restartPolicy":"Often","dnsPolicy":"None")"),
       "spec.restartPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"OnFailure\", \"Never\"\n"
       "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
      {pod(good + R"("volumes":[{"name":"a","nfs":{"server":"s","path":"a"}},{"name":"b","hostPath":{"path":"/a/../b"}},{"name":"c","secret":{},
          "emptyDir":{}}])"),
       "spec.volumes[0].nfs.path: Invalid value: \"a\": must be an absolute path\n"
       "spec.volumes[1].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'\n"
       "spec.volumes[2].secret: Forbidden: may not specify more than 1 volume type"},
      {pod(good + R"("hostname":"A","activeDeadlineSeconds":0,"tolerations":[{"operator":"Equal"}])"),
       "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive\n"
       "spec.hostname: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric "
       "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
       "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"
       "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which "
       "means \"match all values and all keys\""},
      {pod(good + R"("affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
          {"matchExpressions":[{"key":"a","operator":"In"}]}]}}})"),
       "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions"
       "[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"},
      {pod(good + R"("topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"z","whenUnsatisfiable":"Never"}])"),
       "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero\n"
       "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Never\": supported values: "
       "\"DoNotSchedule\", \"ScheduleAnyway\""},
      {pod(good + R"("securityContext":{"sysctls":[{"name":"a..b","value":"1"}]})"),
       "spec.securityContext.sysctls[0].name: Invalid value: \"a..b\": must have at most 253 characters and match regex "
       "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"},
      {pod(good + R"("ephemeralContainers":[{"name":"e","image":"i"}])"),
       "spec.ephemeralContainers: Forbidden: cannot be set on create"},
  });
}

TEST_CASE("a pod's spec stays as it is but for a few fields") {
  Cluster c;
  REQUIRE(c.create<api::Pod>(container(R"("args":["a"])")) == "");
  CHECK(c.patch<api::Pod>(R"({"spec":{"containers":[{"name":"c","image":"other"}]}})") == "");
  CHECK(c.patch<api::Pod>(R"({"spec":{"activeDeadlineSeconds":10}})") == "");
  CHECK(c.patch<api::Pod>(R"({"spec":{"activeDeadlineSeconds":20}})") ==
        "spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to previous value");
  CHECK(c.patch<api::Pod>(R"({"spec":{"containers":[{"name":"d","image":"i"}]}})") ==
        "spec.containers: Forbidden: pod updates may not add or remove containers");
  CHECK(c.patch<api::Pod>(R"({"spec":{"restartPolicy":"Never"}})")
            .starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
                         "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
                         "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
                         "to 1 if it was previously negative)\n  {\n- \trestartPolicy: \"Always\",\n+ \trestartPolicy: "
                         "\"Never\",\n"));
  CHECK(c.patch<api::Pod>(R"({"spec":{"ephemeralContainers":[{"name":"e","image":"i"}]}})", "x", "ephemeralcontainers") == "");
  CHECK(c.patch<api::Pod>(R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]}})", "x", "resize") ==
        "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing");
}

TEST_CASE("workloads are refused in Kubernetes' words") {
  check_all<api::Deployment>({
      {R"({"metadata":{"name":"x"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[]}}}})",
       "spec.selector: Invalid value: {}: empty selector is invalid for deployment\n"
       "spec.template.spec.containers: Required value\n"
       "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""},
      {workload(R"(,"replicas":-1,"strategy":{"rollingUpdate":{"maxUnavailable":0,"maxSurge":"0%"}})"),
       "spec.replicas: Invalid value: -1: must be greater than or equal to 0\n"
       "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"},
      {workload(R"(,"strategy":{"type":"Slow"})"),
       "spec.strategy: Unsupported value: {\"Type\":\"Slow\",\"RollingUpdate\":null}: supported values: \"Recreate\", "
       "\"RollingUpdate\""},
      {workload(R"(,"minReadySeconds":10,"progressDeadlineSeconds":5)"),
       "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"},
      {workload(""), ""},
  });
  check_all<api::DaemonSet>({
      {workload(R"(,"updateStrategy":{"rollingUpdate":{"maxUnavailable":0,"maxSurge":0}})"),
       "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"},
      {workload(""), ""},
  });
  check_all<api::StatefulSet>({{workload(R"(,"podManagementPolicy":"Any","serviceName":"A_")"),
                                "spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'\n"
                                "spec.serviceName: Invalid value: \"A_\": a lowercase RFC 1123 label must consist of "
                                "lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
                                "character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"}});
  Cluster c;
  REQUIRE(c.create<api::StatefulSet>(workload("")) == "");
  CHECK(c.patch<api::StatefulSet>(R"({"spec":{"serviceName":"s"}})") ==
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
        "forbidden");
  REQUIRE(c.create<api::Deployment>(workload("")) == "");
  CHECK(c.patch<api::Deployment>(
            R"({"spec":{"selector":{"matchLabels":{"c":"d"}},"template":{"metadata":{"labels":{"c":"d"}}}}})") ==
        R"(spec.selector: Invalid value: {"matchLabels":{"a":"b","c":"d"}}: field is immutable)");
}

TEST_CASE("jobs are refused in Kubernetes' words") {
  check_all<api::Job>({
      {R"({"metadata":{"name":"x"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})",
       "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""},
      {job(R"(,"completionMode":"Indexed","parallelism":-1)"),
       "spec.parallelism: Invalid value: -1: must be greater than or equal to 0\n"
       "spec.completions: Required value: when completion mode is Indexed"},
      {job(R"(,"podFailurePolicy":{"rules":[{"action":"Ignore","onExitCodes":{"operator":"In","values":[0]}}]})"),
       "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"},
  });
  Cluster c;
  REQUIRE(c.create<api::Job>(job(R"(,"completions":2)")) == "");
  CHECK(c.patch<api::Job>(R"({"spec":{"completions":3}})") == "spec.completions: Invalid value: 3: field is immutable");
  CHECK(c.patch<api::Job>(R"({"spec":{"parallelism":3}})") == "");
  CHECK(c.patch<api::Job>(R"({"spec":{"template":{"metadata":{"labels":{"n":"m"}}}}})").ends_with(": field is immutable"));
  auto cron = [](const std::string& schedule) {
    return R"({"metadata":{"name":"x"},"spec":{"schedule":")" + schedule +
           R"(","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}})";
  };
  check_all<api::CronJob>({
      {cron("* * *"), "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"},
      {cron("61 * * * *"),
       "spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"},
      {cron("TZ=UTC * * * * *"),
       "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field "
       "instead"},
      {cron("@often"), "spec.schedule: Invalid value: \"@often\": unrecognized descriptor: @often"},
      {cron("*/5 1-3 1,15 jan-mar mon"), ""},
  });
}

TEST_CASE("valid objects come with warnings") {
  Cluster c;
  REQUIRE(c.create<api::Pod>(container(R"("env":[{"name":"A","value":"1"},{"name":"A","value":"2"}],
      "ports":[{"containerPort":1},{"containerPort":1,"name":"a"}])")) == "");
  CHECK(c.warnings == std::vector<std::string>{
                          "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when "
                          "using apply",
                          "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"});
  REQUIRE(c.create<api::DaemonSet>(
              R"({"metadata":{"name":"x"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":
              {"a":"b"}},"spec":{"nodeSelector":{"beta.kubernetes.io/os":"linux"},"containers":[{"name":"c","image":"i"}]}}}})") == "");
  CHECK(c.warnings == std::vector<std::string>{"spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since "
                                               "v1.14; use \"kubernetes.io/os\" instead"});
}

TEST_CASE("storage is refused in Kubernetes' words") {
  auto claim = [](const std::string& spec) { return R"({"metadata":{"name":"x"},"spec":{)" + spec + "}}"; };
  check_all<api::PersistentVolumeClaim>({
      {claim(""), "spec.accessModes: Required value: at least 1 access mode is required\nspec.resources[storage]: Required value"},
      {claim(R"("accessModes":["Any"],"resources":{"requests":{"storage":"0"}})"),
       "spec.accessModes: Unsupported value: \"Any\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", "
       "\"ReadWriteOnce\", \"ReadWriteOncePod\"\nspec.resources[storage]: Invalid value: \"0\": must be greater than zero"},
  });
  Cluster c;
  REQUIRE(c.create<api::PersistentVolumeClaim>(
              claim(R"("accessModes":["ReadWriteOnce"],"storageClassName":"a","resources":{"requests":{"storage":"1Gi"}})")) == "");
  CHECK(c.patch<api::PersistentVolumeClaim>(R"({"spec":{"storageClassName":"b"}})")
            .starts_with("spec: Forbidden: spec is immutable after creation except resources.requests and "
                         "volumeAttributesClassName for bound claims\n"));
  check_all<api::PersistentVolume>({
      {R"({"metadata":{"name":"x"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"]}})",
       "spec: Required value: must specify a volume type"},
      {R"({"metadata":{"name":"x"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"local":{"path":"/a"}}})",
       "spec.nodeAffinity: Required value: Local volume requires node affinity"},
  });
  REQUIRE(c.create<api::StorageClass>(R"({"metadata":{"name":"x"},"provisioner":"a.b/c"})") == "");
  CHECK(c.patch<api::StorageClass>(R"({"provisioner":"d","reclaimPolicy":"Retain"})") ==
        "provisioner: Forbidden: updates to provisioner are forbidden.\n"
        "reclaimPolicy: Invalid value: \"Retain\": field is immutable");
}

TEST_CASE("networks are refused in Kubernetes' words") {
  check_all<api::Ingress>({
      {R"({"metadata":{"name":"x"},"spec":{}})",
       "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"},
      {R"({"metadata":{"name":"x"},"spec":{"rules":[{"host":"1.2.3.4","http":{"paths":[{"path":"a","pathType":"Prefix",
          "backend":{"service":{"name":"s","port":{}}}}]}}]}})",
       "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address\n"
       "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path\n"
       "spec.rules[0].http.paths[0].backend.service.port: Required value: port name or number is required"},
  });
  check_all<api::NetworkPolicy>({
      {R"({"metadata":{"name":"x"},"spec":{"podSelector":{},"ingress":[{"from":[{}],"ports":[{"endPort":9}]}]}})",
       "spec.ingress[0].ports[0].endPort: Invalid value: 9: may not be specified when `port` is not specified\n"
       "spec.ingress[0].from[0]: Required value: must specify a peer"},
      {R"({"metadata":{"name":"x"},"spec":{"podSelector":{},"egress":[{"to":[{"ipBlock":{"cidr":"1.2.3.4"}}]}]}})",
       "spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"1.2.3.4\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or "
       "2001:db8::/64)"},
  });
  check_all<api::EndpointSlice>({
      {R"({"metadata":{"name":"x"},"addressType":"IPv4","endpoints":[{"addresses":["127.0.0.1"]}]})",
       "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"},
  });
}

TEST_CASE("scaling and classes are refused in Kubernetes' words") {
  check_all<api::HorizontalPodAutoscaler>({
      {R"({"metadata":{"name":"x"},"spec":{"minReplicas":3,"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment"}}})",
       "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`\n"
       "spec.scaleTargetRef.name: Required value"},
  });
  check_all<api::PodDisruptionBudget>({
      {R"({"metadata":{"name":"x"},"spec":{"minAvailable":1,"maxUnavailable":"101%"}})",
       "spec: Invalid value: {}: minAvailable and maxUnavailable cannot be both set\n"
       "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"},
  });
  check_all<api::PriorityClass>({
      {R"({"metadata":{"name":"x"},"value":1000000001})",
       "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"},
      {R"({"metadata":{"name":"system-x"},"value":1})",
       "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: "
       "system-x is not a known system priority class"},
  });
}

TEST_CASE("metadata is refused in Kubernetes' words") {
  check_all<api::ConfigMap>({
      {R"({"metadata":{"name":"x","finalizers":["mine"]}})",
       "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully "
       "qualified"},
      {R"({"metadata":{"name":"x","annotations":{"a":")" + std::string(262144, 'a') + "\"}}}",
       "metadata.annotations: Too long: may not be more than 262144 bytes"},
      {R"({"metadata":{"name":"x","ownerReferences":[
          {"apiVersion":"v1","kind":"Pod","name":"a","uid":"1","controller":true},
          {"apiVersion":"v1","kind":"Pod","name":"b","uid":"2","controller":true}]}})",
       "metadata.ownerReferences: Invalid value: []: Only one reference can have Controller set to true. Found \"true\" in "
       "references for a and b"},
  });
  check_all<api::Node>({
      {R"({"metadata":{"name":"x"},"spec":{"taints":[{"key":"a","effect":"Sometimes"}]}})",
       "spec.taints[0].effect: Unsupported value: \"Sometimes\": supported values: \"NoSchedule\", \"PreferNoSchedule\", "
       "\"NoExecute\""},
  });
}
