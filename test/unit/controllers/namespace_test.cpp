// Namespaces, what they are given, and the garbage collector.

#include "support.hpp"

using namespace skiff;
using test::ControlledCluster;

TEST_CASE("every namespace gets its service account and certificate") {
  ControlledCluster<> cluster;
  cluster.create<api::Namespace>(R"({"metadata":{"name":"a"}})");
  auto complete = [&] {
    auto map = cluster.get<api::ConfigMap>("kube-root-ca.crt", "a");
    return cluster.get<api::ServiceAccount>("default", "a") && map && map->data.at("ca.crt") == "PEM";
  };
  REQUIRE(cluster.wait_for(complete));
  REQUIRE(cluster.client.remove<api::ServiceAccount>({"a", "default"}).ok());
  REQUIRE(cluster.client
              .update_with_retry<api::ConfigMap>({"a", "kube-root-ca.crt"},
                                                 [](api::ConfigMap& map) {
                                                   map.data["ca.crt"] = "forged";
                                                   return true;
                                                 })
              .ok());
  CHECK(cluster.wait_for(complete));
}

TEST_CASE("a deleted namespace is emptied, waits for finalizers, and goes") {
  ControlledCluster<> cluster;
  cluster.create<api::Namespace>(R"({"metadata":{"name":"a"}})");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::ServiceAccount>("default", "a") != nullptr; }));
  cluster.create<api::Pod>(
      R"({"metadata":{"name":"p","namespace":"a"},"spec":{"containers":[{"name":"c","image":"a"}]}})");
  cluster.create<api::Secret>(
      R"({"metadata":{"name":"s","namespace":"a","finalizers":["example.com/hold"]}})");
  REQUIRE(cluster.client.remove<api::Namespace>({"", "a"}).ok());
  auto message_of = [&](const std::string& type) {
    std::string message;
    auto ns = cluster.get<api::Namespace>("a");
    if (!ns) return message;
    for (const auto& one : ns->status.conditions)
      if (one.type == type) message = one.message;
    return message;
  };
  REQUIRE(cluster.wait_for([&] {
    return message_of("NamespaceContentRemaining") ==
           "Some resources are remaining: secrets. has 1 resource instances";
  }));
  CHECK(message_of("NamespaceFinalizersRemaining") ==
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances");
  CHECK(cluster.get<api::Namespace>("a")->status.phase == "Terminating");
  REQUIRE(cluster.client
              .update_with_retry<api::Secret>({"a", "s"},
                                              [](api::Secret& secret) {
                                                secret.metadata.finalizers.clear();
                                                return true;
                                              })
              .ok());
  CHECK(cluster.wait_for([&] { return cluster.get<api::Namespace>("a") == nullptr; }));
  CHECK(cluster.list<api::ConfigMap>("", "a").empty());
}

namespace {

const char* const kDeployment =
    R"({"metadata":{"name":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":
    {"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"a"}]}}}})";

void deploy(ControlledCluster<>& cluster) {
  cluster.create<api::Deployment>(kDeployment);
  REQUIRE(
      cluster.wait_for([&] { return cluster.get<api::Deployment>("web")->status.availableReplicas == 2; }));
}

bool all_gone(ControlledCluster<>& cluster) {
  return cluster.wait_for([&] {
    return !cluster.get<api::Deployment>("web") && cluster.list<api::ReplicaSet>().empty() &&
           cluster.list<api::Pod>().empty();
  });
}

}  // namespace

TEST_CASE("dependents follow their owner") {
  ControlledCluster<> cluster;
  deploy(cluster);
  SECTION("in the background") {
    REQUIRE(cluster.client.remove<api::Deployment>({"default", "web"}, {.propagation = "Background"}).ok());
    CHECK(all_gone(cluster));
  }
  SECTION("before it in the foreground") {
    bool early = false;
    REQUIRE(cluster.client.remove<api::Deployment>({"default", "web"}, {.propagation = "Foreground"}).ok());
    CHECK(cluster.wait_for([&] {
      bool gone = !cluster.get<api::Deployment>("web");
      early |= gone && !cluster.list<api::ReplicaSet>().empty();
      return gone;
    }));
    CHECK_FALSE(early);
    CHECK(all_gone(cluster));
  }
  SECTION("not when they are orphaned") {
    REQUIRE(cluster.client.remove<api::Deployment>({"default", "web"}, {.propagation = "Orphan"}).ok());
    CHECK(cluster.wait_for([&] { return !cluster.get<api::Deployment>("web"); }));
    REQUIRE(cluster.list<api::ReplicaSet>().size() == 1);
    CHECK(cluster.list<api::ReplicaSet>()[0]->metadata.ownerReferences.empty());
    CHECK(cluster.list<api::Pod>().size() == 2);
  }
}

TEST_CASE("what is created for an owner that never was goes at once") {
  ControlledCluster<> cluster;
  cluster.create<api::ConfigMap>(R"({"metadata":{"name":"lost","ownerReferences":[{"apiVersion":"apps/v1",
      "kind":"ReplicaSet","name":"ghost","uid":"0-0"}]}})");
  CHECK(cluster.wait_for([&] { return !cluster.get<api::ConfigMap>("lost"); }));
  SECTION("but not that of a kind nobody knows, nor one with another owner left") {
    api::ConfigMap keeper = cluster.create<api::ConfigMap>(R"({"metadata":{"name":"keeper"}})");
    cluster.create<api::ConfigMap>(
        R"({"metadata":{"name":"foreign","ownerReferences":[{"apiVersion":"example.com/v1",
        "kind":"Thing","name":"t","uid":"1-1"}]}})");
    cluster.create<api::ConfigMap>(R"({"metadata":{"name":"shared","ownerReferences":[{"apiVersion":"v1",
        "kind":"ConfigMap","name":"keeper","uid":")" +
                                   keeper.metadata.uid + R"("},{"apiVersion":"v1",
        "kind":"ConfigMap","name":"ghost","uid":"2-2"}]}})");
    CHECK(cluster.wait_for(
        [&] { return cluster.get<api::ConfigMap>("shared")->metadata.ownerReferences.size() == 1; }));
    CHECK(cluster.get<api::ConfigMap>("foreign"));
  }
}
