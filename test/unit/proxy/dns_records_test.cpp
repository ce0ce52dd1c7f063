#include "proxy/dns_records.hpp"

#include "support/test_cluster.hpp"

namespace skiff::proxy {
namespace {

std::string describe(const net::DnsRecord& record) {
  if (auto* address = std::get_if<net::Address>(&record.data)) return address->str();
  if (auto* target = std::get_if<net::DnsTarget>(&record.data)) return target->name;
  if (auto* text = std::get_if<net::DnsText>(&record.data)) return text->text;
  if (auto* soa = std::get_if<net::DnsAuthority>(&record.data)) return soa->mailbox;
  const auto& srv = std::get<net::DnsService>(record.data);
  return fmt::format("{}:{}", srv.target, srv.port);
}

/// "NoError 10.96.0.20 | authority", or "forward".
std::string answer_text(const DnsRecords& records, const std::string& name, net::DnsType type) {
  std::optional<net::DnsAnswer> answer = records.answer(name, type);
  if (!answer) return "forward";
  std::string text = answer->code == net::DnsCode::NoError     ? "ok"
                     : answer->code == net::DnsCode::NameError ? "no name"
                                                               : "failure";
  for (const net::DnsRecord& record : answer->answers) text += " " + describe(record);
  for (const net::DnsRecord& record : answer->additional)
    text += " + " + record.name + " " + describe(record);
  if (answer->authority.size() == 1) text += " SOA " + answer->authority[0].name;
  return text;
}

struct NamedCluster : test::TestCluster<> {
  DnsRecords records{
      informers,
      {.reverse = {net::parse_cidr("10.96.0.0/12").value(), net::parse_cidr("10.244.0.0/16").value()},
       .servers = {net::parse_address("10.96.0.10").value()},
       .host = {}}};

  NamedCluster() {
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    service(
        "web",
        R"("clusterIP":"10.96.0.20","ports":[{"name":"http","port":80},{"name":"dns","protocol":"UDP","port":53}])");
    service("db", R"("clusterIP":"None","ports":[{"name":"sql","port":5432}])");
    service("empty", R"("clusterIP":"None","ports":[{"port":1}])");
    service("ext", R"("type":"ExternalName","externalName":"example.org.")");
    slice("db", R"([{"addresses":["10.244.0.7"],"hostname":"db-0","conditions":{"ready":true}},
                    {"addresses":["10.244.1.8"],"conditions":{"ready":true}},
                    {"addresses":["10.244.1.9"],"conditions":{"ready":false}}])",
          R"([{"name":"sql","protocol":"TCP","port":5432}])");
    slice("web", R"([{"addresses":["10.244.0.3"],"conditions":{"ready":true}}])",
          R"([{"name":"http","protocol":"TCP","port":8080}])");
    start<api::Service>();
  }
  ~NamedCluster() { informers.stop(); }

  void service(const std::string& name, const std::string& spec) {
    create<api::Service>(R"({"metadata":{"namespace":"default","name":")" + name + R"("},"spec":{)" + spec +
                         "}}");
  }
  void slice(const std::string& name, const std::string& endpoints, const std::string& ports) {
    create<api::EndpointSlice>(R"({"metadata":{"namespace":"default","name":")" + name +
                               R"(-1","labels":{"kubernetes.io/service-name":")" + name +
                               R"("}},"addressType":"IPv4","endpoints":)" + endpoints + R"(,"ports":)" +
                               ports + "}");
  }

  std::string ask(const std::string& name, net::DnsType type = net::DnsType::A) const {
    return answer_text(records, name, type);
  }
};

