#include "proxy/ingress_controller.hpp"

#include <errno.h>
#include <algorithm>

#include "base/log.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kRetry = 10s;
constexpr char kPart[] = "ingress";
/// Where a port is looked for when another program has 80 or 443.
constexpr std::uint16_t kFirstPlain = 8080, kFirstSecure = 8443, kFreePorts = 100;

/// Whether what routes are made of differs: leases and statuses of others do not count.
bool same_ingress(const Ref<api::Ingress>& a, const Ref<api::Ingress>& b) {
  return a && b && a->spec == b->spec && a->status == b->status &&
         a->metadata.annotations == b->metadata.annotations && a->metadata.uid == b->metadata.uid;
}

const std::string* entry(const api::Secret& secret, const char* key) {
  auto found = secret.data.find(key);
  return found == secret.data.end() ? nullptr : &found->second.data;
}

}  // namespace

IngressController::IngressController(Parts parts, IngressControllerSpec spec)
    : parts_(parts),
      spec_(std::move(spec)),
      ingresses_(parts.informers.of<api::Ingress>()),
      classes_(parts.informers.of<api::IngressClass>()),
      services_(parts.informers.of<api::Service>()),
      slices_(parts.informers.of<api::EndpointSlice>()),
      secrets_(parts.certificates),
      changes_(parts.clock),
      nodes_(changes_),
      external_(parts.clock, parts.resolve),
      https_port_(spec_.https_port) {
  ingresses_.add_index("services", [](const api::Ingress& ingress) { return services_of(ingress); });
  ingresses_.add_index("secrets", [](const api::Ingress& ingress) { return secrets_of(ingress); });
  slices_.add_index("ingress-service", [](const api::EndpointSlice& slice) {
    return std::vector<std::string>{service_of(slice).str()};
  });
  external_.on_change([this] { changes_.changed(); });
  watch_changes();
}

void IngressController::watch_changes() {
  ingresses_.on_change([this](const auto& before, const auto& now) {
    if (!same_ingress(before, now)) changes_.changed();
  });
  classes_.on_change([this](const auto&, const auto&) { changes_.changed(); });
  auto used_service = [this](const ObjectKey& key) {
    if (!ingresses_.by_index("services", key.str()).empty()) changes_.changed();
  };
  services_.on_change([used_service](const auto& before, const auto& now) {
    if (!before || !now || !(before->spec == now->spec)) used_service(client::key_of(now ? *now : *before));
  });
  slices_.on_change([used_service](const auto& before, const auto& now) {
    used_service(service_of(now ? *now : *before));
  });
  secrets_.on_change([this](const auto& before, const auto& now) {
    if (!ingresses_.by_index("secrets", client::key_of(now ? *now : *before).str()).empty())
      changes_.changed();
  });
}

void IngressController::start() {
  if (parts_.resolve) external_.start();
  worker_.start("ingress", [this](std::stop_token stop) { run(std::move(stop)); });
}

void IngressController::stop() {
  external_.stop();
  worker_.stop();
}

void IngressController::run(std::stop_token stop) {
  bool synced = ingresses_.wait_synced(stop) && classes_.wait_synced(stop) && services_.wait_synced(stop) &&
                slices_.wait_synced(stop) && secrets_.wait_synced(stop);
  if (!synced) return;
  TimePoint again = TimePoint::max();
  while (std::uint64_t change = changes_.wait_change(stop, again)) {
    bool settled = settle();
    changes_.done(change);
    again = settled ? TimePoint::max() : parts_.clock.now() + kRetry;
  }
}

IngressController::Ingresses IngressController::ours() const {
  Ingresses ours;
  auto class_of = [this](const std::string& name) { return classes_.get({"", name}); };
  for (const Ref<api::Ingress>& ingress : ingresses_.list())
    if (!ingress->metadata.deletionTimestamp && is_ours(*ingress, class_of)) ours.push_back(ingress);
  return ours;
}

