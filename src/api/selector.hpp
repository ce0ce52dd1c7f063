#pragma once
// Label and field selectors (k8s.io/apimachinery/pkg/labels and .../fields).

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::api {

struct LabelSelector;
using Labels = std::map<std::string, std::string>;

/// A conjunction of requirements on labels. A default one selects everything.
class Selector {
 public:
  enum class Operator { In, NotIn, Exists, DoesNotExist, GreaterThan, LessThan };
  struct Requirement {
    std::string key;
    Operator op;
    std::vector<std::string> values;
    bool operator==(const Requirement&) const = default;
  };

  /// "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3". BadRequest with Kubernetes' message.
  static Result<Selector> parse(std::string_view text);
  /// metav1.LabelSelector: an empty one selects everything. Invalid: a bad operator or key.
  static Result<Selector> from(const LabelSelector& selector);
  /// All of `labels`, as a Service's spec.selector says it.
  static Selector from(const Labels& labels);
  static Selector nothing();

  bool matches(const Labels& labels) const;
  bool selects_everything() const { return requirements_.empty() && !nothing_; }
  const std::vector<Requirement>& requirements() const { return requirements_; }
  /// The canonical text (as `kubectl get -l` would take it), sorted by key.
  std::string text() const;

 private:
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

/// "metadata.name=x,status.phase!=Running": equality terms on named fields.
class FieldSelector {
 public:
  struct Term {
    std::string field;
    bool equal;
    std::string value;
  };
  static Result<FieldSelector> parse(std::string_view text);
  const std::vector<Term>& terms() const { return terms_; }
  bool selects_everything() const { return terms_.empty(); }

 private:
  std::vector<Term> terms_;
};

}  // namespace skiff::api
