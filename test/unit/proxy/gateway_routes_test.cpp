#include "proxy/gateway_routes.hpp"

#include <catch2/catch.hpp>

#include "api/json.hpp"
#include "proxy/gateway_controller.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

template <class T>
Ref<T> object(const std::string& json) {
  Result<T> parsed = api::from_json<T>(json);
  INFO(json);
  REQUIRE(parsed.ok());
  return std::make_shared<T>(std::move(parsed).value());
}

Ref<api::GatewayObject> gateway(const std::string& listeners, const std::string& name = "g") {
  return object<api::GatewayObject>(fmt::format(
      R"({{"metadata":{{"namespace":"d","name":"{}"}},"spec":{{"gatewayClassName":"c","listeners":[{}]}}}})",
      name, listeners));
}
Ref<api::GatewayHttpRoute> route(const std::string& name, const std::string& spec,
                                 const std::string& space = "d") {
  return object<api::GatewayHttpRoute>(
      fmt::format(R"({{"metadata":{{"namespace":"{}","name":"{}"}},"spec":{}}})", space, name, spec));
}
const std::string kListener = R"({"name":"http","port":80,"protocol":"HTTP"})";
const std::string kParent = R"("parentRefs":[{"name":"g","namespace":"d"}])";
std::string to(const std::string& service, const std::string& more = "") {
  return fmt::format(R"("backendRefs":[{{"name":"{}","port":80{}}}])", service, more);
}

struct World {
  GatewayView view;
  CompiledGateways compiled;

  World(const std::string& listeners, std::vector<Ref<api::GatewayHttpRoute>> routes) {
    view.gateways = {gateway(listeners)};
    view.routes = std::move(routes);
    view.namespaces = {{"d", {{"team", "red"}}}, {"e", {{"team", "blue"}}}};
    view.addresses = {{{"d", "g"}, net::parse_address("10.9.0.1").value()}};
    view.lookup.service = [](const ObjectKey& key) {
      return key.name.starts_with("s")
                 ? object<api::Service>(R"({"spec":{"ports":[{"port":80,"protocol":"TCP"}]}})")
                 : Ref<api::Service>();
    };
    view.lookup.slices = [](const ObjectKey& key) {
      return Slices{object<api::EndpointSlice>(
          R"({"addressType":"IPv4","ports":[{"name":"","port":8080,"protocol":"TCP"}],"endpoints":[{"addresses":["10.0.0.)" +
          key.name.substr(1) + R"("]}]})")};
    };
    view.certificate = [](const ObjectKey& key) -> Result<CertificateTable::Certificate> {
      return error(Code::NotFound, "Secret {} does not exist", key.str());
    };
    view.now = "2026-01-01T00:00:00Z";
    compiled = compile_gateways(view);
  }

  std::string ask(const std::string& line, const std::string& headers = "",
                  const std::string& listener = "gateway/d/g/80") const {
    auto parsed = net::parse_request_head(line + " HTTP/1.1\r\n" + headers + "\r\n");
    REQUIRE(parsed.head);
    size_t mark = parsed.head->target.find('?');
    std::string query = mark == std::string::npos ? "" : parsed.head->target.substr(mark + 1);
    net::HttpDecision decision = compiled.routes->decide(
        {*parsed.head, net::normal_path(parsed.head->target).value(), query, false, listener});
    if (auto* answer = std::get_if<net::HttpAnswer>(&decision))
      return std::to_string(answer->status) + (answer->headers.empty() ? "" : " " + answer->headers[0].value);
    const auto& forward = std::get<net::HttpForward>(decision);
    std::string text = fmt::format("s{}", static_cast<unsigned>(forward.backends->endpoints.at(0).address.value & 255));
    if (!forward.target.empty()) text += " " + forward.target;
    for (const net::HttpHeader& one : forward.request.set) text += " " + one.name + "=" + one.value;
    return text;
  }
  std::string accepted(const std::string& name, const std::string& space = "d") const {
    auto parents = compiled.parents.find({space, name});
    if (parents == compiled.parents.end()) return "nobody's";
    std::string text;
    for (const api::Condition& one : parents->second.at(0).conditions) text += one.reason + " ";
    return text;
  }
};

