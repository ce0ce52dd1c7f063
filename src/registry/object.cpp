#include "registry/object.hpp"

#include <cstdio>
#include <cstdlib>

#include "api/json.hpp"
#include "api/open_type.hpp"

namespace skiff::registry {

AnyRef Object::any() const {
  if (typed_) return AnyRef(*kind_, typed_);
  if (std::shared_ptr<const void> view = record_->view()) return AnyRef(*kind_, std::move(view));
  std::shared_ptr<void> value = kind_->type->ops->make();
  // Stored bytes were encoded by this program from a valid object; bytes that do not decode mean a damaged database.
  if (Status decoded = api::decode_json(record_->value, *kind_->type, value.get()); !decoded.ok()) {
    std::fprintf(stderr, "stored object '%s' does not decode: %s\n", record_->key.c_str(),
                 decoded.error().message().c_str());
    std::abort();
  }
  // Custom resources may have got defaults since it was stored; the schema of other kinds does not change while it runs.
  if (kind_->type->open) kind_->type->open->apply_defaults(value.get());
  return AnyRef(*kind_, record_->set_view(std::move(value)));
}

}  // namespace skiff::registry
