#include "proxy/dns_config.hpp"

#include <charconv>

namespace skiff::proxy {
namespace {

/// As much of JSON as the two values need: objects and lists of plain strings.
class Reader {
 public:
  explicit Reader(const std::string& text) : left_(text) {}

  bool take(char wanted) {
    skip_space();
    if (!left_.starts_with(wanted)) return false;
    left_.remove_prefix(1);
    return true;
  }
  Result<std::string> string() {
    if (!take('"')) return expected("a string");
    size_t end = left_.find_first_of("\"\\");
    if (end == std::string_view::npos || left_[end] == '\\') return expected("a plain string");
    std::string text(left_.substr(0, end));
    left_.remove_prefix(end + 1);
    return text;
  }
  Result<std::vector<std::string>> list() {
    if (!take('[')) return expected("a list");
    std::vector<std::string> items;
    if (take(']')) return items;
    for (;;) {
      TRY_ASSIGN(std::string item, string());
      items.push_back(std::move(item));
      if (take(']')) return items;
      if (!take(',')) return expected("a comma");
    }
  }
  Status end() {
    skip_space();
    return left_.empty() ? ok() : Status(expected("nothing more"));
  }
  Error expected(const char* what) const {
    return error(Code::Invalid, "expected {} at '{}'", what, left_.substr(0, 20));
  }

 private:
  void skip_space() {
    while (!left_.empty() && std::string_view(" \t\r\n").find(left_.front()) != std::string_view::npos)
      left_.remove_prefix(1);
  }
  std::string_view left_;
};

/// "1.2.3.4", "1.2.3.4:5353", "1.2.3.4#5353", "fd00::53", "[fd00::53]:5353".
Result<net::Endpoint> server(std::string text) {
  if (Result<net::Address> address = net::parse_address(text); address.ok())
    return net::Endpoint{address.value(), 53};
  if (size_t mark = text.find('#'); mark != std::string::npos) text[mark] = ':';
  Result<net::Endpoint> endpoint = net::parse_endpoint(text);
  if (!endpoint.ok() || endpoint.value().port == 0) return error(Code::Invalid, "'{}' is no server", text);
  return endpoint;
}

Result<std::vector<net::Endpoint>> servers(const std::vector<std::string>& texts) {
  std::vector<net::Endpoint> all;
  for (const std::string& text : texts) {
    TRY_ASSIGN(net::Endpoint one, server(text));
    all.push_back(one);
  }
  return all;
}

std::string zone_name(std::string name) {
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (name.ends_with('.')) name.pop_back();
  return name;
}

Status read_zones(const std::string& text, net::DnsUpstreams& upstreams) {
  Reader reader(text);
  if (!reader.take('{')) return reader.expected("an object");
  bool more = !reader.take('}');
  while (more) {
    TRY_ASSIGN(std::string name, reader.string());
    if (!reader.take(':')) return reader.expected("a colon");
    TRY_ASSIGN(std::vector<std::string> texts, reader.list());
    TRY_ASSIGN(upstreams.zones[zone_name(name)], servers(texts));
    more = reader.take(',');
    if (!more && !reader.take('}')) return reader.expected("a comma");
  }
  return reader.end();
}

std::string entry(const client::Ref<api::ConfigMap>& map, const char* key) {
  if (!map) return "";
  auto found = map->data.find(key);
  return found == map->data.end() ? "" : found->second;
}

}  // namespace

Result<net::DnsUpstreams> parse_dns_upstreams(const std::string& stub_domains,
                                              const std::string& name_servers) {
  net::DnsUpstreams upstreams;
  if (!stub_domains.empty())
    if (Status read = read_zones(stub_domains, upstreams); !read.ok())
      return Error(std::move(read).error()).in("stubDomains");
  if (name_servers.empty()) return upstreams;
  Reader reader(name_servers);
  TRY_ASSIGN(std::vector<std::string> texts, reader.list());
  TRY(reader.end());
  TRY_ASSIGN(upstreams.others, servers(texts));
  return upstreams;
}

DnsConfig::DnsConfig(Parts parts)
    : parts_(parts),
      map_(parts.client, parts.clock, api::kind_of<api::ConfigMap>(),
           {.namespace_ = "kube-system", .label_selector = "", .field_selector = "metadata.name=kube-dns"}) {
  client::Informer<api::ConfigMap>(map_).on_change([this](const auto&, const auto& now) { take(now); });
}

void DnsConfig::take(const client::Ref<api::ConfigMap>& map) {
  Result<net::DnsUpstreams> upstreams =
      parse_dns_upstreams(entry(map, "stubDomains"), entry(map, "upstreamNameservers"));
  if (upstreams.ok()) return parts_.server.set_upstreams(std::move(upstreams).value());
  parts_.events.warning(client::reference_to(map), "InvalidConfiguration",
                  upstreams.error().message() + "; cluster DNS goes on as before");
}

}  // namespace skiff::proxy