TEST_CASE("the names of a cluster") {
  NamedCluster cluster;
  using net::DnsType;
  const std::string kWeb = "web.default.svc.cluster.local", kDb = "db.default.svc.cluster.local";
  struct Row {
    std::string name;
    DnsType type;
    std::string answer;
  };
  const Row rows[] = {
      {kWeb, DnsType::A, "ok 10.96.0.20"},
      {"web.default.svc.cluster.internal", DnsType::A, "ok 10.96.0.20"},
      {kWeb, DnsType::Aaaa, "ok SOA cluster.local"},
      {kWeb, DnsType::Srv, "ok " + kWeb + ":80 " + kWeb + ":53 + " + kWeb + " 10.96.0.20"},
      {"_http._tcp." + kWeb, DnsType::Srv, "ok " + kWeb + ":80 + " + kWeb + " 10.96.0.20"},
      {"_dns._udp." + kWeb, DnsType::Srv, "ok " + kWeb + ":53 + " + kWeb + " 10.96.0.20"},
      {"_http._tcp." + kWeb, DnsType::A, "ok SOA cluster.local"},
      {"_http._udp." + kWeb, DnsType::Srv, "no name SOA cluster.local"},
      {"_tcp." + kWeb, DnsType::A, "ok SOA cluster.local"},
      {"10-244-0-3." + kWeb, DnsType::A, "ok 10.244.0.3"},
      {"10-244-0-4." + kWeb, DnsType::A, "no name SOA cluster.local"},
      {kDb, DnsType::A, "ok 10.244.0.7 10.244.1.8"},
      {"db-0." + kDb, DnsType::A, "ok 10.244.0.7"},
      {"db-1." + kDb, DnsType::A, "no name SOA cluster.local"},
      {"db-0." + kDb, DnsType::Aaaa, "ok SOA cluster.local"},
      {"10-244-1-8." + kDb, DnsType::A, "ok 10.244.1.8"},
      {"_sql._tcp." + kDb, DnsType::Srv,
       "ok db-0." + kDb + ":5432 10-244-1-8." + kDb + ":5432 + db-0." + kDb + " 10.244.0.7 + 10-244-1-8." +
           kDb + " 10.244.1.8"},
      {"empty.default.svc.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"ext.default.svc.cluster.local", DnsType::A, "ok example.org"},
      {"ext.default.svc.cluster.local", DnsType::Cname, "ok example.org"},
      {"a.ext.default.svc.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"web.other.svc.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"a.b.c.web.default.svc.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"10-1-2-3.default.pod.cluster.local", DnsType::A, "ok 10.1.2.3"},
      {"10-1-2-3.other.pod.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"host.default.pod.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"default.svc.cluster.local", DnsType::A, "ok SOA cluster.local"},
      {"other.svc.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"svc.cluster.local", DnsType::A, "ok SOA cluster.local"},
      {"nonsense.cluster.local", DnsType::A, "no name SOA cluster.local"},
      {"cluster.local", DnsType::Soa, "ok hostmaster.cluster.local"},
      {"cluster.local", DnsType::Ns, "ok ns.dns.cluster.local + ns.dns.cluster.local 10.96.0.10"},
      {"ns.dns.cluster.local", DnsType::A, "ok 10.96.0.10"},
      {"dns-version.cluster.local", DnsType::Txt, "ok 1.1.0"},
      {"20.0.96.10.in-addr.arpa", DnsType::Ptr, "ok " + kWeb},
      {"7.0.244.10.in-addr.arpa", DnsType::Ptr, "ok db-0." + kDb},
      {"99.0.244.10.in-addr.arpa", DnsType::Ptr, "no name SOA in-addr.arpa"},
      {"8.8.8.8.in-addr.arpa", DnsType::Ptr, "forward"},
      {"example.org", DnsType::A, "forward"},
      {"notcluster.local", DnsType::A, "forward"},
      {"", DnsType::Ns, "forward"},
  };
  for (const Row& row : rows) {
    INFO(row.name << " " << static_cast<int>(row.type));
    CHECK(cluster.ask(row.name, row.type) == row.answer);
  }
}

/// Services of both families, of IPv6 alone, and headless with both.
struct DualCluster {
  test::FakeClock clock;
  SeededRandom random{1};
  std::unique_ptr<store::Store> store = store::Store::open({}).value();
  registry::Registry registry{
      *store, clock, random, registry::ServiceRangeOptions{.cluster_cidr = "10.96.0.0/16", .second_cidr = "fd00:96::/112"}};
  client::Informers informers{registry.local_client(), clock};
  DnsRecords records{informers,
                     {.reverse = {net::parse_cidr("fd00:96::/112").value(), net::parse_cidr("fd00:244::/56").value()},
                      .servers = {net::parse_address("10.96.0.10").value()},
                      .host = {net::parse_address("10.243.0.1").value(), net::parse_address("fd00:243::1").value()}}};

  DualCluster() {
    create<api::Namespace>(R"({"metadata":{"name":"default"}})");
    service("both", R"("ipFamilyPolicy":"RequireDualStack","clusterIP":"10.96.0.30","clusterIPs":["10.96.0.30","fd00:96::30"],
                       "ports":[{"name":"http","port":80}])");
    service("six", R"("clusterIP":"fd00:96::31","clusterIPs":["fd00:96::31"],"ports":[{"name":"http","port":80}])");
    service("pair", R"("ipFamilyPolicy":"RequireDualStack","clusterIP":"None","ports":[{"name":"sql","port":5432}])");
    slice("IPv4", R"([{"addresses":["10.244.0.9"],"hostname":"pair-0"}])");
    slice("IPv6", R"([{"addresses":["fd00:244::9"],"hostname":"pair-0"},{"addresses":["fd00:244::a"]}])");
    informers.start();
    REQUIRE(informers.wait_synced({}));
  }
  ~DualCluster() { informers.stop(); }
  template <class T>
  void create(const std::string& json) {
    INFO(json);
    auto created = registry.local_client().create(api::from_json<T>(json).value());
    if (!created.ok()) FAIL(created.error().message());
  }
  void service(const std::string& name, const std::string& spec) {
    create<api::Service>(fmt::format(R"({{"metadata":{{"namespace":"default","name":"{}"}},"spec":{{{}}}}})", name, spec));
  }
  void slice(const std::string& family, const std::string& endpoints) {
    create<api::EndpointSlice>(fmt::format(
        R"({{"metadata":{{"namespace":"default","name":"pair-{0}","labels":{{"kubernetes.io/service-name":"pair"}}}},
            "addressType":"{1}","endpoints":{2},"ports":[{{"name":"sql","protocol":"TCP","port":5432}}]}})",
        family == "IPv4" ? "a" : "b", family, endpoints));
  }
  std::string ask(const std::string& name, net::DnsType type) const { return answer_text(records, name, type); }
};

