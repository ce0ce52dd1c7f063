#include "registry/custom_resources.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "api/gen/autoscaling.hpp"
#include "api/gen/core.hpp"
#include "api/json.hpp"
#include "registry/custom_version.hpp"
#include "support/fake_clock.hpp"

using namespace skiff;
using namespace skiff::registry;
using client::ObjectKey;
using Json = nlohmann::json;
using Crd = api::CustomResourceDefinition;

namespace {

Json definition() {
  return Json::parse(R"({
    "metadata": {"name": "widgets.example.com"},
    "spec": {
      "group": "example.com", "scope": "Namespaced",
      "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
      "versions": [{
        "name": "v1", "served": true, "storage": true,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
          "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
          "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "red"},
            "replicas": {"type": "integer"}}},
          "status": {"type": "object", "properties": {"replicas": {"type": "integer"},
            "selector": {"type": "string"}, "ready": {"type": "boolean"}}}}}}
      }, {
        "name": "v1beta1", "served": true, "storage": false, "deprecated": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
          "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "color": {"type": "string"},
            "old": {"type": "string", "default": "yes"}, "tags": {"type": "array", "x-kubernetes-list-type": "set",
            "items": {"type": "string"}}}}}}}
      }]
    }})");
}

// Answers conversions as it is told.
class Webhook final : public WebhookCaller {
 public:
  Result<std::string> post(const WebhookTarget& target, const std::string& json, Duration) override {
    last = Json::parse(json);
    url = target.url;
    return answer(last).dump();
  }
  std::function<Json(const Json& review)> answer;
  Json last;
  std::string url;
};

struct Cluster {
  SystemClock clock;
  SeededRandom random{1};
  Webhook webhook;
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  Registry registry{*store, clock, random};
  client::Client& client = registry.local_client();
  CustomResources custom{registry, clock, random, &webhook};
  client::Informers informers{client, clock};
  Mutex mutex;
  CondVar changed;
  int changes = 0;

  Cluster() {
    api::Namespace ns;
    ns.metadata.name = "default";
    REQUIRE(client.create(ns).ok());
    informers.any(api::kind_of<Crd>()).on_change([this](const AnyRef&, const AnyRef&) {
      MutexLock lock(mutex);
      ++changes;
      changed.notify_all();
    });
    informers.start();
    REQUIRE(custom.start().ok());
  }
  ~Cluster() {
    custom.stop();
    informers.stop();
  }

  // Looks again after every change of a definition.
  [[nodiscard]] bool wait_for(const std::function<bool()>& condition) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (;;) {
      int seen = 0;
      {
        MutexLock lock(mutex);
        seen = changes;
      }
      if (condition()) return true;
      MutexLock lock(mutex);
      if (!changed.wait_until(mutex, deadline, [&] { return changes != seen; })) return condition();
    }
  }

  Result<client::Ref<Crd>> define(const Json& document) {
    TRY_ASSIGN(Crd crd, api::from_json<Crd>(document.dump()));
    return client.create(std::move(crd));
  }
  void establish(const Json& document) {
    Result<client::Ref<Crd>> made = define(document);
    INFO((made.ok() ? "" : made.error().message()));
    REQUIRE(made.ok());
    ObjectKey key = client::key_of(*made.value());
    REQUIRE(wait_for([&] { return is_condition_true(*client.get<Crd>(key).value(), "Established"); }));
  }

  const ServedKind& served(const char* version = "v1") {
    const ServedKind* found = registry.find("example.com", version, "widgets");
    REQUIRE(found);
    return *found;
  }
  Result<Json> create(const Json& body, RequestContext context = {}, const char* version = "v1") {
    const ServedKind& kind = served(version);
    TRY_ASSIGN(Draft draft, registry.decode(kind, body.dump(), context));
    warnings = context.warnings;
    TRY_ASSIGN(Object object, registry.create(*kind.resource, "default", std::move(draft), context));
    return seen(object, version);
  }
  Result<Json> update(const Json& body, const char* subresource = "") {
    RequestContext context;
    const ServedKind& kind = served();
    TRY_ASSIGN(Draft draft, registry.decode(kind, body.dump(), context));
    TRY_ASSIGN(UpdateResult result, registry.update(*kind.resource, {"default", body["metadata"]["name"]},
                                                    std::move(draft), subresource, context));
    return seen(result.object, "v1");
  }
  Result<Json> seen(const Object& object, const char* version) {
    TRY_ASSIGN(std::string text, in_version(served(version), object.json()));
    return Json::parse(text);
  }
  Result<Json> get(const char* name, const char* version = "v1") {
    TRY_ASSIGN(Object object, registry.get(*served(version).resource, {"default", name}));
    return seen(object, version);
  }

  std::vector<std::string> warnings;
};

