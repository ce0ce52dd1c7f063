#include "net/dns_server.hpp"

#include "dns_client.hpp"
#include "world.hpp"

namespace skiff::net {
namespace {

/// "web.svc.test" and a long list; everything below "svc.test" is ours.
class TestZones final : public DnsZones {
 public:
  std::optional<DnsAnswer> answer(const std::string& name, DnsType type) const override {
    if (!name.ends_with("svc.test")) return std::nullopt;
    DnsAnswer answer;
    if (name == "web.svc.test" && type == DnsType::A)
      answer.answers = {{name, DnsType::A, 5, ip("10.96.0.20")}};
    if (name == "web.svc.test" && type == DnsType::Aaaa)
      answer.answers = {{name, DnsType::Aaaa, 5, ip("fd00:96::20")}};
    if (name == "many.svc.test")
      for (std::uint32_t i = 0; i < 300; ++i) answer.answers.push_back({name, DnsType::A, 5, Address::v4(i)});
    if (name == "out.svc.test") answer.answers = {{name, DnsType::Cname, 5, DnsTarget{"example.org"}}};
    if (name == "in.svc.test") answer.answers = {{name, DnsType::Cname, 5, DnsTarget{"web.svc.test"}}};
    if (name == "loop.svc.test") answer.answers = {{name, DnsType::Cname, 5, DnsTarget{"loop.svc.test"}}};
    if (name == "none.svc.test") answer.code = DnsCode::NameError;
    return answer;
  }
};

/// The host's resolver: knows every name as 192.0.2.53, and counts who asks.
class TestResolver {
 public:
  explicit TestResolver(const UniqueFd& network)
      : server_(checked(DnsServer::start(
            network, {.addresses = {ip("127.0.0.53")}, .resolv_conf = "/nonexistent"}, zones_))) {
    checked(server_->add_node("host", network));
  }
  int asked() const { return zones_.asked; }

 private:
  struct Zones final : DnsZones {
    mutable std::atomic<int> asked = 0;
    std::optional<DnsAnswer> answer(const std::string& name, DnsType type) const override {
      ++asked;
      DnsAnswer answer;
      if (name == "missing.org") return DnsAnswer{.code = DnsCode::NameError};
      int count = name == "large.org" ? 200 : 1;
      for (int i = 0; i < count && type == DnsType::A; ++i)
        answer.answers.push_back(
            {name, DnsType::A, 60, Address{Family::V4, ip("192.0.2.53").value + static_cast<std::uint32_t>(i)}});
      return answer;
    }
  };
  Zones zones_;
  std::unique_ptr<DnsServer> server_;
};

struct DnsWorld {
  UniqueFd host = new_network(), node = new_network(), second = new_network();
  std::string resolv_conf = "/tmp/skiff-resolv-" + std::to_string(::getpid());
  TestZones zones;
  Endpoint service{ip("10.96.0.10"), 53};
  std::unique_ptr<DnsServer> server;

