#include "apiserver/aggregator.hpp"

#include "apiserver/api_service_registration.hpp"
#include "apiserver/backend_proxy.hpp"

namespace skiff::apiserver {

using api::APIService;
using client::ObjectKey;
using client::Ref;
using client::Requeue;

namespace {

constexpr int kWorkers = 2;
constexpr Duration kRecheck = 30s;      // of what can be reached
constexpr Duration kRecheckFailed = 5s;  // of what could not

Backend backend_of(const APIService& service) {
  Backend backend;
  backend.group = service.spec.group;
  backend.version = service.spec.version;
  backend.service = {service.spec.service->namespace_, service.spec.service->name};
  backend.port = service.spec.service->port.value_or(443);
  backend.authorities = service.spec.caBundle.data;
  backend.verify = !service.spec.insecureSkipTLSVerify;
  backend.group_priority = service.spec.groupPriorityMinimum;
  backend.version_priority = service.spec.versionPriority;
  backend.available = is_available(service);
  return backend;
}

bool is_remote(const Ref<APIService>& service) { return service && service->spec.service; }

}  // namespace

Aggregator::Aggregator(client::Client& client, Clock& clock, client::NodeAccessByName nodes, CertificatePair identity)
    : client_(client),
      clock_(clock),
      informers_(client, clock),
      api_services_(informers_.of<APIService>()),
      services_(informers_.of<api::Service>()),
      endpoints_(informers_.of<api::Endpoints>()),
      definitions_(informers_.of<Definition>()),
      caller_(std::make_shared<BackendCaller>(ServiceDialer(client, std::move(nodes)), std::move(identity))),
      backends_(std::make_shared<const Backends>()),
      runner_(clock, *this) {
  follow();
}

Aggregator::~Aggregator() { stop(); }

void Aggregator::follow() {
  api_services_.on_change([this](const Ref<APIService>& before, const Ref<APIService>& now) {
    if (is_remote(before) || is_remote(now)) rebuild();
    runner_.queue().add(client::key_of(now ? *now : *before));
  });
  services_.on_change([this](const Ref<api::Service>& before, const Ref<api::Service>& now) {
    wake_dependents(client::key_of(now ? *now : *before));
  });
  endpoints_.on_change([this](const Ref<api::Endpoints>& before, const Ref<api::Endpoints>& now) {
    wake_dependents(client::key_of(now ? *now : *before));
  });
  definitions_.on_change([this](const Ref<Definition>& before, const Ref<Definition>& now) {
    for (const Ref<Definition>& one : {before, now})
      if (one)
        for (const std::string& name : api_service_names(*one)) runner_.queue().add({"", name});
  });
}

Status Aggregator::start(const registry::Catalogue& catalogue) {
  TRY(register_built_in(client_, catalogue));
  informers_.start();
  informers_.wait_synced({});
  runner_.start(kWorkers);
  return ok();
}

void Aggregator::stop() {
  runner_.stop();
  informers_.stop();
}

void Aggregator::wake_dependents(const ObjectKey& service) {
  std::shared_ptr<const Backends> all = backends();
  for (const auto& [version, backend] : all->by_version)
    if (backend->service == service) runner_.queue().add({"", backend->version + "." + backend->group});
}

void Aggregator::rebuild() {
  MutexLock lock(mutex_);
  auto next = std::make_shared<Backends>();
  next->generation = backends()->generation + 1;
  for (const Ref<APIService>& service : api_services_.list()) {
    if (!is_remote(service)) continue;
    auto backend = std::make_shared<Backend>(backend_of(*service));
    if (auto known = documents_.find(service->metadata.name); known != documents_.end())
      backend->documents = known->second;
    next->by_version[{backend->group, backend->version}] = std::move(backend);
  }
  any_ = !next->by_version.empty();
  backends_ = std::move(next);
}

std::shared_ptr<const Backend> Aggregator::find(std::string_view path) const {
  if (!any_) return nullptr;
  constexpr std::string_view kDocuments = "/openapi/v3", kApis = "/apis/";
  if (path.starts_with(kDocuments)) path.remove_prefix(kDocuments.size());
  if (!path.starts_with(kApis)) return nullptr;
  path.remove_prefix(kApis.size());
  size_t slash = path.find('/');
  if (slash == path.npos) return nullptr;
  std::string_view version = path.substr(slash + 1);
  version = version.substr(0, version.find('/'));
  std::shared_ptr<const Backends> all = backends();
  auto found = all->by_version.find(std::pair(std::string(path.substr(0, slash)), std::string(version)));
  return found == all->by_version.end() ? nullptr : found->second;
}

Response Aggregator::pass_on(const Request& request, const registry::User& user,
                             std::shared_ptr<const Backend> backend) const {
  return pass_to_backend(request, user, std::move(backend), caller_);
}

Result<Requeue> Aggregator::reconcile(const ObjectKey& key) {
  TRY(keep_registered(client_, key.name, custom_api_service(key.name, definitions_.list())));
  Result<Ref<APIService>> service = client_.get<APIService>(key);
  if (!service.ok()) {
    if (service.error().code() != Code::NotFound) return std::move(service).error();
    remember(key.name, nullptr);
    return Requeue::never();
  }
  if (!is_remote(service.value())) {
    TRY(settle(service.value(), locally_available()));
    return Requeue::never();
  }
  api::APIServiceCondition available = check(*service.value());
  TRY(settle(service.value(), available));
  return Requeue::in(available.status == "True" ? kRecheck : kRecheckFailed);
}

api::APIServiceCondition Aggregator::check(const APIService& service) {
  Backend backend = backend_of(service);
  Ref<api::Service> target = services_.get(backend.service);
  Ref<api::Endpoints> endpoints = endpoints_.get(backend.service);
  if (auto problem = service_problem(backend, target.get(), endpoints.get())) return *problem;
  BackendState state = ask_backend(*caller_, backend);
  if (state.documents) remember(service.metadata.name, std::move(state.documents));
  return state.available;
}

// What was known of one that cannot be reached stays, as stale.
void Aggregator::remember(const std::string& name, std::shared_ptr<const RemoteDocuments> documents) {
  {
    MutexLock lock(mutex_);
    auto known = documents_.find(name);
    if (!documents) {
      if (known == documents_.end()) return;
      documents_.erase(known);
    } else {
      if (known != documents_.end() && *known->second == *documents) return;
      documents_[name] = std::move(documents);
    }
  }
  rebuild();
}

Status Aggregator::settle(const Ref<APIService>& service, const api::APIServiceCondition& available) {
  APIService next = *service;
  set_condition(next, available, api::Time::from(clock_.wall_now()));
  if (next.status == service->status) return ok();
  Result<Ref<APIService>> written = client_.update_status(std::move(next));
  if (!written.ok() && written.error().code() != Code::NotFound && written.error().code() != Code::Conflict)
    return std::move(written).error();
  return ok();  // after a conflict the other writer's event brings the key back
}

}  // namespace skiff::apiserver