const std::string kHost = "Host: a.org\r\n";

TEST_CASE("matches of routes in the specification's order") {
  World world(kListener, {route("r", "{" + kParent + R"(,"rules":[
    {"matches":[{"path":{"type":"PathPrefix","value":"/"}}],)" +
                                         to("s1") + R"(},
    {"matches":[{"path":{"type":"PathPrefix","value":"/a"}}],)" +
                                         to("s2") + R"(},
    {"matches":[{"path":{"type":"Exact","value":"/a"}}],)" +
                                         to("s3") + R"(},
    {"matches":[{"path":{"type":"PathPrefix","value":"/a"},"headers":[{"name":"X-Kind","value":"b"}]},{"method":"POST"}],)" +
                                         to("s4") + R"(},
    {"matches":[{"path":{"type":"PathPrefix","value":"/a"},"queryParams":[{"name":"q","value":"1"}]}],)" +
                                         to("s5") + "}]}")});
  CHECK(world.ask("GET /x", kHost) == "s1");
  CHECK(world.ask("GET /a/b", kHost) == "s2");
  CHECK(world.ask("GET /ab", kHost) == "s1");
  CHECK(world.ask("GET /a", kHost) == "s3");
  CHECK(world.ask("GET /a/b", kHost + "x-kind: b\r\n") == "s4");
  CHECK(world.ask("POST /x", kHost) == "s4");
  CHECK(world.ask("GET /a/b?p=2&q=1", kHost) == "s5");
  CHECK(world.accepted("r") == "Accepted ResolvedRefs ");
  CHECK(world.compiled.gateways.at({"d", "g"}).listeners.at(0).attachedRoutes == 1);
  CHECK(world.compiled.gateways.at({"d", "g"}).addresses.at(0).value == "10.9.0.1");
}

TEST_CASE("filters") {
  auto with = [](const std::string& filters) {
    return World(
        kListener,
        {route("r",
               "{" + kParent +
                   R"(,"rules":[{"matches":[{"path":{"type":"PathPrefix","value":"/old"}}],"filters":[)" +
                   filters + "]," + to("s1") + "}]}")});
  };
  CHECK(
      with(R"({"type":"RequestHeaderModifier","requestHeaderModifier":{"set":[{"name":"X-A","value":"1"}]}})")
          .ask("GET /old", kHost) == "s1 X-A=1");
  CHECK(
      with(
          R"({"type":"URLRewrite","urlRewrite":{"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/new"}}})")
          .ask("GET /old/x?y", kHost) == "s1 /new/x?y");
  CHECK(
      with(
          R"({"type":"URLRewrite","urlRewrite":{"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/"}}})")
          .ask("GET /old", kHost) == "s1 /");
  CHECK(
      with(
          R"({"type":"URLRewrite","urlRewrite":{"path":{"type":"ReplaceFullPath","replaceFullPath":"/one"}}})")
          .ask("GET /old/x", kHost) == "s1 /one");
  CHECK(with(R"({"type":"RequestRedirect","requestRedirect":{"scheme":"https","statusCode":301}})")
            .ask("GET /old/x?y", kHost) == "301 https://a.org/old/x?y");
  CHECK(
      with(
          R"({"type":"RequestRedirect","requestRedirect":{"hostname":"b.org","port":8080,"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/n"}}})")
          .ask("GET /old/x", kHost) == "302 http://b.org:8080/n/x");
  CHECK(with(R"({"type":"ExtensionRef"})").accepted("r") == "Accepted UnsupportedValue ");
}

