// Endpoints and EndpointSlices against a registry in memory, and how slices are laid out.

#include "controllers/slice_plan.hpp"
#include "support.hpp"

using namespace skiff;
using test::ControlledCluster;

namespace {

std::string pod(const std::string& name) {
  return R"({"metadata":{"name":")" + name + R"(","labels":{"app":"web"}},"spec":{"containers":[{"name":"c",
      "image":"a","ports":[{"name":"http","containerPort":8080}]}]}})";
}
const char* const kService = R"({"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},
    "ports":[{"name":"web","port":80,"targetPort":"http"}]}})";

client::Ref<api::EndpointSlice> slice_of(ControlledCluster<>& cluster) {
  auto slices = cluster.list<api::EndpointSlice>("kubernetes.io/service-name=web");
  return slices.size() == 1 ? slices[0] : nullptr;
}

}  // namespace

TEST_CASE("a service's endpoints follow its pods") {
  ControlledCluster<> cluster;
  cluster.create<api::Service>(kService);
  REQUIRE(cluster.wait_for([&] { return slice_of(cluster) && cluster.get<api::Endpoints>("web"); }));
  CHECK(slice_of(cluster)->endpoints.empty());
  const std::string name = slice_of(cluster)->metadata.name;
  CHECK(slice_of(cluster)->metadata.labels.at("endpointslice.kubernetes.io/managed-by") ==
        "endpointslice-controller.k8s.io");
  CHECK(slice_of(cluster)->metadata.ownerReferences.at(0).kind == "Service");

  cluster.create<api::Pod>(pod("a"));
  REQUIRE(cluster.wait_for([&] {
    auto slice = slice_of(cluster);
    return slice && slice->endpoints.size() == 1 && *slice->endpoints[0].conditions->ready;
  }));
  auto slice = slice_of(cluster);
  CHECK(slice->metadata.name == name);
  CHECK(slice->addressType == "IPv4");
  CHECK(slice->ports.at(0).port == 8080);
  CHECK(slice->ports.at(0).name == "web");
  CHECK(slice->endpoints[0].targetRef->name == "a");
  REQUIRE(cluster.wait_for([&] { return cluster.get<api::Endpoints>("web")->subsets.size() == 1; }));
  REQUIRE(
      cluster.wait_for([&] { return cluster.get<api::Endpoints>("web")->subsets[0].addresses.size() == 1; }));

  cluster.make_ready("a", false);
  REQUIRE(cluster.wait_for([&] { return !*slice_of(cluster)->endpoints.at(0).conditions->ready; }));
  CHECK(cluster.wait_for([&] {
    auto subsets = cluster.get<api::Endpoints>("web")->subsets;
    return subsets.size() == 1 && subsets[0].addresses.empty() && subsets[0].notReadyAddresses.size() == 1;
  }));

  REQUIRE(cluster.client.remove<api::Pod>({"default", "a"}).ok());
  CHECK(cluster.wait_for([&] { return slice_of(cluster) && slice_of(cluster)->endpoints.empty(); }));
  REQUIRE(cluster.client.remove<api::Service>({"default", "web"}).ok());
  CHECK(cluster.wait_for([&] { return !cluster.get<api::Endpoints>("web") && !slice_of(cluster); }));
}

TEST_CASE("endpoints of users are mirrored") {
  ControlledCluster<> cluster;
  cluster.create<api::Service>(R"({"metadata":{"name":"web"},"spec":{"ports":[{"port":80}]}})");
  cluster.create<api::Endpoints>(R"({"metadata":{"name":"web"},"subsets":[{"addresses":[{"ip":"192.0.2.1"}],
      "ports":[{"port":9000}]}]})");
  REQUIRE(cluster.wait_for([&] { return slice_of(cluster) != nullptr; }));
  auto slice = slice_of(cluster);
  CHECK(slice->endpoints.at(0).addresses == std::vector<std::string>{"192.0.2.1"});
  CHECK(slice->metadata.labels.at("endpointslice.kubernetes.io/managed-by") ==
        "endpointslicemirroring-controller.k8s.io");
  REQUIRE(cluster.client.remove<api::Endpoints>({"default", "web"}).ok());
  CHECK(cluster.wait_for([&] { return !slice_of(cluster); }));
}

TEST_CASE("endpoints stay in the slice they are in") {
  using namespace controllers;
  auto endpoint = [](int i) {
    api::Endpoint one;
    one.addresses = {"10.0.0." + std::to_string(i)};
    return one;
  };
  auto group = [&](int from, int to) {
    EndpointGroups groups;
    for (int i = from; i < to; ++i) groups.add({}, endpoint(i));
    return groups.take();
  };
  auto stored = [](const SlicePlan& plan) {
    std::vector<Slice> slices;
    for (const api::EndpointSlice& slice : plan.create)
      slices.push_back(std::make_shared<api::EndpointSlice>(slice));
    return slices;
  };
  api::EndpointSlice model;
  model.addressType = "IPv4";
  SlicePlan first = plan_slices(model, group(0, 250), {});
  REQUIRE(first.create.size() == 3);
  CHECK(first.create[0].endpoints.size() == 100);
  CHECK(first.create[2].endpoints.size() == 50);
  std::vector<Slice> slices = stored(first);

  SlicePlan same = plan_slices(model, group(0, 250), slices);
  CHECK(same.create.size() + same.update.size() + same.remove.size() == 0);
  SlicePlan one_more = plan_slices(model, group(0, 251), slices);
  CHECK(one_more.update.size() == 1);
  CHECK(one_more.create.size() + one_more.remove.size() == 0);
  SlicePlan none = plan_slices(model, {}, slices);
  CHECK(none.update.size() == 1);  // the one that says that there is nothing
  CHECK(none.remove.size() == 2);
}
