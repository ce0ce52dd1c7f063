#include "proxy/ingress_routes.hpp"

#include <catch2/catch.hpp>

#include "api/json.hpp"
#include "proxy/ingress_options.hpp"

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

/// An Ingress; the later it is made the younger it is.
Ref<api::Ingress> ingress(const std::string& name, const std::string& spec,
                          const std::string& annotations = "{}") {
  static int made = 0;
  int age = made++;
  return object<api::Ingress>(fmt::format(
      R"({{"metadata":{{"namespace":"d","name":"{}","creationTimestamp":"2026-01-01T{:02}:{:02}:00Z","annotations":{}}},"spec":{}}})",
      name, age / 60, age % 60, annotations, spec));
}

std::string path(const std::string& text, const std::string& type, const std::string& service) {
  return fmt::format(
      R"({{"path":"{}","pathType":"{}","backend":{{"service":{{"name":"{}","port":{{"number":80}}}}}}}})",
      text, type, service);
}
std::string host(const std::string& name, const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& one : paths) all += (all.empty() ? "" : ",") + one;
  return fmt::format(R"({{"host":"{}","http":{{"paths":[{}]}}}})", name, all);
}
std::string rules(const std::vector<std::string>& hosts, const std::string& more = "") {
  std::string all;
  for (const std::string& one : hosts) all += (all.empty() ? "" : ",") + one;
  return fmt::format(R"({{"rules":[{}]{}}})", all, more);
}

struct Compiled {
  CompiledIngresses compiled;

  explicit Compiled(std::vector<Ref<api::Ingress>> ingresses) {
    IngressView view;
    view.ingresses = std::move(ingresses);
    // Service "sN" has one endpoint, 10.0.0.N.
    view.lookup.service = [](const ObjectKey& key) {
      return key.name.starts_with("s")
                 ? object<api::Service>(R"({"metadata":{"namespace":"d","name":")" + key.name +
                                        R"("},"spec":{"ports":[{"name":"web","port":80,"protocol":"TCP"}]}})")
                 : Ref<api::Service>();
    };
    view.lookup.slices = [](const ObjectKey& key) {
      return Slices{object<api::EndpointSlice>(
          R"({"addressType":"IPv4","ports":[{"name":"web","port":8080,"protocol":"TCP"}],
          "endpoints":[{"addresses":["10.0.0.)" +
          key.name.substr(1) + R"("]}]})")};
    };
    view.certificate = [](const ObjectKey& key) -> Result<CertificateTable::Certificate> {
      return error(Code::NotFound, "Secret {} does not exist", key.str());
    };
    compiled = compile_ingresses(std::move(view));
  }

  /// "s1 /target", "308 https://...", or a status.
  std::string ask(const std::string& url, bool tls = false) const {
    size_t slash = url.find('/');
    auto parsed = parse_request_head(
        fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", url.substr(slash), url.substr(0, slash)));
    REQUIRE(parsed.head);
    size_t mark = parsed.head->target.find('?');
    std::string query = mark == std::string::npos ? "" : parsed.head->target.substr(mark + 1);
    net::HttpDecision decision = compiled.routes->decide(
        {*parsed.head, net::normal_path(parsed.head->target).value(), query, tls, "ingress"});
    if (auto* answer = std::get_if<net::HttpAnswer>(&decision))
      return std::to_string(answer->status) + (answer->headers.empty() ? "" : " " + answer->headers[0].value);
    const auto& forward = std::get<net::HttpForward>(decision);
    std::string target = forward.target.empty() ? "" : " " + forward.target;
    return fmt::format("s{}{}", forward.backends->endpoints.at(0).address.value & 255, target);
  }

 private:
  static net::HttpParsed<net::HttpRequestHead> parse_request_head(const std::string& bytes) {
    return net::parse_request_head(bytes);
  }
};