Json widget(const char* name, const char* spec) {
  return {{"apiVersion", "example.com/v1"}, {"kind", "Widget"}, {"metadata", {{"name", name}}},
          {"spec", Json::parse(spec)}};
}

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().message();
}

}  // namespace

TEST_CASE("a definition is named, established and served") {
  Cluster c;
  c.establish(definition());
  Crd crd = *c.client.get<Crd>({"", "widgets.example.com"}).value();
  CHECK(crd.status.acceptedNames.singular == "widget");
  CHECK(crd.status.acceptedNames.listKind == "WidgetList");
  CHECK(crd.status.storedVersions == std::vector<std::string>{"v1"});
  CHECK(find_condition(crd, "NamesAccepted")->reason == "NoConflicts");
  CHECK(find_condition(crd, "Established")->reason == "InitialNamesAccepted");
  CHECK(c.served().kind->short_names == std::string("wd"));
  CHECK(c.served().kind->has_subresource("scale"));
  CHECK(c.served("v1beta1").warning == "example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget");
}

TEST_CASE("definitions are refused in Kubernetes' words") {
  Cluster c;
  struct Row {
    const char *name, *patch, *want;
  };
  for (const Row& row : {
           Row{"name", R"({"metadata":{"name":"w.example.com"}})",
               "metadata.name: Invalid value: \"w.example.com\": must be spec.names.plural+\".\"+spec.group"},
           Row{"scope", R"({"spec":{"scope":"World"}})",
               "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\""},
           Row{"preserveUnknownFields", R"({"spec":{"preserveUnknownFields":true}})",
               "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
               "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"},
           Row{"webhook", R"({"spec":{"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v9"],)"
                          R"("clientConfig":{"url":"http://x"}}}}})",
               "[spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL "
               "scheme; desired format: https://host[/path], spec.conversion.conversionReviewVersions: Invalid value: "
               "[\"v9\"]: must include at least one of v1, v1beta1]"},
           Row{"protected group", R"({"metadata":{"name":"widgets.x.k8s.io"},"spec":{"group":"x.k8s.io"}})",
               "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval "
               "annotation \"api-approved.kubernetes.io\", see "
               "https://github.com/kubernetes/enhancements/pull/1111"},
       })
    DYNAMIC_SECTION(row.name) {
      Json document = definition();
      document.merge_patch(Json::parse(row.patch));
      std::string text = message(c.define(document));
      CHECK(text.substr(text.find("is invalid: ") + 12) == row.want);
    }
}

TEST_CASE("a name that is taken is not accepted until it is free") {
  Cluster c;
  c.establish(definition());
  Json other = definition();
  other["metadata"]["name"] = "gadgets.example.com";
  other["spec"]["names"]["plural"] = "gadgets";
  REQUIRE(c.define(other).ok());
  ObjectKey key{"", "gadgets.example.com"};
  REQUIRE(c.wait_for([&] { return find_condition(*c.client.get<Crd>(key).value(), "NamesAccepted") != nullptr; }));
  Crd crd = *c.client.get<Crd>(key).value();
  CHECK(find_condition(crd, "NamesAccepted")->reason == "ListKindConflict");
  CHECK(find_condition(crd, "NamesAccepted")->message == "\"WidgetList\" is already in use");
  CHECK(find_condition(crd, "Established")->status == "False");
  CHECK(c.registry.find("example.com", "v1", "gadgets") == nullptr);
  REQUIRE(c.client.remove<Crd>({"", "widgets.example.com"}).ok());
  CHECK(c.wait_for([&] { return is_condition_true(*c.client.get<Crd>(key).value(), "Established"); }));
}

