// Which addresses and ports a Service gets (pkg/registry/core/service/storage/alloc.go).

#include <algorithm>

#include "base/random.hpp"
#include "registry/kinds/services.hpp"

namespace skiff::registry {

using api::quote;
using api::Service;
using api::ServicePort;

namespace {

const Path kSpec("spec");
using Names = std::vector<std::string>;

const char* family_of(std::string_view ip) { return ip.find(':') == ip.npos ? "IPv4" : "IPv6"; }
const char* other_family(std::string_view family) { return family == "IPv4" ? "IPv6" : "IPv4"; }

Error refused(const Service& service, const FieldErrors& errors) {
  return api::invalid(api::kind_of<Service>(), service.metadata.name, errors);
}
// What a range said of one value: about the field when the value is to blame.
Error refused(const Service& service, const Path& field, const std::string& value, const Error& why) {
  if (why.code() != Code::Invalid) return why;
  FieldErrors errors;
  errors.invalid(field, value, why.message());
  return refused(service, errors);
}

// ---- families

bool is_headless_without_selector(const api::ServiceSpec& spec) {
  return spec.clusterIP == "None" && spec.selector.empty();
}

std::string default_policy(const api::ServiceSpec& spec, const Service* old) {
  if (old && !old->spec.ipFamilyPolicy.empty()) return old->spec.ipFamilyPolicy;
  return is_headless_without_selector(spec) ? "RequireDualStack" : "SingleStack";
}

// An update to one family lets the second go; with another policy that must be said.
void release_second_family(api::ServiceSpec& spec, const Service& old, FieldErrors& errors) {
  const Path policy = kSpec.child("ipFamilyPolicy");
  if (spec.ipFamilyPolicy == "SingleStack") {
    if (spec.clusterIPs == old.spec.clusterIPs && spec.clusterIPs.size() > 1) spec.clusterIPs.resize(1);
    if (spec.ipFamilies == old.spec.ipFamilies && spec.ipFamilies.size() > 1) spec.ipFamilies.resize(1);
    return;
  }
  if (old.spec.clusterIPs.size() == 2 && spec.clusterIPs.size() == 1)
    errors.invalid(policy, quote(spec.ipFamilyPolicy), "must be 'SingleStack' to release the secondary cluster IP");
  if (old.spec.ipFamilies.size() == 2 && spec.ipFamilies.size() == 1)
    errors.invalid(policy, quote(spec.ipFamilyPolicy), "must be 'SingleStack' to release the secondary IP family");
}

void infer_families(api::ServiceSpec& spec, const ServiceRanges& ranges, FieldErrors& errors) {
  static constexpr char kMustBeDual[] = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified";
  const Path policy = kSpec.child("ipFamilyPolicy");
  if (spec.ipFamilyPolicy == "SingleStack" && spec.clusterIPs.size() == 2)
    errors.invalid(policy, quote(spec.ipFamilyPolicy), fmt::format(kMustBeDual, "cluster IPs"));
  if (spec.ipFamilyPolicy == "SingleStack" && spec.ipFamilies.size() == 2)
    errors.invalid(policy, quote(spec.ipFamilyPolicy), fmt::format(kMustBeDual, "IP families"));
  for (size_t i = spec.ipFamilies.size(); i < spec.clusterIPs.size() && spec.clusterIPs[i] != "None"; ++i) {
    const char* family = family_of(spec.clusterIPs[i]);
    if (!ranges.addresses(family))
      errors.invalid(kSpec.child("clusterIPs", i), json_of(spec.clusterIPs),
                     fmt::format("{} is not configured on this cluster", family));
    else spec.ipFamilies.push_back(family);
  }
}

void check_configured(const api::ServiceSpec& spec, const ServiceRanges& ranges, FieldErrors& errors) {
  if (spec.ipFamilyPolicy == "RequireDualStack" && !ranges.dual_stack())
    errors.invalid(kSpec.child("ipFamilyPolicy"), quote(spec.ipFamilyPolicy),
                   "this cluster is not configured for dual-stack services");
  for (size_t i = 0; i < spec.ipFamilies.size(); ++i)
    if (!ranges.addresses(spec.ipFamilies[i]))
      errors.invalid(kSpec.child("ipFamilies", i), quote(spec.ipFamilies[i]), "not configured on this cluster");
}

// A service that prefers two families keeps what it has, whatever the cluster has become.
bool prefers_what_it_has(const api::ServiceSpec& spec, const Service* old) {
  return old && spec.ipFamilyPolicy == "PreferDualStack" && old->spec.ipFamilyPolicy == "PreferDualStack" &&
         spec.ipFamilies == old->spec.ipFamilies && spec.clusterIPs == old->spec.clusterIPs;
}

Status settle_families(Service& service, const Service* old, const ServiceRanges& ranges) {
  api::ServiceSpec& spec = service.spec;
  if (spec.type == "ExternalName" || prefers_what_it_has(spec, old)) return ok();
  if (spec.ipFamilyPolicy.empty()) spec.ipFamilyPolicy = default_policy(spec, old);
  FieldErrors errors;
  if (old && old->spec.type != "ExternalName") release_second_family(spec, *old, errors);
  infer_families(spec, ranges, errors);
  if (!errors.empty()) return refused(service, errors);
  bool dual = spec.ipFamilyPolicy != "SingleStack";
  if (spec.ipFamilies.empty()) spec.ipFamilies = {ranges.addresses().front()->family()};
  if (is_headless_without_selector(spec)) {  // whoever writes its endpoints knows their families
    if (dual && spec.ipFamilies.size() == 1) spec.ipFamilies.push_back(other_family(spec.ipFamilies[0]));
    return ok();
  }
  check_configured(spec, ranges, errors);
  if (!errors.empty()) return refused(service, errors);
  if (dual && spec.ipFamilies.size() == 1 && ranges.dual_stack())
    spec.ipFamilies.push_back(other_family(spec.ipFamilies[0]));
  return ok();
}

// ---- addresses and ports

class Allocation {
 public:
  Allocation(Service& service, const Service* old, ServiceRanges& ranges, Random& random)
      : service_(service), old_(old), ranges_(ranges), random_(random) {}