bool IngressController::settle() {
  Ingresses served = ours();
  CompiledIngresses compiled = compile_ingresses(view(served));
  std::vector<net::HttpListener> wanted = served.empty() ? std::vector<net::HttpListener>() : listeners();
  external_.keep_only(std::exchange(external_used_, {}));
  Opened opened = open(wanted, compiled.routes);
  report(served, compiled.problems, opened);
  std::uint16_t https_port = spec_.https_port;
  for (const auto& [wanted_one, other] : opened.instead)
    if (other.tls) https_port = other.listen.port;
  if (std::exchange(https_port_, https_port) != https_port) changes_.changed();  // redirects lead elsewhere
  return settle_statuses(served) && opened.failures.empty();
}

bool IngressController::failed(const std::vector<net::HttpListenerFailure>& failures, const net::HttpListener& listener) {
  return std::any_of(failures.begin(), failures.end(), [&](const auto& one) { return one.listener == listener; });
}

/// What stands in for a port stays open while it is needed, so that nobody who uses it is cut off.
IngressController::Opened IngressController::open(const std::vector<net::HttpListener>& wanted,
                                                  const std::shared_ptr<const net::HttpRoutes>& routes) {
  auto set = [&] {
    std::vector<net::HttpListener> all = wanted;
    for (const auto& [original, other] : instead_)
      if (std::find(wanted.begin(), wanted.end(), original) != wanted.end()) all.push_back(other);
    return parts_.front.set(kPart, std::move(all), routes);
  };
  std::vector<net::HttpListenerFailure> failures = set();
  std::erase_if(instead_, [&](const auto& one) { return !failed(failures, one.first) || failed(failures, one.second); });
  std::vector<net::HttpListenerFailure> originals;
  for (const net::HttpListenerFailure& failure : failures) {
    if (std::find(wanted.begin(), wanted.end(), failure.listener) == wanted.end()) continue;
    originals.push_back(failure);
    bool taken = failure.listener.network == spec_.host && failure.error.sys_errno() == EADDRINUSE;
    if (!taken || instead_.contains(failure.listener)) continue;
    net::HttpListener other = failure.listener;
    other.listen.port = other.tls ? kFirstSecure : kFirstPlain;
    for (std::uint16_t tried = 0; tried < kFreePorts; ++tried, ++other.listen.port) {
      instead_.insert_or_assign(failure.listener, other);
      if (!failed(set(), other)) break;
      instead_.erase(failure.listener);
    }
  }
  static_cast<void>(set());  // closes what is needed no more
  return {std::move(originals), instead_};
}

IngressView IngressController::view(const Ingresses& ingresses) {
  if (!own_ && !ingresses.empty()) {
    auto made = net::TlsCertificate::self_signed("skiff ingress: no certificate for this host");
    if (made.ok())
      own_ = std::move(made).value();
    else
      log::error("ingress", "{}", made.error().message());
  }
  return {.ingresses = ingresses,
          .lookup = {[this](const ObjectKey& key) { return services_.get(key); },
                     [this](const ObjectKey& key) { return slices_.by_index("ingress-service", key.str()); },
                     external_names()},
          .certificate = [this](const ObjectKey& key) { return certificate(key); },
          .own = own_,
          .https_port = https_port_};
}

std::function<std::vector<net::Address>(const std::string&)> IngressController::external_names() {
  if (!parts_.resolve) return nullptr;
  return [this](const std::string& name) {
    external_used_.insert(name);
    return external_.addresses(name);
  };
}

/// Parsed once a version of the Secret.
Result<CertificateTable::Certificate> IngressController::certificate(const ObjectKey& key) {
  Ref<api::Secret> secret = find_certificate(secrets_, parts_.client, key);
  if (!secret) {
    certificates_.erase(key);
    return error(Code::NotFound, "Secret {} does not exist", key.str());
  }
  auto known = certificates_.find(key);
  if (known != certificates_.end() && known->second.version == secret->metadata.resourceVersion)
    return known->second.certificate;
  const std::string *chain = entry(*secret, "tls.crt"), *private_key = entry(*secret, "tls.key");
  Result<CertificateTable::Certificate> parsed =
      chain == nullptr || private_key == nullptr
          ? Result<CertificateTable::Certificate>(
                error(Code::Invalid, "Secret {} has no tls.crt and tls.key", key.str()))
          : net::TlsCertificate::parse(*chain, *private_key);
  if (!parsed.ok() && chain != nullptr && private_key != nullptr)
    parsed = Error(std::move(parsed).error()).in("Secret " + key.str());
  certificates_.insert_or_assign(key, Parsed{secret->metadata.resourceVersion, parsed});
  return parsed;
}

