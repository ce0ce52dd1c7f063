#include "proxy/dns_config.hpp"

#include <catch2/catch.hpp>

namespace skiff::proxy {
namespace {

std::string parsed(const std::string& stubs, const std::string& servers = "") {
  Result<net::DnsUpstreams> upstreams = parse_dns_upstreams(stubs, servers);
  if (!upstreams.ok()) return "error";
  std::string text;
  for (const auto& [zone, all] : upstreams.value().zones) {
    text += zone + ":";
    for (const net::Endpoint& one : all) text += " " + one.str();
    text += "; ";
  }
  for (const net::Endpoint& one : upstreams.value().others) text += one.str() + " ";
  return text;
}

TEST_CASE("whom DNS asks about other domains") {
  CHECK(parsed("", "") == "");
  CHECK(parsed("{}") == "");
  CHECK(parsed(R"({"Acme.Local.": ["1.2.3.4", "1.2.3.5:5353"], "b.org": ["1.2.3.6#54"]})") ==
        "acme.local: 1.2.3.4:53 1.2.3.5:5353; b.org: 1.2.3.6:54; ");
  CHECK(parsed("", R"( ["8.8.8.8",
  "8.8.4.4"] )") == "8.8.8.8:53 8.8.4.4:53 ");
  for (const char* bad :
       {"[", "{", R"({"a")", R"({"a":})", R"({"a":[1]})", R"({"a":["x"]})", R"({"a":["1.2.3.4:0"]})",
        R"({"a":["1.2.3.4:99999"]})", R"({"a":["1.2.3.4"]} x)", R"({"a":["1.2.3.4"],})", R"({"a\n":[]})"})
    CHECK(parsed(bad) == "error");
  CHECK(parsed("", "8.8.8.8") == "error");
}

}  // namespace
}  // namespace skiff::proxy