  Status run() {
    Status taken = take();
    if (taken.ok()) return taken;
    for (const std::string& address : addresses_) ranges_.addresses(family_of(address))->release(address);
    for (int port : ports_) ranges_.release_port(port);
    return taken;
  }

 private:
  Status take() {
    TRY(settle_families(service_, old_, ranges_));
    if (wants_cluster_ip(service_))
      for (size_t i = 0; i < service_.spec.ipFamilies.size(); ++i) TRY(take_cluster_ip(i));
    std::set<int> mine = old_ ? node_ports(*old_) : std::set<int>{};
    for (size_t i = 0; i < service_.spec.ports.size(); ++i) TRY(take_node_port(i, mine));
    if (!needs_health_check(service_)) return ok();
    return take_port(service_.spec.healthCheckNodePort, kSpec.child("healthCheckNodePort"), mine);
  }

  bool is_held(const std::string& address) const {
    return old_ && has_cluster_ip(*old_) &&
           std::find(old_->spec.clusterIPs.begin(), old_->spec.clusterIPs.end(), address) != old_->spec.clusterIPs.end();
  }

  Status take_cluster_ip(size_t index) {
    api::ServiceSpec& spec = service_.spec;
    if (spec.clusterIPs.size() <= index) spec.clusterIPs.resize(index + 1);
    std::string& address = spec.clusterIPs[index];
    if (!address.empty() && is_held(address)) return ok();
    AddressRange* range = ranges_.addresses(spec.ipFamilies[index]);
    if (!range) return ok();  // a second family that the cluster no longer has
    if (address.empty()) {
      TRY_ASSIGN(address, range->take(random_));
    } else if (Status taken = range->take(address); !taken.ok()) {
      return refused(service_, kSpec.child("clusterIPs"), json_of(spec.clusterIPs), taken.error());
    }
    if (index == 0) spec.clusterIP = address;
    addresses_.push_back(address);
    return ok();
  }

  // One number may serve several protocols of the same service.
  Status take_node_port(size_t index, std::set<int>& mine) {
    ServicePort& port = service_.spec.ports[index];
    if (!wants_node_ports(service_) && port.nodePort == 0) return ok();
    const Path at = kSpec.child("ports", index);
    return take_port(port.nodePort, at.child("nodePort"), mine);
  }

  Status take_port(std::int32_t& port, const Path& field, std::set<int>& mine) {
    if (port == 0) {
      TRY_ASSIGN(port, ranges_.take_port(random_));
    } else if (mine.contains(port)) {
      return ok();
    } else if (Status taken = ranges_.take_port(port); !taken.ok()) {
      return refused(service_, field, std::to_string(port), taken.error());
    }
    ports_.push_back(port);
    mine.insert(port);
    return ok();
  }

