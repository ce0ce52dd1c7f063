#include "proxy/load_balancers.hpp"

#include <pthread.h>

#include <algorithm>

#include "base/log.hpp"
#include "proxy/service_rules.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kRetry = 1s;

bool older(const Ref<api::Service>& a, const Ref<api::Service>& b) {
  return std::tuple(a->metadata.creationTimestamp, client::key_of(*a)) <
         std::tuple(b->metadata.creationTimestamp, client::key_of(*b));
}

std::optional<net::Ipv4> address_in_status(const api::Service& service) {
  const auto& ingress = service.status.loadBalancer.ingress;
  if (ingress.size() != 1) return std::nullopt;
  Result<net::Ipv4> address = net::parse_ipv4(ingress[0].ip);
  if (!address.ok()) return std::nullopt;
  return address.value();
}

/// Why nobody can have the address; empty when it can be given.
std::string refusal(const std::string& wish, const net::Cidr& range, const std::set<net::Ipv4>& taken) {
  Result<net::Ipv4> address = net::parse_ipv4(wish);
  if (!address.ok() || !range.contains(address.value()))
    return fmt::format("{} is not in this cluster's range {}", wish, range.str());
  return taken.contains(address.value()) ? fmt::format("{} is taken", wish) : "";
}

std::optional<net::Ipv4> first_free(const net::Cidr& range, const std::set<net::Ipv4>& taken) {
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
                                                             const std::set<net::Ipv4>& reserved) {
  std::erase_if(services, [](const auto& service) { return !is_ours(*service); });
  std::sort(services.begin(), services.end(), older);
  std::set<net::Ipv4> taken = reserved;
  std::map<ObjectKey, BalancerAddress> plan;
  auto give = [&](const api::Service& service, net::Ipv4 address) {
    taken.insert(address);
    plan[client::key_of(service)].address = address;
  };
  // What a Service has it keeps, unless it wishes another.
  for (const Ref<api::Service>& service : services) {
    std::optional<net::Ipv4> has = address_in_status(*service);
    bool content = service->spec.loadBalancerIP.empty() ||
                   (has && service->spec.loadBalancerIP == has->str()) ||
                   !refusal(service->spec.loadBalancerIP, range, {}).empty();
    if (has && content && range.contains(*has) && !taken.contains(*has)) give(*service, *has);
  }
  for (const Ref<api::Service>& service : services) {
    const std::string& wish = service->spec.loadBalancerIP;
    BalancerAddress& given = plan[client::key_of(*service)];
    if (wish.empty() || (given.address && given.address->str() == wish)) continue;
    given.refused = refusal(wish, range, taken);
    if (given.refused.empty()) give(*service, net::parse_ipv4(wish).value());
  }
  for (const Ref<api::Service>& service : services)
    if (BalancerAddress& given = plan[client::key_of(*service)]; !given.address)
      if (std::optional<net::Ipv4> free = first_free(range, taken)) give(*service, *free);
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
  if (thread_.joinable()) return;
  thread_ = std::jthread([this](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "load-balancers");
    run(std::move(stop));
  });
}

void LoadBalancers::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
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

bool LoadBalancers::settle(const std::vector<Ref<api::Service>>& services) {
  auto plan = plan_balancer_addresses(services, spec_.range, spec_.reserved);
  std::map<std::string, std::string> told;
  bool settled = true;
  for (const Ref<api::Service>& service : services) {
    auto given = plan.find(client::key_of(*service));
    if (given == plan.end()) continue;
    const auto& [address, refused] = given->second;
    std::string problem = !address ? fmt::format("no address of {} is free", spec_.range.str()) : refused;
    std::string& before = told[service->metadata.uid] = told_[service->metadata.uid];
    if (before != problem && !problem.empty())
      parts_.events.warning(client::reference_to(service),
                            address ? "LoadBalancerIPUnavailable" : "SyncLoadBalancerFailed",
                            "Load balancer: " + problem);
    before = problem;
    if (!address || address_in_status(*service) == address) continue;
    parts_.events.normal(client::reference_to(service), "EnsuringLoadBalancer", "Ensuring load balancer");
    Status written = write(*service, given->second);
    if (written.ok())
      parts_.events.normal(client::reference_to(service), "EnsuredLoadBalancer", "Ensured load balancer");
    else
      log::warning("load-balancers", "{}: {}", given->first.str(), written.error().message());
    settled = settled && written.ok();
  }
  told_ = std::move(told);
  return settled;
}

Status LoadBalancers::write(const api::Service& service, const BalancerAddress& given) {
  auto change = [&](api::Service& now) {
    bool known = now.metadata.uid != service.metadata.uid || !is_ours(now) || address_in_status(now) == given.address;
    if (known) return false;  // the informer will show it
    api::LoadBalancerIngress ingress;
    ingress.ip = given.address->str();
    ingress.ipMode = "VIP";
    now.status.loadBalancer.ingress = {ingress};
    return true;
  };
  auto written = parts_.client.update_with_retry<api::Service>(client::key_of(service), change, true);
  if (written.ok() || written.error().code() == Code::NotFound) return ok();
  return written.error();
}

bool LoadBalancers::settle_paths(const std::vector<Ref<api::Service>>& services) {
  Paths paths;
  for (const Ref<api::Service>& service : services) {
    std::optional<net::Ipv4> address = address_in_status(*service);
    if (!is_ours(*service) || !address || service->spec.externalTrafficPolicy != "Local") continue;
    for (const auto& slice : slices_.by_index("balancer-service", client::key_of(*service).str()))
      for (const api::Endpoint& endpoint : slice->endpoints) {
        bool ready = !endpoint.conditions || endpoint.conditions->ready.value_or(true);
        if (!ready || endpoint.nodeName.empty()) continue;
        auto [path, first] = paths.try_emplace(*address, endpoint.nodeName);
        if (!first) path->second = std::min(path->second, endpoint.nodeName);
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
