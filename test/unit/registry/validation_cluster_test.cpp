// What the rules of kinds refuse and how they word it, continued: Services, limits, quotas, flow control, policies,
// addresses, devices.

#include "api/gen/admissionregistration.hpp"
#include "api/gen/flowcontrol.hpp"
#include "api/gen/networking.hpp"
#include "api/gen/resource.hpp"
#include "api/gen/service.hpp"
#include "support/refusing_cluster.hpp"

using namespace skiff;
using namespace skiff::registry;
using test::check_all;
using Cluster = test::RefusingCluster;

namespace {

std::string object(const std::string& spec) { return R"({"metadata":{"name":"x"},"spec":{)" + spec + "}}"; }
std::string service(const std::string& spec) { return object(R"("ports":[{"port":80}])" + (spec.empty() ? "" : "," + spec)); }

Cluster dual_stack() { return Cluster({.cluster_cidr = "10.96.0.0/16", .second_cidr = "fd00:10:96::/108"}); }

api::Service stored(Cluster& cluster, const std::string& name = "x") {
  return *cluster.registry.local_client().get<api::Service>({"default", name}).value();
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("Services are refused in Kubernetes' words") {
  check_all<api::Service>({
      {service(R"("type":"Nope")"),
       "spec.type: Unsupported value: \"Nope\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", "
       "\"NodePort\""},
      {service(R"("type":"ExternalName")"), "spec.externalName: Required value"},
      {service(R"("type":"ExternalName","externalName":"a.b.","clusterIP":"10.96.0.9")"),
       "spec.clusterIPs: Forbidden: may not be set for ExternalName services"},
      {service(R"("type":"NodePort","clusterIP":"None")"),
       "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"},
      {object(R"("type":"LoadBalancer","ports":[{"port":10250}])"),
       "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"},
      {object(R"("ports":[{"port":1,"nodePort":30001}])"),
       "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"},
      {object(R"("type":"NodePort","ports":[{"name":"a","port":1,"nodePort":30001},{"name":"b","port":2,"nodePort":30001}])"),
       "spec.ports[1].nodePort: Duplicate value: 30001"},
      {service(R"("sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":86401}})"),
       "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"},
      {service(R"("externalIPs":["127.0.0.1"])"),
       "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"},
      {service(R"("loadBalancerSourceRanges":["10.0.0.0/8"])"),
       "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"},
      {service(R"("allocateLoadBalancerNodePorts":true,"loadBalancerClass":"a/b")"),
       "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'\n"
       "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"},
      {service(R"("externalTrafficPolicy":"Local")"),
       "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"},
      {service(R"("type":"NodePort","healthCheckNodePort":30009)"),
       "spec.healthCheckNodePort: Invalid value: 30009: may only be set when `type` is 'LoadBalancer' and "
       "`externalTrafficPolicy` is 'Local'"},
      {service(R"("trafficDistribution":"Far")"),
       "spec.trafficDistribution: Unsupported value: \"Far\": supported values: \"PreferClose\", \"PreferSameZone\", "
       "\"PreferSameNode\""},
      {service(R"("clusterIP":"10.96.0.7","clusterIPs":["10.96.0.8"])"),
       "spec.clusterIPs: Invalid value: [\"10.96.0.8\"]: first value must match `clusterIP`"},
      {service(R"("ipFamilies":["IPv4","IPv4"])"), "spec.ipFamilies[1]: Duplicate value: \"IPv4\""},
      {service(R"("ipFamilyPolicy":"RequireDualStack")"),
       "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"},
      {service(R"("ipFamilies":["IPv6"])"), "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"},
      {service(R"("clusterIP":"10.97.0.1")"),
       "spec.clusterIPs: Invalid value: [\"10.97.0.1\"]: failed to allocate IP 10.97.0.1: the provided network does not "
       "match the current range"},
  });
}

TEST_CASE("Services of a dual-stack cluster get what their policy asks for") {
  Cluster cluster = dual_stack();
  auto made = [&](const std::string& spec) {
    INFO(spec);
    CHECK(cluster.create<api::Service>(service(spec)) == "");
    api::Service service = stored(cluster);
    CHECK(cluster.registry.local_client().remove<api::Service>({"default", "x"}).ok());
    return service.spec;
  };
  CHECK(made("").ipFamilies == Names{"IPv4"});
  api::ServiceSpec both = made(R"("ipFamilyPolicy":"PreferDualStack")");
  CHECK(both.ipFamilies == Names{"IPv4", "IPv6"});
  REQUIRE(both.clusterIPs.size() == 2);
  CHECK(both.clusterIPs[0].starts_with("10.96."));
  CHECK(both.clusterIPs[1].starts_with("fd00:10:96::"));
  CHECK(both.clusterIP == both.clusterIPs[0]);
  CHECK(made(R"("ipFamilies":["IPv6"])").clusterIP.starts_with("fd00:10:96::"));
  CHECK(made(R"("ipFamilyPolicy":"RequireDualStack","clusterIP":"fd00:10:96::77")").ipFamilies == Names{"IPv6", "IPv4"});
  api::ServiceSpec headless = made(R"("clusterIP":"None")");
  CHECK(headless.ipFamilyPolicy == "RequireDualStack");
  CHECK(headless.clusterIPs == Names{"None"});
}

TEST_CASE("A Service gains a second family and lets it go; the address is free again") {
  Cluster cluster = dual_stack();
  REQUIRE(cluster.create<api::Service>(service("")) == "");
  std::string first = stored(cluster).spec.clusterIP;
  CHECK(cluster.patch<api::Service>(R"({"spec":{"ipFamilyPolicy":"RequireDualStack"}})") == "");
  api::ServiceSpec dual = stored(cluster).spec;
  REQUIRE(dual.clusterIPs.size() == 2);
  CHECK(dual.clusterIP == first);
  CHECK(cluster.patch<api::Service>(R"({"spec":{"ipFamilyPolicy":"SingleStack"}})") == "");
  CHECK(stored(cluster).spec.clusterIPs == Names{first});
  CHECK(cluster.patch<api::Service>(R"({"spec":{"clusterIP":"10.96.0.77"}})") ==
        "spec.clusterIPs[0]: Invalid value: [\"10.96.0.77\"]: may not change once set");
  CHECK(cluster.registry.service_ranges().addresses("IPv6")->take(dual.clusterIPs[1]).ok());
}

TEST_CASE("A LoadBalancer that keeps sources has a health check port until it stops to") {
  Cluster cluster;
  REQUIRE(cluster.create<api::Service>(service(R"("type":"LoadBalancer","externalTrafficPolicy":"Local")")) == "");
  int port = stored(cluster).spec.healthCheckNodePort;
  CHECK(port >= 30000);
  CHECK(cluster.patch<api::Service>(R"({"spec":{"healthCheckNodePort":30123}})") ==
        "spec.healthCheckNodePort: Forbidden: field is immutable");
  CHECK(cluster.patch<api::Service>(R"({"spec":{"externalTrafficPolicy":"Cluster"}})") == "");
  CHECK(stored(cluster).spec.healthCheckNodePort == 0);
}

TEST_CASE("LimitRanges are refused in Kubernetes' words") {
  auto limits = [](const std::string& item) { return object(R"("limits":[)" + item + "]"); };
  check_all<api::LimitRange>({
      {limits(R"({"type":"Nope"})"), "spec.limits[0].type: Invalid value: \"Nope\": must be a standard limit type or fully qualified"},
      {limits(R"({"type":"Pod","default":{"cpu":"1"}})"),
       "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"},
      {limits(R"({"type":"Container","min":{"cpu":"2"},"max":{"cpu":"1"}})"),
       "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1\n"
       "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1\n"
       "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1"},
      {limits(R"({"type":"PersistentVolumeClaim"})"),
       "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided"},
      {limits(R"({"type":"Pod","maxLimitRequestRatio":{"cpu":"500m"}})"),
       "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"},
      {limits(R"({"type":"Pod","min":{"cpu":"1"},"max":{"cpu":"2"},"maxLimitRequestRatio":{"cpu":"3"}})"),
       "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000"},
      {limits(R"({"type":"Pod"},{"type":"Pod"})"), "spec.limits[1].type: Duplicate value: \"Pod\""},
  });
}

TEST_CASE("ResourceQuotas are refused in Kubernetes' words") {
  check_all<api::ResourceQuota>({
      {object(R"("hard":{"nonsense":"1"})"),
       "spec.hard[nonsense]: Invalid value: \"nonsense\": must be a standard resource for quotas"},
      {object(R"("hard":{"pods":"1500m"})"), "spec.hard[pods]: Invalid value: \"1500m\": must be an integer"},
      {object(R"("hard":{"cpu":"-1"})"), "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"},
      {object(R"("scopes":["BestEffort","NotBestEffort"])"),
       "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"},
      {object(R"("hard":{"services":"1"},"scopes":["Terminating"])"),
       "spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource"},
      {object(R"("scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In"}]})"),
       "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or "
       "'NotIn' for scope selector"},
  });
}

TEST_CASE("FlowSchemas and priority levels are refused in Kubernetes' words") {
  constexpr char kLevel[] = R"("priorityLevelConfiguration":{"name":"l"})";
  check_all<api::FlowSchema>({
      {object(R"("matchingPrecedence":1,"priorityLevelConfiguration":{"name":""})"),
       "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1\n"
       "spec.priorityLevelConfiguration.name: Required value: must reference a priority level"},
      {object(std::string(kLevel) + R"(,"rules":[{"subjects":[{"kind":"User"}],"resourceRules":[{"verbs":["*","get"],
           "apiGroups":["*"],"resources":["*"],"namespaces":["A"]}]}])"),
       "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'\n"
       "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs\n"
       "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 "
       "label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
       "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
      {object(std::string(kLevel) + R"(,"rules":[{"subjects":[{"kind":"Group","group":{"name":"g"}}],
           "nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/a*"]}]}])"),
       "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can only do suffix matching"},
  });
  check_all<api::PriorityLevelConfiguration>({
      {object(R"("type":"Exempt")"),
       "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"},
      {object(R"("type":"Limited")"), "spec.limited: Required value: must not be empty when type is Limited"},
      {object(R"("type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{"queues":64,"handSize":65}}})"),
       "spec.limited.limitResponse.queuing.handSize: Invalid value: 65: should not be greater than queues (64)"},
      {object(R"("type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{"queues":1024,"handSize":7}}})"),
       "spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of deckSize 1024 and handSize 7 "
       "should not be greater than 60"},
  });
}