TEST_CASE("custom objects are pruned, defaulted and validated") {
  Cluster c;
  c.establish(definition());
  Json created = c.create(widget("a", R"({"size":2,"junk":{"x":1}})")).value();
  CHECK(created["spec"] == Json::parse(R"({"size":2,"color":"red"})"));
  CHECK(created["metadata"]["generation"] == 1);
  CHECK(c.warnings == std::vector<std::string>{"unknown field \"spec.junk\""});
  RequestContext strict;
  strict.field_validation = RequestContext::FieldValidation::Strict;
  CHECK(message(c.create(widget("b", R"({"size":2,"junk":1})"), strict)) ==
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.junk\"");
  CHECK(message(c.create(widget("b", R"({"size":"big"})"))) ==
        "Widget.example.com \"b\" is invalid: spec.size: Invalid value: \"string\": spec.size in body must be of type "
        "integer: \"string\"");
  CHECK(message(c.create(widget("b", "{}"))) == "Widget.example.com \"b\" is invalid: spec.size: Required value");
}

TEST_CASE("status and spec of a custom object are written apart") {
  Cluster c;
  c.establish(definition());
  Json object = widget("a", R"({"size":1})");
  object["status"] = {{"ready", true}};
  object = c.create(object).value();
  CHECK_FALSE(object.contains("status"));
  object["status"] = {{"ready", true}};
  object["spec"]["size"] = 9;
  object["metadata"]["labels"] = {{"x", "y"}};
  object = c.update(object, "status").value();
  CHECK(object["status"] == Json::parse(R"({"ready":true})"));
  CHECK(object["spec"]["size"] == 1);
  CHECK_FALSE(object["metadata"].contains("labels"));
  CHECK(object["metadata"]["generation"] == 1);
  object["spec"]["size"] = 2;
  object["status"] = {{"ready", false}};
  object = c.update(object).value();
  CHECK(object["metadata"]["generation"] == 2);
  CHECK(object["status"]["ready"] == true);
  object["metadata"]["labels"] = {{"x", "y"}};
  CHECK(c.update(object).value()["metadata"]["generation"] == 2);
  object["metadata"].erase("resourceVersion");
  CHECK(message(c.update(object)).find("must be specified for an update") != std::string::npos);
}

TEST_CASE("a custom object scales by its paths") {
  Cluster c;
  c.establish(definition());
  REQUIRE(c.create(widget("a", R"({"size":1,"replicas":3})")).ok());
  const Resource& resource = *c.served().resource;
  ObjectKey key{"default", "a"};
  RequestContext context;
  AnyRef scaled = c.registry.patch_scale(resource, key, client::PatchType::Merge, R"({"spec":{"replicas":5}})", context)
                      .value();
  CHECK(scaled.as<api::Scale>()->spec.replicas == 5);
  CHECK(c.get("a").value()["spec"]["replicas"] == 5);
  CHECK(c.get("a").value()["metadata"]["generation"] == 2);
}

TEST_CASE("selectable fields select") {
  Cluster c;
  c.establish(definition());
  REQUIRE(c.create(widget("a", R"({"size":1})")).ok());
  REQUIRE(c.create(widget("b", R"({"size":1,"color":"blue"})")).ok());
  client::AnyList found = c.client.list(*c.served().kind, {.field_selector = "spec.color=blue"}).value();
  REQUIRE(found.items.size() == 1);
  CHECK(found.items[0].metadata().name == "b");
  CHECK(message(c.client.list(*c.served().kind, {.field_selector = "spec.size=1"})) ==
        "field label not supported: spec.size");
}

