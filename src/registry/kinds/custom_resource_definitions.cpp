// CustomResourceDefinitions (apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go and
// pkg/registry/customresourcedefinition). The schemas have rules of their own: registry/crd_schema_rules.cpp.

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "api/gen/apiextensions.hpp"
#include "api/json.hpp"
#include "api/names.hpp"
#include "base/encoding.hpp"
#include "registry/crd_conditions.hpp"
#include "registry/crd_schema_rules.hpp"
#include "registry/kinds/client_config.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"
#include "registry/structural_schema.hpp"

namespace skiff::registry {
namespace {

using api::FieldErrors;
using api::quote;
using Crd = api::CustomResourceDefinition;
using Version = api::CustomResourceDefinitionVersion;

constexpr size_t kMaxSelectableFields = 8;

std::string comma_joined(const std::vector<std::string>& problems) { return join(problems, ","); }

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

const Version* storage_version(const Crd& crd) {
  auto found = std::ranges::find_if(crd.spec.versions, [](const Version& one) { return one.storage; });
  return found == crd.spec.versions.end() ? nullptr : &*found;
}

void note_storage_version(Crd& crd) {
  const Version* version = storage_version(crd);
  if (!version) return;
  std::vector<std::string>& stored = crd.status.storedVersions;
  if (std::ranges::find(stored, version->name) == stored.end()) stored.push_back(version->name);
}

nlohmann::json schema_of(const Version& version) {
  Result<nlohmann::json> document = api::parse_json(api::to_json(*version.schema->openAPIV3Schema));
  return document.ok() ? std::move(document).value() : nlohmann::json();
}

bool has_schema(const Version& version) { return version.schema && version.schema->openAPIV3Schema; }

void warn_about_rules(const Crd& crd, RequestContext& request) {
  for (const Version& version : crd.spec.versions) {
    if (!has_schema(version)) continue;
    Result<SchemaNode> schema = compile_schema(schema_of(version));
    if (schema.ok() && schema.value().has_rules)
      request.warnings.push_back(
          fmt::format("version {}: x-kubernetes-validations rules are kept but not evaluated yet", version.name));
  }
}

// ---- names

void validate_name(const std::string& name, const std::string& path, FieldErrors& errors) {
  std::vector<std::string> problems = api::dns1035_label_problems(name);
  if (!name.empty() && !problems.empty()) errors.invalid(path, quote(name), comma_joined(problems));
}

void validate_kind_name(const std::string& name, const std::string& path, FieldErrors& errors) {
  std::vector<std::string> problems = api::dns1035_label_problems(lower(name));
  if (!name.empty() && !problems.empty())
    errors.invalid(path, quote(name), "may have mixed case, but should otherwise match: " + comma_joined(problems));
}

void validate_names(const api::CustomResourceDefinitionNames& names, const std::string& path, FieldErrors& errors) {
  validate_name(names.plural, path + ".plural", errors);
  validate_name(names.singular, path + ".singular", errors);
  validate_kind_name(names.kind, path + ".kind", errors);
  validate_kind_name(names.listKind, path + ".listKind", errors);
  for (size_t i = 0; i < names.shortNames.size(); ++i)
    validate_name(names.shortNames[i], fmt::format("{}.shortNames[{}]", path, i), errors);
  if (!names.kind.empty() && names.kind == names.listKind)
    errors.invalid(path + ".listKind", quote(names.listKind), "kind and listKind may not be the same");
  for (size_t i = 0; i < names.categories.size(); ++i)
    validate_name(names.categories[i], fmt::format("{}.categories[{}]", path, i), errors);
}

void require_names(const api::CustomResourceDefinitionNames& names, FieldErrors& errors) {
  if (names.plural.empty()) errors.required("spec.names.plural");
  if (names.singular.empty()) errors.required("spec.names.singular");
  if (names.kind.empty()) errors.required("spec.names.kind");
  if (names.listKind.empty()) errors.required("spec.names.listKind");
}

void validate_group(const std::string& group, FieldErrors& errors) {
  std::vector<std::string> problems = api::dns1123_subdomain_problems(group);
  if (group.empty()) errors.required("spec.group");
  else if (!problems.empty()) errors.invalid("spec.group", quote(group), comma_joined(problems));
  else if (group.find('.') == std::string::npos)
    errors.invalid("spec.group", quote(group), "should be a domain with at least one dot");
}

// ---- a version

void validate_simple_path(const std::string& json_path, const std::string& path, FieldErrors& errors) {
  if (json_path.front() != '.')
    errors.invalid(path, quote(json_path), "must be a simple json path starting with .");
}

void validate_scale_path(const std::string& json_path, const std::string& root, const std::string& path,
                         FieldErrors& errors) {
  if (json_path.empty()) return errors.required(path);
  if (json_path.front() != '.') return validate_simple_path(json_path, path, errors);
  if (!json_path.starts_with("." + root + "."))
    errors.invalid(path, quote(json_path), "should be a json path under ." + root);
}

void validate_subresources(const Version& version, const std::string& path, FieldErrors& errors) {
  if (!version.subresources || !version.subresources->scale) return;
  const api::CustomResourceSubresourceScale& scale = *version.subresources->scale;
  std::string at = path + ".subresources.scale";
  validate_scale_path(scale.specReplicasPath, "spec", at + ".specReplicasPath", errors);
  validate_scale_path(scale.statusReplicasPath, "status", at + ".statusReplicasPath", errors);
  const std::string& selector = scale.labelSelectorPath;
  if (selector.empty()) return;
  if (selector.front() != '.') validate_simple_path(selector, at + ".labelSelectorPath", errors);
  else if (!selector.starts_with(".spec.") && !selector.starts_with(".status."))
    errors.invalid(at + ".labelSelectorPath", quote(selector), "should be a json path under either .spec or .status");
}

void validate_column(const api::CustomResourceColumnDefinition& column, const std::string& path, FieldErrors& errors) {
  static const std::set<std::string> kTypes = {"boolean", "date", "integer", "number", "string"};
  static const std::set<std::string> kFormats = {"byte",  "date",  "date-time", "double",
                                                 "float", "int32", "int64",     "password"};
  if (column.name.empty()) errors.required(path + ".name");
  const char* types = "must be one of boolean,date,integer,number,string";
  if (column.type.empty()) errors.required(path + ".type", types);
  else if (!kTypes.contains(column.type)) errors.invalid(path + ".type", quote(column.type), types);
  if (!column.format.empty() && !kFormats.contains(column.format))
    errors.invalid(path + ".format", quote(column.format),
                   "must be one of byte,date,date-time,double,float,int32,int64,password");
  if (column.jsonPath.empty()) errors.required(path + ".JSONPath");
  else validate_simple_path(column.jsonPath, path + ".JSONPath", errors);
}

void validate_selectable(const Version& version, const std::string& path, FieldErrors& errors) {
  if (version.selectableFields.empty()) return;
  if (!has_schema(version))
    return errors.invalid(path, "\"\"",
                          "selectableFields may only be set when version.schema.openAPIV3Schema is not included");
  nlohmann::json schema = schema_of(version);
  std::set<std::string> seen;
  for (size_t i = 0; i < version.selectableFields.size(); ++i) {
    const std::string& field = version.selectableFields[i].jsonPath;
    std::string at = fmt::format("{}[{}].jsonPath", path, i);
    if (field.empty()) {
      errors.required(at);
      continue;
    }
    bool metadata = field == ".metadata" || field.starts_with(".metadata.");
    if (metadata) errors.invalid(at, quote(field), "must not point to fields in metadata");
    const nlohmann::json* of = metadata ? nullptr : schema_at(schema, field);
    std::string type = of ? of->value("type", "") : "";
    if (!metadata && !of)
      errors.invalid(at, quote(field), "is an invalid path: does not refer to a valid field");
    else if (!metadata && type != "string" && type != "boolean" && type != "integer")
      errors.invalid(at, quote(field),
                     "must point to a field of type string, boolean or integer. Enum string fields and strings with "
                     "formats are allowed.");
    if (!seen.insert(field).second) errors.duplicate(at, quote(field));
  }
  if (seen.size() > kMaxSelectableFields) errors.too_many(path, seen.size(), kMaxSelectableFields);
}

void validate_deprecation(const Version& version, const std::string& path, FieldErrors& errors) {
  const std::string& warning = version.deprecationWarning;
  if (warning.empty()) return;
  auto report = [&](const char* why) { errors.invalid(path + ".deprecationWarning", quote(warning), why); };
  if (!version.deprecated) return report("can only be set for deprecated versions");
  if (warning.size() > 256) report("must be <= 256 characters long");
  if (std::ranges::any_of(warning, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    report("must only contain printable UTF-8 characters");
}

void validate_version(const Version& version, const std::string& path, FieldErrors& errors) {
  if (std::vector<std::string> problems = api::dns1035_label_problems(version.name); !problems.empty())
    errors.invalid(path + ".name", quote(version.name), comma_joined(problems));
  validate_deprecation(version, path, errors);
  bool has_status = version.subresources && version.subresources->status;
  if (has_schema(version)) validate_crd_schema(schema_of(version), path + ".schema.openAPIV3Schema", has_status, errors);
  else errors.required(path + ".schema.openAPIV3Schema", "schemas are required");
  validate_subresources(version, path, errors);
  for (size_t i = 0; i < version.additionalPrinterColumns.size(); ++i)
    validate_column(version.additionalPrinterColumns[i], fmt::format("{}.additionalPrinterColumns[{}]", path, i),
                    errors);
  validate_selectable(version, path + ".selectableFields", errors);
}

std::string versions_text(const Crd& crd) {
  std::string text = "[";
  for (const Version& version : crd.spec.versions) {
    if (text.size() > 1) text += ',';
    text += api::to_json(version);
  }
  return text + "]";
}

void validate_versions(const Crd& crd, FieldErrors& errors) {
  std::set<std::string> names;
  size_t stored = 0;
  for (size_t i = 0; i < crd.spec.versions.size(); ++i) {
    const Version& version = crd.spec.versions[i];
    names.insert(version.name);
    stored += version.storage ? 1 : 0;
    validate_version(version, fmt::format("spec.versions[{}]", i), errors);
  }
  if (names.size() != crd.spec.versions.size())
    errors.invalid("spec.versions", versions_text(crd), "must contain unique version names");
  if (stored != 1)
    errors.invalid("spec.versions", versions_text(crd), "must have exactly one version marked as storage version");
}

// ---- conversion

void validate_review_versions(const std::vector<std::string>& versions, FieldErrors& errors) {
  const std::string at = "spec.conversion.conversionReviewVersions";
  if (versions.empty()) return errors.required(at);
  std::set<std::string> seen;
  for (size_t i = 0; i < versions.size(); ++i) {
    std::string where = fmt::format("{}[{}]", at, i);
    if (!seen.insert(versions[i]).second) errors.invalid(where, quote(versions[i]), "duplicate version");
    for (const std::string& problem : api::dns1035_label_problems(versions[i]))
      errors.invalid(where, quote(versions[i]), problem);
  }
  if (!seen.contains("v1") && !seen.contains("v1beta1"))
    errors.invalid(at, nlohmann::json(versions).dump(), "must include at least one of v1, v1beta1");
}

void validate_conversion(const api::CustomResourceConversion& conversion, FieldErrors& errors) {
  if (conversion.strategy != "None" && conversion.strategy != "Webhook")
    return errors.not_supported("spec.conversion.strategy", conversion.strategy, {"None", "Webhook"});
  if (conversion.strategy == "None") {
    if (conversion.webhook)
      errors.forbidden("spec.conversion.webhookClientConfig",
                       "should not be set when strategy is not set to Webhook");
    return;
  }
  if (!conversion.webhook || !conversion.webhook->clientConfig)
    errors.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook");
  else
    validate_client_config(*conversion.webhook->clientConfig, "spec.conversion.webhookClientConfig", errors);
  validate_review_versions(conversion.webhook ? conversion.webhook->conversionReviewVersions
                                              : std::vector<std::string>(),
                           errors);
}

// ---- the whole

void validate_stored_versions(const Crd& crd, FieldErrors& errors) {
  const std::vector<std::string>& stored = crd.status.storedVersions;
  std::string text = nlohmann::json(stored).dump();
  if (stored.empty()) return errors.invalid("status.storedVersions", text, "must have at least one stored version");
  const Version* storage = storage_version(crd);
  if (storage && std::ranges::find(stored, storage->name) == stored.end())
    errors.invalid("status.storedVersions", text, "must have the storage version " + storage->name);
  for (size_t i = 0; i < stored.size(); ++i) {
    if (std::ranges::find(crd.spec.versions, stored[i], &Version::name) != crd.spec.versions.end()) continue;
    errors.invalid(fmt::format("status.storedVersions[{}]", i), quote(stored[i]),
                   fmt::format("missing from spec.versions; {0} was previously a storage version, and must remain in "
                               "spec.versions until a storage migration ensures no data remains persisted in {0} and "
                               "removes {0} from status.storedVersions",
                               stored[i]));
  }
}

void validate_approval(const Crd& crd, const Crd* old, FieldErrors& errors) {
  if (!is_protected_group(crd.spec.group)) return;
  Approval approval = approval_of(crd);
  if (old && approval_of(*old).state == approval.state) return;
  std::string path = fmt::format("metadata.annotations[{}]", kApprovalAnnotation);
  if (approval.state == Approval::State::Missing) errors.required(path, approval.reason);
  if (approval.state == Approval::State::Invalid)
    errors.invalid(path, quote(crd.metadata.annotations.at(kApprovalAnnotation)), approval.reason);
}

void validate_immutable(const Crd& crd, const Crd& old, FieldErrors& errors) {
  auto same = [&](const std::string& now, const std::string& before, const char* path) {
    if (now != before) errors.invalid(path, quote(now), "field is immutable");
  };
  if (is_condition_true(old, "Established")) {
    same(crd.spec.scope, old.spec.scope, "spec.scope");
    same(crd.spec.names.kind, old.spec.names.kind, "spec.names.kind");
  }
  same(crd.spec.group, old.spec.group, "spec.group");
  same(crd.spec.names.plural, old.spec.names.plural, "spec.names.plural");
}

void validate(const Crd& crd, const Crd* old, FieldErrors& errors) {
  if (!old && crd.metadata.name != crd.spec.names.plural + "." + crd.spec.group)
    errors.invalid("metadata.name", quote(crd.metadata.name), "must be spec.names.plural+\".\"+spec.group");
  validate_group(crd.spec.group, errors);
  if (crd.spec.scope.empty()) errors.required("spec.scope");
  else if (crd.spec.scope != "Cluster" && crd.spec.scope != "Namespaced")
    errors.not_supported("spec.scope", crd.spec.scope, {"Cluster", "Namespaced"});
  validate_versions(crd, errors);
  require_names(crd.spec.names, errors);
  validate_names(crd.spec.names, "spec.names", errors);
  if (crd.spec.conversion) validate_conversion(*crd.spec.conversion, errors);
  if (old) validate_immutable(crd, *old, errors);
  validate_stored_versions(crd, errors);
  validate_approval(crd, old, errors);
  if (crd.spec.preserveUnknownFields)
    errors.invalid("spec.preserveUnknownFields", "true",
                   "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
                   "spec.versions[*].schema instead");
}

void validate_status(const Crd& crd, const Crd&, FieldErrors& errors) {
  validate_names(crd.status.acceptedNames, "status.acceptedNames", errors);
  validate_stored_versions(crd, errors);
}

Status prepare_create(Crd& crd, StrategyContext& context) {
  note_storage_version(crd);
  warn_about_rules(crd, context.request);
  return ok();
}

Status prepare_update(Crd& next, const Crd& old, StrategyContext& context) {
  note_storage_version(next);
  if (!(next.spec == old.spec)) warn_about_rules(next, context.request);
  return ok();
}

// The instances go first; the finalizer comes off when the last of them is gone.
void begin_deletion(Crd& crd) {
  std::vector<std::string>& finalizers = crd.metadata.finalizers;
  if (std::ranges::find(finalizers, kCleanupFinalizer) == finalizers.end()) finalizers.emplace_back(kCleanupFinalizer);
  CrdCondition terminating;
  terminating.type = "Terminating";
  terminating.status = "True";
  terminating.reason = "InstanceDeletionPending";
  terminating.message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
  set_condition(crd, std::move(terminating), crd.metadata.deletionTimestamp);
}

}  // namespace

Resource custom_resource_definitions() {
  return define<Crd>({.prepare_create = prepare_create,
                      .prepare_update = prepare_update,
                      .validate = validate,
                      .validate_status = validate_status,
                      .begin_deletion = begin_deletion,
                      // No definition goes at once: its instances may still be there.
                      .held = [](const Crd& crd) { return !crd.metadata.deletionTimestamp; },
                      .counts_generation = true});
}

}  // namespace skiff::registry
