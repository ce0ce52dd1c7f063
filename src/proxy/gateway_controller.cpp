#include "proxy/gateway_controller.hpp"

#include <algorithm>

#include "api/custom_object.hpp"
#include "api/json.hpp"
#include "base/log.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kRetry = 5s;
constexpr char kPart[] = "gateway";
constexpr char kVersion[] = "gateway.networking.k8s.io/v1", kBeta[] = "gateway.networking.k8s.io/v1beta1";

bool is_gateway_kind(const api::KindInfo& kind) { return kind.api_version().starts_with(kGatewayGroup); }

/// A condition that says what it said has been saying it since then.
void keep_times(std::vector<api::Condition>& now, const std::vector<api::Condition>& before) {
  for (api::Condition& one : now)
    for (const api::Condition& old : before)
      if (old.type == one.type && old.status == one.status) one.lastTransitionTime = old.lastTransitionTime;
}

void keep_times(api::GatewayStatus& now, const api::GatewayStatus& before) {
  keep_times(now.conditions, before.conditions);
  for (api::GatewayListenerStatus& one : now.listeners)
    for (const api::GatewayListenerStatus& old : before.listeners)
      if (old.name == one.name) keep_times(one.conditions, old.conditions);
}

/// Ours in place of what was ours; what other controllers say stays.
api::GatewayHttpRouteStatus joined(const api::GatewayHttpRouteStatus& before,
                                   std::vector<api::GatewayRouteParentStatus> ours) {
  api::GatewayHttpRouteStatus status;
  for (const api::GatewayRouteParentStatus& old : before.parents) {
    if (old.controllerName != kGatewayController) status.parents.push_back(old);
    for (api::GatewayRouteParentStatus& one : ours)
      if (old.controllerName == kGatewayController && old.parentRef == one.parentRef)
        keep_times(one.conditions, old.conditions);
  }
  std::move(ours.begin(), ours.end(), std::back_inserter(status.parents));
  return status;
}

}  // namespace

std::map<ObjectKey, net::Address> plan_gateway_addresses(std::vector<Ref<api::GatewayObject>> gateways,
                                                      const net::Cidr& range,
                                                      const std::set<net::Address>& reserved) {
  std::sort(gateways.begin(), gateways.end(), [](const auto& a, const auto& b) {
    return std::tuple(a->metadata.creationTimestamp, client::key_of(*a)) <
           std::tuple(b->metadata.creationTimestamp, client::key_of(*b));
  });
  std::set<net::Address> taken = reserved;
  std::map<ObjectKey, net::Address> plan;
  for (const auto& gateway : gateways)
    for (const api::GatewayAddress& said : gateway->status.addresses) {
      Result<net::Address> address = net::parse_address(said.value);
      bool kept = address.ok() && range.contains(address.value()) &&
                  !plan.contains(client::key_of(*gateway)) && taken.insert(address.value()).second;
      if (kept) plan[client::key_of(*gateway)] = address.value();
    }
  for (const auto& gateway : gateways)
    for (std::uint32_t i = 1; i + 1 < range.size() && !plan.contains(client::key_of(*gateway)); ++i)
      if (taken.insert(range.at(i)).second) plan[client::key_of(*gateway)] = range.at(i);
  return plan;
}

GatewayController::GatewayController(Parts parts, GatewayControllerSpec spec)
    : parts_(parts),
      spec_(std::move(spec)),
      services_(parts.informers.of<api::Service>()),
      slices_(parts.informers.of<api::EndpointSlice>()),
      secrets_(parts.certificates),
      namespaces_(parts.informers.of<api::Namespace>()),
      feed_(parts.client, parts.clock),
      changes_(parts.clock),
      nodes_(changes_) {
  slices_.add_index("gateway-service", [](const api::EndpointSlice& slice) {
    return std::vector<std::string>{service_of(slice).str()};
  });
  watch_changes();
}

void GatewayController::watch_changes() {
  feed_.on_change([this](const client::MetadataEvent& event) {
    if (is_gateway_kind(*event.kind)) changes_.changed();
  });
  feed_.on_gap([this] { changes_.changed(); });
  auto if_used = [this](const auto&, const auto&) {
    if (used_) changes_.changed();
  };
  services_.on_change(if_used);
  slices_.on_change(if_used);
  secrets_.on_change(if_used);
  namespaces_.on_change(if_used);
}

void GatewayController::start() {
  feed_.start();
  worker_.start("gateways", [this](std::stop_token stop) { run(std::move(stop)); });
}

void GatewayController::stop() {
  feed_.stop();
  worker_.stop();
}

void GatewayController::run(std::stop_token stop) {
  bool synced = services_.wait_synced(stop) && slices_.wait_synced(stop) && secrets_.wait_synced(stop) &&
                namespaces_.wait_synced(stop) && feed_.wait_synced(stop);
  if (!synced) return;
  TimePoint again = TimePoint::max();
  while (std::uint64_t change = changes_.wait_change(stop, again)) {
    bool settled = settle();
    changes_.done(change);
    again = settled ? TimePoint::max() : parts_.clock.now() + kRetry;
  }
}

/// All objects of a kind, as the API has them now; none while nobody defined the kind.
template <class T>
std::vector<Ref<T>> GatewayController::objects(const char* kind, const std::vector<const char*>& versions) {
  std::vector<Ref<T>> all;
  const api::KindInfo* info = nullptr;
  for (const char* version : versions)
    if (info == nullptr) info = parts_.client.find_kind(version, kind);
  if (info == nullptr) return all;
  Result<client::AnyList> list = parts_.client.list(*info, {});
  if (!list.ok()) return all;
  for (const client::AnyRef& item : list.value().items) {
    const auto& custom = *static_cast<const api::CustomObject*>(item.get());
    Result<T> parsed = api::from_json<T>(custom.rest.json.empty() ? "{}" : custom.rest.json);
    if (!parsed.ok()) {
      log::warning("gateways", "{} {}: {}", kind, client::key_of(custom).str(), parsed.error().message());
      continue;
    }
    auto object = std::make_shared<T>(std::move(parsed).value());
    object->metadata = custom.metadata;
    all.push_back(std::move(object));
  }
  return all;
}

