// What every namespace is given: the ServiceAccount "default" and the ConfigMap with the cluster's
// certificate authority (pkg/controller/serviceaccount, pkg/controller/certificates/rootcacertpublisher).

#include "controllers/kinds.hpp"

#include "api/gen/core.hpp"

namespace skiff::controllers {
namespace {

constexpr char kAccount[] = "default";
constexpr char kCaMap[] = "kube-root-ca.crt";
constexpr char kCaKey[] = "ca.crt";
constexpr char kDescription[] = "kubernetes.io/description";
constexpr char kCaDescription[] =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such "
    "as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
    "Kubernetes "
    "clusters.";

// A controller keyed by namespace that keeps one object of kind T in each.
template <class T>
class InEveryNamespace : public Controller {
 public:
  InEveryNamespace(const Context& context, std::string name, std::string object_name)
      : Controller(context, std::move(name)),
        object_name_(std::move(object_name)),
        namespaces_(context.informers.of<api::Namespace>()),
        objects_(context.informers.of<T>("metadata.name=" + object_name_)) {
    namespaces_.on_change([this](const Ref<api::Namespace>&, const Ref<api::Namespace>& now) {
      if (now) queue().add(key_of(*now));
    });
    objects_.on_change([this](const Ref<T>& before, const Ref<T>& now) {
      const api::ObjectMeta& metadata = now ? now->metadata : before->metadata;
      if (metadata.name == object_name_) queue().add({"", metadata.namespace_});
    });
  }

  Result<Requeue> reconcile(const ObjectKey& key) override {
    Ref<api::Namespace> ns = namespaces_.get(key);
    if (!ns || ns->status.phase == "Terminating" || ns->metadata.deletionTimestamp) return Requeue::never();
    Ref<T> current = objects_.get({key.name, object_name_});
    T wanted = current ? *current : T();
    wanted.metadata.namespace_ = key.name;
    wanted.metadata.name = object_name_;
    fill(wanted);
    if (current && wanted == *current) return Requeue::never();
    Result<Ref<T>> written = current ? client_.update(std::move(wanted)) : client_.create(std::move(wanted));
    if (written.ok() || written.error().code() == Code::AlreadyExists) return Requeue::never();
    // The namespace went meanwhile.
    if (written.error().code() == Code::NotFound || written.error().code() == Code::Forbidden)
      return Requeue::never();
    return std::move(written).error();
  }

 private:
  virtual void fill(T& object) const = 0;

  const std::string object_name_;
  client::Informer<api::Namespace> namespaces_;
  client::Informer<T> objects_;
};

class ServiceAccounts final : public InEveryNamespace<api::ServiceAccount> {
 public:
  explicit ServiceAccounts(const Context& context)
      : InEveryNamespace(context, "serviceaccount-controller", kAccount) {}

 private:
  void fill(api::ServiceAccount&) const override {}  // that it exists is all
};

class RootCa final : public InEveryNamespace<api::ConfigMap> {
 public:
  RootCa(const Context& context, std::string certificate)
      : InEveryNamespace(context, "root-ca-certificate-publisher-controller", kCaMap),
        certificate_(std::move(certificate)) {}

 private:
  void fill(api::ConfigMap& map) const override {
    map.data = {{kCaKey, certificate_}};
    map.metadata.annotations[kDescription] = kCaDescription;
  }
  const std::string certificate_;
};

}  // namespace

std::unique_ptr<Controller> service_accounts(const Context& context) {
  return std::make_unique<ServiceAccounts>(context);
}

std::unique_ptr<Controller> root_ca(const Context& context, std::string root_ca) {
  return std::make_unique<RootCa>(context, std::move(root_ca));
}

}  // namespace skiff::controllers