TEST_CASE("backends: weights, and those that are not there") {
  World split(
      kListener,
      {route(
          "r",
          "{" + kParent +
              R"(,"rules":[{"backendRefs":[{"name":"s1","port":80,"weight":9},{"name":"s2","port":80,"weight":1},{"name":"s3","port":80,"weight":0}]}]})")});
  std::map<std::string, int> counts;
  for (int i = 0; i < 1000; ++i) ++counts[split.ask("GET /", kHost)];
  CHECK((counts["s1"] > 850 && counts["s1"] < 950));
  CHECK(counts["s1"] + counts["s2"] == 1000);
  World missing(kListener, {route("r", "{" + kParent + R"(,"rules":[{)" + to("missing") + "}]}")});
  CHECK(missing.ask("GET /", kHost) == "500");
  CHECK(missing.accepted("r") == "Accepted BackendNotFound ");
  World foreign(kListener,
                {route("r", "{" + kParent + R"(,"rules":[{)" + to("s1", R"(,"namespace":"other")") + "}]}")});
  CHECK(foreign.ask("GET /", kHost) == "500");
  CHECK(foreign.accepted("r") == "Accepted RefNotPermitted ");
}

TEST_CASE("who may attach where") {
  auto rules = [](const std::string& more) {
    return "{" + kParent + R"(,"rules":[{)" + to("s1") + "}]" + more + "}";
  };
  const std::string kStar =
      R"({"name":"http","port":80,"protocol":"HTTP","hostname":"*.org","allowedRoutes":{"namespaces":{"from":"Selector","selector":{"matchLabels":{"team":"blue"}}}}})";
  World chosen(kStar, {route("red", rules("")), route("blue", rules(R"(,"hostnames":["a.org"])"), "e"),
                       route("far", rules(R"(,"hostnames":["a.com"])"), "e")});
  CHECK(chosen.accepted("red") == "NotAllowedByListeners ResolvedRefs ");
  CHECK(chosen.accepted("blue", "e") == "Accepted ResolvedRefs ");
  CHECK(chosen.accepted("far", "e") == "NoMatchingListenerHostname ResolvedRefs ");
  CHECK(chosen.ask("GET /", kHost) == "s1");
  CHECK(chosen.ask("GET /", "Host: b.org\r\n") == "404");
  World same(kListener,
             {route("r", rules(""), "e"), route("other", R"({"parentRefs":[{"name":"unknown"}]})")});
  CHECK(same.accepted("r", "e") == "NotAllowedByListeners ResolvedRefs ");
  CHECK(same.accepted("other") == "nobody's");
  World section(kListener, {route("r", R"({"parentRefs":[{"name":"g","sectionName":"https"}],"rules":[]})")});
  CHECK(section.accepted("r") == "NoMatchingParent ResolvedRefs ");
}

TEST_CASE("listeners that cannot work say why") {
  auto reasons = [](const std::string& listeners) {
    World world(listeners, {});
    std::string text;
    for (const auto& listener : world.compiled.gateways.at({"d", "g"}).listeners) {
      for (const api::Condition& one : listener.conditions) text += one.reason + " ";
      text += "; ";
    }
    return text + std::to_string(world.compiled.ports.size());
  };
  CHECK(reasons(kListener) == "Accepted Programmed ResolvedRefs ; 1");
  CHECK(reasons(R"({"name":"t","port":9000,"protocol":"TCP"})") ==
        "UnsupportedProtocol Invalid ResolvedRefs ; 0");
  CHECK(
      reasons(R"({"name":"s","port":443,"protocol":"HTTPS","tls":{"certificateRefs":[{"name":"none"}]}})") ==
      "Accepted Invalid InvalidCertificateRef ; 0");
  CHECK(reasons(kListener + R"(,{"name":"s","port":80,"protocol":"HTTPS"})") ==
        "Accepted Programmed ResolvedRefs ; ProtocolConflict Invalid ResolvedRefs ; 1");
}

TEST_CASE("hosts in common") {
  auto common = [](const char* a, const char* b) { return common_host(a, b).value_or("nothing"); };
  CHECK(common("", "a.org") == "a.org");
  CHECK(common("a.org", "") == "a.org");
  CHECK(common("*.org", "a.org") == "a.org");
  CHECK(common("a.b.org", "*.org") == "a.b.org");
  CHECK(common("*.org", "*.b.org") == "*.b.org");
  CHECK(common("*.org", "org") == "nothing");
  CHECK(common("a.org", "b.org") == "nothing");
}

