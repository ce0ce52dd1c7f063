#include "apiserver/api.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "api/gen/events.hpp"
#include "api/gen/meta.hpp"
#include "api/protobuf.hpp"
#include "unit/apiserver/test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using nlohmann::json;
using test::TestApi;

namespace {
const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const std::string kMap = R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"m"},"data":{"a":"1"}})";

json body(const Reply& reply) { return json::parse(*reply.body); }
}  // namespace

TEST_CASE("only health and version are open to anybody") {
  TestApi test;
  test.bootstrap();
  auto anonymous = [&](const std::string& path) {
    Request request = TestApi::request("GET", path);
    request.headers.clear();
    return test.call(request);
  };
  for (const char* path : {"/healthz", "/livez", "/readyz", "/version"})
    CHECK(anonymous(path).status == 200);
  for (const char* path : {"/", "/api", "/apis", "/openapi/v2", "/foo", "/readyz/ping"}) {
    Reply reply = anonymous(path);
    CHECK(reply.status == 403);
    CHECK(*reply.body == R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
                         R"("message":"forbidden: User \"system:anonymous\" cannot get path \")" +
                             std::string(path) + R"(\"","reason":"Forbidden","details":{},"code":403})"
                                                 "\n");
  }
}

TEST_CASE("credentials that are no good are refused, not ignored") {
  TestApi test;
  Request request = TestApi::request("GET", "/api");
  request.headers.clear();
  SECTION("unknown token") { request.headers.emplace("Authorization", "Bearer nope"); }
  SECTION("another scheme") { request.headers.emplace("Authorization", "Basic YTpi"); }
  SECTION("a certificate of another authority") { request.peer.rejection = "x509: unknown authority"; }
  CHECK(test.call(request).status == 401);
}

TEST_CASE("certificates, static tokens and service accounts are users") {
  TestApi test;
  Request request = TestApi::request("GET", "/api");
  request.headers.clear();
  Authenticator authenticator = test.options().authenticator;
  SECTION("certificate") {
    request.peer.identity = PeerIdentity{"alice", {"dev"}};
    User user = authenticator.authenticate(request).value().value();
    CHECK(user.name == "alice");
    CHECK(user.groups == std::vector<std::string>{"dev", "system:authenticated"});
  }
  SECTION("static token") {
    request.headers.emplace("Authorization", "bearer  secret");
    CHECK(authenticator.authenticate(request).value()->name == "admin");
  }
  SECTION("token of a WebSocket client") {
    request.headers.emplace("Sec-WebSocket-Protocol",
                            "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0");
    CHECK(authenticator.authenticate(request).value()->name == "admin");
  }
  SECTION("service account, until it is gone") {
    auto account = test.registry.local_client().get<api::ServiceAccount>({"default", "default"}).value();
    TokenClaims claims{.token_namespace = "default",
                       .service_account = {"default", account->metadata.uid},
                       .audiences = {std::string(kTokenIssuer)},
                       .issued = test.clock.wall_now(),
                       .expires = test.clock.wall_now() + 1h};
    request.headers.emplace("Authorization", "Bearer " + test.signer->sign(claims).value());
    User user = authenticator.authenticate(request).value().value();
    CHECK(user.name == "system:serviceaccount:default:default");
    CHECK(user.groups == std::vector<std::string>{"system:serviceaccounts", "system:serviceaccounts:default",
                                                  "system:authenticated"});
    REQUIRE(test.registry.local_client().remove<api::ServiceAccount>({"default", "default"}).ok());
    CHECK_FALSE(authenticator.authenticate(request).ok());
  }
  SECTION("nothing shown") { CHECK_FALSE(authenticator.authenticate(request).value().has_value()); }
}