  Service& service_;
  const Service* old_;
  ServiceRanges& ranges_;
  Random& random_;
  std::vector<std::string> addresses_;
  std::vector<int> ports_;
};

}  // namespace

void check_address_families(const api::ServiceSpec& spec, FieldErrors& errors) {
  if (spec.type == "ExternalName") return;
  const Path ips = kSpec.child("clusterIPs");
  const Path families = kSpec.child("ipFamilies");
  if (!spec.ipFamilyPolicy.empty())
    check_one_of(spec.ipFamilyPolicy, kSpec.child("ipFamilyPolicy"), {"PreferDualStack", "RequireDualStack", "SingleStack"},
                 errors);
  for (size_t i = 0; i < spec.ipFamilies.size(); ++i) {
    const Path at = kSpec.child("ipFamilies", i);
    check_one_of(spec.ipFamilies[i], at, {"IPv4", "IPv6"}, errors);
    if (std::count(spec.ipFamilies.begin(), spec.ipFamilies.begin() + static_cast<std::ptrdiff_t>(i), spec.ipFamilies[i]) > 0)
      errors.duplicate(at, quote(spec.ipFamilies[i]));
  }
  if (spec.ipFamilies.size() > 2) errors.invalid(families, json_of(spec.ipFamilies), "may only hold up to 2 values");
  if (spec.clusterIP.empty() && !spec.clusterIPs.empty())
    errors.forbidden(ips, "must be empty when `clusterIP` is not specified");
  if (!spec.clusterIP.empty() && !spec.clusterIPs.empty() && spec.clusterIP != spec.clusterIPs[0])
    errors.invalid(ips, json_of(spec.clusterIPs), "first value must match `clusterIP`");
  if (spec.clusterIPs.size() > 2) errors.invalid(ips, json_of(spec.clusterIPs), "may only hold up to 2 values");
  Names all = spec.clusterIPs.empty() && !spec.clusterIP.empty() ? Names{spec.clusterIP} : spec.clusterIPs;
  if (!all.empty() && all[0] == "None") {
    if (all.size() > 1) errors.invalid(ips, json_of(all), "'None' must be the first and only value");
    return;
  }
  for (size_t i = 0; i < all.size(); ++i) {
    const Path at = kSpec.child("clusterIPs", i);
    if (all[i] == "None") errors.invalid(ips, json_of(all), "'None' must be the first and only value");
    else if (!api::is_ip(all[i])) check_ip(all[i], at, errors);
    else if (i < spec.ipFamilies.size() && spec.ipFamilies[i] != family_of(all[i]))
      errors.invalid(at, quote(all[i]), fmt::format("expected an {} value as indicated by `ipFamilies[{}]`", spec.ipFamilies[i], i));
  }
  if (all.size() == 2 && all[1] != "None" && family_of(all[0]) == std::string_view(family_of(all[1])))
    errors.invalid(ips, json_of(all), "may specify no more than one IP for each IP family");
}

Status allocate(Service& service, const Service* old, ServiceRanges& ranges, Random& random) {
  return Allocation(service, old, ranges, random).run();
}

void release(const Service& gone, const Service* kept, ServiceRanges& ranges) {
  Names still = kept && has_cluster_ip(*kept) ? kept->spec.clusterIPs : Names();
  if (has_cluster_ip(gone))
    for (const std::string& address : gone.spec.clusterIPs)
      if (AddressRange* range = ranges.addresses(family_of(address));
          range && std::find(still.begin(), still.end(), address) == still.end())
        range->release(address);
  std::set<int> ports = kept ? node_ports(*kept) : std::set<int>{};
  for (int port : node_ports(gone))
    if (!ports.contains(port)) ranges.release_port(port);
}

void adopt(const Service& service, ServiceRanges& ranges) {
  // What is stored was given out by these ranges before; one that changed since keeps it all the same.
  if (has_cluster_ip(service))
    for (const std::string& address : service.spec.clusterIPs)
      if (AddressRange* range = ranges.addresses(family_of(address))) static_cast<void>(range->take(address).ok());
  for (int port : node_ports(service)) static_cast<void>(ranges.take_port(port).ok());
}

}  // namespace skiff::registry
