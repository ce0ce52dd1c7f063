// A name below a domain is read from the right: ..., namespace, "svc" or "pod". What exists with other
// records only is "no data"; what does not exist is a name error. A headless service without ready endpoints
// does not exist, as the specification wants.
#include "proxy/dns_records.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "proxy/service_rules.hpp"

namespace skiff::proxy {

using client::ObjectKey;
using client::Ref;
using net::DnsAnswer;
using net::DnsCode;
using net::DnsRecord;
using net::DnsType;
using net::Address;

/// A name of ours, taken apart: labels left of the domain, left to right.
struct DnsRecords::Question {
  std::string name, domain;
  std::vector<std::string> labels;
  DnsType type;

  bool wants(DnsType one) const { return type == one || type == DnsType::Any; }
  bool wants(Address address) const { return wants(address.is_v6() ? DnsType::Aaaa : DnsType::A); }
  bool wants_addresses() const { return wants(DnsType::A) || type == DnsType::Aaaa; }
  /// The i-th label counted from the domain: 0 is "svc".
  const std::string& from_right(size_t i) const { return labels[labels.size() - 1 - i]; }
};

struct DnsRecords::Found {
  bool exists = false;
  std::vector<DnsRecord> answers, additional;
};

namespace {

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> labels;
  while (!text.empty()) {
    size_t dot = std::min(text.find('.'), text.size());
    labels.emplace_back(text.substr(0, dot));
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return labels;
}

bool below(const std::string& name, const std::string& zone) {
  return name == zone ||
         (name.size() > zone.size() && name.ends_with(zone) && name[name.size() - zone.size() - 1] == '.');
}

std::string dashed(Address address) {
  std::string text = address.str();
  std::replace(text.begin(), text.end(), address.is_v6() ? ':' : '.', '-');
  return text;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (text.ends_with('.')) text.pop_back();
  return text;
}

bool headless(const api::Service& service) { return service.spec.clusterIP == "None"; }

/// A ready endpoint of a service, with the label it has below the service's name.
struct Member {
  Address address;
  std::string label;
};

std::vector<Member> members_of(const api::EndpointSlice& slice) {
  std::vector<Member> members;
  for (const api::Endpoint& endpoint : slice.endpoints) {
    if (endpoint.conditions && !endpoint.conditions->ready.value_or(true)) continue;
    for (const std::string& text : endpoint.addresses)
      if (Result<Address> address = net::parse_address(text); address.ok())
        members.push_back({address.value(),
                           endpoint.hostname.empty() ? dashed(address.value()) : lower(endpoint.hostname)});
  }
  return members;
}

/// "_http" and "_tcp" before a service's name.
struct PortFilter {
  std::string name, protocol;  // empty: all
  bool takes(const std::string& port, const std::string& of_protocol) const {
    return name.empty() || (name == "_" + lower(port) && protocol == "_" + lower(of_protocol));
  }
};

void add_unique(std::vector<DnsRecord>& records, DnsRecord record) {
  bool known = std::any_of(records.begin(), records.end(), [&](const DnsRecord& other) {
    if (other.name != record.name || other.type != record.type) return false;
    auto* a = std::get_if<Address>(&other.data);
    auto* b = std::get_if<Address>(&record.data);
    if (a != nullptr && b != nullptr) return *a == *b;
    auto* s = std::get_if<net::DnsService>(&other.data);
    auto* t = std::get_if<net::DnsService>(&record.data);
    return s != nullptr && t != nullptr && s->target == t->target && s->port == t->port;
  });
  if (!known) records.push_back(std::move(record));
}

/// Reads "1-2-3-4" and "fd00--5"; nullopt for other text.
std::optional<Address> undash(const std::string& text) {
  for (char separator : {'.', ':'}) {
    std::string written = text;
    std::replace(written.begin(), written.end(), '-', separator);
    if (Result<Address> address = net::parse_address(written); address.ok()) return address.value();
  }
  return std::nullopt;
}

constexpr std::string_view kReverseZones[] = {"in-addr.arpa", "ip6.arpa"};

/// The labels of a name in a reverse zone, in the address' own order; empty for other names.
std::vector<std::string> reversed_labels(const std::string& name, std::string_view zone) {
  if (name.size() <= zone.size() + 1 || !name.ends_with(zone) || name[name.size() - zone.size() - 1] != '.') return {};
  std::vector<std::string> labels = split(std::string_view(name).substr(0, name.size() - zone.size() - 1));
  std::reverse(labels.begin(), labels.end());
  return labels;
}

/// "4.3.2.1.in-addr.arpa" is 1.2.3.4, and 32 hexadecimal digits in ip6.arpa are an address too.
std::optional<Address> reversed(const std::string& name) {
  std::string text;
  if (std::vector<std::string> bytes = reversed_labels(name, kReverseZones[0]); bytes.size() == 4)
    text = fmt::format("{}", fmt::join(bytes, "."));
  std::vector<std::string> digits = reversed_labels(name, kReverseZones[1]);
  if (digits.size() == 32)
    for (size_t i = 0; i < digits.size(); ++i) {
      if (digits[i].size() != 1) return std::nullopt;
      text += (i != 0 && i % 4 == 0 ? ":" : "") + digits[i];
    }
  Result<Address> address = net::parse_address(text);
  if (!address.ok()) return std::nullopt;
  return address.value();
}

/// All ClusterIPs of a Service.
std::vector<Address> cluster_ips(const api::Service& service) {
  std::vector<Address> addresses;
  auto add = [&](const std::string& text) {
    if (Result<Address> address = net::parse_address(text); address.ok()) addresses.push_back(address.value());
  };
  for (const std::string& text : service.spec.clusterIPs) add(text);
  if (addresses.empty()) add(service.spec.clusterIP);
  return addresses;
}

}  // namespace

DnsRecords::DnsRecords(client::Informers& informers, DnsRecordsSpec spec)
    : spec_(std::move(spec)),
      services_(informers.of<api::Service>()),
      slices_(informers.of<api::EndpointSlice>()),
      namespaces_(informers.of<api::Namespace>()) {
  services_.add_index("dns-address", [](const api::Service& service) {
    std::vector<std::string> addresses;
    for (Address address : cluster_ips(service)) addresses.push_back(address.str());
    return addresses;
  });
  slices_.add_index("dns-service", [](const api::EndpointSlice& slice) {
    return slice.addressType == "FQDN" ? std::vector<std::string>{}
                                       : std::vector<std::string>{service_of(slice).str()};
  });
  slices_.add_index("dns-address", [](const api::EndpointSlice& slice) {
    std::vector<std::string> addresses;
    for (const Member& member : members_of(slice)) addresses.push_back(member.address.str());
    return addresses;
  });
}

bool DnsRecords::synced() const { return services_.synced() && slices_.synced() && namespaces_.synced(); }

bool DnsRecords::has_namespace(const std::string& name) const {
  return namespaces_.get({"", name}) != nullptr;
}

DnsRecord DnsRecords::record(const std::string& name, Address address) const {
  return {name, address.is_v6() ? DnsType::Aaaa : DnsType::A, spec_.ttl, address};
}

DnsRecords::DnsAnswers DnsRecords::address_records(const Question& question,
                                                   const std::vector<Address>& addresses) const {
  DnsAnswers records;
  for (Address address : addresses)
    if (question.wants(address)) records.push_back(record(question.name, address));
  return records;
}

DnsRecord DnsRecords::authority(const std::string& zone) const {
  net::DnsAuthority soa{
      .server = "ns.dns." + zone, .mailbox = "hostmaster." + zone, .serial = 1, .minimum = spec_.ttl};
  return {zone, DnsType::Soa, spec_.ttl, soa};
}

std::optional<DnsAnswer> DnsRecords::answer(const std::string& name, DnsType type) const {
  if (reversed(name)) return reverse(name, type);
  if (name == kHostName && !spec_.host.empty()) {
    DnsAnswer host{.answers = address_records({.name = name, .domain = "", .labels = {}, .type = type}, spec_.host)};
    if (host.answers.empty()) host.authority.push_back(authority("skiff.internal"));
    return host;
  }
  auto domain =
      std::find_if(spec_.domains.begin(), spec_.domains.end(), [&](const auto& d) { return below(name, d); });
  if (domain == spec_.domains.end()) return std::nullopt;
  if (!synced()) return DnsAnswer{.code = DnsCode::ServerFailure};
  std::string_view left(name);
  left.remove_suffix(std::min(domain->size() + 1, left.size()));
  Question question{.name = name, .domain = *domain, .labels = split(left), .type = type};
  Found found = find(question);
  DnsAnswer answer{.code = found.exists ? DnsCode::NoError : DnsCode::NameError,
                   .answers = std::move(found.answers),
                   .additional = std::move(found.additional)};
  if (answer.answers.empty()) answer.authority.push_back(authority(*domain));
  return answer;
}

DnsRecords::Found DnsRecords::find(const Question& question) const {
  size_t count = question.labels.size();
  if (count == 0) return find_apex(question);
  const std::string& kind = question.from_right(0);
  if (kind == "dns" && count == 2 && question.labels[0] == "ns") {
    return {.exists = true, .answers = address_records(question, spec_.servers)};
  }
  if (kind == "dns-version" && count == 1) {
    Found found{.exists = true};
    if (question.wants(DnsType::Txt))
      found.answers.push_back({question.name, DnsType::Txt, spec_.ttl, net::DnsText{"1.1.0"}});
    return found;
  }
  if (kind != "svc" && kind != "pod") return {.exists = kind == "dns" && count == 1};
  if (count == 1) return {.exists = true};
  if (count == 2) return {.exists = has_namespace(question.from_right(1))};
  return kind == "svc" ? find_service(question) : find_pod(question);
}

DnsRecords::Found DnsRecords::find_apex(const Question& question) const {
  Found found{.exists = true};
  std::string server = "ns.dns." + question.domain;
  if (question.wants(DnsType::Soa)) found.answers.push_back(authority(question.domain));
  if (!question.wants(DnsType::Ns)) return found;
  found.answers.push_back({question.name, DnsType::Ns, spec_.ttl, net::DnsTarget{server}});
  for (Address address : spec_.servers) found.additional.push_back(record(server, address));
  return found;
}

DnsRecords::Found DnsRecords::find_service(const Question& question) const {
  Ref<api::Service> service = services_.get({question.from_right(1), question.from_right(2)});
  if (!service || question.labels.size() > 5) return {};
  if (service->spec.type == "ExternalName") {
    if (question.labels.size() != 3) return {};
    net::DnsTarget target{lower(service->spec.externalName)};
    return {.exists = true, .answers = {{question.name, DnsType::Cname, spec_.ttl, target}}};
  }
  return headless(*service) ? find_headless(question, *service) : find_cluster_ip(question, *service);
}

DnsRecords::Found DnsRecords::find_cluster_ip(const Question& question, const api::Service& service) const {
  std::vector<Address> addresses = cluster_ips(service);
  size_t count = question.labels.size();
  if (addresses.empty()) return {};
  std::string target =
      fmt::format("{}.{}.svc.{}", question.from_right(2), question.from_right(1), question.domain);
  if (count == 4) {
    // "_tcp.web.default.svc" has ports below it; an endpoint of the service has a name as well.
    if (question.labels[0].starts_with('_')) return {.exists = true};
    Found members = find_headless(question, service);
    return members;
  }
  if (count == 3 && question.wants_addresses())
    return {.exists = true, .answers = address_records(question, addresses)};
  PortFilter filter = count == 5 ? PortFilter{question.labels[0], question.labels[1]} : PortFilter{};
  Found found{.exists = count == 3};
  for (const api::ServicePort& port : service.spec.ports) {
    if (!filter.takes(port.name, port.protocol)) continue;
    found.exists = true;
    if (!question.wants(DnsType::Srv)) continue;
    net::DnsService srv{.weight = 100, .port = static_cast<std::uint16_t>(port.port), .target = target};
    add_unique(found.answers, {question.name, DnsType::Srv, spec_.ttl, srv});
  }
  if (!found.answers.empty())
    for (Address address : addresses) found.additional.push_back(record(target, address));
  return found;
}

DnsRecords::Found DnsRecords::find_headless(const Question& question, const api::Service& service) const {
  size_t count = question.labels.size();
  bool one_member = count == 4;
  PortFilter filter = count == 5 ? PortFilter{question.labels[0], question.labels[1]} : PortFilter{};
  std::string base =
      fmt::format("{}.{}.svc.{}", question.from_right(2), question.from_right(1), question.domain);
  Found found;
  for (const Ref<api::EndpointSlice>& slice : slices_.by_index("dns-service", client::key_of(service).str()))
    for (const Member& member : members_of(*slice)) {
      if (one_member && member.label != question.labels[0] && dashed(member.address) != question.labels[0])
        continue;
      if (count != 5) found.exists = true;
      std::string target = one_member ? question.name : member.label + "." + base;
      if (count != 5 && question.wants(member.address))
        add_unique(found.answers, record(question.name, member.address));
      for (const api::DiscoveryEndpointPort& port : slice->ports) {
        if (!filter.takes(port.name.value_or(""), port.protocol) || !port.port) continue;
        found.exists = true;
        if (question.type != DnsType::Srv) continue;
        net::DnsService srv{.weight = 100, .port = static_cast<std::uint16_t>(*port.port), .target = target};
        add_unique(found.answers, {question.name, DnsType::Srv, spec_.ttl, srv});
        add_unique(found.additional, record(target, member.address));
      }
    }
  return found;
}

DnsRecords::Found DnsRecords::find_pod(const Question& question) const {
  std::optional<Address> address = undash(question.from_right(2));
  if (question.labels.size() != 3 || !address || !has_namespace(question.from_right(1))) return {};
  return {.exists = true, .answers = address_records(question, {*address})};
}

std::optional<DnsAnswer> DnsRecords::reverse(const std::string& name, DnsType type) const {
  Address address = *reversed(name);
  bool ours = std::any_of(spec_.reverse.begin(), spec_.reverse.end(),
                          [&](const net::Cidr& r) { return r.contains(address); });
  if (!ours) return std::nullopt;
  if (!synced()) return DnsAnswer{.code = DnsCode::ServerFailure};
  std::vector<std::string> names;
  for (const Ref<api::Service>& service : services_.by_index("dns-address", address.str()))
    names.push_back(
        fmt::format("{}.{}.svc.{}", service->metadata.name, service->metadata.namespace_, spec_.domains[0]));
  if (names.empty())
    for (const Ref<api::EndpointSlice>& slice : slices_.by_index("dns-address", address.str()))
      for (const Member& member : members_of(*slice)) {
        ObjectKey service = service_of(*slice);
        if (member.address != address) continue;
        names.push_back(
            fmt::format("{}.{}.{}.svc.{}", member.label, service.name, service.namespace_, spec_.domains[0]));
      }
  DnsAnswer answer;
  if (names.empty()) answer.code = DnsCode::NameError;
  for (const std::string& target : names)
    if (type == DnsType::Ptr || type == DnsType::Any)
      answer.answers.push_back({name, DnsType::Ptr, spec_.ttl, net::DnsTarget{target}});
  if (answer.answers.empty()) answer.authority.push_back(authority(std::string(kReverseZones[address.is_v6() ? 1 : 0])));
  return answer;
}

}  // namespace skiff::proxy
