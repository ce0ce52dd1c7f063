// Who may what: roles and bindings, nodes, grants, reviews. Users come by the front proxy's headers.

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "unit/apiserver/test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using Json = nlohmann::json;

namespace {

struct World : test::TestApi {
  World() {
    bootstrap();
    create_namespace("other");
  }

  Request as(const std::string& user, const std::vector<std::string>& groups, const std::string& method,
             const std::string& target, std::string body = "") {
    Request out = request(method, target, std::move(body));
    out.headers.erase("Authorization");
    out.peer.front_proxy = "front-proxy-client";
    out.headers.emplace("X-Remote-User", user);
    for (const std::string& group : groups) out.headers.emplace("X-Remote-Group", group);
    return out;
  }
  /// The message of a refusal; "" when it went well.
  std::string said(const Request& request) {
    Reply reply = call(request);
    if (reply.status < 300) return "";
    Json status = Json::parse(*reply.body, nullptr, false);
    return status.is_discarded() ? *reply.body : status.value("message", "");
  }
  void make(const std::string& target, const std::string& body) {
    Reply reply = call("POST", target, body);
    INFO(target << " " << *reply.body);
    REQUIRE(reply.status == 201);
  }
  void role(const std::string& name, const std::string& rules) {
    make(kRbac + "/namespaces/default/roles", R"({"metadata":{"name":")" + name + R"("},"rules":)" + rules + "}");
  }
  void bind(const std::string& name, const std::string& kind, const std::string& subject) {
    make(kRbac + "/namespaces/default/rolebindings",
         R"({"metadata":{"name":"b-)" + name + R"("},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":")" + kind +
             R"(","name":")" + name + R"("},"subjects":[)" + subject + "]}");
  }
  static std::string user(const std::string& name) {
    return R"({"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":")" + name + R"("})";
  }
  static std::string group(const std::string& name) {
    return R"({"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":")" + name + R"("})";
  }

  inline static const std::string kRbac = "/apis/rbac.authorization.k8s.io/v1";
};

}  // namespace

TEST_CASE("roles allow what their rules say, where their bindings are") {
  World world;
  world.role("reads", R"([{"apiGroups":[""],"resources":["pods","pods/log"],"verbs":["get","list"]},
                          {"apiGroups":[""],"resources":["configmaps"],"resourceNames":["mine"],"verbs":["get","update"]},
                          {"apiGroups":["apps"],"resources":["*/scale"],"verbs":["*"]}])");
  world.bind("reads", "Role", World::user("jane") + "," + World::group("readers") +
                                  R"(,{"kind":"ServiceAccount","name":"default","namespace":"other"})");
  const std::string home = "/api/v1/namespaces/default/";
  struct Row {
    std::string user;
    std::vector<std::string> groups;
    std::string method, target;
    bool allowed;
  };
  const std::vector<Row> rows = {
      {"jane", {}, "GET", home + "pods", true},
      {"jane", {}, "GET", home + "pods?watch=1", false},
      {"jane", {}, "GET", "/api/v1/namespaces/other/pods", false},
      {"jane", {}, "GET", "/api/v1/pods", false},
      {"jane", {}, "DELETE", home + "pods/x", false},
      {"jane", {}, "GET", home + "configmaps/mine", true},
      {"jane", {}, "GET", home + "configmaps/yours", false},
      {"jane", {}, "GET", home + "configmaps", false},
      {"jane", {}, "GET", home + "configmaps?fieldSelector=metadata.name%3Dmine", false},
      {"jane", {}, "GET", "/apis/apps/v1/namespaces/default/deployments/x/scale", true},
      {"jane", {}, "GET", "/apis/apps/v1/namespaces/default/deployments/x", false},
      {"joe", {}, "GET", home + "pods", false},
      {"joe", {"readers"}, "GET", home + "pods", true},
      {"system:serviceaccount:other:default", {}, "GET", home + "pods", true},
      {"system:serviceaccount:default:default", {}, "GET", home + "pods", false},
      {"jane", {}, "GET", "/version", true},
      {"jane", {}, "GET", "/metrics", false},
  };
  for (const Row& row : rows) {
    std::string message = world.said(world.as(row.user, row.groups, row.method, row.target));
    INFO(row.user << " " << row.method << " " << row.target << ": " << message);
    CHECK((message.find("cannot") == std::string::npos) == row.allowed);
  }
}

