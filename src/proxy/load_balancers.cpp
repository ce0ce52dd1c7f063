#include "proxy/load_balancers.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kRetry = 1s;

std::optional<net::Address> address_in_status(const api::Service& service, net::Family family) {
  for (const api::LoadBalancerIngress& ingress : service.status.loadBalancer.ingress)
    if (Result<net::Address> address = net::parse_address(ingress.ip);
        address.ok() && address.value().family == family)
      return address.value();
  return std::nullopt;
}

std::vector<std::string> status_addresses(const api::Service& service) {
  std::vector<std::string> addresses;
  for (const api::LoadBalancerIngress& ingress : service.status.loadBalancer.ingress) addresses.push_back(ingress.ip);
  return addresses;
}

bool has_family(const api::Service& service, net::Family family) {
  std::vector<net::Family> families = families_of(service);
  return std::find(families.begin(), families.end(), family) != families.end();
}

/// What the owner wishes of one family; what is no address is a wish for the first.
std::string wish_of(const api::Service& service, net::Family family) {
  const std::string& wish = service.spec.loadBalancerIP;
  Result<net::Address> address = net::parse_address(wish);
  net::Family meant = address.ok() ? address.value().family : families_of(service).front();
  return meant == family ? wish : "";
}

/// Why nobody can have the address; empty when it can be given.
std::string refusal(const std::string& wish, const net::Cidr& range, const std::set<net::Address>& taken) {
  Result<net::Address> address = net::parse_address(wish);
  if (!address.ok() || !range.contains(address.value()))
    return fmt::format("{} is not in this cluster's range {}", wish, range.str());
  return taken.contains(address.value()) ? fmt::format("{} is taken", wish) : "";
}

std::optional<net::Address> first_free(const net::Cidr& range, const std::set<net::Address>& taken) {
  for (std::uint32_t i = 1; i + 1 < range.size(); ++i)
    if (!taken.contains(range.at(i))) return range.at(i);
  return std::nullopt;
}

}  // namespace

bool is_ours(const api::Service& service) {
  return service.spec.type == "LoadBalancer" && !service.metadata.deletionTimestamp &&
         (service.spec.loadBalancerClass.empty() || service.spec.loadBalancerClass == kLoadBalancerClass);
}

std::map<ObjectKey, BalancerAddress> plan_balancer_addresses(std::vector<Ref<api::Service>> services,
                                                             const net::Cidr& range,
                                                             const std::set<net::Address>& reserved) {
  net::Family family = range.family();
  std::erase_if(services, [&](const auto& service) { return !is_ours(*service) || !has_family(*service, family); });
  std::sort(services.begin(), services.end(), older);
  std::set<net::Address> taken = reserved;
  std::map<ObjectKey, BalancerAddress> plan;
  auto give = [&](const api::Service& service, net::Address address) {
    taken.insert(address);
    plan[client::key_of(service)].address = address;
  };
  // What a Service has it keeps, unless it wishes another.
  for (const Ref<api::Service>& service : services) {
    std::optional<net::Address> has = address_in_status(*service, family);
    std::string wish = wish_of(*service, family);
    bool content = wish.empty() || (has && wish == has->str()) || !refusal(wish, range, {}).empty();
    if (has && content && range.contains(*has) && !taken.contains(*has)) give(*service, *has);
  }
  for (const Ref<api::Service>& service : services) {
    std::string wish = wish_of(*service, family);
    BalancerAddress& given = plan[client::key_of(*service)];
    if (wish.empty() || (given.address && given.address->str() == wish)) continue;
    given.refused = refusal(wish, range, taken);
    if (given.refused.empty()) give(*service, net::parse_address(wish).value());
  }
  for (const Ref<api::Service>& service : services)
    if (BalancerAddress& given = plan[client::key_of(*service)]; !given.address)
      if (std::optional<net::Address> free = first_free(range, taken)) give(*service, *free);
  return plan;
}

LoadBalancers::LoadBalancers(Parts parts, LoadBalancersSpec spec)
    : parts_(std::move(parts)),
      spec_(std::move(spec)),
      services_(parts_.informers.of<api::Service>()),
      slices_(parts_.informers.of<api::EndpointSlice>()),
      changes_(parts_.clock) {
  services_.on_change([this](const auto& before, const auto& now) {
    bool concerned =
        (before && before->spec.type == "LoadBalancer") || (now && now->spec.type == "LoadBalancer");
    bool same = before && now && before->spec == now->spec && before->status == now->status;
    if (concerned && !same) changes_.changed();
  });
  slices_.add_index("balancer-service", [](const api::EndpointSlice& slice) {
    return std::vector<std::string>{service_of(slice).str()};
  });
  slices_.on_change([this](const auto& before, const auto& now) {
    Ref<api::Service> service = services_.get(service_of(now ? *now : *before));
    if (service && service->spec.externalTrafficPolicy == "Local" && is_ours(*service)) changes_.changed();
  });
}

void LoadBalancers::start() {
  worker_.start("load-balancers", [this](std::stop_token stop) { run(std::move(stop)); });
}

void LoadBalancers::stop() {
  worker_.stop();
}

