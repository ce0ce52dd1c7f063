// ServiceCIDRs and IPAddresses: where Services get their addresses from, and who has which.

#include <arpa/inet.h>

#include <array>

#include "api/gen/networking.hpp"
#include "registry/kinds/field_checks.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using api::quote;

const Path kSpec("spec");

// ---- IPAddresses

// The one way of writing an address (RFC 5952); empty when it is none.
std::string canonical(const std::string& address) {
  std::array<unsigned char, 16> raw{};
  std::array<char, INET6_ADDRSTRLEN> text{};
  int family = address.find(':') == std::string::npos ? AF_INET : AF_INET6;
  if (::inet_pton(family, address.c_str(), raw.data()) != 1) return {};
  return ::inet_ntop(family, raw.data(), text.data(), text.size());
}

std::vector<std::string> address_name_problems(std::string_view name) {
  std::string known = canonical(std::string(name));
  if (known.empty()) return {"must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"};
  if (known != name) return {fmt::format("must be in canonical form (\"{}\")", known)};
  return {};
}

void validate_address(const api::IPAddress& address, const api::IPAddress* old, FieldErrors& errors) {
  const Path parent = kSpec.child("parentRef");
  const api::ParentReference& ref = address.spec.parentRef;
  if (!ref.group.empty()) check_dns_subdomain(ref.group, parent.child("group"), errors);
  auto check_segment = [&](const std::string& value, const Path& at, bool required) {
    if (required && !require(value, at, errors)) return;
    if (!value.empty()) add_problems(at, value, api::path_segment_problems(value), errors);
  };
  check_segment(ref.resource, parent.child("resource"), true);
  check_segment(ref.name, parent.child("name"), true);
  check_segment(ref.namespace_, parent.child("namespace"), false);
  if (old && !(address.spec == old->spec))
    errors.invalid(parent, json_of(api::type_of<api::ParentReference>(), &ref), kImmutable);
}

// ---- ServiceCIDRs

bool is_ipv6(const std::string& cidr) { return cidr.find(':') != std::string::npos; }

void validate_cidrs(const api::ServiceCIDR& one, const api::ServiceCIDR* old, FieldErrors& errors) {
  const Path cidrs = kSpec.child("cidrs");
  const std::vector<std::string>& networks = one.spec.cidrs;
  if (networks.empty()) return errors.required(cidrs, "at least one CIDR required");
  if (old && old->spec.cidrs.size() == 1 && networks.size() == 2 && old->spec.cidrs[0] == networks[0]) {
    // The second family may come later.
  } else if (old && networks != old->spec.cidrs) {
    return errors.invalid(cidrs, json_of(networks), kImmutable);
  }
  if (networks.size() > 2)
    return errors.invalid(cidrs, json_of(networks), "may only hold up to 2 values");
  for (size_t i = 0; i < networks.size(); ++i) check_cidr(networks[i], kSpec.child("cidrs", i), errors);
  if (networks.size() == 2 && is_ipv6(networks[0]) == is_ipv6(networks[1]))
    errors.invalid(cidrs, json_of(networks), "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96");
}

}  // namespace

std::vector<Resource> addresses() {
  Rules<api::IPAddress> addresses;
  addresses.validate = validate_address;
  addresses.name_problems = address_name_problems;
  addresses.selectable_fields = [](const api::IPAddress& address) {
    const api::ParentReference& ref = address.spec.parentRef;
    return std::map<std::string, std::string>{{"spec.parentRef.group", ref.group},
                                              {"spec.parentRef.resource", ref.resource},
                                              {"spec.parentRef.namespace", ref.namespace_},
                                              {"spec.parentRef.name", ref.name}};
  };
  Rules<api::ServiceCIDR> cidrs;
  cidrs.validate = validate_cidrs;
  return {define(addresses), define(cidrs)};
}

}  // namespace skiff::registry