TEST_CASE("the names of a cluster with both families") {
  DualCluster cluster;
  using net::DnsType;
  const std::string kBoth = "both.default.svc.cluster.local", kPair = "pair.default.svc.cluster.local";
  const std::string kSix = "six.default.svc.cluster.local";
  struct Row {
    std::string name;
    DnsType type;
    std::string answer;
  };
  const Row rows[] = {
      {kBoth, DnsType::A, "ok 10.96.0.30"},
      {kBoth, DnsType::Aaaa, "ok fd00:96::30"},
      {kBoth, DnsType::Any, "ok 10.96.0.30 fd00:96::30"},
      {"_http._tcp." + kBoth, DnsType::Srv, "ok " + kBoth + ":80 + " + kBoth + " 10.96.0.30 + " + kBoth + " fd00:96::30"},
      {kSix, DnsType::Aaaa, "ok fd00:96::31"},
      {kSix, DnsType::A, "ok SOA cluster.local"},
      {kPair, DnsType::A, "ok 10.244.0.9"},
      {kPair, DnsType::Aaaa, "ok fd00:244::9 fd00:244::a"},
      {"pair-0." + kPair, DnsType::Aaaa, "ok fd00:244::9"},
      {"fd00-244--a." + kPair, DnsType::Aaaa, "ok fd00:244::a"},
      {"fd00-244--a." + kPair, DnsType::A, "ok SOA cluster.local"},
      {"_sql._tcp." + kPair, DnsType::Srv,
       "ok pair-0." + kPair + ":5432 fd00-244--a." + kPair + ":5432 + pair-0." + kPair + " 10.244.0.9 + pair-0." + kPair +
           " fd00:244::9 + fd00-244--a." + kPair + " fd00:244::a"},
      {"fd00-244--5.default.pod.cluster.local", DnsType::Aaaa, "ok fd00:244::5"},
      {"fd00-244--5.default.pod.cluster.local", DnsType::A, "ok SOA cluster.local"},
      {"host.skiff.internal", DnsType::A, "ok 10.243.0.1"},
      {"host.skiff.internal", DnsType::Aaaa, "ok fd00:243::1"},
      {"1.0.0.0.ip6.arpa", DnsType::Ptr, "forward"},
  };
  for (const Row& row : rows) {
    INFO(row.name << " " << static_cast<int>(row.type));
    CHECK(cluster.ask(row.name, row.type) == row.answer);
  }
  auto reverse_name = [](std::string_view address) {
    std::string name;
    for (char byte : net::parse_address(address).value().bytes())
      name = fmt::format("{:x}.{:x}.", byte & 15, (byte >> 4) & 15) + name;
    return name + "ip6.arpa";
  };
  CHECK(cluster.ask(reverse_name("fd00:96::30"), DnsType::Ptr) == "ok " + kBoth);
  CHECK(cluster.ask(reverse_name("fd00:244::9"), DnsType::Ptr) == "ok pair-0." + kPair);
  CHECK(cluster.ask(reverse_name("fd00:244::99"), DnsType::Ptr) == "no name SOA ip6.arpa");
  CHECK(cluster.ask(reverse_name("2001:db8::1"), DnsType::Ptr) == "forward");
}

TEST_CASE("names follow the cluster; before the caches are filled they fail") {
  NamedCluster cluster;
  cluster.service("late", R"("clusterIP":"10.96.0.77","ports":[{"port":80}])");
  CHECK(cluster.wait_for([&] { return cluster.ask("late.default.svc.cluster.local") == "ok 10.96.0.77"; }));
  REQUIRE(cluster.client.remove<api::Service>({"default", "late"}).ok());
  CHECK(
      cluster.wait_for([&] { return cluster.ask("late.default.svc.cluster.local").starts_with("no name"); }));

  client::Informers idle(cluster.client, cluster.clock);
  DnsRecords records(idle, {});
  CHECK(records.answer("web.default.svc.cluster.local", net::DnsType::A)->code ==
        net::DnsCode::ServerFailure);
  CHECK_FALSE(records.answer("example.org", net::DnsType::A));
}

}  // namespace
}  // namespace skiff::proxy