TEST_CASE("an object is created, read, changed and deleted") {
  TestApi test;
  Reply created = test.call("POST", kMaps, kMap);
  CHECK(created.status == 201);
  CHECK(body(created)["metadata"]["namespace"] == "default");
  CHECK(body(test.call("GET", kMaps + "/m")) == body(created));
  Request patch = TestApi::request("PATCH", kMaps + "/m", R"({"data":{"b":"2"}})");
  patch.headers.erase("Content-Type");
  patch.headers.emplace("Content-Type", "application/merge-patch+json; charset=utf-8");
  CHECK(body(test.call(patch))["data"] == json({{"a", "1"}, {"b", "2"}}));
  json next = body(test.call("GET", kMaps + "/m"));
  next["data"] = {{"c", "3"}};
  Reply updated = test.call("PUT", kMaps + "/m", next.dump());
  CHECK(updated.status == 200);
  CHECK(test.call("PUT", kMaps + "/m", next.dump()).status == 409);
  Reply removed = test.call("DELETE", kMaps + "/m");
  CHECK(removed.status == 200);
  CHECK(body(removed)["status"] == "Success");
  CHECK(body(removed)["details"]["kind"] == "configmaps");
  CHECK(body(removed)["details"]["uid"] == body(created)["metadata"]["uid"]);
}

TEST_CASE("failures are told in Kubernetes' words") {
  TestApi test;
  REQUIRE(test.call("POST", kMaps, kMap).status == 201);
  struct Row {
    const char *name, *method;
    std::string target, body, content_type;
    int status;
    const char *reason, *message;
  };
  const std::vector<Row> rows{
      {"missing", "GET", kMaps + "/x", "", "", 404, "NotFound", R"(configmaps "x" not found)"},
      {"missing in a group", "GET", "/apis/apps/v1/namespaces/default/deployments/x", "", "", 404, "NotFound",
       R"(deployments.apps "x" not found)"},
      {"exists", "POST", kMaps, kMap, "application/json", 409, "AlreadyExists",
       R"(configmaps "m" already exists)"},
      {"unknown resource", "GET", "/api/v1/foos", "", "", 404, "NotFound",
       "the server could not find the requested resource"},
      {"unknown subresource", "GET", kMaps + "/m/scale", "", "", 404, "NotFound",
       "the server could not find the requested resource"},
      {"post to an object", "POST", kMaps + "/m", kMap, "application/json", 405, "MethodNotAllowed",
       "the server does not allow this method on the requested resource"},
      {"post without a namespace", "POST", "/api/v1/configmaps", kMap, "application/json", 405,
       "MethodNotAllowed", "the server does not allow this method on the requested resource"},
      {"cluster-wide kind in a namespace", "GET", "/api/v1/namespaces/default/nodes", "", "", 404, "NotFound",
       "the server could not find the requested resource"},
      {"body of another type", "POST", kMaps, "a: b", "application/yaml", 415, "UnsupportedMediaType",
       "the body of the request was in an unknown format - accepted media types include: application/json, "
       "application/vnd.kubernetes.protobuf"},
      {"patch of another type", "PATCH", kMaps + "/m", "{}", "text/plain", 415, "UnsupportedMediaType",
       "the body of the request was in an unknown format - accepted media types include: "
       "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/strategic-merge-patch+json"},
      {"bad dry run", "POST", kMaps + "?dryRun=Some", kMap, "application/json", 422, "Invalid",
       R"(dryRun: Unsupported value: "Some": supported values: "All")"},
      {"future", "GET", kMaps + "/m?resourceVersion=999999", "", "", 504, "Timeout",
       "Timeout: Too large resource version: 999999, current: 3"},
      {"bad limit", "GET", kMaps + "?limit=x", "", "", 400, "BadRequest",
       R"(strconv.ParseInt: parsing "x": invalid syntax)"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Request request = TestApi::request(row.method, row.target, row.body);
    request.headers.erase("Content-Type");
    if (!row.content_type.empty()) request.headers.emplace("Content-Type", row.content_type);
    Reply reply = test.call(request);
    CHECK(reply.status == row.status);
    CHECK(body(reply)["code"] == row.status);
    CHECK(body(reply)["reason"] == row.reason);
    CHECK(body(reply)["message"] == row.message);
    CHECK(body(reply)["status"] == "Failure");
  }
}

TEST_CASE("an unknown group is no page at all") {
  TestApi test;
  Reply reply = test.call("GET", "/apis/nope/v1/things");
  CHECK(reply.status == 404);
  CHECK(*reply.body == "404 page not found\n");
}

TEST_CASE("unknown fields warn, fail or pass as asked") {
  TestApi test;
  const std::string odd = R"({"metadata":{"generateName":"m-"},"date":{"a":"1"}})";
  Reply warned = test.call("POST", kMaps, odd);
  CHECK(warned.status == 201);
  REQUIRE(warned.headers.count("Warning") == 1);
  CHECK(warned.headers.find("Warning")->second == R"(299 - "unknown field \"date\"")");
  CHECK(test.call("POST", kMaps + "?fieldValidation=Strict", odd).status == 400);
  CHECK(test.call("POST", kMaps + "?fieldValidation=Ignore", odd).headers.count("Warning") == 0);
}

TEST_CASE("lists are paged, selected and carry their revision") {
  TestApi test;
  for (const char* name : {"a", "b", "c"}) {
    std::string label = *name == 'b' ? "no" : "yes";
    json map = {{"metadata", {{"name", name}, {"labels", {{"pick", label}}}}}};
    REQUIRE(test.call("POST", kMaps, map.dump()).status == 201);
  }
  json first = body(test.call("GET", kMaps + "?limit=2"));
  CHECK(first["kind"] == "ConfigMapList");
  CHECK(first["items"].size() == 2);
  CHECK(first["metadata"]["remainingItemCount"] == 1);
  std::string token = first["metadata"]["continue"];
  json second = body(test.call("GET", kMaps + "?limit=2&continue=" + token));
  CHECK(second["items"].size() == 1);
  CHECK(second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]);
  CHECK(body(test.call("GET", kMaps + "?labelSelector=pick=yes"))["items"].size() == 2);
  CHECK(body(test.call("GET", "/api/v1/configmaps?fieldSelector=metadata.name=b"))["items"].size() == 1);
  json removed = body(test.call("DELETE", kMaps + "?labelSelector=pick=yes"));
  CHECK(removed["items"].size() == 2);
  CHECK(body(test.call("GET", kMaps))["items"].size() == 1);
}