TEST_CASE("Policies are held to their form; bindings, which would put them in force, are refused") {
  constexpr char kMatch[] = R"("matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],
      "resources":["pods"]}]})";
  check_all<api::ValidatingAdmissionPolicy>({
      {object(R"("validations":[{"expression":"true"}])"), "spec.matchConstraints: Required value"},
      {object(kMatch),
       "spec.validations: Required value: validations or auditAnnotations must contain at least one item\n"
       "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item"},
      {object(std::string(kMatch) + R"(,"variables":[{"name":"in","expression":"1"}],"validations":[{"expression":" "}])"),
       "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier\n"
       "spec.validations[0].expression: Required value: expression is not specified"},
      {object(std::string(kMatch) + R"(,"validations":[{"expression":"true","message":"a\nb"}])"),
       "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks"},
  });
  Cluster cluster;
  CHECK(cluster.create<api::ValidatingAdmissionPolicy>(object(std::string(kMatch) + R"(,"validations":[{"expression":"true"}])")) == "");
  REQUIRE(cluster.warnings.size() == 1);
  CHECK(cluster.warnings[0].find("does not evaluate CEL") != std::string::npos);
  CHECK(cluster.create<api::ValidatingAdmissionPolicyBinding>(object(R"("policyName":"x","validationActions":["Deny","Warn"])"))
            .starts_with("spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn"));
  CHECK(cluster.create<api::ValidatingAdmissionPolicyBinding>(object(R"("policyName":"x","validationActions":["Deny"])"))
            .starts_with("spec.policyName: Forbidden: policies are CEL expressions"));
}

