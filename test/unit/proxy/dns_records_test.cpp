#include "proxy/dns_records.hpp"

#include "support/test_cluster.hpp"

namespace skiff::proxy {
namespace {

struct NamedCluster : test::TestCluster<> {
  DnsRecords records{
      informers,
      {.reverse = {net::parse_cidr("10.96.0.0/12").value(), net::parse_cidr("10.244.0.0/16").value()},
       .server = net::parse_ipv4("10.96.0.10").value()}};

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

  /// "NoError 10.96.0.20 | authority", or "forward".
  std::string ask(const std::string& name, net::DnsType type = net::DnsType::A) const {
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
  static std::string describe(const net::DnsRecord& record) {
    if (auto* address = std::get_if<net::Ipv4>(&record.data)) return address->str();
    if (auto* target = std::get_if<net::DnsTarget>(&record.data)) return target->name;
    if (auto* text = std::get_if<net::DnsText>(&record.data)) return text->text;
    if (auto* soa = std::get_if<net::DnsAuthority>(&record.data)) return soa->mailbox;
    const auto& srv = std::get<net::DnsService>(record.data);
    return fmt::format("{}:{}", srv.target, srv.port);
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