TEST_CASE("scale is read and written as a Scale") {
  TestApi test;
  const std::string deployments = "/apis/apps/v1/namespaces/default/deployments";
  json deployment = {{"metadata", {{"name", "d"}}},
                     {"spec",
                      {{"replicas", 2},
                       {"selector", {{"matchLabels", {{"app", "d"}}}}},
                       {"template",
                        {{"metadata", {{"labels", {{"app", "d"}}}}},
                         {"spec", {{"containers", json::array({{{"name", "c"}, {"image", "x:1"}}})}}}}}}}};
  REQUIRE(test.call("POST", deployments, deployment.dump()).status == 201);
  json scale = body(test.call("GET", deployments + "/d/scale"));
  CHECK(scale["kind"] == "Scale");
  CHECK(scale["status"]["selector"] == "app=d");
  scale["spec"]["replicas"] = 5;
  CHECK(test.call("PUT", deployments + "/d/scale", scale.dump()).status == 200);
  CHECK(body(test.call("GET", deployments + "/d"))["spec"]["replicas"] == 5);
}

TEST_CASE("a client gets the form it accepts") {
  TestApi test;
  REQUIRE(test.call("POST", kMaps, kMap).status == 201);
  struct Row {
    const char *accept, *kind;
    int status;
  };
  auto row = GENERATE(values<Row>({
      {"application/json", "ConfigMap", 200},
      {"", "ConfigMap", 200},
      {"*/*", "ConfigMap", 200},
      {"application/vnd.kubernetes.protobuf,application/json", "protobuf", 200},
      {"application/vnd.kubernetes.protobuf;q=0.5,application/json", "ConfigMap", 200},
      {"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "protobuf", 200},
      {"application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json", "ConfigMap", 200},
      {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Table", 200},
      {"application/json;as=Table;v=v9;g=meta.k8s.io, application/json", "ConfigMap", 200},
      {"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "PartialObjectMetadata", 200},
      {"application/xml", "Status", 406},
      {"application/vnd.kubernetes.protobuf", "protobuf", 200},
  }));
  DYNAMIC_SECTION(row.accept) {
    Reply reply = test.call_as(row.accept, kMaps + "/m");
    CHECK(reply.status == row.status);
    bool protobuf = reply.body->starts_with(std::string_view("k8s\0", 4));
    CHECK((protobuf ? "protobuf" : body(reply)["kind"].get<std::string>()) == row.kind);
    CHECK((reply.content_type == "application/vnd.kubernetes.protobuf") == protobuf);
  }
}

TEST_CASE("health says what is wrong when asked") {
  TestApi test;
  bool ready = false;
  ApiOptions options = test.options();
  options.health = {
      {"storage", [&ready]() -> Status { return ready ? ok() : Status(Error(Code::Unavailable, "x")); }}};
  Api api(std::move(options));
  auto get = [&](const std::string& path) {
    return std::get<Reply>(api.handle(TestApi::request("GET", path)));
  };
  CHECK(get("/readyz").status == 500);
  CHECK(*get("/readyz").body == "[+]ping ok\n[-]storage failed: reason withheld\nreadyz check failed\n");
  CHECK(get("/readyz?exclude=storage").status == 200);
  CHECK(get("/livez/ping").status == 200);
  CHECK(get("/livez/nope").status == 404);
  ready = true;
  CHECK(*get("/healthz").body == "ok");
  CHECK(*get("/readyz?verbose").body == "[+]ping ok\n[+]storage ok\nreadyz check passed\n");
}

TEST_CASE("version is that of the API") {
  TestApi test;
  json version = body(test.call("GET", "/version"));
  CHECK(version["major"] == "1");
  CHECK(version["minor"] == "36");
  CHECK(version["gitVersion"] == "v1.36.0+test");
}

TEST_CASE("protobuf bodies are read like JSON ones") {
  TestApi test;
  auto field = [](int number, const std::string& bytes) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
  };
  std::string metadata = field(1, "p") + field(11, field(1, "k") + field(2, "v"));
  std::string object =
      field(1, metadata) + field(2, field(1, "a") + field(2, "1")) + std::string("\x20\x01", 2);
  std::string bytes =
      std::string("k8s\0", 4) + field(1, field(1, "v1") + field(2, "ConfigMap")) + field(2, object);
  Request request = TestApi::request("POST", kMaps, bytes);
  request.headers.erase("Content-Type");
  request.headers.emplace("Content-Type", "application/vnd.kubernetes.protobuf");
  Reply reply = test.call(request);
  REQUIRE(reply.status == 201);
  CHECK(body(reply)["data"] == json({{"a", "1"}}));
  CHECK(body(reply)["metadata"]["labels"] == json({{"k", "v"}}));
  CHECK(body(reply)["immutable"] == true);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    request.body = bytes.substr(0, cut);
    test.call(request);  // whatever it says, it says it without a crash
  }
  request.body = "k8s\x01 not protobuf";
  CHECK(test.call(request).status == 400);
}

TEST_CASE("events are held to the rules of the version that their writer speaks") {
  TestApi test;
  auto refusal = [&](const char* path, const char* event) {
    Reply reply = test.call("POST", path, event);
    return reply.status == 201 ? std::string() : json::parse(*reply.body)["message"].get<std::string>();
  };
  const char* core = "/api/v1/namespaces/default/events";
  const char* events = "/apis/events.k8s.io/v1/namespaces/default/events";
  CHECK(refusal(core, R"({"metadata":{"name":"a"},"involvedObject":{"namespace":"default"}})") == "");
  CHECK(refusal(core, R"({"metadata":{"name":"b"},"involvedObject":{"namespace":"other"}})") ==
        "Event \"b\" is invalid: involvedObject.namespace: Invalid value: \"other\": does not match event.namespace");
  CHECK(refusal(core, R"({"metadata":{"name":"b"},"eventTime":"2020-01-01T00:00:00.000000Z","action":"a","reason":"r",
                          "reportingInstance":"i","involvedObject":{"namespace":"default"}})") ==
        "Event \"b\" is invalid: [reportingComponent: Required value, reportingComponent: Invalid value: \"\": name part must be "
        "non-empty, reportingComponent: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
        "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')]");
  const char* whole = R"({"metadata":{"name":"c"},"eventTime":"2020-01-01T00:00:00.000000Z","action":"a","reason":"r","type":"Normal",
      "reportingController":"me","reportingInstance":"i","regarding":{"namespace":"default"}})";
  CHECK(refusal(events, whole) == "");
  CHECK(refusal(events, R"({"metadata":{"name":"d"},"regarding":{"namespace":"default"},"deprecatedCount":2})") ==
        "Event \"d\" is invalid: [eventTime: Required value, type: Invalid value: \"\": has invalid value: , "
        "count: Invalid value: \"\": needs to be unset]");
  auto patch = [&](const std::string& path, const char* body) {
    Request request = TestApi::request("PATCH", path, body);
    request.headers.erase("Content-Type");
    request.headers.emplace("Content-Type", "application/merge-patch+json");
    return test.call(request).status;
  };
  CHECK(patch(std::string(events) + "/c", R"({"reason":"other"})") == 422);
  CHECK(patch(std::string(events) + "/c", R"({"series":{"count":1,"lastObservedTime":"2020-01-01T00:00:01.000000Z"}})") == 422);
  CHECK(patch(std::string(events) + "/c", R"({"series":{"count":2,"lastObservedTime":"2020-01-01T00:00:01.000000Z"}})") == 200);
  CHECK(patch(std::string(core) + "/c", R"({"reason":"other"})") == 200);
}

