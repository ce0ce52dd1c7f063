#include "registry/registry.hpp"

#include <catch2/catch.hpp>

#include <thread>

#include "api/gen/apps.hpp"
#include "api/gen/core.hpp"
#include "api/gen/pod.hpp"
#include "api/gen/service.hpp"
#include "support/fake_clock.hpp"

using namespace skiff;
using namespace skiff::registry;
using client::ObjectKey;

namespace {

// A registry over a store in memory, with the namespace and service account that pods need.
struct Cluster {
  test::FakeClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  Registry registry{*store, clock, random};
  client::Client& client = registry.local_client();

  Cluster() {
    api::Namespace ns;
    ns.metadata.name = "default";
    REQUIRE(client.create(ns).ok());
    api::ServiceAccount account;
    account.metadata.name = "default";
    REQUIRE(client.create(account).ok());
  }

  template <class T>
  Result<Object> create(const std::string& json, RequestContext context = {}) {
    const Resource& resource = registry.of(api::kind_of<T>());
    Result<Draft> draft = registry.decode(api::kind_of<T>(), json, context);
    if (!draft.ok()) return draft.error();
    return registry.create(resource, resource.kind->namespaced ? "default" : "", std::move(draft).value(), context);
  }
  template <class T>
  const Resource& resource() {
    return registry.of(api::kind_of<T>());
  }
};

const char* const kPod = R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x:1"}]}})";

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().message();
}

}  // namespace

TEST_CASE("a created object reads back as stored") {
  Cluster c;
  Result<Object> created = c.create<api::Pod>(kPod);
  REQUIRE(message(created) == "");
  auto pod = created.value().any().as<api::Pod>();
  CHECK(pod->status.phase == "Pending");
  CHECK(pod->status.qosClass == "BestEffort");
  CHECK(pod->spec.serviceAccountName == "default");
  CHECK(pod->spec.volumes[0].name.starts_with("kube-api-access-"));
  CHECK(pod->spec.tolerations.size() == 2);
  CHECK(pod->metadata.resourceVersion == std::to_string(created.value().revision()));
  Object read = c.registry.get(c.resource<api::Pod>(), {"default", "p"}).value();
  CHECK(read.json().find("\"resourceVersion\":\"" + pod->metadata.resourceVersion + "\"") != std::string::npos);
}

TEST_CASE("refusals are worded as kube-apiserver words them") {
  Cluster c;
  CHECK(message(c.create<api::Pod>(R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}})")) ==
        "Pod \"p\" is invalid: spec.containers[0].image: Required value");
  CHECK(message(c.create<api::ConfigMap>(R"({"metadata":{"name":"UPPER"}})")).starts_with(
      "ConfigMap \"UPPER\" is invalid: metadata.name: Invalid value: \"UPPER\": a lowercase RFC 1123 subdomain"));
  CHECK(message(c.create<api::ConfigMap>(R"({"metadata":{"name":")" + std::string(254, 'a') + "\"}}"))
            .find("must be no more than 253 bytes") != std::string::npos);
  CHECK(message(c.create<api::ConfigMap>(R"({"metadata":{"namespace":"other","name":"a"}})")) ==
        "the namespace of the provided object does not match the namespace sent on the request");
  REQUIRE(c.create<api::ConfigMap>(R"({"metadata":{"name":"a"}})").ok());
  CHECK(message(c.create<api::ConfigMap>(R"({"metadata":{"name":"a"}})")) == "configmaps \"a\" already exists");
  CHECK(message(c.registry.get(c.resource<api::Deployment>(), {"default", "x"})) ==
        "deployments.apps \"x\" not found");
  RequestContext strict{.field_validation = RequestContext::FieldValidation::Strict};
  CHECK(message(c.create<api::ConfigMap>(R"({"metadata":{"name":"b"},"dta":{}})", strict)) ==
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dta\"");
  CHECK(message(c.create<api::Deployment>(
            R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":
            {"labels":{"a":"c"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}})")) ==
        "Deployment.apps \"d\" is invalid: spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` "
        "does not match template `labels`");
}

TEST_CASE("generateName gives fresh names") {
  Cluster c;
  Object a = c.create<api::ConfigMap>(R"({"metadata":{"generateName":"a-"}})").value();
  Object b = c.create<api::ConfigMap>(R"({"metadata":{"generateName":"a-"}})").value();
  CHECK(a.metadata()->name.size() == 7);
  CHECK(a.metadata()->name != b.metadata()->name);
}

