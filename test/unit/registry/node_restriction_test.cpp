// What NodeRestriction keeps nodes from, in a table.

#include "registry/node_restriction.hpp"

#include <catch2/catch.hpp>

#include "api/gen/authentication.hpp"
#include "api/gen/coordination.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/policy.hpp"
#include "api/gen/resource.hpp"
#include "api/gen/storage.hpp"
#include "support/test_cluster.hpp"

using namespace skiff;
using namespace skiff::registry;

namespace {

class Nobody final : public Authorizer {
 public:
  Verdict authorize(const AccessRequest&) const override { return {}; }
  SubjectRules rules_for(const User&, const std::string&) const override { return {}; }
};

struct World : test::TestCluster<> {
  World() {
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    create<api::ServiceAccount>(R"({"metadata":{"name":"default","namespace":"default"}})");
    node_uid = create<api::Node>(R"({"metadata":{"name":"n1"}})").metadata.uid;
    mine = create<api::Pod>(pod_json("mine", "n1"));
    create<api::Pod>(pod_json("theirs", "n2"));
    asking.user = {"system:node:n1", "", {"system:nodes"}, {}};
  }
  static std::string pod_json(const std::string& name, const std::string& node) {
    return R"({"metadata":{"name":")" + name + R"(","namespace":"default"},"spec":{"nodeName":")" + node +
           R"(","containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","projected":{"sources":[
             {"serviceAccountToken":{"path":"t","audience":"vault"}},{"serviceAccountToken":{"path":"u"}}]}}]}})";
  }

  struct Asked {
    Operation operation;
    std::string name, subresource = {}, namespace_ = {};
  };
  /// The refusal of a request by the node, without what comes before its reason.
  template <class T, class Object = T>
  std::string ask(const Asked& asked, const std::string& object = "", const std::string& old = "") {
    StrategyContext context{asking, client, nobody, nullptr, nullptr, random, clock.wall_now()};
    Attributes attributes{.operation = asked.operation, .resource = registry.of(api::kind_of<T>()),
                          .subresource = asked.subresource, .key = {asked.namespace_, asked.name}, .context = context};
    Draft draft;
    if (!object.empty()) {
      draft.kind = &api::kind_of<Object>();
      draft.value = std::make_shared<Object>(api::from_json<Object>(object).value());
      attributes.object = &draft;
    }
    if (!old.empty())
      attributes.old = AnyRef(client::Ref<T>(std::make_shared<T>(api::from_json<T>(old).value())));
    Status checked = check_node_restriction(attributes);
    if (checked.ok()) return "";
    const std::string& message = checked.error().message();
    size_t at = message.find(" is forbidden: ");
    return at == message.npos ? message : message.substr(at + 15);
  }

  RequestContext asking;
  Nobody nobody;
  std::string node_uid;
  api::Pod mine;
};

using enum Operation;

}  // namespace

TEST_CASE("only nodes are restricted") {
  World world;
  world.asking.user = {"system:node:n1", "", {}, {}};
  CHECK(world.ask<api::Node>({Delete, "n2"}) == "");
  world.asking.user = {"jane", "", {"system:nodes"}, {}};
  CHECK(world.ask<api::Node>({Delete, "n2"}) == "");
  world.asking.user = {"system:node:", "", {"system:nodes"}, {}};
  CHECK(world.ask<api::Node>({Delete, "n2"}) == R"(could not determine node from user "system:node:")");
}

TEST_CASE("a node writes itself, but neither taints nor labels of others") {
  World world;
  auto labelled = [](const std::string& label) {
    return R"({"metadata":{"name":"n1","labels":{")" + label + R"(":"x"}}})";
  };
  struct Row {
    const char* label;
    bool allowed;
  };
  const Row rows[] = {{"mine", true},
                      {"example.com/x", true},
                      {"kubernetes.io/hostname", true},
                      {"topology.kubernetes.io/zone", true},
                      {"kubelet.kubernetes.io/x", true},
                      {"sub.node.kubernetes.io/x", true},
                      {"node-restriction.kubernetes.io/x", false},
                      {"a.node-restriction.kubernetes.io/x", false},
                      {"kubernetes.io/role", false},
                      {"node-role.kubernetes.io/master", false},
                      {"x.k8s.io/y", false},
                      {"notkubernetes.io/y", true}};
  for (const Row& row : rows) {
    std::string label = row.label;
    INFO(label);
    CHECK(world.ask<api::Node>({Create, ""}, labelled(label)) ==
          (row.allowed ? "" : R"(node "n1" is not allowed to set the following labels: )" + label));
    std::string changed = row.allowed ? "" : "is not allowed to modify labels: " + label;
    CHECK(world.ask<api::Node>({Update, "n1"}, labelled(label), R"({"metadata":{"name":"n1"}})") == changed);
    CHECK(world.ask<api::Node>({Update, "n1"}, R"({"metadata":{"name":"n1"}})", labelled(label)) == changed);
    CHECK(world.ask<api::Node>({Update, "n1"}, labelled(label), labelled(label)) == "");
  }
  const std::string plain = R"({"metadata":{"name":"n1"}})";
  CHECK(world.ask<api::Node>({Update, "n1"}, R"({"metadata":{"name":"n1"},"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}})",
                             plain) == R"(node "n1" is not allowed to modify taints)");
  CHECK(world.ask<api::Node>({Update, "n1"},
                             R"({"metadata":{"name":"n1","ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"x","uid":"1"}]}})",
                             plain) == R"(node "n1" is not allowed to modify ownerReferences)");
  CHECK(world.ask<api::Node>({Update, "n2"}, R"({"metadata":{"name":"n2"}})", R"({"metadata":{"name":"n2"}})") ==
        R"(node "n1" is not allowed to modify node "n2")");
  CHECK(world.ask<api::Node>({Create, ""}, R"({"metadata":{"name":"n2"}})") ==
        R"(node "n1" is not allowed to modify node "n2")");
  CHECK(world.ask<api::Node>({Delete, "n2"}) == R"(node "n1" is not allowed to modify node "n2")");
}

