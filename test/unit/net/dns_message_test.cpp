#include "net/dns_message.hpp"

#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "net/dns_cache.hpp"
#include "net/resolv_conf.hpp"

namespace skiff::net {
namespace {

using namespace std::string_literals;

std::string u16(int value) { return {static_cast<char>(value >> 8), static_cast<char>(value & 255)}; }

std::string wire_name(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    size_t size = std::min(name.find('.'), name.size());
    out += static_cast<char>(size);
    out += name.substr(0, size);
    name.remove_prefix(std::min(size + 1, name.size()));
  }
  return out + '\0';
}

std::string question(std::string_view name, DnsType type) {
  return wire_name(name) + u16(static_cast<int>(type)) + u16(1);
}

std::string query_packet(std::string_view name, DnsType type = DnsType::A, const std::string& rest = "",
                         int additional = 0) {
  return u16(0x1234) + u16(0x0100) + u16(1) + u16(0) + u16(0) + u16(additional) + question(name, type) + rest;
}

std::string opt(int size) { return "\0"s + u16(41) + u16(size) + u16(0) + u16(0) + u16(0); }

DnsQuery parsed(const std::string& packet) {
  Result<DnsQuery> query = parse_query(packet);
  REQUIRE(query.ok());
  return query.value();
}

TEST_CASE("queries are read") {
  DnsQuery query = parsed(query_packet("WEB.Default.svc", DnsType::Srv));
  CHECK(query.id == 0x1234);
  CHECK(query.name == "web.default.svc");
  CHECK(query.type == DnsType::Srv);
  CHECK(query.recursion_desired);
  CHECK_FALSE(query.edns);
  CHECK(query.payload_size == 512);

  DnsQuery with_size = parsed(query_packet("a", DnsType::A, opt(1232), 1));
  CHECK(with_size.edns);
  CHECK(with_size.payload_size == 1232);
  CHECK(parsed(query_packet("a", DnsType::A, opt(20), 1)).payload_size == 512);
  CHECK(parsed(query_packet("", DnsType::Ns)).name == "");
}

TEST_CASE("a dot inside a label is no separator") {
  std::string name = "\x05"s + "a.b\\c" + "\x03" + "svc" + '\0';
  std::string packet = u16(1) + u16(0) + u16(1) + u16(0) + u16(0) + u16(0) + name + u16(1) + u16(1);
  CHECK(parsed(packet).name == "a\\046b\\092c.svc");
}

TEST_CASE("hostile packets are refused, never misread") {
  std::string header = u16(7) + u16(0) + u16(1) + u16(0) + u16(0) + u16(0);
  const std::pair<const char*, std::string> rows[] = {
      {"empty", ""},
      {"half a header", header.substr(0, 7)},
      {"no question", header},
      {"no end of name", header + "\x03" + "abc"},
      {"no type", header + wire_name("a")},
      {"pointer to itself", header + "\xC0\x0C" + u16(1) + u16(1)},
      {"pointer into the header", header + "\xC0\x02"s + u16(1) + u16(1)},
      {"pointer forward", header + "\xC0\x40" + u16(1) + u16(1)},
      {"reserved label type", header + "\x41" + std::string(65, 'a') + '\0' + u16(1) + u16(1)},
      {"label past the end", header + "\x3F" + "abc"},
      {"name of 300 bytes",
       header + question(std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(60, 'c') +
                             "." + std::string(60, 'd') + "." + std::string(60, 'e'),
                         DnsType::A)},
      {"class CHAOS", header + wire_name("version.bind") + u16(16) + u16(3)},
      {"an answer", u16(7) + u16(0x8000) + u16(1) + u16(0) + u16(0) + u16(0) + question("a", DnsType::A)},
      {"two questions", u16(7) + u16(0) + u16(2) + u16(0) + u16(0) + u16(0) + question("a", DnsType::A)},
      {"65535 records announced",
       u16(7) + u16(0) + u16(1) + u16(65535) + u16(65535) + u16(65535) + question("a", DnsType::A)},
      {"option longer than the packet",
       query_packet("a", DnsType::A, "\0"s + u16(41) + u16(512) + u16(0) + u16(0) + u16(500), 1)},
  };
  for (const auto& [name, packet] : rows) {
    INFO(name);
    CHECK_FALSE(parse_query(packet).ok());
  }
  CHECK(refusal(header.substr(0, 7)).empty());
  CHECK(refusal(u16(7) + u16(0x8000) + std::string(8, '\0')).empty());
  CHECK(refusal(header) == u16(7) + u16(0x8001) + std::string(8, '\0'));
  CHECK(refusal(u16(7) + u16(0x2800) + std::string(8, '\0')) == u16(7) + u16(0xA804) + std::string(8, '\0'));
}

TEST_CASE("random bytes do no harm") {
  SeededRandom random(7);
  DnsQuery query = parsed(query_packet("web.default.svc.cluster.local"));
  for (int i = 0; i < 20000; ++i) {
    std::string packet = query_packet("web.default.svc.cluster.local", DnsType::A, opt(4096), 1);
    for (int changes = 1 + static_cast<int>(random.below(6)); changes > 0; --changes)
      packet[random.below(packet.size())] = static_cast<char>(random.next());
    packet.resize(random.below(packet.size() + 1));
    Result<DnsQuery> mutated = parse_query(packet);
    if (mutated.ok()) CHECK(encode_answer(mutated.value(), {}, 512).size() >= 12);
    (void)examine_response(query, packet);
    (void)refusal(packet);
  }
}

TEST_CASE("answers are compressed and the question is repeated as it came") {
  DnsQuery query = parsed(query_packet("Web.Default.svc.cluster.local"));
  DnsAnswer answer;
  answer.answers.push_back({"web.default.svc.cluster.local", DnsType::A, 5, Address::v4(0x0A600014)});
  std::string expected = u16(0x1234) + u16(0x8580) + u16(1) + u16(1) + u16(0) + u16(0) +
                         question("Web.Default.svc.cluster.local", DnsType::A) + u16(0xC00C) + u16(1) +
                         u16(1) + u16(0) + u16(5) + u16(4) + "\x0A\x60\0\x14"s;
  CHECK(encode_answer(query, answer, 512) == expected);
}

TEST_CASE("SRV, CNAME, SOA and TXT records") {
  DnsQuery query = parsed(query_packet("x.cluster.local", DnsType::Any));
  DnsAnswer answer{.code = DnsCode::NameError};
  answer.answers = {{"x.cluster.local", DnsType::Srv, 5, DnsService{0, 100, 80, "y.cluster.local"}},
                    {"x.cluster.local", DnsType::Cname, 5, DnsTarget{"y.cluster.local"}},
                    {"x.cluster.local", DnsType::Txt, 5, DnsText{"1.1.0"}}};
  answer.authority = {
      {"cluster.local", DnsType::Soa, 5,
       DnsAuthority{.server = "ns.dns.cluster.local", .mailbox = "hostmaster.cluster.local", .serial = 1}}};
  std::string packet = encode_answer(query, answer, 512);
  CHECK((packet[3] & 15) == 3);
  CHECK(packet.find(u16(0) + u16(100) + u16(80) + wire_name("y.cluster.local")) !=
        std::string::npos);  // never compressed
  CHECK(packet.find("\x05" + "1.1.0"s) != std::string::npos);
  CHECK(packet.find("\x02ns\x03"
                    "dns\xC0"s) != std::string::npos);
  Result<DnsResponseFacts> facts = examine_response(query, packet);
  REQUIRE(facts.ok());
  CHECK(facts.value().ttl == 5);
  CHECK(facts.value().ttl_offsets.size() == 4);
}

TEST_CASE("what does not fit is cut at a record and marked") {
  DnsAnswer answer;
  for (std::uint32_t i = 0; i < 100; ++i) answer.answers.push_back({"web.svc", DnsType::A, 5, Address::v4(i)});
  std::string small = encode_answer(parsed(query_packet("web.svc")), answer, 512);
  CHECK(small.size() <= 512);
  CHECK((small[2] & 2) != 0);
  CHECK(static_cast<unsigned char>(small[7]) == (512 - 12 - 13) / 16);
  std::string large = encode_answer(parsed(query_packet("web.svc", DnsType::A, opt(4096), 1)), answer, 4096);
  CHECK((large[2] & 2) == 0);
  CHECK(static_cast<unsigned char>(large[7]) == 100);
  CHECK(large.ends_with(u16(41) + u16(4096) + std::string(6, '\0')));

  DnsAnswer extra{.answers = {{"web.svc", DnsType::A, 5, Address::v4(1)}}, .additional = answer.answers};
  std::string without = encode_answer(parsed(query_packet("web.svc")), extra, 60);
  CHECK(static_cast<unsigned char>(without[7]) == 1);
}

TEST_CASE("answers of resolvers are examined") {
  DnsQuery query = parsed(query_packet("example.org"));
  std::string head = u16(0x8180) + u16(1) + u16(1) + u16(0) + u16(0) + question("example.org", DnsType::A);
  std::string record = u16(0xC00C) + u16(1) + u16(1) + u16(0) + u16(300) + u16(4) + "\1\2\3\4"s;
  Result<DnsResponseFacts> facts = examine_response(query, u16(0x1234) + head + record);
  REQUIRE(facts.ok());
  CHECK(facts.value().ttl == 300);
  CHECK_FALSE(examine_response(query, u16(0x1235) + head + record).ok());
  CHECK_FALSE(examine_response(query, u16(0x1234) + head + record.substr(0, 14)).ok());
  std::string other = u16(0x8180) + u16(1) + u16(1) + u16(0) + u16(0) + question("example.com", DnsType::A);
  CHECK_FALSE(examine_response(query, u16(0x1234) + other + record).ok());
  CHECK_FALSE(examine_response(query, query_packet("example.org")).ok());
}

TEST_CASE("the cache counts down and forgets") {
  DnsCache cache(2);
  TimePoint start{};
  auto answer_to = [](const std::string& name) {
    return u16(0x1234) + u16(0x8180) + u16(1) + u16(1) + u16(0) + u16(0) + question(name, DnsType::A) +
           u16(0xC00C) + u16(1) + u16(1) + u16(0) + u16(300) + u16(4) + "\1\2\3\4"s;
  };
  auto add = [&](const std::string& name) {
    DnsQuery query = parsed(query_packet(name));
    cache.add(query, examine_response(query, answer_to(name)).value(), answer_to(name), start);
  };
  add("example.org");
  DnsQuery query = parsed(query_packet("EXAMPLE.org"));
  query.id = 0x4321;
  std::optional<std::string> kept = cache.find(query, start + 100s);
  REQUIRE(kept);
  CHECK(kept->starts_with(u16(0x4321)));
  CHECK(kept->find(question("EXAMPLE.org", DnsType::A)) == 12);
  CHECK(kept->find(u16(0) + u16(200) + u16(4)) != std::string::npos);
  CHECK_FALSE(cache.find(query, start + 300s));
  CHECK_FALSE(cache.find(parsed(query_packet("example.org", DnsType::Aaaa)), start));
  add("b");
  add("c");
  CHECK_FALSE(cache.find(query, start));
  CHECK(cache.find(parsed(query_packet("c")), start));
}

TEST_CASE("resolv.conf") {
  auto texts = [](std::string_view file) {
    std::string all;
    for (Address server : parse_name_servers(file)) all += server.str() + " ";
    return all;
  };
  CHECK(texts("# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1\n nameserver\t10.0.0.2 # x\nnameserver "
              "::1\nnameserver\n") == "10.0.0.1 10.0.0.2 ::1 ");
  CHECK(texts("") == "");
}

TEST_CASE("addresses and ranges are strict") {
  for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", " 1.2.3.4", "1..3.4", "1.2.3.4 ",
                          "-1.2.3.4", "::1%lo", "::ffff:1.2.3.4", "1:2", ":::", "[::1]"}) {
    INFO(bad);
    CHECK_FALSE(parse_address(bad).ok());
  }
  CHECK(parse_address("255.0.10.1").value().str() == "255.0.10.1");
  CHECK(parse_address("FD00:0:0::1").value().str() == "fd00::1");
  CHECK(Address::from_bytes(parse_address("fd00::1:2").value().bytes()) == parse_address("fd00::1:2").value());
  for (const char* bad : {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "/8", "fd00::/129", "fd00::"})
    CHECK_FALSE(parse_cidr(bad).ok());
  Cidr range = parse_cidr("10.244.1.9/16").value();
  CHECK(range.str() == "10.244.0.0/16");
  CHECK(range.contains(parse_address("10.244.255.255").value()));
  CHECK_FALSE(range.contains(parse_address("10.245.0.0").value()));
  CHECK(parse_cidr("0.0.0.0/0").value().overlaps(range));
  CHECK(range.overlaps(parse_cidr("10.0.0.0/8").value()));
  CHECK_FALSE(range.overlaps(parse_cidr("10.96.0.0/12").value()));
  Cidr v6 = parse_cidr("fd00:10::5/56").value();
  CHECK(v6.str() == "fd00:10::/56");
  CHECK(v6.part(3, 64).str() == "fd00:10:0:3::/64");
  CHECK(v6.last().str() == "fd00:10:0:ff:ffff:ffff:ffff:ffff");
  CHECK(v6.at(0x10000).str() == "fd00:10::1:0");
  CHECK(v6.contains(parse_address("fd00:10:0:ff::1").value()));
  CHECK_FALSE(v6.overlaps(parse_cidr("fd00:10:0:100::/64").value()));
  CHECK_FALSE(parse_cidr("::/0").value().overlaps(range));
  CHECK(parse_cidr("::/0").value().contains(v6.last()));
  CHECK(parse_endpoint("[fd00::1]:53").value().str() == "[fd00::1]:53");
  CHECK(parse_endpoint("10.0.0.1:53").value().str() == "10.0.0.1:53");
  for (const char* bad : {"fd00::1:53", "10.0.0.1", "[10.0.0.1]:53", "10.0.0.1:", "10.0.0.1:65536", "[::1]"}) {
    INFO(bad);
    CHECK_FALSE(parse_endpoint(bad).ok());
  }
}

}  // namespace
}  // namespace skiff::net
