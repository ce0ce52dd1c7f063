// Filters, scores and the queue without a cluster.

#include "scheduler/filters.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/scores.hpp"
#include "support.hpp"

using namespace skiff;
using namespace skiff::scheduler;
using test::node_json;
using test::pod_json;

namespace {

client::Ref<api::Node> node(const std::string& json) {
  return std::make_shared<api::Node>(api::from_json<api::Node>(json).value());
}
PodInfoRef pod(const std::string& json) {
  return std::make_shared<PodInfo>(std::make_shared<api::Pod>(api::from_json<api::Pod>(json).value()));
}

std::string reasons(const PodInfoRef& the_pod, const ClusterState& cluster) {
  std::string text;
  for (const NodeVerdict& verdict : filter_nodes(*the_pod, cluster))
    for (const std::string& reason : verdict.reasons) text += (text.empty() ? "" : "; ") + reason;
  return text;
}

std::vector<std::string> best(const PodInfoRef& the_pod, const ClusterState& cluster,
                              const std::vector<std::string>& names) {
  NodeStates candidates;
  for (const std::string& name : names) candidates.push_back(cluster.find(name));
  std::vector<std::string> chosen;
  for (const NodeState* one : best_nodes(*the_pod, cluster, Topology(*the_pod, cluster), candidates))
    chosen.push_back(one->node->metadata.name);
  return chosen;
}

struct Row {
  const char* name;
  std::string node;
  std::string pod;
  std::string want;
};

const char* const kTaint = R"("spec":{"taints":[{"key":"a","value":"b","effect":"NoSchedule"}]},)";

}  // namespace

TEST_CASE("filters refuse with kube-scheduler's reasons") {
  const std::string prefers = R"("spec":{"taints":[{"key":"a","effect":"PreferNoSchedule"}]},)";
  auto row = GENERATE_COPY(
      Row{"room", node_json("n"), pod_json("p", R"("cpu":"4","memory":"8Gi")"), ""},
      Row{"cpu and memory", node_json("n"), pod_json("p", R"("cpu":"4100m","memory":"9Gi")"),
          "Insufficient cpu; Insufficient memory"},
      Row{"extended resource", node_json("n"), pod_json("p", R"("example.com/gpu":"1")"),
          "Insufficient example.com/gpu"},
      Row{"cordoned", node_json("n", R"("spec":{"unschedulable":true},)"), pod_json("p"),
          "node(s) were unschedulable"},
      Row{"cordoned, tolerated", node_json("n", R"("spec":{"unschedulable":true},)"),
          pod_json("p", "", R"("tolerations":[{"operator":"Exists"}],)"), ""},
      Row{"taint", node_json("n", kTaint), pod_json("p"), "node(s) had untolerated taint(s)"},
      Row{"taint, preferred only", node_json("n", prefers), pod_json("p"), ""},
      Row{"taint, tolerated", node_json("n", kTaint),
          pod_json("p", "", R"("tolerations":[{"key":"a","operator":"Equal","value":"b"}],)"), ""},
      Row{"taint, other value", node_json("n", kTaint),
          pod_json("p", "", R"("tolerations":[{"key":"a","value":"c"}],)"),
          "node(s) had untolerated taint(s)"},
      Row{"selector", node_json("n"), pod_json("p", "", R"("nodeSelector":{"disk":"ssd"},)"),
          "node(s) didn't match Pod's node affinity/selector"},
      Row{"affinity", node_json("n"),
          pod_json("p", "", R"("affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":
          {"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In",
          "values":["n","m"]}]}]}}},)"),
          ""},
      Row{"affinity by name", node_json("n"),
          pod_json("p", "", R"("affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":
          {"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["m"]}]}]}}},)"),
          "node(s) didn't match Pod's node affinity/selector"},
      Row{"pod affinity without a friend", node_json("n"),
          pod_json("p", "", R"("affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
          {"labelSelector":{"matchLabels":{"app":"x"}},"topologyKey":"kubernetes.io/hostname"}]}},)"),
          "node(s) didn't match pod affinity rules"},
      Row{"spread without the label", node_json("n"),
          pod_json("p", "", R"("topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone",
          "whenUnsatisfiable":"DoNotSchedule","labelSelector":{}}],)"),
          "node(s) didn't match pod topology spread constraints (missing required label)"});
  DYNAMIC_SECTION(row.name) {
    ClusterState cluster;
    cluster.set_node(node(row.node));
    CHECK(reasons(pod(row.pod), cluster) == row.want);
  }
}

