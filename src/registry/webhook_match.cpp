#include "registry/webhook_match.hpp"

#include <algorithm>

#include "api/gen/core.hpp"
#include "api/selector.hpp"

namespace skiff::registry {
namespace {

bool lists(const std::vector<std::string>& list, std::string_view wanted) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& one) { return one == "*" || one == wanted; });
}

bool names_resource(const std::string& rule, const Attributes& attributes) {
  size_t slash = rule.find('/');
  std::string resource = rule.substr(0, slash);
  std::string subresource = slash == std::string::npos ? "" : rule.substr(slash + 1);
  return (resource == "*" || resource == attributes.resource.kind->plural) &&
         (subresource == "*" || subresource == attributes.subresource);
}

bool is_namespace(const Attributes& attributes) {
  return attributes.resource.kind == &api::kind_of<api::Namespace>();
}

bool in_scope(const api::RuleWithOperations& rule, const Attributes& attributes) {
  if (rule.scope.empty() || rule.scope == "*") return true;
  return (rule.scope == "Namespaced") == attributes.resource.kind->namespaced;
}

bool applies(const api::RuleWithOperations& rule, const Attributes& attributes, const WebhookView& view) {
  return lists(rule.operations, to_string(attributes.operation)) && lists(rule.apiGroups, view.group) &&
         lists(rule.apiVersions, view.version) && in_scope(rule, attributes) &&
         std::any_of(rule.resources.begin(), rule.resources.end(),
                     [&](const std::string& one) { return names_resource(one, attributes); });
}

bool any_applies(const Webhook& webhook, const Attributes& attributes, const WebhookView& view) {
  return std::any_of(webhook.rules->begin(), webhook.rules->end(),
                     [&](const api::RuleWithOperations& rule) { return applies(rule, attributes, view); });
}

bool is_empty(const api::LabelSelector* selector) {
  return selector == nullptr || (selector->matchLabels.empty() && selector->matchExpressions.empty());
}

Result<bool> selects_namespace(const Registry& registry, const Webhook& webhook, const Attributes& attributes) {
  if (is_empty(webhook.namespaces)) return true;
  if (!attributes.resource.kind->namespaced && !is_namespace(attributes)) return true;
  TRY_ASSIGN(api::Selector selector, api::Selector::from(*webhook.namespaces));
  if (is_namespace(attributes) && attributes.object) return selector.matches(attributes.object->metadata().labels);
  if (is_namespace(attributes)) return attributes.old && selector.matches(attributes.old.metadata().labels);
  const Resource& namespaces = registry.of(api::kind_of<api::Namespace>());
  TRY_ASSIGN(Object found, registry.get(namespaces, {"", attributes.key.namespace_}));
  return selector.matches(found.metadata()->labels);
}

Result<bool> selects_object(const Webhook& webhook, const Attributes& attributes) {
  if (is_empty(webhook.objects)) return true;
  TRY_ASSIGN(api::Selector selector, api::Selector::from(*webhook.objects));
  bool now = attributes.object && selector.matches(attributes.object->metadata().labels);
  return now || (attributes.old && selector.matches(attributes.old.metadata().labels));
}

WebhookView view_of(const ServedKind& served) { return {served.kind->group, served.kind->version, &served}; }

}  // namespace

WebhookView requested_view(const Registry& registry, const Attributes& attributes) {
  const api::KindInfo& kind = *attributes.resource.kind;
  WebhookView view{kind.group, kind.version, nullptr};
  const std::string& spoken = attributes.context.request.api_version;
  if (spoken.empty() || spoken == kind.api_version()) return view;
  size_t slash = spoken.find('/');
  view.group = slash == std::string::npos ? "" : spoken.substr(0, slash);
  view.version = slash == std::string::npos ? spoken : spoken.substr(slash + 1);
  const ServedKind* served = registry.find(view.group, view.version, kind.plural);
  if (served && served->resource == &attributes.resource) view.served = served;
  else view = {kind.group, kind.version, nullptr};
  return view;
}

Result<std::optional<WebhookView>> match(const Registry& registry, const Webhook& webhook, const Attributes& attributes) {
  std::optional<WebhookView> view = requested_view(registry, attributes);
  if (!any_applies(webhook, attributes, *view)) {
    view.reset();
    if (!webhook.exact)
      for (const ServedKind* served : registry.catalogue()->served())
        if (!view && served->resource == &attributes.resource && any_applies(webhook, attributes, view_of(*served)))
          view = view_of(*served);
    if (!view) return view;
  }
  TRY_ASSIGN(bool wanted_namespace, selects_namespace(registry, webhook, attributes));
  TRY_ASSIGN(bool wanted_object, selects_object(webhook, attributes));
  if (!wanted_namespace || !wanted_object) view.reset();
  return view;
}

}  // namespace skiff::registry
