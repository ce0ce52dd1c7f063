#pragma once
// Admission: what may change or refuse a request between authorisation and the store. One order for every verb and for
// in-process writers alike: mutating plugins, mutating webhooks, (strategy and validation), validating plugins,
// validating webhooks, quota.

#include <memory>
#include <string>

#include "registry/quota_ledger.hpp"
#include "registry/registry.hpp"

namespace skiff::registry {

class WebhookCaller;
class Webhooks;

enum class Operation { Create, Update, Delete, Connect };
const char* to_string(Operation operation);  // CREATE, UPDATE, ...

/// admission.Attributes: one request as plugins and webhooks see it.
struct Attributes {
  Operation operation;
  const Resource& resource;   // of the URL
  std::string subresource;
  ObjectKey key;              // no name: it is yet to be generated
  Draft* object = nullptr;    // to be written, of the subresource's kind; null for Delete and Connect
  AnyRef old;                 // what is there; null for Create and Connect
  StrategyContext& context;
  std::string connect_kind;     // of Connect: PodExecOptions, ...
  std::string connect_options;  // and its JSON
  const client::DeleteOptions* deletion = nullptr;

  bool dry_run() const { return context.request.dry_run; }
  /// For messages: the name, or what it will begin with.
  std::string name() const;

  /// The object, when it is a whole T rather than the object of a subresource.
  template <class T>
  T* object_as() const {
    bool fits = object != nullptr && subresource.empty() && object->kind == &api::kind_of<T>();
    return fits ? static_cast<T*>(object->value.get()) : nullptr;
  }
  template <class T>
  const T* old_as() const {
    bool fits = old && &old.kind() == &api::kind_of<T>();
    return fits ? static_cast<const T*>(old.get()) : nullptr;
  }
};

/// `pods "x" is forbidden: why`, with the name that is to be generated when there is none yet.
Error forbidden(const Attributes& attributes, std::string_view why);

/// One per registry. Any thread.
class Admission {
 public:
  explicit Admission(Registry& registry);
  ~Admission();

  /// Changes attributes.object, or refuses.
  Status mutate(Attributes& attributes);
  /// Refuses, or charges the quotas. The charge is given back unless it is kept once the object is written.
  Result<QuotaCharge> validate(Attributes& attributes);
  /// Both, for what is not written: deletions and connections.
  Status admit(Attributes& attributes);

  /// Connected by `cluster` before the first request; until then webhooks cannot be called.
  void set_webhook_caller(WebhookCaller& caller);
  /// kube-apiserver's --default-not-ready-toleration-seconds and its twin; before the first request.
  void set_default_toleration(std::int64_t seconds) { toleration_seconds_ = seconds; }
  QuotaLedger& quota() { return quota_; }

 private:
  Registry& registry_;
  QuotaLedger quota_;
  std::int64_t toleration_seconds_ = 300;
  std::unique_ptr<Webhooks> webhooks_;
};

}  // namespace skiff::registry
