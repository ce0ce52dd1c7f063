// What is asked of aggregated metric servers, and what is made of their answers.

#include <catch2/catch.hpp>

#include <map>

#include "client/metrics_api.hpp"

using namespace skiff;
using namespace skiff::client;

namespace {

struct Server {
  std::map<std::string, HttpAnswer> answers;
  std::vector<std::string> asked;
  MetricsApi api{[this](const std::string& path) -> Result<HttpAnswer> {
    asked.push_back(path);
    auto found = answers.find(path);
    return found == answers.end() ? HttpAnswer{404, "404 page not found"} : found->second;
  }};
  Server() { serve("v1beta2"); }
  void serve(const std::string& version) {
    answers["/apis/custom.metrics.k8s.io"] = {200, R"({"versions":[{"groupVersion":"custom.metrics.k8s.io/)" + version + R"("}]})"};
  }
};

}  // namespace

TEST_CASE("metrics of pods") {
  Server server;
  const std::string path = "/namespaces/shop/pods/%2A/hits?labelSelector=app%3Dweb&metricLabelSelector=verb%3DGET";
  server.answers["/apis/custom.metrics.k8s.io/v1beta2" + path] = {200, R"({"items":[
    {"describedObject":{"kind":"Pod","name":"a"},"metric":{"name":"hits"},"timestamp":"2026-01-01T00:00:00Z","windowSeconds":30,"value":"1500m"},
    {"describedObject":{"kind":"Pod","name":"b"},"metric":{"name":"hits"},"timestamp":"2026-01-01T00:00:00Z","value":"2"}]})"};
  auto values = server.api.of_pods({"shop", "hits", "verb=GET"}, "app=web").value();
  REQUIRE(values.size() == 2);
  CHECK(values[0].object == "a");
  CHECK(values[0].milli == 1500);
  CHECK(values[0].window == std::chrono::seconds(30));
  CHECK(values[0].timestamp.text() == "2026-01-01T00:00:00Z");
  CHECK(values[1].milli == 2000);
  CHECK(values[1].window == std::chrono::seconds(60));

  SECTION("of a server that has only the older version") {
    server.serve("v1beta1");
    server.answers["/apis/custom.metrics.k8s.io/v1beta1" + path] = {200, R"({"items":[{"describedObject":{"name":"a"},"value":"7"}]})"};
    CHECK(server.api.of_pods({"shop", "hits", "verb=GET"}, "app=web").value().at(0).milli == 7000);
  }
  SECTION("of no server at all") {
    server.answers.clear();
    CHECK(server.api.of_pods({"shop", "hits", ""}, "app=web").error().message() ==
          "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered");
  }
}

TEST_CASE("the metric of an object") {
  Server server;
  auto one = HttpAnswer{200, R"({"items":[{"value":"12"}]})"};
  server.answers["/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/ingresses.networking.k8s.io/main/requests"] = one;
  server.answers["/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/metrics/requests"] = one;
  CHECK(server.api.of_object({"shop", "requests", ""}, "ingresses.networking.k8s.io", "main").value().milli == 12'000);
  CHECK(server.api.of_object({"other", "requests", ""}, "namespaces", "shop").value().milli == 12'000);
  server.answers["/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/services/s/requests"] = {
      403, R"({"kind":"Status","message":"not for you"})"};
  CHECK(server.api.of_object({"shop", "requests", ""}, "services", "s").error().message() ==
        "unable to fetch metrics from custom metrics API: not for you");
}

TEST_CASE("external metrics") {
  Server server;
  CHECK(server.api.external({"shop", "queue", ""}).error().message() ==
        "unable to fetch metrics from external metrics API: the server could not find the requested resource (get "
        "queue.external.metrics.k8s.io)");
  const std::string path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue?labelSelector=q%3D1";
  server.answers[path] = {200, R"({"items":[]})"};
  CHECK(server.api.external({"shop", "queue", "q=1"}).error().message() == "no metrics returned from external metrics API");
  server.answers[path] = {200, R"({"items":[{"metricName":"queue","value":"3"},{"metricName":"queue","value":"4500m"}]})"};
  auto values = server.api.external({"shop", "queue", "q=1"}).value();
  CHECK(values.at(0).milli + values.at(1).milli == 7500);
  server.answers[path] = {200, "<html>"};
  CHECK_FALSE(server.api.external({"shop", "queue", "q=1"}).ok());
}