TEST_CASE("filters see the pods that are there") {
  ClusterState cluster;
  cluster.set_node(node(node_json("a")));
  cluster.set_node(node(node_json("b")));
  const std::string labels = R"(,"labels":{"app":"x"})";
  PodInfoRef friendly = pod(pod_json("friend", R"("cpu":"3")", "", labels));
  cluster.set_pod(friendly, "a");

  CHECK(reasons(pod(pod_json("p", R"("cpu":"2")")), cluster) == "Insufficient cpu");
  CHECK(reasons(pod(pod_json("p", "", R"("affinity":{"podAntiAffinity":{
      "requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"x"}},
      "topologyKey":"kubernetes.io/hostname"}]}},)")),
                cluster) == "node(s) didn't match pod anti-affinity rules");
  CHECK(reasons(pod(pod_json("p", "", R"("topologySpreadConstraints":[{"maxSkew":1,
      "topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"DoNotSchedule",
      "labelSelector":{"matchLabels":{"app":"x"}}}],)",
                             labels)),
                cluster) == "node(s) didn't match pod topology spread constraints");
  cluster.remove_pod({"", "friend"});
  CHECK(reasons(pod(pod_json("p", R"("cpu":"2")")), cluster) == "");
  CHECK(cluster.node_of({"", "friend"}).empty());
}

TEST_CASE("host ports collide") {
  ClusterState cluster;
  cluster.set_node(node(node_json("n")));
  auto with_port = [](const std::string& name, const std::string& port) {
    return pod(R"({"metadata":{"name":")" + name +
               R"("},"spec":{"containers":[{"name":"c","image":"a","ports":[{)" + port + "}]}]}}");
  };
  cluster.set_pod(with_port("a", R"("containerPort":80,"hostPort":80,"hostIP":"127.0.0.1")"), "n");
  CHECK(reasons(with_port("b", R"("containerPort":80,"hostPort":80)"), cluster) ==
        "node(s) didn't have free ports for the requested pod ports");
  CHECK(reasons(with_port("b", R"("containerPort":80,"hostPort":80,"hostIP":"127.0.0.2")"), cluster) == "");
  CHECK(reasons(with_port("b", R"("containerPort":80,"hostPort":80,"protocol":"UDP")"), cluster) == "");
}

TEST_CASE("the emptier and the preferred node is better") {
  ClusterState cluster;
  cluster.set_node(node(node_json("a")));
  cluster.set_node(node(node_json("b")));
  cluster.set_pod(pod(pod_json("x", R"("cpu":"2","memory":"4Gi")")), "a");
  CHECK(best(pod(pod_json("p")), cluster, {"a", "b"}) == std::vector<std::string>{"b"});
  CHECK(best(pod(pod_json("p")), cluster, {"a"}) == std::vector<std::string>{"a"});
  PodInfoRef choosy = pod(pod_json("p", "", R"("affinity":{"nodeAffinity":{
      "preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"preference":{"matchExpressions":[
      {"key":"kubernetes.io/hostname","operator":"In","values":["a"]}]}}]}},)"));
  CHECK(best(choosy, cluster, {"a", "b"}) == std::vector<std::string>{"a"});
}

TEST_CASE("the queue orders by priority, then by age, and backs off") {
  test::FakeClock clock;
  SchedulingQueue queue(clock);
  PodInfoRef first = pod(pod_json("first")), second = pod(pod_json("second"));
  PodInfoRef urgent = pod(pod_json("urgent", "", R"("priority":10,)"));
  for (const PodInfoRef& one : {first, second, urgent}) queue.put(one, false);
  CHECK(queue.take() == urgent);
  CHECK(queue.take() == first);

  queue.failed(first, {"NodeResourcesFit"});
  CHECK(queue.take() == second);
  CHECK(queue.take() == nullptr);
  CHECK(queue.next_due() == clock.now() + 5min);
  queue.cluster_changed({ClusterChange::What::PodThere});  // it cares for none
  CHECK(queue.unschedulable() == 1);
  queue.cluster_changed({ClusterChange::What::PodGone});
  CHECK(queue.unschedulable() == 0);
  CHECK(queue.take() == nullptr);
  CHECK(queue.next_due() == clock.now() + 1s);
  clock.advance(1s);
  CHECK(queue.take() == first);
  queue.retry_later(first);
  CHECK(queue.next_due() == clock.now() + 2s);
  queue.remove({"", "first"});
  CHECK_FALSE(queue.next_due());
}

TEST_CASE("a pod is only tried again after a change that may help it") {
  test::FakeClock clock;
  ClusterState cluster;
  cluster.set_node(node(node_json("tainted", kTaint)));
  cluster.set_node(node(node_json("small", "", 1)));
  cluster.set_node(node(node_json("large", "", 8)));
  const client::ObjectKey claim{"", "data"}, other{"", "other"};
  using What = ClusterChange::What;
  struct Hint {
    const char* name;
    std::set<std::string> failed_by;
    ClusterChange change;
    bool want;
  };
  const std::vector<Hint> hints = {
      Hint{"a node that it does not tolerate", {"NodeResourcesFit"}, {What::Node, cluster.find("tainted")}, false},
      Hint{"a node that is too small", {"NodeResourcesFit"}, {What::Node, cluster.find("small")}, false},
      Hint{"a node that may do", {"TaintToleration"}, {What::Node, cluster.find("large")}, true},
      Hint{"room, where taints were the reason", {"TaintToleration"}, {What::PodGone}, false},
      Hint{"room", {"TaintToleration", "NodeResourcesFit"}, {What::PodGone}, true},
      Hint{"its claim", {"VolumeBinding"}, {What::Volumes, nullptr, &claim}, true},
      Hint{"a stranger's claim", {"VolumeBinding"}, {What::Volumes, nullptr, &other}, false},
      Hint{"a claim, where room was the reason", {"NodeResourcesFit"}, {What::Volumes, nullptr, &claim}, false},
      Hint{"a domain for its spreading", {"PodTopologySpread"}, {What::Node, cluster.find("tainted")}, true}};
  for (const Hint& row : hints) DYNAMIC_SECTION(row.name) {
    SchedulingQueue queue(clock);
    queue.put(pod(pod_json("p", R"("cpu":"2")",
                           R"("volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}}],)")),
              false);
    queue.failed(queue.take(), row.failed_by);
    queue.cluster_changed(row.change);
    CHECK((queue.unschedulable() == 0) == row.want);
    clock.advance(5min);
    CHECK(queue.take() != nullptr);  // in the end it is tried anyway
  }
}