std::vector<net::HttpListener> IngressController::listeners() {
  std::vector<net::HttpListener> wanted;
  auto add = [&](const std::string& network, net::Address address) {
    wanted.push_back({network, {address, spec_.http_port}, false, kPart});
    wanted.push_back({network, {address, spec_.https_port}, true, kPart});
  };
  for (net::Address address : spec_.listen) add(spec_.host, address);
  for (const std::string& node : nodes_.names())
    for (net::Address address : spec_.addresses) add(node, address);
  return wanted;
}

bool IngressController::settle_statuses(const Ingresses& served) {
  std::set<std::string> ours;
  bool settled = true;
  auto settle_one = [&](const api::Ingress& ingress, bool is_served) {
    Status written = write_status(ingress, is_served);
    if (!written.ok())
      log::warning("ingress", "{}: {}", client::key_of(ingress).str(), written.error().message());
    settled = settled && written.ok();
  };
  for (const Ref<api::Ingress>& ingress : served) {
    ours.insert(ingress->metadata.uid);
    settle_one(*ingress, true);
  }
  for (const Ref<api::Ingress>& ingress : ingresses_.list())
    if (!ours.contains(ingress->metadata.uid) && !ingress->metadata.deletionTimestamp)
      settle_one(*ingress, false);
  return settled;
}

/// Our address stands in the status of what we serve, and of nothing else.
Status IngressController::write_status(const api::Ingress& ingress, bool served) {
  auto says_it = [&](const api::Ingress& one) {
    return std::equal(one.status.loadBalancer.ingress.begin(), one.status.loadBalancer.ingress.end(),
                      spec_.addresses.begin(), spec_.addresses.end(),
                      [](const auto& point, const auto& address) { return point.ip == address.str(); });
  };
  if (says_it(ingress) == served) return ok();
  auto change = [&](api::Ingress& now) {
    if (now.metadata.uid != ingress.metadata.uid || says_it(now) == served) return false;
    now.status.loadBalancer.ingress.clear();
    for (size_t i = 0; served && i < spec_.addresses.size(); ++i)
      now.status.loadBalancer.ingress.emplace_back().ip = spec_.addresses[i].str();
    return true;
  };
  auto written = parts_.client.update_with_retry<api::Ingress>(client::key_of(ingress), change, true);
  if (written.ok() || written.error().code() == Code::NotFound) return ok();
  return written.error();
}

std::string IngressController::failure_text(const net::HttpListenerFailure& failure, const Opened& opened) const {
  bool taken = failure.error.sys_errno() == EADDRINUSE;
  std::string text = fmt::format("The ingress does not answer on {} of {}: {}; it answers on ",
                                 failure.listener.listen.str(), failure.listener.network,
                                 taken ? "another program has the port" : failure.error.message());
  if (auto other = opened.instead.find(failure.listener); other != opened.instead.end())
    text += other->second.listen.str() + " instead, and on ";
  return text + spec_.addresses.front().str();
}

void IngressController::report(const Ingresses& served, const std::vector<IngressProblem>& problems,
                               const Opened& opened) {
  std::map<ObjectKey, Ref<api::Ingress>> by_key;
  std::map<std::string, std::int64_t> synced;
  std::set<IngressProblem> all(problems.begin(), problems.end());
  for (const Ref<api::Ingress>& ingress : served) {
    by_key[client::key_of(*ingress)] = ingress;
    std::int64_t generation = synced[ingress->metadata.uid] = ingress->metadata.generation;
    auto told = synced_.find(ingress->metadata.uid);
    if (told == synced_.end() || told->second != generation)
      parts_.events.normal(client::reference_to(ingress), "Sync", "Scheduled for sync");
    for (const net::HttpListenerFailure& failure : opened.failures)
      all.insert({client::key_of(*ingress), "PortUnavailable", failure_text(failure, opened)});
  }
  for (const IngressProblem& problem : all)
    if (!reported_.contains(problem) && by_key.contains(problem.ingress))
      parts_.events.warning(client::reference_to(by_key.at(problem.ingress)), problem.reason,
                            problem.message);
  reported_ = std::move(all);
  synced_ = std::move(synced);
}

}  // namespace skiff::proxy