TEST_CASE("updates are compared and swapped") {
  Cluster c;
  REQUIRE(c.create<api::ConfigMap>(R"({"metadata":{"name":"a"}})").ok());
  api::ConfigMap map = *c.client.get<api::ConfigMap>({"default", "a"}).value();
  map.data["k"] = "1";
  REQUIRE(c.client.update(map).ok());
  map.data["k"] = "2";
  Result<client::Ref<api::ConfigMap>> stale = c.client.update(map);
  REQUIRE_FALSE(stale.ok());
  CHECK(stale.error().code() == Code::Conflict);
  CHECK(stale.error().message() ==
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to "
        "the latest version and try again");
  map.metadata.resourceVersion.clear();
  CHECK(c.client.update(map).value()->data.at("k") == "2");
}

TEST_CASE("an update that changes nothing writes nothing") {
  Cluster c;
  REQUIRE(c.create<api::ConfigMap>(R"({"metadata":{"name":"a"},"data":{"k":"v"}})").ok());
  store::Revision before = c.registry.revision();
  RequestContext context;
  CHECK(c.registry.patch(as_stored(c.resource<api::ConfigMap>()), {"default", "a"}, client::PatchType::Merge,
                         R"({"data":{"k":"v"}})", "", context).ok());
  CHECK(c.registry.revision() == before);
}

