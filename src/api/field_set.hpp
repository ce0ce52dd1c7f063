#pragma once
// Sets of field paths, as managedFields keeps them (sigs.k8s.io/structured-merge-diff/fieldpath).

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::api {

/// A set of paths, held as a tree. A step of a path is spelled as FieldsV1 does: "f:spec", `k:{"name":"web"}`,
/// `v:"x"`, "i:3"; "f:" steps are fields of structs and keys of maps alike.
class FieldSet {
 public:
  struct Entry;
  using Path = std::vector<std::string>;

  FieldSet() = default;
  /// FieldsV1 JSON. BadRequest when it is none.
  static Result<FieldSet> parse(std::string_view json);
  /// `steps` name one path.
  static FieldSet of(const Path& steps);
  void add(const Path& steps);
  /// Canonical FieldsV1 JSON: equal sets have equal texts.
  std::string json() const;

  bool empty() const { return entries_.empty(); }
  /// Whether the path of this one step is a member itself.
  bool has(std::string_view step) const;
  bool has(const Path& path) const;
  /// What is below `step`; empty when nothing is.
  const FieldSet& below(std::string_view step) const;
  const std::vector<Entry>& entries() const { return entries_; }

  /// Adds the path of this one step.
  void add(std::string_view step);
  /// Puts `below` under `step`; nothing when it is empty.
  void add_below(std::string_view step, FieldSet below);

  FieldSet united(const FieldSet& other) const;
  FieldSet intersected(const FieldSet& other) const;
  /// Without the members of `other`; what is below them stays.
  FieldSet without(const FieldSet& other) const;
  /// Without the members of `other` and all that is below them.
  FieldSet without_trees(const FieldSet& other) const;
  /// The paths that nothing in the set lies below.
  FieldSet leaves() const;

  /// Members in order, those of a level before those below it.
  void each(const std::function<void(const Path&)>& visit) const;
  bool operator==(const FieldSet& other) const;

 private:
  Entry& entry(std::string_view step);
  const Entry* find(std::string_view step) const;
  void append_json(std::string& out) const;
  void visit_all(Path& path, const std::function<void(const Path&)>& visit) const;

  std::vector<Entry> entries_;  // sorted by step, each a member or with something below
};

struct FieldSet::Entry {
  std::string step;
  bool member = false;
  FieldSet below;
  bool operator==(const Entry&) const = default;
};

/// ".spec.containers[name=\"web\"].image", as conflicts name a field.
std::string path_text(const FieldSet::Path& path);

/// Whether step `a` comes before `b`: fields by name, then keys and values (numbers by size), then indices.
bool step_less(std::string_view a, std::string_view b);

}  // namespace skiff::api
