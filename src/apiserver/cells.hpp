#pragma once
// Pieces that many cell rules share.

#include <algorithm>
#include <string>
#include <vector>

#include "api/gen/meta.hpp"
#include "api/gen/pod.hpp"
#include "api/selector.hpp"
#include "apiserver/table.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

struct CellEntry {
  const api::KindInfo* kind;
  CellRule rule;
};

template <class T, void (*Rule)(const T&, Row&)>
CellEntry cells_of() {
  return {&api::kind_of<T>(),
          [](const void* object, Row& row) { Rule(*static_cast<const T*>(object), row); }};
}

template <class Entries>
CellRule find_rule(const Entries& entries, const api::KindInfo& kind) {
  for (const CellEntry& entry : entries)
    if (entry.kind == &kind) return entry.rule;
  return nullptr;
}

/// "a,b,c + 2 more..." of more than `shown` items.
inline std::string shortened(std::vector<std::string> items, std::string_view separator, size_t shown = 3) {
  size_t more = items.size() > shown ? items.size() - shown : 0;
  items.resize(items.size() - more);
  std::string text = join(items, separator);
  return more == 0 ? text : fmt::format("{} + {} more...", text, more);
}

inline std::string labels_text(const std::map<std::string, std::string>& labels) {
  if (labels.empty()) return "<none>";
  std::vector<std::string> items;
  for (const auto& [name, value] : labels) items.push_back(name + "=" + value);
  return join(items, ",");
}

/// metav1.FormatLabelSelector.
inline std::string selector_text(const api::LabelSelector& selector) {
  Result<api::Selector> parsed = api::Selector::from(selector);
  if (!parsed.ok()) return "<error>";
  std::string text = parsed.value().text();
  return text.empty() ? "<none>" : text;
}

/// The wide cells Containers and Images.
inline void container_cells(const api::PodSpec& spec, Row& row) {
  std::vector<std::string> names, images;
  for (const api::Container& container : spec.containers) {
    names.push_back(container.name);
    images.push_back(container.image);
  }
  row.text(join(names, ",")).text(join(images, ","));
}

}  // namespace skiff::apiserver
