#include "proxy/ingress_controller.hpp"

#include <errno.h>
#include <pthread.h>

#include <algorithm>

#include "base/log.hpp"

namespace skiff::proxy {
namespace {

using client::ObjectKey;
using client::Ref;

constexpr Duration kRetry = 10s;
constexpr char kPart[] = "ingress";

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
      changes_(parts.clock) {
  ingresses_.add_index("services", [](const api::Ingress& ingress) { return services_of(ingress); });
  ingresses_.add_index("secrets", [](const api::Ingress& ingress) { return secrets_of(ingress); });
  slices_.add_index("ingress-service", [](const api::EndpointSlice& slice) {
    return std::vector<std::string>{service_of(slice).str()};
  });
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

void IngressController::add_node(const std::string& network) {
  {
    MutexLock lock(mutex_);
    nodes_.insert(network);
  }
  changes_.changed();
}

void IngressController::remove_node(const std::string& network) {
  {
    MutexLock lock(mutex_);
    nodes_.erase(network);
  }
  changes_.changed();
}

void IngressController::start() {
  if (thread_.joinable()) return;
  thread_ = std::jthread([this](std::stop_token stop) {
    ::pthread_setname_np(::pthread_self(), "ingress");
    run(std::move(stop));
  });
}

void IngressController::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
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
  std::vector<net::HttpListenerFailure> failures =
      parts_.front.set(kPart, std::move(wanted), std::move(compiled.routes));
  report(served, compiled.problems, failures);
  return settle_statuses(served) && failures.empty();
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
                     [this](const ObjectKey& key) { return slices_.by_index("ingress-service", key.str()); }},
          .certificate = [this](const ObjectKey& key) { return certificate(key); },
          .own = own_,
          .https_port = spec_.https_port};
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
  auto add = [&](const std::string& network, net::Ipv4 address) {
    wanted.push_back({network, {address, spec_.http_port}, false, kPart});
    wanted.push_back({network, {address, spec_.https_port}, true, kPart});
  };
  for (net::Ipv4 address : spec_.listen) add(spec_.host, address);
  MutexLock lock(mutex_);
  for (const std::string& node : nodes_) add(node, spec_.address);
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
  std::string address = spec_.address.str();
  auto says_it = [&](const api::Ingress& one) {
    const auto& points = one.status.loadBalancer.ingress;
    return points.size() == 1 && points[0].ip == address;
  };
  if (says_it(ingress) == served) return ok();
  auto change = [&](api::Ingress& now) {
    if (now.metadata.uid != ingress.metadata.uid || says_it(now) == served) return false;
    now.status.loadBalancer.ingress.clear();
    if (served) now.status.loadBalancer.ingress.emplace_back().ip = address;
    return true;
  };
  auto written = parts_.client.update_with_retry<api::Ingress>(client::key_of(ingress), change, true);
  if (written.ok() || written.error().code() == Code::NotFound) return ok();
  return written.error();
}

void IngressController::report(const Ingresses& served, const std::vector<IngressProblem>& problems,
                               const std::vector<net::HttpListenerFailure>& failures) {
  std::map<ObjectKey, Ref<api::Ingress>> by_key;
  std::map<std::string, std::int64_t> synced;
  std::set<IngressProblem> all(problems.begin(), problems.end());
  for (const Ref<api::Ingress>& ingress : served) {
    by_key[client::key_of(*ingress)] = ingress;
    std::int64_t generation = synced[ingress->metadata.uid] = ingress->metadata.generation;
    auto told = synced_.find(ingress->metadata.uid);
    if (told == synced_.end() || told->second != generation)
      parts_.events.normal(client::reference_to(ingress), "Sync", "Scheduled for sync");
    for (const net::HttpListenerFailure& failure : failures) {
      bool taken = failure.error.sys_errno() == EADDRINUSE;
      all.insert({client::key_of(*ingress), "PortUnavailable",
                  fmt::format("The ingress does not answer on {} of {}: {}; it answers on {}",
                              failure.listener.listen.str(), failure.listener.network,
                              taken ? "another program has the port" : failure.error.message(),
                              spec_.address.str())});
    }
  }
  for (const IngressProblem& problem : all)
    if (!reported_.contains(problem) && by_key.contains(problem.ingress))
      parts_.events.warning(client::reference_to(by_key.at(problem.ingress)), problem.reason,
                            problem.message);
  reported_ = std::move(all);
  synced_ = std::move(synced);
}

}  // namespace skiff::proxy
