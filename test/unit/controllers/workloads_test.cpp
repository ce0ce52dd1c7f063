// ReplicaSets and Deployments against a registry in memory.

#include "support.hpp"

using namespace skiff;
using test::ControlledCluster;

namespace {

std::string deployment(const std::string& image, int replicas, const std::string& more = "") {
  return R"({"metadata":{"name":"web"},"spec":{"replicas":)" + std::to_string(replicas) + more +
         R"(,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
         "spec":{"containers":[{"name":"c","image":")" +
         image + R"("}]}}}})";
}

std::string condition(const api::Deployment& deployment, const std::string& type) {
  for (const auto& one : deployment.status.conditions)
    if (one.type == type) return one.status + " " + one.reason + " " + one.message;
  return "";
}

bool rolled_out(ControlledCluster<>& cluster, int replicas) {
  return cluster.wait_for([&] {
    auto now = cluster.get<api::Deployment>("web");
    return now->status.observedGeneration == now->metadata.generation &&
           now->status.updatedReplicas == replicas && now->status.availableReplicas == replicas &&
           now->status.replicas == replicas &&
           condition(*now, "Progressing").find("NewReplicaSetAvailable") != std::string::npos;
  });
}

void set_image(ControlledCluster<>& cluster, const std::string& image) {
  REQUIRE(cluster.client
              .update_with_retry<api::Deployment>({"default", "web"},
                                                  [&](api::Deployment& next) {
                                                    next.spec.template_.spec.containers[0].image = image;
                                                    return true;
                                                  })
              .ok());
}

}  // namespace

TEST_CASE("a deployment is rolled out, scaled, updated and rolled back") {
  ControlledCluster<> cluster;
  cluster.create<api::Deployment>(deployment("a:1", 3));
  REQUIRE(rolled_out(cluster, 3));
  auto sets = cluster.list<api::ReplicaSet>();
  REQUIRE(sets.size() == 1);
  const std::string first = sets[0]->metadata.name;
  CHECK(first == "web-" + sets[0]->metadata.labels.at("pod-template-hash"));
  CHECK(sets[0]->metadata.annotations.at("deployment.kubernetes.io/desired-replicas") == "3");
  CHECK(sets[0]->metadata.annotations.at("deployment.kubernetes.io/max-replicas") == "4");
  auto web = cluster.get<api::Deployment>("web");
  CHECK(web->metadata.annotations.at("deployment.kubernetes.io/revision") == "1");
  CHECK(condition(*web, "Available") == "True MinimumReplicasAvailable Deployment has minimum availability.");
  CHECK(condition(*web, "Progressing") ==
        "True NewReplicaSetAvailable ReplicaSet \"" + first + "\" has successfully progressed.");
  CHECK(cluster.wait_for([&] {
    return cluster.has_event("ScalingReplicaSet", "Scaled up replica set " + first + " from 0 to 3");
  }));

  REQUIRE(cluster.client
              .patch(api::kind_of<api::Deployment>(), {"default", "web"}, client::PatchType::Merge,
                     R"({"spec":{"replicas":10}})", "scale")
              .ok());
  REQUIRE(rolled_out(cluster, 10));
  CHECK(cluster.list<api::Pod>("app=web").size() == 10);

  set_image(cluster, "a:2");
  REQUIRE(rolled_out(cluster, 10));
  CHECK(cluster.get<api::Deployment>("web")->metadata.annotations.at("deployment.kubernetes.io/revision") ==
        "2");
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>("app=web").size() == 10; }));
  for (const auto& pod : cluster.list<api::Pod>("app=web")) CHECK(pod->spec.containers[0].image == "a:2");
  CHECK(cluster.get<api::ReplicaSet>(first)->status.replicas == 0);

  set_image(cluster, "a:1");
  REQUIRE(rolled_out(cluster, 10));
  auto back = cluster.get<api::ReplicaSet>(first);
  CHECK(back->spec.replicas == 10);
  CHECK(back->metadata.annotations.at("deployment.kubernetes.io/revision") == "3");
  CHECK(back->metadata.annotations.at("deployment.kubernetes.io/revision-history") == "1");
  CHECK(cluster.list<api::ReplicaSet>().size() == 2);
}

TEST_CASE("Recreate stops the old pods before the new ones come") {
  ControlledCluster<> cluster;
  cluster.create<api::Deployment>(deployment("a:1", 2, R"(,"strategy":{"type":"Recreate"})"));
  REQUIRE(rolled_out(cluster, 2));
  bool mixed = false;
  set_image(cluster, "a:2");
  REQUIRE(cluster.wait_for([&] {
    std::set<std::string> images;
    for (const auto& pod : cluster.list<api::Pod>("app=web")) images.insert(pod->spec.containers[0].image);
    mixed |= images.size() > 1;
    return images == std::set<std::string>{"a:2"};
  }));
  CHECK(rolled_out(cluster, 2));
  CHECK_FALSE(mixed);
}

