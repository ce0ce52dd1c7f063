// What `skiff why` says of pods in trouble.

#include <catch2/catch.hpp>

#include "api/json.hpp"
#include "cluster/why.hpp"

using namespace skiff;
using namespace skiff::cluster;

namespace {

WhyFacts facts(const std::string& pod) {
  WhyFacts made;
  made.pod = std::make_shared<api::Pod>(api::from_json<api::Pod>(pod).value());
  return made;
}
std::string text(const WhyFacts& given) {
  std::string all;
  for (const std::string& line : why_pod(given)) all += line + "\n";
  return all;
}
bool says(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a pod without a node: what each node says, and what would help") {
  WhyFacts given = facts(R"({"metadata":{"name":"p","namespace":"default"},"status":{"phase":"Pending"}})");
  given.owners = {"ReplicaSet web-1: 0 of 1 ready", "Deployment web: 0 of 1 ready"};
  given.refusal.verdicts = {{"a", "NodeResourcesFit", {"Insufficient cpu"}, false, {}},
                            {"b", "NodeUnschedulable", {"node(s) were unschedulable"}, true, {}}};
  CHECK(text(given) ==
        "Pod default/p is Pending.\n"
        "  owner      ReplicaSet web-1: 0 of 1 ready\n"
        "             Deployment web: 0 of 1 ready\n"
        "  node       none: 0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. no new claims to "
        "deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not "
        "helpful for scheduling.\n"
        "             a: Insufficient cpu (NodeResourcesFit)\n"
        "             b: node(s) were unschedulable (NodeUnschedulable)\n"
        "What would help:\n"
        "  - Insufficient cpu on a: ask for less, remove pods there, or `skiff node add`\n"
        "  - `kubectl uncordon b`\n");
}

TEST_CASE("images, crashes, probes and volumes") {
  WhyFacts given = facts(R"({"metadata":{"name":"p","namespace":"default"},"spec":{"nodeName":"n"},
    "status":{"phase":"Running","containerStatuses":[
      {"name":"web","image":"nginx:9","state":{"waiting":{"reason":"ErrImagePull","message":"not found"}}},
      {"name":"app","restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},
       "lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}},
      {"name":"slow","state":{"running":{}}}]}})");
  api::Event unhealthy;
  unhealthy.involvedObject.name = "p";
  unhealthy.reason = "Unhealthy";
  unhealthy.message = "Readiness probe failed: connection refused";
  given.events.push_back(std::make_shared<api::Event>(unhealthy));
  given.missing_claims = {"data"};
  given.node_ready = false;
  std::string all = text(given);
  for (const char* part :
       {"node       n, which is not Ready", "image      nginx:9: ErrImagePull: not found", "`skiff image load FILE` brings nginx:9",
        "container  app: CrashLoopBackOff", "app ended with 137 (OOMKilled), 3 restarts", "a higher memory limit for container app",
        "probe      slow runs but is not ready", "Readiness probe failed: connection refused",
        "volume     claim data does not exist", "`skiff node start n` or `skiff node resume n`"}) {
    INFO(all);
    CHECK(says(all, part));
  }
}

TEST_CASE("quotas, many nodes, preemption, and pods that cannot end") {
  WhyFacts given = facts(R"({"metadata":{"name":"p","namespace":"default"},"spec":{"schedulerName":"default-scheduler"},
    "status":{"phase":"Pending","nominatedNodeName":"n3"}})");
  for (const char* pod : {"web-1-a", "web-1-b"}) {
    api::Event refused;
    refused.involvedObject.name = "web-1";
    refused.reason = "FailedCreate";
    refused.message = std::string("Error creating: pods \"") + pod + "\" is forbidden: exceeded quota: room, requested: pods=1";
    given.events.push_back(std::make_shared<api::Event>(refused));
  }
  for (int i = 0; i < 1000; ++i)
    given.refusal.verdicts.push_back({"n" + std::to_string(i), "NodeResourcesFit", {"Insufficient cpu"}, false, {}});
  std::string all = text(given);
  INFO(all);
  CHECK(says(all, "quota      web-1: Error creating: pods \"web-1-a\" is forbidden: exceeded quota: room"));
  CHECK_FALSE(says(all, "web-1-b"));
  CHECK(says(all, "`kubectl describe quota`: raise it, or ask for less"));
  CHECK(says(all, "n0, n1, n2 and 997 more: Insufficient cpu (NodeResourcesFit)"));
  CHECK(says(all, "n3 is to be its node as soon as less important pods have left"));
  CHECK(std::count(all.begin(), all.end(), '\n') < 12);

  WhyFacts leaving = facts(R"({"metadata":{"name":"db-0","namespace":"default","deletionTimestamp":"2026-01-01T00:00:00Z"},
    "spec":{"nodeName":"n"},"status":{"phase":"Running"}})");
  leaving.node_ready = false;
  CHECK(says(text(leaving), "its node cannot say that it has stopped"));
  CHECK(says(text(leaving), "`kubectl delete pod db-0 --grace-period=0 --force`"));

  WhyFacts well = facts(R"({"metadata":{"name":"p","namespace":"default"},"spec":{"nodeName":"n"},"status":{"phase":"Running",
    "conditions":[{"type":"Ready","status":"True"}]}})");
  CHECK(says(text(well), "nothing keeps it from its work"));
}