TEST_CASE("a node creates mirror pods of its own alone") {
  World world;
  auto pod = [&](const std::string& owners, const std::string& spec = "", const std::string& node = "n1") {
    return R"({"metadata":{"name":"m","annotations":{"kubernetes.io/config.mirror":"x"},"ownerReferences":[)" + owners +
           R"(]},"spec":{"nodeName":")" + node + "\"" + spec + "}}";
  };
  auto owner = [&](const std::string& uid, const std::string& more) {
    return R"({"apiVersion":"v1","kind":"Node","name":"n1","uid":")" + uid + "\"" + more + "}";
  };
  const std::string good = owner(world.node_uid, R"(,"controller":true)");
  auto env = [](const std::string& source) { return R"(,"containers":[{"name":"c","envFrom":[{)" + source + "}]}]"; };
  auto volume = [](const std::string& source) { return R"(,"volumes":[{"name":"v",)" + source + "}]"; };
  struct Row {
    std::string object, why;
  };
  const std::string only = R"(node "n1" can only create pods with )", no = R"(node "n1" can not create pods that reference )";
  const Row rows[] = {
      {pod(good), ""},
      {R"({"spec":{"nodeName":"n1"}})",
       R"(pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods)"},
      {pod(good, "", "n2"), only + "spec.nodeName set to itself"},
      {pod(""), only + "an owner reference set to itself"},
      {pod(good + "," + good), only + "a single owner reference set to itself"},
      {pod(R"({"apiVersion":"v1","kind":"Node","name":"n2","uid":"1","controller":true})"), only + "an owner reference set to itself"},
      {pod(owner(world.node_uid, "")), only + "a controller owner reference set to itself"},
      {pod(owner(world.node_uid, R"(,"controller":true,"blockOwnerDeletion":true)")),
       R"(node "n1" must not set blockOwnerDeletion on an owner reference)"},
      {pod(owner("old", R"(,"controller":true)")), "node n1 UID mismatch: expected old got " + world.node_uid},
      {pod(good, R"(,"serviceAccountName":"default")"), no + "a service account"},
      {pod(good, R"(,"imagePullSecrets":[{"name":"s"}])"), no + "secrets"},
      {pod(good, env(R"("secretRef":{"name":"s"})")), no + "secrets"},
      {pod(good, volume(R"("secret":{"secretName":"s"})")), no + "secrets"},
      {pod(good, volume(R"("projected":{"sources":[{"secret":{"name":"s"}}]})")), no + "secrets"},
      {pod(good, env(R"("configMapRef":{"name":"s"})")), no + "configmaps"},
      {pod(good, volume(R"("configMap":{"name":"s"})")), no + "configmaps"},
      {pod(good, volume(R"("persistentVolumeClaim":{"claimName":"s"})")), no + "persistentvolumeclaims"},
      {pod(good, volume(R"("emptyDir":{})")), ""},
      {pod(good, R"(,"resourceClaims":[{"name":"r"}])"), no + "resourceclaims"}};
  for (const Row& row : rows) {
    INFO(row.object);
    CHECK(world.ask<api::Pod>({Create, "", "", "default"}, row.object) == row.why);
  }
}

TEST_CASE("a node ends and reports only pods that run on it") {
  World world;
  const std::string mine = api::to_json(world.mine);
  api::Pod changed = world.mine;
  changed.metadata.labels["a"] = "b";
  api::Pod other = world.mine;
  other.spec.nodeName = "n2";
  CHECK(world.ask<api::Pod>({Delete, "mine", "", "default"}) == "");
  CHECK(world.ask<api::Pod>({Delete, "theirs", "", "default"}) ==
        R"(node "n1" can only delete pods with spec.nodeName set to itself)");
  CHECK(world.ask<api::Pod>({Delete, "none", "", "default"}) == R"(pods "none" not found)");
  CHECK(world.ask<api::Pod>({Update, "mine", "", "default"}, mine, mine) ==
        R"(unexpected operation "UPDATE", node "n1" can only create and delete mirror pods)");
  CHECK(world.ask<api::Pod>({Update, "mine", "status", "default"}, mine, mine) == "");
  CHECK(world.ask<api::Pod>({Update, "mine", "status", "default"}, api::to_json(changed), mine) ==
        R"(node "n1" cannot update labels through pod status)");
  CHECK(world.ask<api::Pod>({Update, "mine", "status", "default"}, mine, api::to_json(other)) ==
        R"(node "n1" can only update pod status for pods with spec.nodeName set to itself)");
  CHECK(world.ask<api::Pod, api::Eviction>({Create, "mine", "eviction", "default"}, "{}") == "");
  CHECK(world.ask<api::Pod, api::Eviction>({Create, "theirs", "eviction", "default"}, "{}") ==
        "node n1 can only evict pods with spec.nodeName set to itself");
  CHECK(world.ask<api::Pod>({Connect, "mine", "exec", "default"}) ==
        R"(unexpected pod subresource "exec", only 'status' and 'eviction' are allowed)");
}