TEST_CASE("versions with a type of their own are told in protobuf too, and so is success") {
  TestApi test;
  constexpr const char* kProtobuf = "application/vnd.kubernetes.protobuf, application/json";
  const std::string events = "/apis/events.k8s.io/v1/namespaces/default/events";
  REQUIRE(test.call("POST", events, R"({"metadata":{"name":"c"},"eventTime":"2020-01-01T00:00:00.000000Z","action":"a","reason":"r",
      "type":"Normal","note":"n","reportingController":"me","reportingInstance":"i","regarding":{"namespace":"default"}})").status == 201);
  Reply binary = test.call_as(kProtobuf, events + "/c");
  CHECK(binary.content_type == "application/vnd.kubernetes.protobuf");
  auto text = api::json_from_protobuf(*binary.body, api::type_of<api::EventsEvent>());
  REQUIRE(text.ok());
  CHECK(json::parse(text.value())["note"] == "n");
  CHECK(json::parse(text.value()) == json::parse(*test.call("GET", events + "/c").body));
  Reply list = test.call_as(kProtobuf, events);
  CHECK(list.body->find("events.k8s.io/v1") != std::string::npos);
  CHECK(list.body->find("EventList") != std::string::npos);
  // The old Deployment has today's type, but was another message: JSON.
  CHECK(test.call_as(kProtobuf, "/apis/apps/v1beta1/deployments").content_type == "application/json");
  Request removal = TestApi::request("DELETE", events + "/c");
  removal.headers.erase("Accept");
  removal.headers.emplace("Accept", kProtobuf);
  Reply removed = test.call(removal);
  CHECK(removed.content_type == "application/vnd.kubernetes.protobuf");
  CHECK(json::parse(api::json_from_protobuf(*removed.body, api::type_of<api::MetaStatus>()).value())["status"] == "Success");
}