  DnsWorld() {
    checked(sys::write_file(resolv_conf, ""));
    server = checked(DnsServer::start(host, {.addresses = {service.address, ip("fd00:96::a")}, .resolv_conf = resolv_conf}, zones));
    checked(server->add_node("node", node));
    checked(server->add_node("node", node));
    checked(server->add_node("second", second));
  }
  ~DnsWorld() { (void)sys::remove_file(resolv_conf); }
  void use_resolver() { checked(sys::replace_file(resolv_conf, "nameserver 127.0.0.53\n")); }
};

TEST_CASE("the DNS server answers in every node, over UDP and TCP") {
  if (skip_without_root()) return;
  DnsWorld world;
  CHECK(dns_ask(world.node, world.service, "web.svc.test") == "NoError 10.96.0.20");
  CHECK(dns_ask(world.second, world.service, "WEB.svc.test") == "NoError 10.96.0.20");
  CHECK(dns_ask_stream(world.node, world.service, "web.svc.test") == "NoError 10.96.0.20");
  CHECK(dns_ask(world.node, world.service, "web.svc.test", DnsType::Aaaa) == "NoError fd00:96::20");
  CHECK(dns_ask(world.node, world.service, "none.svc.test") == "NameError");
  CHECK(dns_ask(world.node, world.service, "many.svc.test").starts_with("NoError truncated 0.0.0.0 0.0.0.1"));
  CHECK(dns_ask_stream(world.node, world.service, "many.svc.test").ends_with(" 0.0.1.43"));
  world.server->remove_node("node");
  CHECK(dns_ask(world.second, world.service, "web.svc.test") == "NoError 10.96.0.20");
}

TEST_CASE("garbage is answered or dropped, and the server goes on") {
  if (skip_without_root()) return;
  DnsWorld world;
  std::string short_header(12, '\0');
  CHECK(dns_exchange(world.node, world.service, short_header).size() == 12);
  CHECK(dns_stream_exchange(world.node, world.service, std::string("\0\x05hello", 7)) == "");
  CHECK(dns_stream_exchange(world.node, world.service, std::string("\0\0", 2)) == "");
  CHECK(dns_ask(world.node, world.service, "web.svc.test") == "NoError 10.96.0.20");
}

TEST_CASE("other names go to the host's resolvers and are kept") {
  if (skip_without_root()) return;
  DnsWorld world;
  TestResolver resolver(world.host);
  CHECK(dns_ask(world.node, world.service, "example.org") == "ServerFailure");
  world.use_resolver();
  CHECK(dns_ask(world.node, world.service, "example.org") == "NoError 192.0.2.53");
  CHECK(dns_ask(world.second, world.service, "example.org") == "NoError 192.0.2.53");
  CHECK(resolver.asked() == 1);
  CHECK(dns_ask(world.node, world.service, "missing.org") == "NameError");
  CHECK(dns_ask(world.node, world.service, "large.org").starts_with("NoError truncated"));
  CHECK(dns_ask_stream(world.node, world.service, "large.org").ends_with(" 192.0.2.252"));
}

TEST_CASE("an alias is followed to its end") {
  if (skip_without_root()) return;
  DnsWorld world;
  TestResolver resolver(world.host);
  world.use_resolver();
  CHECK(dns_ask(world.node, world.service, "in.svc.test") == "NoError web.svc.test 10.96.0.20");
  CHECK(dns_ask(world.node, world.service, "out.svc.test") == "NoError example.org 192.0.2.53");
  CHECK(dns_ask_stream(world.node, world.service, "out.svc.test") == "NoError example.org 192.0.2.53");
  CHECK(dns_ask(world.node, world.service, "out.svc.test", DnsType::Cname) == "NoError example.org");
  CHECK(dns_ask(world.node, world.service, "loop.svc.test").starts_with("ServerFailure"));
}

TEST_CASE("a resolver that refuses is given up at once") {
  if (skip_without_root()) return;
  DnsWorld world;
  world.use_resolver();
  auto before = std::chrono::steady_clock::now();
  CHECK(dns_ask(world.node, world.service, "example.org") == "ServerFailure");
  CHECK(std::chrono::steady_clock::now() - before < 1s);
}

TEST_CASE("a domain of its own resolvers, others for the rest, and never itself") {
  if (skip_without_root()) return;
  DnsWorld world;
  TestResolver resolver(world.host);
  // The host's file names this server: it asks nobody.
  checked(sys::replace_file(world.resolv_conf, "nameserver 10.96.0.10\n"));
  CHECK(dns_ask(world.node, world.service, "example.org") == "ServerFailure");
  world.server->set_upstreams({.zones = {{"corp.test", {{ip("127.0.0.53"), 53}}}}, .others = {}});
  CHECK(dns_ask(world.node, world.service, "db.corp.test") == "NoError 192.0.2.53");
  CHECK(dns_ask(world.node, world.service, "corp.test") == "NoError 192.0.2.53");
  CHECK(dns_ask(world.node, world.service, "othercorp.test") == "ServerFailure");
  // The longest zone counts; nobody listens on that port.
  world.server->set_upstreams(
      {.zones = {{"corp.test", {{ip("127.0.0.53"), 53}}}, {"x.corp.test", {{ip("127.0.0.53"), 54}}}},
       .others = {}});
  CHECK(dns_ask(world.node, world.service, "db.x.corp.test") == "ServerFailure");
  world.server->set_upstreams({.zones = {}, .others = {{ip("127.0.0.53"), 53}}});
  CHECK(dns_ask(world.node, world.service, "example.org") == "NoError 192.0.2.53");
}

TEST_CASE("a node's own address answers as well") {
  if (skip_without_root()) return;
  DnsWorld world;
  UniqueFd third = new_network();
  checked(world.server->add_node("third", third, {ip("127.0.0.1"), ip("::1")}));
  CHECK(dns_ask(third, {ip("127.0.0.1"), 53}, "web.svc.test") == "NoError 10.96.0.20");
  CHECK(dns_ask(third, world.service, "web.svc.test") == "NoError 10.96.0.20");
  CHECK(dns_ask(third, {ip("::1"), 53}, "web.svc.test") == "NoError 10.96.0.20");
  CHECK(dns_ask(third, {ip("fd00:96::a"), 53}, "web.svc.test") == "NoError 10.96.0.20");
  CHECK(dns_ask_stream(third, {ip("fd00:96::a"), 53}, "web.svc.test", DnsType::Aaaa) == "NoError fd00:96::20");
  world.server->remove_node("third");
}

}  // namespace
}  // namespace skiff::net
