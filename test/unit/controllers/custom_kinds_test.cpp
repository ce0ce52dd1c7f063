// Custom resources as the namespace controller and the garbage collector see them.

#include "api/custom_object.hpp"
#include "api/gen/apiextensions.hpp"
#include "registry/custom_resources.hpp"
#include "support.hpp"

using namespace skiff;
using test::ControlledCluster;
using Crd = api::CustomResourceDefinition;

namespace {

// Of real time: what is tried again after a failure waits a little first.
struct CustomCluster : ControlledCluster<SystemClock> {
  CustomCluster() {
    REQUIRE(custom.start().ok());
    create<Crd>(R"({"metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com","scope":"Namespaced",)"
                R"("names":{"plural":"widgets","kind":"Widget"},"versions":[{"name":"v1","served":true,"storage":true,)"
                R"("schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object"}}}}}]}})");
    REQUIRE(wait_for([&] {
      auto crd = get<Crd>("widgets.example.com");
      return crd && registry::is_condition_true(*crd, "Established");
    }));
  }
  ~CustomCluster() { custom.stop(); }

  client::AnyRef widget(const std::string& ns, const std::string& name) {
    auto object = std::make_shared<api::CustomObject>();
    object->metadata.namespace_ = ns;
    object->metadata.name = name;
    return client.create(client::AnyRef(*kind(), std::move(object))).value();
  }
  const api::KindInfo* kind() { return client.find_kind("example.com/v1", "Widget"); }

  registry::CustomResources custom{registry, clock, random, nullptr};
};

}  // namespace

TEST_CASE("what a custom object owns goes with it") {
  CustomCluster cluster;
  client::AnyRef owner = cluster.widget("default", "owner");
  cluster.create<api::ConfigMap>(fmt::format(
      R"({{"metadata":{{"name":"owned","namespace":"default","ownerReferences":[{{"apiVersion":"example.com/v1",)"
      R"("kind":"Widget","name":"owner","uid":"{}"}}]}}}})",
      owner.metadata().uid));
  REQUIRE(cluster.client.remove(*cluster.kind(), {"default", "owner"}, {}).ok());
  CHECK(cluster.wait_for([&] { return cluster.get<api::ConfigMap>("owned") == nullptr; }));
}

TEST_CASE("a namespace is emptied of custom objects too") {
  CustomCluster cluster;
  cluster.create<api::Namespace>(R"({"metadata":{"name":"b"}})");
  cluster.widget("b", "one");
  REQUIRE(cluster.client.remove<api::Namespace>({"", "b"}).ok());
  CHECK(cluster.wait_for([&] { return cluster.get<api::Namespace>("b") == nullptr; }));
  CHECK(cluster.client.list(*cluster.kind(), {}).value().items.empty());
}