TEST_CASE("paths in Kubernetes' order") {
  Compiled table({ingress(
      "a", rules({host("x.org", {path("/", "Prefix", "s1"), path("/foo", "Prefix", "s2"),
                                 path("/foo/bar", "Prefix", "s3"), path("/foo", "Exact", "s4"),
                                 path("/aaa/", "Prefix", "s5"), path("/impl", "ImplementationSpecific", "s6"),
                                 path("/star/*", "ImplementationSpecific", "s7")})}))});
  struct Row {
    const char *url, *want;
  };
  for (const Row& row : {Row{"x.org/", "s1"},
                         {"x.org/foo", "s4"},
                         {"x.org/foo/", "s2"},
                         {"x.org/foo/baz", "s2"},
                         {"x.org/foobar", "s1"},
                         {"x.org/foo/bar", "s3"},
                         {"x.org/foo/bar/x?y", "s3"},
                         {"x.org/foo/barx", "s2"},
                         {"x.org/aaa", "s5"},
                         {"x.org/aaa/bbb", "s5"},
                         {"x.org/aaabbb", "s1"},
                         {"x.org/impl/y", "s6"},
                         {"x.org/star/y", "s7"},
                         {"x.org/x/../foo/bar", "s3"},
                         {"X.ORG:8080/foo", "s4"},
                         {"y.org/foo", "404"}}) {
    INFO(row.url);
    CHECK(table.ask(row.url) == row.want);
  }
}

TEST_CASE("hosts: exact, wildcard, all, default") {
  Compiled table(
      {ingress("a", rules({host("foo.org", {path("/a", "Prefix", "s1")}),
                           host("*.foo.org", {path("/", "Prefix", "s2")}),
                           host("", {path("/all", "Prefix", "s3")})})),
       ingress("b", R"({"defaultBackend":{"service":{"name":"s4","port":{"name":"web"}}}})"),
       ingress(
           "c",
           R"({"defaultBackend":{"service":{"name":"s5","port":{"number":80}}},"rules":[{"host":"bare.org"}]})")});
  CHECK(table.ask("foo.org/a") == "s1");
  CHECK(table.ask("foo.org/b") == "s4");
  CHECK(table.ask("bar.foo.org/b") == "s2");
  CHECK(table.ask("baz.bar.foo.org/all") == "s3");
  CHECK(table.ask("other.org/all/x") == "s3");
  CHECK(table.ask("other.org/") == "s4");
  CHECK(table.ask("bare.org/x") == "s5");
}

TEST_CASE("of two that want a path the older has it") {
  Ref<api::Ingress> old = ingress("z", rules({host("x.org", {path("/", "Prefix", "s1")})}));
  Ref<api::Ingress> young =
      ingress("a", rules({host("x.org", {path("/", "Prefix", "s2"), path("/own", "Prefix", "s3")})}));
  Compiled table({young, old});
  CHECK(table.ask("x.org/") == "s1");
  CHECK(table.ask("x.org/own") == "s3");
  REQUIRE(table.compiled.problems.size() == 1);
  CHECK(table.compiled.problems[0].ingress.name == "a");
  CHECK(table.compiled.problems[0].reason == "PathTaken");
}

TEST_CASE("annotations that tutorials use") {
  auto with = [](const std::string& annotations, const std::string& paths = path("/", "Prefix", "s1"),
                 const std::string& more = "") {
    return Compiled({ingress("a", rules({host("x.org", {paths})}, more), annotations)});
  };
  const std::string kTls = R"(,"tls":[{"hosts":["x.org"],"secretName":"none"}])",
                    kNginx = R"({"nginx.ingress.kubernetes.io/)";
  SECTION("rewriting") {
    CHECK(with(kNginx + R"(rewrite-target":"/"})", path("/foo", "Prefix", "s1")).ask("x.org/foo/bar?x=1") ==
          "s1 /?x=1");
    Compiled groups =
        with(kNginx + R"(rewrite-target":"/$2"})", path("/api(/|$)(.*)", "ImplementationSpecific", "s1"));
    CHECK(groups.ask("x.org/api/users/1?x=%20") == "s1 /users/1?x=%20");
    CHECK(groups.ask("x.org/api") == "s1 /");
    CHECK(groups.ask("x.org/API/a%20b") == "s1 /a%20b");
    CHECK(groups.ask("x.org/apix") == "404");
    CHECK(with(R"({"ingress.kubernetes.io/rewrite-target":"new"})").ask("x.org/a") == "s1 /new");
  }
  SECTION("regular expressions") {
    Compiled regex =
        with(kNginx + R"(use-regex":"true"})", path("/img/[0-9]+$", "ImplementationSpecific", "s1"));
    CHECK(regex.ask("x.org/img/12") == "s1");
    CHECK(regex.ask("x.org/img/12a") == "404");
    Compiled bad = with(kNginx + R"(use-regex":"true"})", path("/a(", "ImplementationSpecific", "s1"));
    CHECK(bad.ask("x.org/a(") == "404");
    CHECK(bad.compiled.problems.at(0).reason == "InvalidPath");
  }
  SECTION("to TLS") {
    CHECK(with("{}", path("/", "Prefix", "s1"), kTls).ask("x.org/a?b") == "308 https://x.org/a?b");
    CHECK(with("{}", path("/", "Prefix", "s1"), kTls).ask("x.org:8080/a", true) == "s1");
    CHECK(with(kNginx + R"(ssl-redirect":"false"})", path("/", "Prefix", "s1"), kTls).ask("x.org/a") == "s1");
    CHECK(with(kNginx + R"(force-ssl-redirect":"true"})").ask("x.org/a") == "308 https://x.org/a");
    CHECK(with("{}", path("/", "Prefix", "s1"), kTls).compiled.problems.at(0).reason ==
          "CertificateUnavailable");
  }
  SECTION("elsewhere") {
    CHECK(with(kNginx + R"(app-root":"/app"})").ask("x.org/") == "302 http://x.org/app");
    CHECK(with(kNginx + R"(app-root":"/app"})").ask("x.org/x") == "s1");
    CHECK(with(kNginx + R"(permanent-redirect":"https://new.org"})").ask("x.org/x") == "301 https://new.org");
    CHECK(with(kNginx + R"(temporal-redirect":"https://new.org"})").ask("x.org/x") == "302 https://new.org");
  }
  SECTION("words that mean nothing are told") {
    Compiled odd =
        with(kNginx + R"(proxy-body-size":"many","nginx.ingress.kubernetes.io/ssl-redirect":"yes"})");
    CHECK(odd.compiled.problems.size() == 2);
    CHECK(odd.ask("x.org/") == "s1");
  }
}