TEST_CASE("status and spec are written apart") {
  Cluster c;
  REQUIRE(c.create<api::Deployment>(
               R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":
            {"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}}},"status":{"replicas":9}})").ok());
  api::Deployment d = *c.client.get<api::Deployment>({"default", "d"}).value();
  CHECK(d.status.replicas == 0);
  CHECK(d.metadata.generation == 1);
  d.spec.replicas = 5;
  d.status.replicas = 7;
  api::Deployment after = *c.client.update(d).value();
  CHECK(after.metadata.generation == 2);
  CHECK(after.status.replicas == 0);
  after.spec.replicas = 1;
  after.status.replicas = 7;
  api::Deployment last = *c.client.update_status(after).value();
  CHECK(last.metadata.generation == 2);
  CHECK(last.spec.replicas == 5);
  CHECK(last.status.replicas == 7);
}

TEST_CASE("finalizers hold an object until they are gone") {
  Cluster c;
  REQUIRE(c.create<api::ConfigMap>(R"({"metadata":{"name":"a","finalizers":["x.io/y"]}})").ok());
  RequestContext context;
  const Resource& maps = c.resource<api::ConfigMap>();
  Removal removal = c.registry.remove(maps, {"default", "a"}, {}, context).value();
  CHECK_FALSE(removal.gone);
  CHECK(static_cast<bool>(removal.object.metadata()->deletionTimestamp));
  REQUIRE(c.registry.patch(as_stored(maps), {"default", "a"}, client::PatchType::Merge, R"({"metadata":{"finalizers":null}})", "",
                           context).ok());
  CHECK(c.registry.get(maps, {"default", "a"}).error().code() == Code::NotFound);
}

TEST_CASE("a scheduled pod goes gracefully, once more only sooner") {
  Cluster c;
  REQUIRE(c.create<api::Pod>(kPod).ok());
  api::Binding binding;
  binding.metadata.name = "p";
  binding.target.name = "node";
  REQUIRE(c.client.create_subresource(api::kind_of<api::Pod>(), {"default", "p"}, "binding",
                                      AnyRef(client::Ref<api::Binding>(std::make_shared<api::Binding>(binding)))).ok());
  auto pod = c.client.get<api::Pod>({"default", "p"}).value();
  CHECK(pod->spec.nodeName == "node");
  CHECK(pod->status.conditions[0].type == "PodScheduled");
  REQUIRE(c.client.remove<api::Pod>({"default", "p"}).ok());
  CHECK(c.client.get<api::Pod>({"default", "p"}).value()->metadata.deletionGracePeriodSeconds == 30);
  REQUIRE(c.client.remove<api::Pod>({"default", "p"}, {.grace_seconds = 5}).ok());
  CHECK(c.client.get<api::Pod>({"default", "p"}).value()->metadata.deletionGracePeriodSeconds == 5);
  REQUIRE(c.client.remove<api::Pod>({"default", "p"}, {.grace_seconds = 0}).ok());
  CHECK(c.client.get<api::Pod>({"default", "p"}).error().code() == Code::NotFound);
}

TEST_CASE("a terminating namespace takes nothing new") {
  Cluster c;
  api::Namespace ns;
  ns.metadata.name = "n";
  REQUIRE(c.client.create(ns).ok());
  REQUIRE(c.client.remove<api::Namespace>({"", "n"}).ok());
  CHECK(c.client.get<api::Namespace>({"", "n"}).value()->status.phase == "Terminating");
  api::ConfigMap map;
  map.metadata.name = "a";
  map.metadata.namespace_ = "n";
  CHECK(message(c.client.create(map)) ==
        "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated");
  REQUIRE(c.client.patch(api::kind_of<api::Namespace>(), {"", "n"}, client::PatchType::Merge,
                         R"({"spec":{"finalizers":null}})", "finalize").ok());
  CHECK(c.client.get<api::Namespace>({"", "n"}).error().code() == Code::NotFound);
  CHECK(message(c.client.remove<api::Namespace>({"", "default"})) ==
        "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

TEST_CASE("lists select and page at one revision") {
  Cluster c;
  for (char name = 'a'; name <= 'e'; ++name)
    REQUIRE(c.create<api::ConfigMap>(fmt::format(R"({{"metadata":{{"name":"{}","labels":{{"odd":"{}"}}}}}})", name,
                                                 (name - 'a') % 2)).ok());
  const Resource& maps = c.resource<api::ConfigMap>();
  ListQuery odd{.namespace_ = "default", .labels = api::Selector::parse("odd=1").value()};
  CHECK(c.registry.list(maps, odd).value().items.size() == 2);
  ListQuery by_name{.fields = api::FieldSelector::parse("metadata.name=c").value()};
  CHECK(c.registry.list(maps, by_name).value().items.size() == 1);
  ListQuery unknown{.fields = api::FieldSelector::parse("spec.bogus=c").value()};
  CHECK(message(c.registry.list(maps, unknown)) == "field label not supported: spec.bogus");

  ListPage first = c.registry.list(maps, {.namespace_ = "default", .limit = 2}).value();
  CHECK(first.items.size() == 2);
  CHECK(first.remaining == 3);
  RequestContext context;
  REQUIRE(c.registry.remove(maps, {"default", "d"}, {}, context).ok());
  ListPage second = c.registry.list(maps, {.namespace_ = "default", .continue_token = first.continue_token}).value();
  CHECK(second.items.size() == 3);
  CHECK(second.revision == first.revision);
  CHECK_FALSE(c.registry.list(maps, {.continue_token = "garbage"}).ok());
}

TEST_CASE("a watch with a selector sees objects come and go") {
  Cluster c;
  auto watch = c.client.watch(api::kind_of<api::ConfigMap>(), {.label_selector = "on=1"},
                              std::to_string(c.registry.revision())).value();
  REQUIRE(c.create<api::ConfigMap>(R"({"metadata":{"name":"a"}})").ok());
  RequestContext context;
  auto label = [&](const char* value) {
    REQUIRE(c.registry.patch(as_stored(c.resource<api::ConfigMap>()), {"default", "a"}, client::PatchType::Merge,
                             fmt::format(R"({{"metadata":{{"labels":{{"on":"{}"}}}}}})", value), "", context).ok());
  };
  label("1");
  label("0");
  client::WatchEvent added = watch->next({}).value(), deleted = watch->next({}).value();
  CHECK(added.type == client::WatchEvent::Type::Added);
  CHECK(deleted.type == client::WatchEvent::Type::Deleted);
  CHECK(deleted.object.metadata().labels.at("on") == "1");
  CHECK(c.client.watch(api::kind_of<api::ConfigMap>(), {}, "999999").error().code() == Code::Timeout);
}

TEST_CASE("a stateful set's pods are judged when they are made: they mount its claims") {
  Cluster c;
  CHECK(c.create<api::StatefulSet>(
             R"({"metadata":{"name":"s"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":
             {"a":"b"}},"spec":{"containers":[{"name":"c","image":"x","volumeMounts":[{"name":"data","mountPath":"/d"}]}]}},
             "volumeClaimTemplates":[{"metadata":{"name":"data"}}]}})").ok());
}

