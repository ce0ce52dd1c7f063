#include "registry/admission.hpp"

#include "registry/admission_plugins.hpp"
#include "registry/node_restriction.hpp"
#include "registry/webhooks.hpp"

namespace skiff::registry {
namespace {

using MutatingPlugin = Status (*)(const PluginContext&, Attributes&);
using ValidatingPlugin = Status (*)(const PluginContext&, const Attributes&);

// In kube-apiserver's order.
constexpr MutatingPlugin kMutating[] = {
    admit_limit_ranges,        admit_service_account, admit_node_taint,         admit_priority,
    admit_default_tolerations, admit_storage_class,   admit_storage_finalizers, admit_runtime_class,
    admit_ingress_class,
};
constexpr ValidatingPlugin kValidating[] = {check_limit_ranges, check_pod_security, check_claim_resize,
                                            check_runtime_class};

Status run_mutating(const PluginContext& context, Attributes& attributes) {
  if (attributes.operation != Operation::Create && attributes.operation != Operation::Update) return ok();
  for (MutatingPlugin plugin : kMutating) TRY(plugin(context, attributes));
  return ok();
}

}  // namespace

const char* to_string(Operation operation) {
  switch (operation) {
    case Operation::Create: return "CREATE";
    case Operation::Update: return "UPDATE";
    case Operation::Delete: return "DELETE";
    case Operation::Connect: return "CONNECT";
  }
  return "";
}

std::string Attributes::name() const {
  if (!key.name.empty() || object == nullptr) return key.name;
  const api::ObjectMeta& metadata = object->metadata();
  return metadata.name.empty() ? metadata.generateName : metadata.name;
}

Error forbidden(const Attributes& attributes, std::string_view why) {
  return api::forbidden(*attributes.resource.kind, attributes.name(), why);
}

Admission::Admission(Registry& registry)
    : registry_(registry), quota_(registry), webhooks_(std::make_unique<Webhooks>(registry)) {}

Admission::~Admission() = default;

void Admission::set_webhook_caller(WebhookCaller& caller) { webhooks_->connect(caller); }

Status Admission::mutate(Attributes& attributes) {
  const PluginContext context{registry_, toleration_seconds_};
  TRY(check_namespace(context, attributes));
  TRY(check_node_restriction(attributes));
  TRY(run_mutating(context, attributes));
  return webhooks_->mutate(attributes, [&] { return run_mutating(context, attributes); });
}

Result<QuotaCharge> Admission::validate(Attributes& attributes) {
  const PluginContext context{registry_, toleration_seconds_};
  if (attributes.operation != Operation::Delete)
    for (ValidatingPlugin plugin : kValidating) TRY(plugin(context, attributes));
  TRY(webhooks_->validate(attributes));
  return quota_.charge(attributes);
}

Status Admission::admit(Attributes& attributes) {
  TRY(mutate(attributes));
  TRY_ASSIGN(QuotaCharge charge, validate(attributes));
  charge.keep();
  return ok();
}

}  // namespace skiff::registry
