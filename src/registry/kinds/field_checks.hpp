#pragma once
// Checks of single fields that many kinds share, in Kubernetes' words.

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "api/gen/meta.hpp"
#include "api/names.hpp"
#include "api/status.hpp"
#include "api/values.hpp"
#include "registry/kinds/path.hpp"

namespace skiff::registry {

using api::FieldErrors;

constexpr char kImmutable[] = "field is immutable";
constexpr char kNonnegative[] = "must be greater than or equal to 0";
constexpr char kPositive[] = "must be greater than zero";
using Words = std::initializer_list<std::string_view>;

/// One Invalid for each problem.
void add_problems(const Path& path, std::string_view value, const api::Problems& problems, FieldErrors& errors);
void check_dns_label(std::string_view value, const Path& path, FieldErrors& errors);
void check_dns_subdomain(std::string_view value, const Path& path, FieldErrors& errors);
void check_qualified_name(std::string_view value, const Path& path, FieldErrors& errors);
void check_labels(const std::map<std::string, std::string>& labels, const Path& path, FieldErrors& errors);
void check_annotations(const std::map<std::string, std::string>& annotations, const Path& path, FieldErrors& errors);

bool is_one_of(std::string_view value, Words allowed);
/// Required when empty, else NotSupported unless among `allowed`, which are listed in their order.
void require_one_of(std::string_view value, const Path& path, Words allowed, FieldErrors& errors);
/// NotSupported unless among `allowed`, empty included.
void check_one_of(std::string_view value, const Path& path, Words allowed, FieldErrors& errors);
/// Required when empty; whether it was not.
bool require(std::string_view value, const Path& path, FieldErrors& errors);

void require_nonnegative(std::int64_t value, const Path& path, FieldErrors& errors);
void require_positive(std::int64_t value, const Path& path, FieldErrors& errors);
void require_between(std::int64_t value, std::int64_t low, std::int64_t high, const Path& path, FieldErrors& errors);
void require_nonnegative(const api::Quantity& value, const Path& path, FieldErrors& errors);
template <class Int>
void require_nonnegative(const std::optional<Int>& value, const Path& path, FieldErrors& errors) {
  if (value) require_nonnegative(static_cast<std::int64_t>(*value), path, errors);
}

void check_port(int port, const Path& path, FieldErrors& errors);
void check_port_or_name(const api::IntOrString& port, const Path& path, FieldErrors& errors);
/// A number that is not negative, or a percentage.
void check_percent_or_number(const api::IntOrString& value, const Path& path, FieldErrors& errors);
/// Nothing for "33%" up to "100%" and numbers; an Invalid above 100 %.
void check_not_above_100_percent(const api::IntOrString& value, const Path& path, FieldErrors& errors);
bool is_zero(const api::IntOrString& value);

void check_ip(std::string_view value, const Path& path, FieldErrors& errors);
/// Nobody may send traffic to the node itself or to its links by way of a Service (ValidateNonSpecialIP).
void check_not_special_ip(std::string_view ip, const Path& path, FieldErrors& errors);
bool is_cidr(std::string_view text);
void check_cidr(std::string_view value, const Path& path, FieldErrors& errors);

/// metav1 ValidateLabelSelector.
void check_label_selector(const api::LabelSelector& selector, const Path& path, FieldErrors& errors);
bool is_empty(const api::LabelSelector& selector);
/// Relative and without "..".
void check_descending_path(std::string_view value, const Path& path, FieldErrors& errors);

/// An object of the schema as errors print it.
std::string json_of(const api::TypeInfo& type, const void* value);
std::string json_of(const api::LabelSelector& selector);
std::string json_of(const std::map<std::string, std::string>& labels);
std::string json_of(const std::vector<std::string>& texts);
inline std::string json_of(const std::string& text) { return api::quote(text); }
inline std::string json_of(std::int64_t number) { return std::to_string(number); }
inline std::string json_of(bool flag) { return flag ? "true" : "false"; }
template <class T>
std::string json_of(const std::optional<T>& value) {
  if (!value) return "null";
  if constexpr (std::is_same_v<T, std::int32_t>) return std::to_string(*value);
  else return json_of(*value);
}

/// ValidateImmutableField.
template <class T>
void require_same(const T& value, const T& old, const Path& path, FieldErrors& errors) {
  if (!(value == old)) errors.invalid(path, json_of(value), kImmutable);
}

}  // namespace skiff::registry