TEST_CASE("Addresses and networks of Services are refused in Kubernetes' words") {
  check_all<api::IPAddress>({
      {R"({"metadata":{"name":"10.0.0.1"},"spec":{"parentRef":{"resource":"services"}}})",
       "spec.parentRef.name: Required value"},
      {R"({"metadata":{"name":"fd00::0001"},"spec":{"parentRef":{"resource":"services","name":"x"}}})",
       "metadata.name: Invalid value: \"fd00::0001\": must be in canonical form (\"fd00::1\")"},
  });
  Cluster cluster;
  CHECK(cluster.create<api::ServiceCIDR>(object(R"("cidrs":["10.0.0.0/24","10.0.1.0/24"])")) ==
        "spec.cidrs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one IP for each IP family, i.e "
        "192.168.0.0/24 and 2001:db8::/96");
  CHECK(cluster.create<api::ServiceCIDR>(object(R"("cidrs":["10.0.0.0/24"])")) == "");
  CHECK(cluster.patch<api::ServiceCIDR>(R"({"spec":{"cidrs":["10.0.9.0/24"]}})") ==
        "spec.cidrs: Invalid value: [\"10.0.9.0/24\"]: field is immutable");
}

TEST_CASE("Claims of devices are refused in Kubernetes' words and never change") {
  auto claim = [](const std::string& devices) { return object(R"("devices":{)" + devices + "}"); };
  check_all<api::DynamicResourceClaim>({
      {claim(R"("requests":[{"name":"r"}])"),
       "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"},
      {claim(R"("requests":[{"name":"r","exactly":{"deviceClassName":"c","allocationMode":"All","count":2}}])"),
       "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"},
      {claim(R"("requests":[{"name":"r","exactly":{"deviceClassName":"c","count":1}}],
              "constraints":[{"requests":["q"],"matchAttribute":"a.b/c"}])"),
       "spec.devices.constraints[0].requests[0]: Invalid value: \"q\": must be the name of a request in the claim or the name of "
       "a request and a subrequest separated by '/'"},
  });
  Cluster cluster;
  std::string valid = claim(R"("requests":[{"name":"r","exactly":{"deviceClassName":"c","count":1}}])");
  REQUIRE(cluster.create<api::DynamicResourceClaim>(valid) == "");
  std::string changed = cluster.patch<api::DynamicResourceClaim>(R"({"spec":{"devices":{"requests":[]}}})");
  CHECK(changed.find("field is immutable") != std::string::npos);
  CHECK(cluster.patch<api::DynamicResourceClaim>(R"({"status":{"reservedFor":[{"resource":"pods","name":"p","uid":"u"}]}})", "x",
                                                 "status") ==
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set");
  check_all<api::ResourceSlice>({
      {object(R"("driver":"d.example.com","pool":{"name":"p","generation":1,"resourceSliceCount":1})"),
       "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"},
  });
}
