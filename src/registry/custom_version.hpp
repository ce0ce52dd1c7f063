#pragma once
// One version of a custom resource: the kind that generic code sees, made at run time, and its schema.

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <vector>

#include "api/custom_object.hpp"
#include "api/gen/apiextensions.hpp"
#include "api/open_type.hpp"
#include "registry/json_path.hpp"
#include "registry/structural_schema.hpp"

namespace skiff::registry {

struct CustomColumn {
  std::string name, type, format, description;
  int priority = 0;
  JsonPath path;
};

/// Where the scale subresource finds its numbers; the names from the root down.
struct ScalePaths {
  std::vector<std::string> spec_replicas, status_replicas, label_selector;  // the last may be empty: none
};

/// Immutable; any thread. Its kind() is an identity like those of the schema.
class CustomVersion final : public api::OpenType {
 public:
  /// Invalid: the schema does not compile (a definition that was validated has none such).
  static Result<std::shared_ptr<const CustomVersion>> make(
      const api::CustomResourceDefinition& crd, const api::CustomResourceDefinitionVersion& version);
  /// Of a kind made here; null for those of the schema.
  static const CustomVersion* of(const api::KindInfo& kind);
  ~CustomVersion() override;

  const api::KindInfo& kind() const { return kind_; }
  const SchemaNode& structure() const { return structure_; }
  /// The openAPIV3Schema as it was written.
  const nlohmann::json& document() const { return *document_; }
  const nlohmann::json* schema() const override { return document_.get(); }
  const std::vector<CustomColumn>& columns() const { return columns_; }
  const ScalePaths* scale() const { return scale_.get(); }
  bool has_status() const { return kind_.has_subresource("status"); }
  const std::vector<std::string>& selectable() const { return selectable_; }
  const std::string& list_kind() const { return list_kind_; }

  void prune(void* object, std::vector<std::string>& unknown) const override;
  void apply_defaults(void* object) const override;
  /// Both on a whole document, as a conversion sees it.
  void shape(nlohmann::json& document) const;

 private:
  CustomVersion();
  void fill_kind(const api::CustomResourceDefinition& crd, const api::CustomResourceDefinitionVersion& version);

  std::string group_, version_, kind_name_, plural_, singular_, short_names_, categories_, openapi_name_, doc_;
  std::string list_kind_;
  std::vector<api::SubresourceInfo> subresources_;
  std::vector<std::string> selectable_;
  std::vector<CustomColumn> columns_;
  std::unique_ptr<const ScalePaths> scale_;
  std::unique_ptr<const nlohmann::json> document_;
  SchemaNode structure_;
  api::TypeInfo type_{};
  api::KindInfo kind_{};
};

/// What a list of objects of `kind` calls itself.
std::string list_kind(const api::KindInfo& kind);

/// What `object` holds beside apiVersion, kind and metadata.
nlohmann::json rest_of(const api::CustomObject& object);
/// The whole object of `version`, as its schema sees it.
nlohmann::json document_of(const CustomVersion& version, const api::CustomObject& object);
void set_rest(api::CustomObject& object, const nlohmann::json& rest);

}  // namespace skiff::registry
