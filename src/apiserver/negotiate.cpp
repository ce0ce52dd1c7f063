#include "apiserver/negotiate.hpp"

#include <algorithm>
#include <cstdlib>

#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "api/protobuf.hpp"
#include "base/encoding.hpp"
#include "registry/custom_version.hpp"

namespace skiff::apiserver {

namespace {

std::string trimmed(std::string text) {
  text.erase(0, text.find_first_not_of(" \t"));
  text.erase(text.find_last_not_of(" \t") + 1);
  return text;
}

api::ListMeta metadata_of(const registry::ListPage& page) {
  api::ListMeta metadata;
  metadata.resourceVersion = std::to_string(page.revision);
  metadata.continue_ = page.continue_token;
  metadata.remainingItemCount = page.remaining;
  return metadata;
}

std::string list_metadata(const registry::ListPage& page) { return api::to_json(metadata_of(page)); }

Chunk chunk(std::string text) { return std::make_shared<std::string>(std::move(text)); }

std::string meta_version(const Form& form) { return "meta.k8s.io/" + form.version; }

std::string head(std::string_view kind, std::string_view api_version, const registry::ListPage& page) {
  return fmt::format(R"({{"kind":"{}","apiVersion":"{}","metadata":{},"items":[)", kind, api_version,
                     list_metadata(page));
}

bool converts(const Form& form) { return form.served != nullptr && form.served->conversion != nullptr; }

Chunk join_items(std::string out, const std::vector<std::string_view>& items) {
  size_t size = out.size() + 3;
  for (std::string_view item : items) size += item.size() + 1;
  out.reserve(size);
  for (std::string_view item : items) {
    if (out.back() != '[') out.push_back(',');
    out.append(item);
  }
  return std::make_shared<std::string>(std::move(out.append("]}\n")));
}

Result<Chunk> object_list(const Form& form, const registry::ListPage& page) {
  const api::KindInfo& kind = *form.served->kind;
  std::string start = head(registry::list_kind(kind), kind.api_version(), page);
  if (converts(form)) {
    TRY_ASSIGN(std::vector<std::string> items, registry::in_version(*form.served, page.items));
    return join_items(std::move(start), {items.begin(), items.end()});
  }
  std::vector<std::string_view> items;
  items.reserve(page.items.size());
  for (const registry::Object& item : page.items) items.push_back(item.json());
  return join_items(std::move(start), items);
}

Chunk metadata_list(const Form& form, const registry::ListPage& page) {
  std::string out = head("PartialObjectMetadataList", "meta.k8s.io/" + form.version, page);
  for (const registry::Object& item : page.items) {
    if (out.back() != '[') out.push_back(',');
    out.append(partial_metadata(*item.metadata(), form.version));
  }
  return std::make_shared<std::string>(std::move(out.append("]}\n")));
}

Chunk table_of(const Form& form, const api::KindInfo& kind, const std::vector<TableItem>& items,
               const api::ListMeta& metadata, WallTime now) {
  return std::make_shared<std::string>(write_table(kind, items, metadata, form.table, now));
}

Chunk table_of_one(const Form& form, const client::AnyRef& object, const std::string* json, WallTime now) {
  api::ListMeta metadata;
  metadata.resourceVersion = object.metadata().resourceVersion;
  return table_of(form, object.kind(), {{object, json}}, metadata, now);
}

// An object in the version that the client speaks, from its stored form.
Result<client::AnyRef> as_served(const Form& form, const std::string& json) {
  std::shared_ptr<void> value = form.served->kind->type->ops->make();
  TRY(api::decode_json(json, *form.served->kind->type, value.get()));
  return client::AnyRef(*form.served->kind, std::move(value));
}

Result<client::AnyRef> converted(const Form& form, const std::string& stored) {
  TRY_ASSIGN(std::string json, registry::in_version(*form.served, stored));
  return as_served(form, json);
}

Result<Chunk> protobuf_list(const Form& form, const registry::ListPage& page) {
  if (form.kind == Form::Kind::Metadata) {
    std::vector<client::Ref<api::ObjectMeta>> held;  // decoded values live at least until they are written
    std::vector<const api::ObjectMeta*> items;
    for (const registry::Object& item : page.items) items.push_back(held.emplace_back(item.metadata()).get());
    return chunk(api::encode_protobuf_metadata_list(meta_version(form), items, metadata_of(page)));
  }
  const api::KindInfo& kind = *form.served->kind;
  api::ProtobufList list{kind.api_version(), std::string(kind.kind) + "List", kind.type, {}};
  std::vector<client::AnyRef> held;  // decoded values live at least until they are written
  for (const registry::Object& item : page.items) {
    held.push_back(item.any());
    if (converts(form)) {
      TRY_ASSIGN(held.back(), converted(form, item.json()));
    }
    list.items.push_back(held.back().get());
  }
  return chunk(api::encode_protobuf_list(list, metadata_of(page)));
}

bool is_protobuf(const MediaType& type) { return type.type == api::kProtobufType; }

// Each version of a custom resource has columns of its own, which look into its own shape.
bool columns_follow_version(const Form& form) { return converts(form) && form.served->kind->type->open; }

}  // namespace

const char* Form::content_type() const { return protobuf ? "application/vnd.kubernetes.protobuf" : "application/json"; }

std::vector<MediaType> parse_accept(std::string_view accept) {
  std::vector<MediaType> types;
  for (const std::string& item : split(accept, ',')) {
    MediaType type;
    for (std::string part : split(item, ';')) {
      part = trimmed(std::move(part));
      if (type.type.empty()) type.type = part;
      if (part.starts_with("as=")) type.as = part.substr(3);
      if (part.starts_with("g=")) type.group = part.substr(2);
      if (part.starts_with("v=")) type.version = part.substr(2);
      if (part.starts_with("q=")) type.quality = std::strtod(part.c_str() + 2, nullptr);
    }
    if (!type.type.empty() && type.quality > 0) types.push_back(std::move(type));
  }
  if (trimmed(std::string(accept)).empty()) types.push_back({"*/*", "", "", "", 1});
  std::ranges::stable_sort(types, [](const MediaType& a, const MediaType& b) { return a.quality > b.quality; });
  return types;
}

bool is_json(const MediaType& type) {
  return type.type == "application/json" || type.type == "*/*" || type.type == "application/*";
}

bool prefers_protobuf(const Request& request) {
  std::vector<MediaType> types = parse_accept(request.header("Accept"));
  return !types.empty() && is_protobuf(types.front());
}

Result<Form> negotiate(const Request& request, const registry::ServedKind& served) {
  // Kinds without field numbers, and versions that have another's type, are told in JSON only.
  bool whole = served.conversion == nullptr || served.has_own_type();
  bool numbered = whole && !served.kind->type->open && api::has_protobuf(*served.kind->type);
  for (const MediaType& type : parse_accept(request.header("Accept"))) {
    Form form;
    form.served = &served;
    form.protobuf = is_protobuf(type);
    if (!form.protobuf && !is_json(type)) continue;
    if (type.as.empty()) {
      if (form.protobuf && !numbered) continue;
      return form;
    }
    bool known = type.group == "meta.k8s.io" && (type.version == "v1" || type.version == "v1beta1");
    if (!known) continue;
    form.version = type.version;
    form.table.version = type.version;
    if (type.as == "Table") {
      if (form.protobuf) continue;  // Table is no protobuf message in Kubernetes either
      form.kind = Form::Kind::Table;
      std::string_view include = request.parameter("includeObject");
      if (include == "Object") form.table.include = TableOptions::Include::Object;
      if (include == "None") form.table.include = TableOptions::Include::None;
      return form;
    }
    form.kind = Form::Kind::Metadata;
    if (type.as == "PartialObjectMetadata" || type.as == "PartialObjectMetadataList") return form;
  }
  return error(Code::NotAcceptable, "only the following media types are accepted: application/json{}{}",
               numbered ? ", " : "", numbered ? api::kProtobufType : "");
}

Result<Chunk> write_object(const Form& form, const registry::Object& object, WallTime now) {
  if (form.protobuf && form.kind == Form::Kind::Object && converts(form)) {
    TRY_ASSIGN(client::AnyRef seen, converted(form, object.json()));
    return write_object(form, seen, now);
  }
  if (form.protobuf) return write_object(form, object.any(), now);
  if (form.kind == Form::Kind::Metadata)
    return Chunk(std::make_shared<std::string>(partial_metadata(*object.metadata(), form.version)));
  Chunk json = object.shared_json();
  if (converts(form)) {
    TRY_ASSIGN(std::string converted, registry::in_version(*form.served, *json));
    json = std::make_shared<std::string>(std::move(converted));
  }
  if (form.kind == Form::Kind::Object) return json;
  if (columns_follow_version(form)) {
    TRY_ASSIGN(client::AnyRef seen, as_served(form, *json));
    return table_of_one(form, seen, json.get(), now);
  }
  return table_of_one(form, object.any(), json.get(), now);
}

Result<Chunk> write_object(const Form& form, const client::AnyRef& object, WallTime now) {
  if (form.protobuf) {
    if (form.kind == Form::Kind::Metadata)
      return chunk(api::encode_protobuf_metadata(meta_version(form), object.metadata()));
    return chunk(api::encode_protobuf(*object.kind().type, object.get()));
  }
  switch (form.kind) {
    case Form::Kind::Object:
      return Chunk(std::make_shared<std::string>(api::encode_json(*object.kind().type, object.get())));
    case Form::Kind::Table:
      return table_of_one(form, object, nullptr, now);
    case Form::Kind::Metadata:
      return Chunk(std::make_shared<std::string>(partial_metadata(object.metadata(), form.version)));
  }
  return Chunk();
}

Result<Chunk> write_list(const Form& form, const registry::ListPage& page, WallTime now) {
  if (form.protobuf) return protobuf_list(form, page);
  if (form.kind == Form::Kind::Object) return object_list(form, page);
  if (form.kind == Form::Kind::Metadata) return metadata_list(form, page);
  bool custom = columns_follow_version(form);
  bool whole = custom || (converts(form) && form.table.include == TableOptions::Include::Object);
  std::vector<std::string> converted;
  if (whole) {
    TRY_ASSIGN(converted, registry::in_version(*form.served, page.items));
  }
  std::vector<TableItem> items;
  items.reserve(page.items.size());
  for (size_t i = 0; i < page.items.size(); ++i) {
    client::AnyRef object = custom ? client::AnyRef() : page.items[i].any();
    if (custom) {
      TRY_ASSIGN(object, as_served(form, converted[i]));
    }
    items.push_back({std::move(object), whole ? &converted[i] : &page.items[i].json()});
  }
  return table_of(form, custom ? *form.served->kind : *form.served->resource->kind, items, metadata_of(page), now);
}

}  // namespace skiff::apiserver
