#include "apiserver/webhook_client.hpp"

#include <catch2/catch.hpp>

#include "api/gen/core.hpp"
#include "api/gen/nodes.hpp"
#include "api/gen/service.hpp"
#include "registry/registry.hpp"
#include "unit/apiserver/test_server.hpp"

using namespace skiff;
using namespace skiff::apiserver;

namespace {

// A node whose network is this process's.
class HereNode final : public client::NodeAccess {
 public:
  Status logs(const client::ObjectKey&, const client::LogOptions&, const std::function<bool(std::string_view)>&,
              std::stop_token) override {
    return ok();
  }
  Result<std::unique_ptr<client::ExecSession>> exec(const client::ObjectKey&, const client::ExecOptions&) override {
    return Error(Code::Unavailable, "no");
  }
  Result<std::unique_ptr<client::ExecSession>> attach(const client::ObjectKey&, const client::ExecOptions&) override {
    return Error(Code::Unavailable, "no");
  }
  Result<UniqueFd> dial_pod(const client::ObjectKey&, std::uint16_t) override {
    return Error(Code::Unavailable, "no");
  }
  Result<UniqueFd> dial(const std::string&, std::uint16_t port) override {
    ++dials;
    return test::connect_to(port);
  }
  int dials = 0;
};

struct World {
  SystemClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  registry::Registry registry{*store, clock, random};
  std::shared_ptr<HereNode> node = std::make_shared<HereNode>();
  WebhookClient webhooks{registry.local_client(), [this](const std::string&) { return node; }};
  test::TestServer server{[](const Request& request) {
    bool good = request.path == "/convert" && request.query.contains("timeout");
    return Response(Reply{good ? 200 : 500, "application/json", {}, std::make_shared<std::string>(request.body + "!")});
  }};

  registry::WebhookTarget url(const std::string& path) {
    registry::WebhookTarget target;
    target.url = fmt::format("https://localhost:{}{}", server.port, path);
    target.ca_bundle = server.authority.certificate;
    return target;
  }
};

std::string message(const Result<std::string>& result) { return result.ok() ? "" : result.error().message(); }

}  // namespace

TEST_CASE("a webhook is called at its URL and must be who it says") {
  World world;
  CHECK(world.webhooks.post(world.url("/convert"), "hello", 10s).value() == "hello!");
  CHECK(message(world.webhooks.post(world.url("/other"), "x", 10s)).find("status code 500") != std::string::npos);
  registry::WebhookTarget stranger = world.url("/convert");
  stranger.ca_bundle = make_authority("other", {world.clock.wall_now(), 1h}).value().certificate;
  CHECK(message(world.webhooks.post(stranger, "x", 10s)).find("failed to verify certificate") != std::string::npos);
  stranger.ca_bundle = "no PEM";
  CHECK(message(world.webhooks.post(stranger, "x", 10s)).find("unable to load root certificates") !=
        std::string::npos);
}

TEST_CASE("a webhook that does not answer ends in time") {
  World world;
  registry::WebhookTarget target;
  {
    UniqueFd silent = test::listening_socket();
    target.url = fmt::format("https://127.0.0.1:{}/", test::port_of(silent));
    Result<std::string> answer = world.webhooks.post(target, "x", 50ms);
    REQUIRE_FALSE(answer.ok());
    CHECK(answer.error().code() == Code::Timeout);
    CHECK(message(answer) == fmt::format("Post \"{}?timeout=0s\": context deadline exceeded", target.url));
  }
  CHECK(message(world.webhooks.post(target, "x", 10s)).find("onnection refused") != std::string::npos);
}

TEST_CASE("a webhook's service is dialled through a node") {
  World world;
  client::Client& client = world.registry.local_client();
  registry::WebhookTarget target;
  target.service_namespace = "default";
  target.service_name = "hook";
  target.ca_bundle = world.server.authority.certificate;
  CHECK(message(world.webhooks.post(target, "x", 10s)) ==
        "Post \"https://hook.default.svc:443/?timeout=10s\": service \"hook\" not found");
  api::Namespace ns;
  ns.metadata.name = "default";
  REQUIRE(client.create(ns).ok());
  api::Service service;
  service.metadata.namespace_ = "default";
  service.metadata.name = "hook";
  service.spec.ports.emplace_back().port = 443;
  REQUIRE(client.create(service).ok());
  CHECK(message(world.webhooks.post(target, "x", 10s)).find("no endpoints available for service \"hook\"") !=
        std::string::npos);
  api::Node node;
  node.metadata.name = "n";
  REQUIRE(client.create(node).ok());
  api::Endpoints endpoints;
  endpoints.metadata = service.metadata;
  auto& subset = endpoints.subsets.emplace_back();
  subset.addresses.emplace_back().ip = "10.0.0.1";
  subset.ports.emplace_back().port = world.server.port;
  REQUIRE(client.create(endpoints).ok());
  // The test server's certificate is for localhost: reaching it is enough, trusting it would be wrong.
  CHECK(message(world.webhooks.post(target, "x", 10s)).find("failed to verify certificate") != std::string::npos);
  CHECK(world.node->dials == 1);
}