TEST_CASE("a paused deployment scales but does not roll") {
  ControlledCluster<> cluster;
  cluster.create<api::Deployment>(deployment("a:1", 2));
  REQUIRE(rolled_out(cluster, 2));
  REQUIRE(cluster.client
              .update_with_retry<api::Deployment>({"default", "web"},
                                                  [&](api::Deployment& next) {
                                                    next.spec.paused = true;
                                                    next.spec.replicas = 3;
                                                    next.spec.template_.spec.containers[0].image = "a:2";
                                                    return true;
                                                  })
              .ok());
  REQUIRE(
      cluster.wait_for([&] { return cluster.get<api::Deployment>("web")->status.availableReplicas == 3; }));
  CHECK(cluster.list<api::ReplicaSet>().size() == 1);
  CHECK(cluster.wait_for([&] {
    return condition(*cluster.get<api::Deployment>("web"), "Progressing") ==
           "Unknown DeploymentPaused Deployment is paused";
  }));
}

TEST_CASE("a rollout that does not progress says so after its deadline") {
  ControlledCluster<test::FakeClock> cluster;
  api::Deployment stuck =
      api::from_json<api::Deployment>(deployment("a:1", 1, R"(,"progressDeadlineSeconds":60)")).value();
  stuck.spec.template_.metadata.labels["kubelet"] = "none";
  REQUIRE(cluster.client.create(stuck).ok());
  REQUIRE(
      cluster.wait_for([&] { return cluster.get<api::Deployment>("web")->status.unavailableReplicas == 1; }));
  CHECK(condition(*cluster.get<api::Deployment>("web"), "Available") ==
        "False MinimumReplicasUnavailable Deployment does not have minimum availability.");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::Deployment>("web")->status.replicas == 1; }));
  cluster.clock.wait_for_waiters(1);
  cluster.clock.advance(62s);
  CHECK(cluster.wait_for([&] {
    return condition(*cluster.get<api::Deployment>("web"), "Progressing") ==
           "False ProgressDeadlineExceeded ReplicaSet \"" +
               cluster.list<api::ReplicaSet>()[0]->metadata.name + "\" has timed out progressing.";
  }));
}

TEST_CASE("old sets beyond the history limit go") {
  ControlledCluster<> cluster;
  cluster.create<api::Deployment>(deployment("a:1", 1, R"(,"revisionHistoryLimit":1)"));
  REQUIRE(rolled_out(cluster, 1));
  for (const char* image : {"a:2", "a:3", "a:4"}) {
    set_image(cluster, image);
    REQUIRE(rolled_out(cluster, 1));
  }
  CHECK(cluster.wait_for([&] { return cluster.list<api::ReplicaSet>().size() == 2; }));
}

TEST_CASE("a replica set heals, adopts and releases") {
  ControlledCluster<> cluster;
  api::Pod orphan =
      api::from_json<api::Pod>(
          R"({"metadata":{"name":"orphan","labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"a"}]}})")
          .value();
  REQUIRE(cluster.client.create(orphan).ok());
  cluster.create<api::ReplicaSet>(
      R"({"metadata":{"name":"x"},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":
      {"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"a"}]}}}})");
  auto ready = [&] { return cluster.get<api::ReplicaSet>("x")->status.readyReplicas == 3; };
  REQUIRE(cluster.wait_for(ready));
  REQUIRE(cluster.list<api::Pod>("app=x").size() == 3);
  CHECK(cluster.get<api::Pod>("orphan")->metadata.ownerReferences.at(0).name == "x");

  REQUIRE(cluster.client.remove<api::Pod>({"default", "orphan"}).ok());
  REQUIRE(cluster.wait_for([&] { return cluster.list<api::Pod>("app=x").size() == 3 && ready(); }));

  const std::string released = cluster.list<api::Pod>("app=x")[0]->metadata.name;
  REQUIRE(cluster.client
              .update_with_retry<api::Pod>({"default", released},
                                           [](api::Pod& pod) {
                                             pod.metadata.labels["app"] = "y";
                                             return true;
                                           })
              .ok());
  CHECK(cluster.wait_for([&] {
    return cluster.get<api::Pod>(released)->metadata.ownerReferences.empty() &&
           cluster.list<api::Pod>("app=x").size() == 3 && ready();
  }));
  CHECK(cluster.wait_for([&] { return cluster.has_event("SuccessfulCreate", "Created pod: " + released); }));
}

TEST_CASE("a replication controller keeps its pods") {
  ControlledCluster<> cluster;
  cluster.create<api::ReplicationController>(
      R"({"metadata":{"name":"rc"},"spec":{"replicas":2,"selector":{"app":"rc"},"template":{"metadata":
      {"labels":{"app":"rc"}},"spec":{"containers":[{"name":"c","image":"a"}]}}}})");
  CHECK(cluster.wait_for(
      [&] { return cluster.get<api::ReplicationController>("rc")->status.availableReplicas == 2; }));
}

TEST_CASE("pods that are refused are reported in the set and in events") {
  ControlledCluster<> cluster;
  cluster.create<api::ReplicaSet>(
      R"({"metadata":{"name":"x"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":
      {"labels":{"app":"x"}},"spec":{"serviceAccountName":"nobody","containers":[{"name":"c","image":"a"}]}}}})");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::ReplicaSet>("x")->status.conditions.size() == 1; }));
  auto failure = cluster.get<api::ReplicaSet>("x")->status.conditions[0];
  CHECK(failure.type == "ReplicaFailure");
  CHECK(failure.reason == "FailedCreate");
  CHECK(failure.message.find("error looking up service account default/nobody") != std::string::npos);
  CHECK(cluster.wait_for([&] {
    return cluster.has_event("FailedCreate", "Error creating: " + failure.message) ||
           !cluster.list<api::Event>().empty();
  }));
}