TEST_CASE("scale") {
  Cluster c;
  REQUIRE(c.create<api::ReplicaSet>(
               R"({"metadata":{"name":"r"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":
            {"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}})").ok());
  RequestContext context;
  const Resource& sets = c.resource<api::ReplicaSet>();
  REQUIRE(c.registry.patch_scale(sets, {"default", "r"}, client::PatchType::Merge, R"({"spec":{"replicas":4}})", context).ok());
  CHECK(c.client.get<api::ReplicaSet>({"default", "r"}).value()->spec.replicas == 4);
  CHECK_FALSE(c.registry.get_scale(c.resource<api::ConfigMap>(), {"default", "r"}).ok());
}

TEST_CASE("services get addresses and ports that nobody else has") {
  Cluster c;
  auto make = [&](const std::string& name, const std::string& extra) {
    return c.create<api::Service>(fmt::format(
        R"({{"metadata":{{"name":"{}"}},"spec":{{"ports":[{{"port":80}}]{}}}}})", name, extra));
  };
  auto a = make("a", "").value().any().as<api::Service>();
  CHECK(a->spec.clusterIP.starts_with("10.96."));
  CHECK(a->spec.clusterIPs == std::vector<std::string>{a->spec.clusterIP});
  CHECK(a->spec.ipFamilies == std::vector<std::string>{"IPv4"});
  CHECK(message(make("b", R"(,"clusterIP":")" + a->spec.clusterIP + "\"")).find("provided IP is already allocated") !=
        std::string::npos);
  CHECK(make("h", R"(,"clusterIP":"None")").value().any().as<api::Service>()->spec.clusterIPs[0] == "None");
  auto n = make("n", R"(,"type":"NodePort")").value().any().as<api::Service>();
  CHECK(n->spec.ports[0].nodePort >= 30000);
  CHECK(n->spec.externalTrafficPolicy == "Cluster");
  api::Service back = *n;
  back.spec.type = "ClusterIP";
  auto plain = c.client.update(back).value();
  CHECK(plain->spec.ports[0].nodePort == 0);
  CHECK(plain->spec.clusterIP == n->spec.clusterIP);
  REQUIRE(c.client.remove<api::Service>({"default", "a"}).ok());
  CHECK(make("b", R"(,"clusterIP":")" + a->spec.clusterIP + "\"").ok());
  CHECK(message(make("bad", R"(,"type":"NodePort","ports":[{"port":80,"nodePort":80}])"))
            .find("not in the valid range") != std::string::npos);
}

TEST_CASE("many writers of one object lose nothing") {
  Cluster c;
  REQUIRE(c.create<api::ConfigMap>(R"({"metadata":{"name":"a"}})").ok());
  {
    std::vector<std::jthread> writers;
    for (int w = 0; w < 4; ++w)
      writers.emplace_back([&c, w] {
        for (int i = 0; i < 10; ++i) {
          RequestContext context;
          std::string body = fmt::format(R"({{"data":{{"k{}-{}":"v"}}}})", w, i);
          if (!c.registry.patch(as_stored(c.resource<api::ConfigMap>()), {"default", "a"}, client::PatchType::Merge, body, "",
                                context).ok()) std::abort();
        }
      });
  }
  CHECK(c.client.get<api::ConfigMap>({"default", "a"}).value()->data.size() == 40);
}

TEST_CASE("every kind is served and can be made from nothing but a name") {
  Cluster c;
  for (const Resource& resource : c.registry.resources()) {
    INFO(resource.kind->kind);
    CHECK(c.registry.find(resource.kind->group, resource.kind->version, resource.kind->plural)->resource == &resource);
    CHECK(c.registry.list(resource, {}).ok());
  }
}

TEST_CASE("a patch that makes no object of the kind is Invalid") {
  Cluster c;
  REQUIRE(c.create<api::ConfigMap>(R"({"metadata":{"name":"a","namespace":"default"}})").ok());
  RequestContext context;
  context.field_validation = RequestContext::FieldValidation::Strict;
  auto patch = [&](const char* body) {
    return c.registry
        .patch(as_stored(c.registry.of(api::kind_of<api::ConfigMap>())), {"default", "a"}, client::PatchType::Merge, body, "",
               context)
        .error();
  };
  Error wrong = patch(R"({"data":5})");
  CHECK(wrong.code() == Code::Invalid);
  CHECK(wrong.message().starts_with(" \"\" is invalid: patch: Invalid value: \"{"));
  CHECK(wrong.message().find("json: cannot unmarshal number into Go struct field ConfigMap.data") != std::string::npos);
  CHECK(patch(R"({"dat":{}})").message().find("strict decoding error: unknown field \"dat\"") != std::string::npos);
}