TEST_CASE("refusals are told in Kubernetes' words") {
  World world;
  world.bind("nowhere", "Role", World::user("lost"));
  struct Row {
    const char *user, *method, *target, *body, *message;
  };
  const Row rows[] = {
      {"jane", "GET", "/api/v1/namespaces/default/pods/x", "",
       R"(pods "x" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default")"},
      {"jane", "GET", "/api/v1/nodes", "",
       R"(nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope)"},
      {"jane", "POST", "/apis/apps/v1/namespaces/default/deployments", "{}",
       R"(deployments.apps is forbidden: User "jane" cannot create resource "deployments" in API group "apps" in the namespace "default")"},
      {"jane", "GET", "/api/v1/namespaces/default/pods/x/log", "",
       R"(pods "x" is forbidden: User "jane" cannot get resource "pods/log" in API group "" in the namespace "default")"},
      {"jane", "GET", "/secret", "", R"(forbidden: User "jane" cannot get path "/secret")"},
      {"<b>", "GET", "/x", "", R"(forbidden: User "&lt;b&gt;" cannot get path "/x")"},
      {"lost", "GET", "/api/v1/namespaces/default/pods", "",
       R"(pods is forbidden: User "lost" cannot list resource "pods" in API group "" in the namespace "default": RBAC: role.rbac.authorization.k8s.io "nowhere" not found)"},
  };
  for (const Row& row : rows) CHECK(world.said(world.as(row.user, {}, row.method, row.target, row.body)) == row.message);
  Request nobody = World::request("GET", "/api/v1/pods");
  nobody.headers.erase("Authorization");
  CHECK(world.said(nobody) ==
        R"(pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope)");
}

TEST_CASE("a permission counts from the answer to its write, and no longer than it lives") {
  World world;
  const Request list = world.as("jane", {}, "GET", "/api/v1/namespaces/default/pods");
  CHECK(world.call(list).status == 403);
  world.bind("system:aggregate-to-view", "ClusterRole", World::user("jane"));
  CHECK(world.call(list).status == 200);
  REQUIRE(world.call("DELETE", World::kRbac + "/namespaces/default/rolebindings/b-system:aggregate-to-view").status == 200);
  CHECK(world.call(list).status == 403);
}

TEST_CASE("nobody grants what they do not hold, unless they may escalate or bind") {
  World world;
  world.role("grants", R"([{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],
                            "verbs":["create","update","get"]},
                           {"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}])");
  world.bind("grants", "Role", World::user("jane"));
  const std::string roles = World::kRbac + "/namespaces/default/roles";
  const std::string bindings = World::kRbac + "/namespaces/default/rolebindings";
  auto role = [](const std::string& name, const std::string& rule) {
    return R"({"metadata":{"name":")" + name + R"("},"rules":[)" + rule + "]}";
  };
  auto binding = [](const std::string& name, const std::string& kind, const std::string& to) {
    return R"({"metadata":{"name":")" + name + R"("},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":")" + kind +
           R"(","name":")" + to + R"("},"subjects":[]})";
  };
  auto as_jane = [&](const std::string& target, const std::string& body) {
    return world.said(world.as("jane", {"system:authenticated"}, "POST", target, body));
  };
  CHECK(as_jane(roles, role("held", R"({"apiGroups":[""],"resources":["pods"],"verbs":["get"]})")) == "");
  CHECK(as_jane(roles, role("more", R"({"apiGroups":[""],"resources":["pods","secrets"],"verbs":["get","delete"]})")) ==
        R"(roles.rbac.authorization.k8s.io "more" is forbidden: user "jane" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:)"
        "\n"
        R"({APIGroups:[""], Resources:["pods"], Verbs:["delete"]})"
        "\n"
        R"({APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]})");
  CHECK(as_jane(bindings, binding("held", "Role", "held")) == "");
  CHECK(as_jane(bindings, binding("view", "ClusterRole", "system:aggregate-to-view")).find("not currently held") != std::string::npos);
  CHECK(as_jane(bindings, binding("gone", "Role", "gone")) == R"(roles.rbac.authorization.k8s.io "gone" not found)");

  world.role("more-rights", R"([{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["escalate"]},
      {"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"resourceNames":["system:aggregate-to-view"],"verbs":["bind"]}])");
  world.bind("more-rights", "Role", World::user("jane"));
  CHECK(as_jane(roles, role("more", R"({"apiGroups":[""],"resources":["secrets"],"verbs":["get"]})")) == "");
  CHECK(as_jane(bindings, binding("view", "ClusterRole", "system:aggregate-to-view")) == "");
  CHECK(as_jane(bindings, binding("admin", "ClusterRole", "system:aggregate-to-admin")).find("not currently held") != std::string::npos);
}

