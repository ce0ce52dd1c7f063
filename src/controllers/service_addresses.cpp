// IPAddress objects for the addresses of Services, as kube-apiserver's allocator keeps them
// (pkg/registry/core/service/ipallocator, and its repair loop for those whose Service is gone).

#include <algorithm>
#include <map>

#include "api/gen/networking.hpp"
#include "api/gen/service.hpp"
#include "base/mutex.hpp"
#include "controllers/kinds.hpp"

namespace skiff::controllers {
namespace {

constexpr char kManagedBy[] = "ipaddress.kubernetes.io/managed-by";
constexpr char kFamily[] = "ipaddress.kubernetes.io/ip-family";
constexpr char kAllocator[] = "ipallocator";

bool has_addresses(const Ref<api::Service>& service) {
  return service && service->spec.type != "ExternalName" && service->spec.clusterIP != "None";
}

bool is_ours(const api::IPAddress& address) {
  auto label = address.metadata.labels.find(kManagedBy);
  return label != address.metadata.labels.end() && label->second == kAllocator;
}

api::IPAddress address_of(const std::string& ip, const ObjectKey& service) {
  api::IPAddress address;
  address.metadata.name = ip;
  address.metadata.labels = {{kFamily, ip.find(':') == ip.npos ? "IPv4" : "IPv6"}, {kManagedBy, kAllocator}};
  address.spec.parentRef.resource = "services";
  address.spec.parentRef.namespace_ = service.namespace_;
  address.spec.parentRef.name = service.name;
  return address;
}

class ServiceAddresses final : public Controller {
 public:
  explicit ServiceAddresses(const Context& context)
      : Controller(context, "service-ip-address-controller"), addresses_(context.informers.of<api::IPAddress>()) {
    context.informers.of<api::Service>().on_change(
        [this](const Ref<api::Service>& before, const Ref<api::Service>& now) { note(before, now); });
    addresses_.on_change([this](const Ref<api::IPAddress>& before, const Ref<api::IPAddress>& now) {
      queue().add(key_of(now ? *now : *before));
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    std::optional<ObjectKey> owner = owner_of(key.name);
    Ref<api::IPAddress> present = addresses_.get(key);
    if (present && !is_ours(*present)) return Requeue::never();
    std::optional<api::IPAddress> wanted = owner ? std::optional(address_of(key.name, *owner)) : std::nullopt;
    // What it refers to cannot be changed: one for another Service is made anew, when its deletion brings the key back.
    if (present && (!wanted || !(wanted->spec == present->spec)))
      return settled(client_.remove<api::IPAddress>(key, {.uid = present->metadata.uid}));
    if (!present && wanted) return settled(client_.create(std::move(*wanted)));
    return Requeue::never();
  }

 private:
  template <class Written>
  static Result<Requeue> settled(const Written& written) {
    if (written.ok() || written.error().code() == Code::NotFound || written.error().code() == Code::AlreadyExists)
      return Requeue::never();
    return written.error();
  }

  void note(const Ref<api::Service>& before, const Ref<api::Service>& now) {
    MutexLock lock(mutex_);
    if (has_addresses(before))
      for (const std::string& ip : before->spec.clusterIPs) {
        auto known = owners_.find(ip);
        if (known != owners_.end() && known->second == key_of(*before)) owners_.erase(known);
        queue().add({"", ip});
      }
    if (has_addresses(now))
      for (const std::string& ip : now->spec.clusterIPs) {
        owners_[ip] = key_of(*now);
        queue().add({"", ip});
      }
  }

  std::optional<ObjectKey> owner_of(const std::string& ip) {
    MutexLock lock(mutex_);
    auto found = owners_.find(ip);
    return found == owners_.end() ? std::nullopt : std::optional(found->second);
  }

  client::Informer<api::IPAddress> addresses_;
  Mutex mutex_;
  std::map<std::string, ObjectKey> owners_ GUARDED_BY(mutex_);  // Services by their addresses
};

}  // namespace

std::unique_ptr<Controller> service_addresses(const Context& context) {
  return std::make_unique<ServiceAddresses>(context);
}

}  // namespace skiff::controllers