GatewayView GatewayController::view() {
  GatewayView view;
  std::set<std::string> classes;
  for (const auto& one : objects<api::GatewayClassObject>("GatewayClass", {kVersion}))
    if (one->spec.controllerName == kGatewayController) classes.insert(one->metadata.name);
  for (auto& gateway : objects<api::GatewayObject>("Gateway", {kVersion}))
    if (classes.contains(gateway->spec.gatewayClassName) && !gateway->metadata.deletionTimestamp)
      view.gateways.push_back(gateway);
  if (view.gateways.empty()) return view;
  view.routes = objects<api::GatewayHttpRoute>("HTTPRoute", {kVersion});
  view.grants = objects<api::GatewayReferenceGrant>("ReferenceGrant", {kVersion, kBeta});
  for (const auto& one : namespaces_.list()) view.namespaces[one->metadata.name] = one->metadata.labels;
  view.addresses = plan_gateway_addresses(view.gateways, spec_.addresses, spec_.reserved);
  view.lookup = {[this](const ObjectKey& key) { return services_.get(key); },
                 [this](const ObjectKey& key) { return slices_.by_index("gateway-service", key.str()); }};
  view.certificate = [this](const ObjectKey& key) -> Result<CertificateTable::Certificate> {
    Ref<api::Secret> secret = find_certificate(secrets_, parts_.client, key);
    if (!secret) return error(Code::NotFound, "Secret {} does not exist", key.str());
    auto chain = secret->data.find("tls.crt"), private_key = secret->data.find("tls.key");
    if (chain == secret->data.end() || private_key == secret->data.end())
      return error(Code::Invalid, "Secret {} has no tls.crt and tls.key", key.str());
    return net::TlsCertificate::parse(chain->second.data, private_key->second.data);
  };
  view.now = api::Time::from(parts_.clock.wall_now()).text();
  return view;
}

bool GatewayController::settle() {
  std::vector<Ref<api::GatewayClassObject>> classes = objects<api::GatewayClassObject>("GatewayClass", {kVersion});
  GatewayView now = view();
  used_ = !now.gateways.empty();
  CompiledGateways compiled = compile_gateways(now);
  auto failures = parts_.front.set(kPart, listeners(compiled), compiled.routes);
  bool settled = true;
  for (const net::HttpListenerFailure& failure : failures) {
    // The host's own ports are a convenience; the gateway's address is what was promised.
    log::warning("gateways", "{}: {}", failure.listener.name, failure.error.message());
    settled = settled && failure.listener.network == spec_.host;
  }
  for (Status written : {accept_classes(classes), write_statuses(now, compiled)}) {
    if (written.ok()) continue;
    log::warning("gateways", "{}", written.error().message());
    settled = false;
  }
  return settled;
}

std::vector<net::HttpListener> GatewayController::listeners(const CompiledGateways& compiled) {
  std::vector<net::HttpListener> wanted;
  std::set<net::Endpoint> on_host;
  const std::set<std::string> nodes = nodes_.names();
  for (const GatewayPort& port : compiled.ports) {
    for (const std::string& node : nodes) wanted.push_back({node, port.listen, port.tls, port.name});
    for (net::Address address : spec_.listen)
      if (on_host.insert({address, port.listen.port}).second)
        wanted.push_back({spec_.host, {address, port.listen.port}, port.tls, port.name});
  }
  return wanted;
}

Status GatewayController::write_status(const char* kind, const ObjectKey& key, const std::string& status) {
  const api::KindInfo* info = parts_.client.find_kind(kVersion, kind);
  if (info == nullptr) return ok();
  auto written =
      parts_.client.patch(*info, key, client::PatchType::Merge, R"({"status":)" + status + "}", "status");
  if (written.ok() || written.error().code() == Code::NotFound) return ok();
  return Error(std::move(written).error()).in(fmt::format("{} {}", kind, key.str()));
}

Status GatewayController::accept_classes(const std::vector<Ref<api::GatewayClassObject>>& classes) {
  for (const auto& one : classes) {
    if (one->spec.controllerName != kGatewayController) continue;
    api::GatewayClassStatus status;
    api::Condition& accepted = status.conditions.emplace_back();
    accepted.type = accepted.reason = "Accepted";
    accepted.status = "True";
    accepted.observedGeneration = one->metadata.generation;
    accepted.lastTransitionTime = api::Time::from(parts_.clock.wall_now());
    keep_times(status.conditions, one->status.conditions);
    if (status.conditions == one->status.conditions) continue;
    TRY(write_status("GatewayClass", client::key_of(*one), api::to_json(status)));
  }
  return ok();
}

Status GatewayController::write_statuses(const GatewayView& view, CompiledGateways& compiled) {
  for (const auto& gateway : view.gateways) {
    api::GatewayStatus& status = compiled.gateways[client::key_of(*gateway)];
    keep_times(status, gateway->status);
    if (!(status == gateway->status))
      TRY(write_status("Gateway", client::key_of(*gateway), api::to_json(status)));
  }
  for (const auto& route : view.routes) {
    api::GatewayHttpRouteStatus status = joined(route->status, compiled.parents[client::key_of(*route)]);
    if (!(status == route->status))
      TRY(write_status("HTTPRoute", client::key_of(*route), api::to_json(status)));
  }
  return ok();
}

}  // namespace skiff::proxy