TEST_CASE("nodes are held to what runs on them") {
  World world;
  auto pod = [&](const std::string& name, const std::string& node, const std::string& secret) {
    auto made = world.registry.local_client().create(
        api::from_json<api::Pod>(R"({"metadata":{"name":")" + name + R"(","namespace":"default"},"spec":{"nodeName":")" +
                                 node + R"(","containers":[{"name":"c","image":"i","envFrom":[{"secretRef":{"name":")" +
                                 secret + R"("}}]}]}})")
            .value());
    REQUIRE(made.ok());
  };
  pod("here", "n1", "near");
  pod("there", "n2", "far");
  struct Row {
    const char *method, *target, *reason;  // "": allowed
  };
  const Row rows[] = {
      {"GET", "/api/v1/namespaces/default/secrets/near", ""},
      {"GET", "/api/v1/namespaces/default/secrets/far", "no relationship found between node 'n1' and this object"},
      {"GET", "/api/v1/namespaces/default/secrets", "No Object name found"},
      {"DELETE", "/api/v1/namespaces/default/secrets/near", "can only read resources of this type"},
      {"GET", "/api/v1/secrets", "can only read namespaced object of this type"},
      {"GET", "/api/v1/nodes/n1", ""},
      {"GET", "/api/v1/nodes/n2", "node 'n1' cannot read 'n2', only its own Node object"},
      {"GET", "/api/v1/nodes", "node 'n1' cannot read all nodes, only its own Node object"},
      {"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", ""},
      {"GET", "/api/v1/pods", "can only list/watch pods with spec.nodeName field selector"},
      {"GET", "/api/v1/namespaces/default/pods/here", ""},
      {"GET", "/api/v1/namespaces/default/pods/there", "no relationship found between node 'n1' and this object"},
      {"GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", ""},
      {"GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2",
       "can only access node lease with the same name as the requesting node"},
      {"GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/n1",
       "can only access leases in the \"kube-node-lease\" system namespace"},
      {"GET", "/apis/storage.k8s.io/v1/csinodes/n2", "can only access CSINode with the same name as the requesting node"},
      {"GET", "/apis/storage.k8s.io/v1/csinodes", "can only get, create, update, patch, or delete a CSINode"},
      {"GET", "/api/v1/services", ""},
  };
  for (const Row& row : rows) {
    std::string message =
        world.said(world.as("system:node:n1", {"system:nodes"}, row.method, row.target));
    INFO(row.method << " " << row.target << ": " << message);
    if (*row.reason == '\0') CHECK(message.find("cannot") == std::string::npos);
    else CHECK(message.ends_with(std::string(": ") + row.reason));
  }
  // The name alone makes no node.
  CHECK(world.call(world.as("system:node:n1", {}, "GET", "/api/v1/nodes/n1")).status == 403);
}