TEST_CASE("sizes as nginx spells them") {
  auto size = [](const std::string& text) {
    return ingress_options({{"nginx.ingress.kubernetes.io/proxy-body-size", text}}).max_body;
  };
  CHECK(size("1024") == 1024);
  CHECK(size("8k") == 8 << 10);
  CHECK(size("8M") == 8 << 20);
  CHECK(size("1g") == 1 << 30);
  CHECK(size("0") == 0);
}

TEST_CASE("backends that are not there") {
  CHECK(Compiled({ingress("a", rules({host("x.org", {path("/", "Prefix", "missing")})}))}).ask("x.org/") ==
        "503");
  CHECK(
      Compiled(
          {ingress(
              "a",
              rules({host(
                  "x.org",
                  {R"({"path":"/","pathType":"Prefix","backend":{"service":{"name":"s1","port":{"name":"other"}}}})"})}))})
          .ask("x.org/") == "503");
  Compiled resource({ingress(
      "a",
      rules({host(
          "x.org",
          {R"({"path":"/","pathType":"Prefix","backend":{"resource":{"kind":"Bucket","name":"b"}}})"})}))});
  CHECK(resource.ask("x.org/") == "503");
  CHECK(resource.compiled.problems.at(0).message ==
        "backend Bucket 'b' is not a Service: only Services can be backends");
}

TEST_CASE("whose Ingress it is") {
  auto ours = [](const std::string& spec, const std::string& annotations,
                 const std::vector<std::string>& classes) {
    return is_ours(*ingress("a", spec, annotations), [&](const std::string& name) {
      for (const std::string& one : classes)
        if (one.starts_with(name + "="))
          return object<api::IngressClass>(R"({"spec":{"controller":")" + one.substr(name.size() + 1) +
                                           R"("}})");
      return Ref<api::IngressClass>();
    });
  };
  const std::string kOurs = "skiff=skiff.io/ingress-controller", kNginx = R"({"ingressClassName":"nginx"})";
  CHECK(ours("{}", "{}", {kOurs}));
  CHECK(ours(R"({"ingressClassName":"skiff"})", "{}", {kOurs}));
  CHECK(ours(kNginx, "{}", {kOurs}));
  CHECK_FALSE(ours(kNginx, "{}", {kOurs, "nginx=k8s.io/ingress-nginx"}));
  CHECK(ours("{}", R"({"kubernetes.io/ingress.class":"nginx"})", {kOurs}));
  CHECK_FALSE(ours("{}", R"({"kubernetes.io/ingress.class":"traefik"})", {kOurs}));
  CHECK_FALSE(ours(R"({"ingressClassName":"traefik"})", "{}", {kOurs}));
  CHECK(ours(R"({"ingressClassName":"mine"})", "{}", {"mine=skiff.io/ingress-controller"}));
}

}  // namespace
}  // namespace skiff::proxy