TEST_CASE("addresses of gateways") {
  auto with = [](const std::string& name, const std::string& has) {
    return object<api::GatewayObject>(
        fmt::format(R"({{"metadata":{{"namespace":"d","name":"{}"}},"status":{{"addresses":[{}]}}}})", name,
                    has.empty() ? "" : R"({"value":")" + has + R"("})"));
  };
  net::Cidr range = net::parse_cidr("10.9.0.0/29").value();
  auto plan = plan_gateway_addresses({with("a", ""), with("b", "10.9.0.2"), with("c", "192.0.2.1")}, range,
                                     {range.at(1)});
  CHECK(plan[{"d", "b"}].str() == "10.9.0.2");
  CHECK(plan[{"d", "a"}].str() == "10.9.0.3");
  CHECK(plan[{"d", "c"}].str() == "10.9.0.4");
}

TEST_CASE("grants let routes refer to Services of other namespaces") {
  World world(kListener, {route("r", "{" + kParent + R"(,"rules":[{)" + to("s1", R"(,"namespace":"e")") + "}]}")});
  CHECK(world.accepted("r") == "Accepted RefNotPermitted ");
  CHECK(world.ask("GET /", kHost) == "500");
  auto grant = [](const std::string& space, const std::string& from, const std::string& to) {
    return object<api::GatewayReferenceGrant>(fmt::format(
        R"({{"metadata":{{"namespace":"{}","name":"g"}},"spec":{{"from":[{{"group":"gateway.networking.k8s.io","kind":"HTTPRoute","namespace":"{}"}}],"to":[{{{}}}]}}}})",
        space, from, to));
  };
  struct Row {
    std::string space, from, to, answer;
  };
  const std::string kService = R"("group":"","kind":"Service")";
  for (const Row& row : {Row{"e", "d", kService, "s1"}, Row{"e", "d", kService + R"(,"name":"s1")", "s1"},
                         Row{"e", "d", kService + R"(,"name":"s2")", "500"}, Row{"e", "x", kService, "500"},
                         Row{"d", "d", kService, "500"}, Row{"e", "d", R"("group":"","kind":"Secret")", "500"}}) {
    world.view.grants = {grant(row.space, row.from, row.to)};
    world.compiled = compile_gateways(world.view);
    INFO(row.space << " " << row.from << " " << row.to);
    CHECK(world.ask("GET /", kHost) == row.answer);
  }
}

TEST_CASE("timeouts and mirrors") {
  World world(kListener, {route("r", "{" + kParent + R"(,"rules":[{"timeouts":{"request":"1m30s","backendRequest":"500ms"},
    "filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"s7","port":80}}}],)" + to("s1") + R"(},
    {"matches":[{"path":{"value":"/bad"}}],"timeouts":{"request":"soon"},)" + to("s2") + "}]}")});
  auto parsed = net::parse_request_head("GET / HTTP/1.1\r\nHost: a.org\r\n\r\n");
  net::HttpDecision decision =
      world.compiled.routes->decide({*parsed.head, "/", "", false, "gateway/d/g/80"});
  const auto& forward = std::get<net::HttpForward>(decision);
  CHECK(forward.answer_timeout == 500ms);
  REQUIRE(forward.mirrors.size() == 1);
  CHECK(forward.mirrors[0]->endpoints.at(0).address.str() == "10.0.0.7");
  CHECK(world.accepted("r") == "Accepted UnsupportedValue ");
  CHECK(gateway_duration("1h2m3s4ms") == std::chrono::hours(1) + 2min + 3s + 4ms);
  CHECK(gateway_duration("0s") == 0s);
  for (const char* bad : {"", "1", "s", "1d", "-1s", "1.5s", "123456s", "1s "}) CHECK_FALSE(gateway_duration(bad));
}

}  // namespace
}  // namespace skiff::proxy