TEST_CASE("access reviews answer as requests are answered") {
  World world;
  world.bind("system:aggregate-to-view", "ClusterRole", World::user("jane"));
  const std::string base = "/apis/authorization.k8s.io/v1/";
  auto review = [&](const std::string& target, const std::string& spec, const std::string& metadata = "{}") {
    Reply reply = world.call("POST", base + target, R"({"metadata":)" + metadata + R"(,"spec":)" + spec + "}");
    return Json::parse(*reply.body);
  };
  Json allowed = review("subjectaccessreviews",
                        R"({"user":"jane","resourceAttributes":{"verb":"list","resource":"pods","namespace":"default"}})");
  CHECK(allowed["status"] ==
        Json::parse(R"({"allowed":true,"reason":"RBAC: allowed by RoleBinding \"b-system:aggregate-to-view/default\" of ClusterRole \"system:aggregate-to-view\" to User \"jane\""})"));
  Json refused = review("subjectaccessreviews",
                        R"({"user":"jane","resourceAttributes":{"verb":"list","resource":"pods","namespace":"other"}})");
  CHECK(refused["status"] == Json::parse(R"({"allowed":false})"));
  CHECK(review("subjectaccessreviews", R"({"groups":["system:masters"],"nonResourceAttributes":{"verb":"get","path":"/x"}})")
            ["status"]["allowed"] == true);
  CHECK(review("selfsubjectaccessreviews", R"({"resourceAttributes":{"verb":"x","resource":"y"}})")["status"]["allowed"] == true);
  CHECK(review("namespaces/default/localsubjectaccessreviews",
               R"({"user":"jane","resourceAttributes":{"verb":"list","resource":"pods","namespace":"other"}})",
               R"({"namespace":"default"})")["message"]
            .get<std::string>()
            .ends_with(R"(spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace)"));
  CHECK(review("subjectaccessreviews", R"({"user":"jane"})")["message"].get<std::string>().find(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified") != std::string::npos);
  CHECK(review("subjectaccessreviews", R"({"resourceAttributes":{"verb":"get"}})")["message"].get<std::string>().find(
            "at least one of user or group must be specified") != std::string::npos);
}

TEST_CASE("rules reviews list what was granted where it counts") {
  World world;
  world.role("reads", R"([{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}])");
  world.bind("reads", "Role", World::user("jane"));
  world.bind("nowhere", "Role", World::group("lost"));
  auto rules = [&](const std::vector<std::string>& groups, const std::string& where) {
    Reply reply = world.call(world.as("jane", groups, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                                      R"({"spec":{"namespace":")" + where + R"("}})"));
    return Json::parse(*reply.body);
  };
  auto pods = [](const Json& review) {
    int found = 0;
    for (const Json& rule : review["status"]["resourceRules"])
      if (rule["resources"] == Json{"pods"} && rule["verbs"] == Json{"get"}) ++found;
    return found;
  };
  Json here = rules({"system:authenticated"}, "default");
  CHECK(pods(here) == 1);
  CHECK(here["status"]["incomplete"] == false);
  CHECK_FALSE(here["status"]["nonResourceRules"].empty());
  CHECK(pods(rules({"system:authenticated"}, "other")) == 0);
  Json partly = rules({"system:authenticated", "lost"}, "default");
  CHECK(partly["status"]["incomplete"] == true);
  CHECK(partly["status"]["evaluationError"] == R"(role.rbac.authorization.k8s.io "nowhere" not found)");
  CHECK(rules({"system:authenticated"}, "")["message"] == "no namespace on request");
  Reply node = world.call(world.as("system:node:n", {"system:nodes", "system:authenticated"}, "POST",
                                   "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                                   R"({"spec":{"namespace":"default"}})"));
  CHECK(Json::parse(*node.body)["status"]["evaluationError"] == "node authorizer does not support user rule resolution");
}
