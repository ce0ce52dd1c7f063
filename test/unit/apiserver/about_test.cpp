// What the server says about itself and its requests: metrics, audit, health, refusals of a flood.
#include <catch2/catch.hpp>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apiserver/audit.hpp"
#include "apiserver/metrics.hpp"
#include "temporary_directory.hpp"
#include "test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using nlohmann::json;

namespace {

RequestInfo info_of(const std::string& method, const std::string& target) {
  return parse_request_info(test::TestApi::request(method, target));
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("requests are counted and timed under Kubernetes' names") {
  test::TestApi test;
  test.call("GET", "/api/v1/namespaces/default/configmaps");
  test.call("GET", "/api/v1/namespaces/default/configmaps/none");
  const std::string text = *test.call("GET", "/metrics").body;
  CHECK(contains(text, R"(apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"} 1)"));
  CHECK(contains(text, R"(apiserver_request_total{code="404",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1"} 1)"));
  CHECK(contains(text, R"(verb="LIST",version="v1",le="+Inf"} 1)"));
  CHECK(contains(text, R"(apiserver_storage_objects{resource="namespaces"} 1)"));
  CHECK(contains(text, R"(apiserver_resource_objects{group="apps",resource="deployments"} 0)"));
  CHECK(contains(text, R"(kubernetes_build_info{git_version="v1.36.0+test")"));
  CHECK(contains(text, "process_resident_memory_bytes"));
}

TEST_CASE("too many requests of a kind at once are told to come back") {
  Metrics metrics({.read_only = 1, .mutating = 1});
  const RequestInfo get = info_of("GET", "/api/v1/namespaces/default/pods/a");
  const RequestInfo post = info_of("POST", "/api/v1/namespaces/default/pods");
  const RequestInfo watch = info_of("GET", "/api/v1/pods?watch=true");
  {
    auto first = metrics.begin(get);
    CHECK(first.admitted());
    CHECK_FALSE(metrics.begin(get).admitted());
    CHECK(metrics.begin(post).admitted());  // counted apart
    for (int i = 0; i < 5; ++i) CHECK(metrics.begin(watch).admitted());
  }
  CHECK(metrics.begin(get).admitted());

  test::TestApi test;
  ApiOptions options = test.options();
  options.limits = {.read_only = 0, .mutating = 0};
  Api api(std::move(options));
  Reply reply = std::get<Reply>(api.handle(test::TestApi::request("GET", "/api/v1/pods")));
  CHECK(reply.status == 429);
  CHECK(reply.headers.find("Retry-After")->second == "1");
}

TEST_CASE("health is asked check by check") {
  const std::vector<HealthCheck> checks{{"etcd", [] { return ok(); }},
                                        {"shutdown", [] { return Status(Error(Code::Unavailable, "x")); }, true}};
  auto ask = [&](const std::string& target) { return health_report(test::TestApi::request("GET", target), checks); };
  CHECK(*ask("/livez").body == "ok");
  CHECK(ask("/readyz").status == 500);
  CHECK(contains(*ask("/readyz").body, "[-]shutdown failed: reason withheld"));
  CHECK(*ask("/readyz?exclude=shutdown").body == "ok");
  CHECK(*ask("/healthz/etcd").body == "ok");
  CHECK(ask("/healthz/shutdown").status == 404);
  CHECK(*ask("/livez?verbose").body == "[+]ping ok\n[+]etcd ok\nlivez check passed\n");
}

TEST_CASE("the audit log tells who asked what, and never a secret") {
  test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/audit.log";
  test::TestApi test;
  std::unique_ptr<AuditLog> log = AuditLog::open(path, *audit_level("RequestResponse")).value();
  ApiOptions options = test.options();
  options.audit = log.get();
  Api api(std::move(options));
  auto post = [&](const std::string& plural, const std::string& body) {
    api.handle(test::TestApi::request("POST", "/api/v1/namespaces/default/" + plural, body));
  };
  post("configmaps", R"({"metadata":{"name":"a"},"data":{"k":"v"}})");
  post("secrets", R"({"metadata":{"name":"s"},"stringData":{"k":"v"}})");
  post("configmaps", R"({"metadata":{"name":"a"}})");
  std::ifstream file(path);
  std::vector<json> events;
  for (std::string line; std::getline(file, line);) events.push_back(json::parse(line));
  REQUIRE(events.size() == 3);
  CHECK(events[0]["user"]["username"] == "admin");
  CHECK(events[0]["verb"] == "create");
  CHECK(events[0]["objectRef"] == json::parse(R"({"resource":"configmaps","namespace":"default","apiVersion":"v1"})"));
  CHECK(events[0]["requestObject"]["data"]["k"] == "v");
  CHECK(events[0]["responseStatus"]["code"] == 201);
  CHECK(events[0]["responseObject"]["metadata"]["name"] == "a");
  CHECK_FALSE(events[1].contains("requestObject"));
  CHECK_FALSE(events[1].contains("responseObject"));
  CHECK(events[2]["responseStatus"]["code"] == 409);
  CHECK_FALSE(audit_level("Everything"));
}
