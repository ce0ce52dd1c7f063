#include "client/object.hpp"

#include <charconv>

namespace skiff::client {

const api::OwnerReference* controller_of(const api::ObjectMeta& metadata) {
  for (const api::OwnerReference& owner : metadata.ownerReferences)
    if (owner.controller.value_or(false)) return &owner;
  return nullptr;
}

std::int64_t revision_of(const api::ObjectMeta& metadata) {
  std::int64_t revision = 0;
  const std::string& text = metadata.resourceVersion;
  std::from_chars(text.data(), text.data() + text.size(), revision);
  return revision;
}

}  // namespace skiff::client