TEST_CASE("a node takes tokens of its pods, for audiences that they ask for") {
  World world;
  auto request = [&](const std::string& bound, const std::string& audiences = "") {
    return R"({"spec":{"audiences":[)" + audiences + R"(],"boundObjectRef":)" + bound + "}}";
  };
  auto pod = [](const std::string& name, const std::string& uid) {
    return R"({"apiVersion":"v1","kind":"Pod","name":")" + name + R"(","uid":")" + uid + R"("})";
  };
  const std::string uid = world.mine.metadata.uid, theirs = world.get<api::Pod>("theirs")->metadata.uid;
  struct Row {
    std::string object, why;
  };
  const Row rows[] = {
      {request(pod("mine", uid)), ""},
      {request(pod("mine", uid), "\"vault\""), ""},
      {request(pod("mine", uid), "\"bank\""), R"(audience "bank" not found in pod spec volume)"},
      {request(pod("mine", uid), "\"vault\",\"bank\""), "node may only request 0 or 1 audiences"},
      {request("null"), "node requested token not bound to a pod"},
      {request(R"({"apiVersion":"v1","kind":"Secret","name":"x","uid":"1"})"), "node requested token not bound to a pod"},
      {request(pod("mine", "")), "node requested token with a pod binding without a uid"},
      {request(pod("mine", "old")),
       "the UID in the bound object reference (old) does not match the UID in record. The object might have been "
       "deleted and then recreated"},
      {request(pod("theirs", theirs)), "node requested token bound to a pod scheduled on a different node"},
      {request(pod("none", "1")), R"(pods "none" not found)"}};
  for (const Row& row : rows) {
    INFO(row.object);
    CHECK(world.ask<api::ServiceAccount, api::TokenRequest>({Create, "default", "token", "default"}, row.object) == row.why);
  }
}

TEST_CASE("leases, CSINodes, slices and claims") {
  World world;
  constexpr char kLease[] = "can only access node lease with the same name as the requesting node";
  auto named = [](const std::string& name) { return R"({"metadata":{"name":")" + name + R"("}})"; };
  CHECK(world.ask<api::Lease>({Create, "", "", "kube-node-lease"}, named("n1")) == "");
  CHECK(world.ask<api::Lease>({Create, "", "", "kube-node-lease"}, named("n2")) == kLease);
  CHECK(world.ask<api::Lease>({Update, "n2", "", "kube-node-lease"}, named("n2"), named("n2")) == kLease);
  CHECK(world.ask<api::Lease>({Update, "n1", "", "default"}, named("n1"), named("n1")) ==
        R"(can only access leases in the "kube-node-lease" system namespace)");
  CHECK(world.ask<api::CSINode>({Create, ""}, named("n1")) == "");
  CHECK(world.ask<api::CSINode>({Delete, "n2"}) == "can only access CSINode with the same name as the requesting node");
  const std::string own = R"({"spec":{"nodeName":"n1"}})", other = R"({"spec":{"nodeName":"n2"}})";
  CHECK(world.ask<api::ResourceSlice>({Create, ""}, own) == "");
  CHECK(world.ask<api::ResourceSlice>({Create, ""}, other) ==
        "can only create ResourceSlice with the same NodeName as the requesting node");
  CHECK(world.ask<api::ResourceSlice>({Delete, "s"}, "", other) ==
        "can only delete ResourceSlice with the same NodeName as the requesting node");
  const std::string claim = R"({"metadata":{"name":"c","resourceVersion":"1"},"status":{"capacity":{"storage":"1Gi"}}})";
  CHECK(world.ask<api::PersistentVolumeClaim>({Update, "c", "status", "default"},
                                              R"({"metadata":{"name":"c"},"status":{"capacity":{"storage":"2Gi"}}})", claim) == "");
  CHECK(world.ask<api::PersistentVolumeClaim>({Update, "c", "status", "default"},
                                              R"({"metadata":{"name":"c"},"status":{"phase":"Lost"}})", claim) ==
        R"(node "n1" is not allowed to update fields other than status.quantity and status.conditions)");
  CHECK(world.ask<api::PersistentVolumeClaim>({Delete, "c", "", "default"}) == "may only update PVC status");
}