void LoadBalancers::run(std::stop_token stop) {
  // Which addresses are taken is known only when all Services are.
  if (!services_.wait_synced(stop) || !slices_.wait_synced(stop)) return;
  TimePoint again = TimePoint::max();
  while (std::uint64_t change = changes_.wait_change(stop, again)) {
    std::vector<Ref<api::Service>> services = services_.list();
    bool settled = settle(services);
    settled = settle_paths(services) && settled;
    changes_.done(change);
    again = settled ? TimePoint::max() : parts_.clock.now() + kRetry;
  }
}

std::map<ObjectKey, LoadBalancers::Given> LoadBalancers::plan(const std::vector<Ref<api::Service>>& services) const {
  std::map<net::Family, std::map<ObjectKey, BalancerAddress>> by_family;
  for (const net::Cidr& range : spec_.ranges)
    by_family[range.family()] = plan_balancer_addresses(services, range, spec_.reserved);
  std::map<ObjectKey, Given> all;
  for (const Ref<api::Service>& service : services)
    for (net::Family family : families_of(*service))
      if (auto given = by_family[family].find(client::key_of(*service)); given != by_family[family].end())
        all[client::key_of(*service)].push_back(given->second);
  return all;
}

std::string LoadBalancers::problem_of(const api::Service& service, const Given& given) const {
  std::vector<net::Family> families = families_of(service);
  for (size_t i = 0; i < given.size(); ++i) {
    if (!given[i].refused.empty()) return given[i].refused;
    for (const net::Cidr& range : spec_.ranges)
      if (!given[i].address && range.family() == families[i]) return fmt::format("no address of {} is free", range.str());
  }
  return "";
}

bool LoadBalancers::settle(const std::vector<Ref<api::Service>>& services) {
  auto all = plan(services);
  std::map<std::string, std::string> told;
  bool settled = true;
  for (const Ref<api::Service>& service : services) {
    auto found = all.find(client::key_of(*service));
    if (found == all.end()) continue;
    const Given& given = found->second;
    std::vector<std::string> addresses;
    for (const BalancerAddress& one : given)
      if (one.address) addresses.push_back(one.address->str());
    std::string problem = problem_of(*service, given);
    std::string& before = told[service->metadata.uid] = told_[service->metadata.uid];
    if (before != problem && !problem.empty())
      parts_.events.warning(client::reference_to(service),
                            addresses.size() == given.size() ? "LoadBalancerIPUnavailable" : "SyncLoadBalancerFailed",
                            "Load balancer: " + problem);
    before = problem;
    if (addresses.empty() || status_addresses(*service) == addresses) continue;
    parts_.events.normal(client::reference_to(service), "EnsuringLoadBalancer", "Ensuring load balancer");
    Status written = write(*service, addresses);
    if (written.ok())
      parts_.events.normal(client::reference_to(service), "EnsuredLoadBalancer", "Ensured load balancer");
    else
      log::warning("load-balancers", "{}: {}", found->first.str(), written.error().message());
    settled = settled && written.ok();
  }
  told_ = std::move(told);
  return settled;
}

Status LoadBalancers::write(const api::Service& service, const std::vector<std::string>& addresses) {
  auto change = [&](api::Service& now) {
    bool known = now.metadata.uid != service.metadata.uid || !is_ours(now) || status_addresses(now) == addresses;
    if (known) return false;  // the informer will show it
    now.status.loadBalancer.ingress.clear();
    for (const std::string& address : addresses) {
      api::LoadBalancerIngress& ingress = now.status.loadBalancer.ingress.emplace_back();
      ingress.ip = address;
      ingress.ipMode = "VIP";
    }
    return true;
  };
  auto written = parts_.client.update_with_retry<api::Service>(client::key_of(service), change, true);
  if (written.ok() || written.error().code() == Code::NotFound) return ok();
  return written.error();
}

bool LoadBalancers::settle_paths(const std::vector<Ref<api::Service>>& services) {
  Paths paths;
  for (const Ref<api::Service>& service : services) {
    if (!is_ours(*service) || service->spec.externalTrafficPolicy != "Local") continue;
    std::vector<net::Address> addresses;
    for (net::Family family : families_of(*service))
      if (std::optional<net::Address> one = address_in_status(*service, family)) addresses.push_back(*one);
    for (const auto& slice : slices_.by_index("balancer-service", client::key_of(*service).str()))
      for (const api::Endpoint& endpoint : slice->endpoints) {
        bool ready = !endpoint.conditions || endpoint.conditions->ready.value_or(true);
        if (!ready || endpoint.nodeName.empty()) continue;
        for (net::Address address : addresses) {
          auto [path, first] = paths.try_emplace(address, endpoint.nodeName);
          if (!first) path->second = std::min(path->second, endpoint.nodeName);
        }
      }
  }
  if (paths_ == paths) return true;
  if (Status set = parts_.set_paths(paths); !set.ok()) {
    log::warning("load-balancers", "{}", set.error().message());
    return false;
  }
  paths_ = std::move(paths);
  return true;
}

}  // namespace skiff::proxy
