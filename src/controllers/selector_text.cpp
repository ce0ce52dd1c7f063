#include "controllers/selector_text.hpp"

#include <fmt/format.h>

namespace skiff::controllers {

std::string selector_text(const api::LabelSelector* selector) {
  if (!selector) return "nil";
  std::string text = "&LabelSelector{MatchLabels:map[string]string{";
  for (const auto& [key, value] : selector->matchLabels) text += fmt::format("{}: {},", key, value);
  text += "},MatchExpressions:[]LabelSelectorRequirement{";
  for (const auto& one : selector->matchExpressions)
    text += fmt::format("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},", one.key, one.operator_,
                        fmt::join(one.values, " "));
  return text + "},}";
}

}  // namespace skiff::controllers