TEST_CASE("namespaces are selected by their labels, and images attract") {
  ClusterState cluster;
  const std::string with_image = R"(,"images":[{"names":["big:1"],"sizeBytes":900000000}])";
  std::string a = node_json("a");
  a.insert(a.size() - 2, with_image);
  cluster.set_node(node(a));
  cluster.set_node(node(node_json("b")));
  PodInfoRef wants_image = pod(R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"big:1"}]}})");
  CHECK(best(wants_image, cluster, {"a", "b"}) == std::vector<std::string>{"a"});

  cluster.set_namespace("team", {{"kind", "dev"}});
  cluster.set_namespace("other", {{"kind", "prod"}});
  auto in = [](const char* namespace_, const char* name) {
    return pod(R"({"metadata":{"name":")" + std::string(name) + R"(","namespace":")" + namespace_ +
               R"(","labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"a"}]}})");
  };
  cluster.set_pod(in("team", "t"), "a");
  cluster.set_pod(in("other", "o"), "b");
  PodInfoRef near = pod(pod_json("p", "", R"("affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
    {"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app":"x"}},
     "namespaceSelector":{"matchLabels":{"kind":"dev"}}}]}},)"));
  std::vector<NodeVerdict> verdicts = filter_nodes(*near, cluster);
  CHECK(verdicts[0].reasons.empty());
  CHECK(verdicts[1].reasons == std::vector<std::string>{"node(s) didn't match pod affinity rules"});
}

TEST_CASE("profiles fill nodes their own way") {
  ClusterState cluster;
  for (const char* name : {"a", "b"}) cluster.set_node(node(node_json(name)));
  cluster.set_pod(pod(pod_json("there", R"("cpu":"1","memory":"2Gi")")), "a");
  PodInfoRef p = pod(pod_json("p", R"("cpu":"1","memory":"2Gi")"));
  const NodeStates both = {cluster.find("a"), cluster.find("b")};
  const Topology topology(*p, cluster);
  CHECK(best_nodes(*p, cluster, topology, both) == NodeStates{cluster.find("b")});
  CHECK(best_nodes(*p, cluster, topology, both, Packing::MostAllocated) == NodeStates{cluster.find("a")});
  auto profiles = parse_profiles("packed=MostAllocated,other=LeastAllocated");
  REQUIRE(profiles.ok());
  REQUIRE(profiles.value().size() == 3);
  CHECK(profiles.value()[0].name == "default-scheduler");
  CHECK(profiles.value()[1].packing == Packing::MostAllocated);
  CHECK(parse_profiles("packed").error().message().find("want NAME=MostAllocated") != std::string::npos);
}

TEST_CASE("spreading over domains counts those that do not exist yet and honours policies") {
  ClusterState cluster;
  auto zoned = [](const std::string& name, const std::string& zone, const std::string& more = "") {
    return node(R"({"metadata":{"name":")" + name + R"(","labels":{"zone":")" + zone + R"("}},)" + more +
                R"("status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"}}})");
  };
  cluster.set_node(zoned("a", "z1"));
  cluster.set_node(zoned("b", "z2", kTaint));
  const std::string labels = R"(,"labels":{"app":"x"})";
  cluster.set_pod(pod(pod_json("there", "", "", labels)), "a");
  auto spread = [&](const std::string& more) {
    return pod(pod_json("p", "", R"("topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule",
      "labelSelector":{"matchLabels":{"app":"x"}})" + more + "}],", labels));
  };
  const std::string skewed = "node(s) didn't match pod topology spread constraints", taint = "node(s) had untolerated taint(s)";
  // z2 counts as an empty domain although its node is tainted, unless taints are honoured.
  CHECK(reasons(spread(""), cluster) == skewed + "; " + taint);
  CHECK(reasons(spread(R"(,"nodeTaintsPolicy":"Honor")"), cluster) == taint);
  // With three domains wanted and two there, the least is nothing.
  CHECK(reasons(spread(R"(,"nodeTaintsPolicy":"Honor","minDomains":3)"), cluster) == skewed + "; " + taint);
}
