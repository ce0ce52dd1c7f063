#pragma once
// From typed rules of one kind to a Resource.

#include "registry/resource.hpp"

namespace skiff::registry {

/// The rules of one kind as its file writes them; define() erases the type. See Strategy for what each does.
template <class T>
struct Rules {
  Status (*prepare_create)(T&, StrategyContext&) = nullptr;
  Status (*prepare_update)(T& next, const T& old, StrategyContext&) = nullptr;
  Status (*prepare_status_update)(T& next, const T& old, StrategyContext&) = nullptr;
  Status (*prepare_subresource_update)(T& next, const T& old, const std::string& subresource,
                                       StrategyContext&) = nullptr;
  void (*validate)(const T&, const T* old, api::FieldErrors&) = nullptr;
  void (*validate_status)(const T&, const T& old, api::FieldErrors&) = nullptr;
  void (*validate_subresource)(const T&, const T& old, const std::string& subresource, api::FieldErrors&) = nullptr;
  void (*warn)(const T&, const T* old, std::vector<std::string>& warnings) = nullptr;
  std::map<std::string, std::string> (*selectable_fields)(const T&) = nullptr;
  std::int64_t (*grace_seconds)(const T&, const client::DeleteOptions&) = nullptr;
  void (*begin_deletion)(T&) = nullptr;
  bool (*held)(const T&) = nullptr;
  std::vector<std::string> (*name_problems)(std::string_view) = nullptr;
  Status (*answer)(T&, StrategyContext&) = nullptr;

  bool counts_generation = false;
  bool create_on_update = false;
  bool unconditional_update = true;
  bool orphans_by_default = false;
  bool returns_deleted = false;
  bool durable = true;
  const char* warning = "";
};

template <class T>
Resource define(const Rules<T>& rules = {}) {
  Strategy strategy;
  auto typed = [](auto* object) -> auto& {
    using Erased = std::remove_pointer_t<decltype(object)>;
    if constexpr (std::is_const_v<Erased>) return *static_cast<const T*>(object);
    else return *static_cast<T*>(object);
  };
  if (auto rule = rules.prepare_create)
    strategy.prepare_create = [=](void* object, StrategyContext& context) { return rule(typed(object), context); };
  if (auto rule = rules.prepare_update)
    strategy.prepare_update = [=](void* next, const void* old, StrategyContext& context) {
      return rule(typed(next), typed(old), context);
    };
  if (auto rule = rules.prepare_status_update)
    strategy.prepare_status_update = [=](void* next, const void* old, StrategyContext& context) {
      return rule(typed(next), typed(old), context);
    };
  if (auto rule = rules.prepare_subresource_update)
    strategy.prepare_subresource_update = [=](void* next, const void* old, const std::string& subresource,
                                              StrategyContext& context) {
      return rule(typed(next), typed(old), subresource, context);
    };
  if (auto rule = rules.validate)
    strategy.validate = [=](const void* object, const void* old, api::FieldErrors& errors) {
      rule(typed(object), static_cast<const T*>(old), errors);
    };
  if (auto rule = rules.validate_status)
    strategy.validate_status = [=](const void* next, const void* old, api::FieldErrors& errors) {
      rule(typed(next), typed(old), errors);
    };
  if (auto rule = rules.validate_subresource)
    strategy.validate_subresource = [=](const void* next, const void* old, const std::string& subresource,
                                        api::FieldErrors& errors) {
      rule(typed(next), typed(old), subresource, errors);
    };
  if (auto rule = rules.warn)
    strategy.warn = [=](const void* object, const void* old, std::vector<std::string>& warnings) {
      rule(typed(object), static_cast<const T*>(old), warnings);
    };
  if (auto rule = rules.selectable_fields) {
    strategy.selectable_fields = [=](const void* object) { return rule(typed(object)); };
    for (const auto& [name, value] : rule(T())) strategy.selectable_names.push_back(name);
  }
  if (auto rule = rules.grace_seconds)
    strategy.grace_seconds = [=](const void* object, const client::DeleteOptions& options) {
      return rule(typed(object), options);
    };
  if (auto rule = rules.begin_deletion) strategy.begin_deletion = [=](void* object) { rule(typed(object)); };
  if (auto rule = rules.held) strategy.held = [=](const void* object) { return rule(typed(object)); };
  if (rules.name_problems) strategy.name_problems = rules.name_problems;
  if (auto rule = rules.answer) {
    strategy.stored = false;
    strategy.answer = [=](void* object, StrategyContext& context) { return rule(typed(object), context); };
  }
  if constexpr (requires(T& object) { object.status = decltype(object.status){}; }) {
    if (api::kind_of<T>().has_subresource("status")) {
      strategy.reset_status = [=](void* object) { typed(object).status = {}; };
      strategy.copy_status = [=](void* to, const void* from) { typed(to).status = typed(from).status; };
    }
  }
  if constexpr (requires(T& object) { object.spec = object.spec; }) {
    strategy.copy_spec = [=](void* to, const void* from) { typed(to).spec = typed(from).spec; };
    strategy.same_spec = [=](const void* a, const void* b) { return typed(a).spec == typed(b).spec; };
  } else {  // all but the metadata counts
    strategy.same_spec = [=](const void* a, const void* b) {
      T alike = typed(a);
      alike.metadata = typed(b).metadata;
      return alike == typed(b);
    };
  }
  strategy.counts_generation = rules.counts_generation;
  strategy.create_on_update = rules.create_on_update;
  strategy.unconditional_update = rules.unconditional_update;
  strategy.orphans_by_default = rules.orphans_by_default;
  strategy.returns_deleted = rules.returns_deleted;
  strategy.durable = rules.durable;
  strategy.warning = rules.warning;
  return {&api::kind_of<T>(), std::move(strategy)};
}

}  // namespace skiff::registry