TEST_CASE("an object is seen in every version") {
  Cluster c;
  c.establish(definition());
  Json old = widget("a", R"({"size":1,"color":"green"})");
  old["apiVersion"] = "example.com/v1beta1";
  Json created = c.create(old, {}, "v1beta1").value();
  CHECK(created["apiVersion"] == "example.com/v1beta1");
  CHECK(created["spec"]["old"] == "yes");
  Json now = c.get("a").value();
  CHECK(now["apiVersion"] == "example.com/v1");
  CHECK(now["spec"] == Json::parse(R"({"size":1,"color":"green"})"));
  // Who speaks a version is held to the schema of that version, not to the stored one's.
  Json small = widget("b", R"({"color":"green"})");
  RequestContext context;
  context.api_version = "example.com/v1beta1";
  small["apiVersion"] = context.api_version;
  CHECK(c.create(small, context, "v1beta1").ok());
  // All of it, lists too.
  small["metadata"]["name"] = "d";
  small["spec"]["tags"] = {"x", "x"};
  CHECK(message(c.create(small, context, "v1beta1")).find("spec.tags[1]: Duplicate value") != std::string::npos);
  CHECK(message(c.create(widget("c", R"({"color":"green"})"))).find("spec.size: Required value") != std::string::npos);
}

TEST_CASE("a changed schema defaults what was stored before") {
  Cluster c;
  c.establish(definition());
  REQUIRE(c.create(widget("a", R"({"size":1})")).ok());
  REQUIRE(c.client
              .update_with_retry<Crd>({"", "widgets.example.com"},
                                      [](Crd& crd) {
                                        api::JSONSchemaProps added;
                                        added.type = "string";
                                        added.default_.json = "\"M\"";
                                        crd.spec.versions[0].schema->openAPIV3Schema->properties["spec"]
                                            .properties["cut"] = added;
                                        return true;
                                      })
              .ok());
  // Nothing of the definition tells when its new form is served.
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (c.served().conversion == nullptr && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  CHECK(c.get("a").value()["spec"]["cut"] == "M");
}

TEST_CASE("a webhook converts, and what it returns is checked") {
  Cluster c;
  Json document = definition();
  document["spec"]["conversion"] = Json::parse(
      R"({"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://hook/c"}}})");
  c.webhook.answer = [](const Json& review) {
    Json converted = review["request"]["objects"];
    for (Json& one : converted) {
      one["apiVersion"] = review["request"]["desiredAPIVersion"];
      one["spec"]["color"] = "converted";
      one["metadata"]["uid"] = one["metadata"].value("uid", Json());
      if (one["metadata"]["uid"].is_null()) one["metadata"].erase("uid");
      one["metadata"]["finalizers"] = {"not/yours"};
    }
    return Json{{"apiVersion", "apiextensions.k8s.io/v1"},
                {"kind", "ConversionReview"},
                {"response", {{"uid", review["request"]["uid"]}, {"result", {{"status", "Success"}}},
                              {"convertedObjects", converted}}}};
  };
  c.establish(document);
  REQUIRE(c.create(widget("a", R"({"size":1})")).ok());
  CHECK(c.webhook.last.is_null());
  Json seen = c.get("a", "v1beta1").value();
  CHECK(seen["spec"]["color"] == "converted");
  CHECK_FALSE(seen["metadata"].contains("finalizers"));
  CHECK(c.webhook.url == "https://hook/c");
  CHECK(c.webhook.last["request"]["desiredAPIVersion"] == "example.com/v1beta1");
  c.webhook.answer = [](const Json& review) {
    return Json{{"apiVersion", "apiextensions.k8s.io/v1"},
                {"kind", "ConversionReview"},
                {"response", {{"uid", review["request"]["uid"]},
                              {"result", {{"status", "Failed"}, {"message", "no such colour"}}}}}};
  };
  CHECK(message(c.get("a", "v1beta1")) ==
        "conversion webhook for example.com/v1, Kind=Widget failed: no such colour");
}

TEST_CASE("a definition goes when its last instance has gone") {
  Cluster c;
  c.establish(definition());
  Json held = widget("held", R"({"size":1})");
  held["metadata"]["finalizers"] = {"example.com/wait"};
  REQUIRE(c.create(held).ok());
  REQUIRE(c.create(widget("free", R"({"size":1})")).ok());
  ObjectKey key{"", "widgets.example.com"};
  REQUIRE(c.client.remove<Crd>(key).ok());
  REQUIRE(c.wait_for([&] {
    const CrdCondition* condition = find_condition(*c.client.get<Crd>(key).value(), "Terminating");
    return condition && condition->reason == "InstanceDeletionInProgress";
  }));
  CHECK(message(c.get("free")) == "widgets.example.com \"free\" not found");
  CHECK(message(c.create(widget("late", R"({"size":1})"))) ==
        "create not allowed while custom resource definition is terminating");
  RequestContext context;
  REQUIRE(c.registry
              .patch(c.served(), {"default", "held"}, client::PatchType::Merge,
                     R"({"metadata":{"finalizers":null}})", "", context)
              .ok());
  CHECK(c.wait_for([&] { return !c.client.get<Crd>(key).ok(); }));
  CHECK(c.registry.find("example.com", "v1", "widgets") == nullptr);
}

namespace {

struct Watching final : EventSink {
  void on_event(const ObjectEvent& event) override {
    std::lock_guard lock(mutex);
    seen += event.type == ObjectEvent::Type::Added ? "+" : event.type == ObjectEvent::Type::Deleted ? "-" : "~";
  }
  void on_closed(const Error&) override {}
  void on_retired() override {
    std::lock_guard lock(mutex);
    seen += ".";
  }
  std::string text() {
    std::lock_guard lock(mutex);
    return seen;
  }
  std::mutex mutex;
  std::string seen;
};

}  // namespace

TEST_CASE("watches end with their definition, after the last event, and when it changes shape") {
  Cluster c;
  c.establish(definition());
  const Resource& first = *c.served().resource;
  auto watch = [&](const Resource& resource, EventSink& sink) {
    auto started = c.registry.watch(resource, {}, c.registry.revision(), sink);
    REQUIRE(started.ok());
    return std::move(started).value();
  };
  Watching early, late, others, over;
  auto watching_early = watch(first, early);
  auto watching_others = watch(c.registry.of(api::kind_of<api::ConfigMap>()), others);
  REQUIRE(c.create(widget("w", R"({"size":1})")).ok());
  ObjectKey key{"", "widgets.example.com"};
  Crd changed = *c.client.get<Crd>(key).value();
  changed.spec.versions[0].deprecated = true;
  changed.spec.versions[0].deprecationWarning = "old";
  REQUIRE(c.client.update(changed).ok());
  CHECK(c.wait_for([&] { return early.text() == "+."; }));
  auto watching_late = watch(*c.served().resource, late);
  REQUIRE(c.client.remove<Crd>(key).ok());
  CHECK(c.wait_for([&] { return late.text().ends_with("."); }));
  CHECK(late.text() == "-.");
  CHECK(others.text().empty());
  auto watching_over = watch(first, over);  // by one who found it while it was served
  CHECK(over.text() == ".");
}

TEST_CASE("what was established is served again after a restart") {
  Cluster c;
  c.establish(definition());
  Registry again(*c.store, c.clock, c.random);
  CustomResources custom(again, c.clock, c.random, nullptr);
  REQUIRE(custom.start().ok());
  CHECK(again.find("example.com", "v1", "widgets") != nullptr);
}

TEST_CASE("validation rules are kept, and said not to be evaluated") {
  Cluster c;
  Json document = definition();
  document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
      Json::parse(R"([{"rule":"self.spec.size < 10","message":"too big"}])");
  RequestContext context;
  const Resource& resource = c.registry.of(api::kind_of<Crd>());
  Draft draft = c.registry.decode(*resource.kind, document.dump(), context).value();
  Object made = c.registry.create(resource, "", std::move(draft), context).value();
  CHECK(context.warnings ==
        std::vector<std::string>{"version v1: x-kubernetes-validations rules are kept but not evaluated yet"});
  CHECK(made.json().find("self.spec.size < 10") != std::string::npos);
}
