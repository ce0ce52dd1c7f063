#include "apiserver/negotiate.hpp"

#include "api/gen/meta.hpp"
#include "api/json.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

namespace {

std::string trimmed(std::string text) {
  text.erase(0, text.find_first_not_of(" \t"));
  text.erase(text.find_last_not_of(" \t") + 1);
  return text;
}

std::string list_metadata(const registry::ListPage& page) {
  api::ListMeta metadata;
  metadata.resourceVersion = std::to_string(page.revision);
  metadata.continue_ = page.continue_token;
  metadata.remainingItemCount = page.remaining;
  return api::to_json(metadata);
}

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
  std::string start = head(std::string(kind.kind) + "List", kind.api_version(), page);
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
    out.append(partial_metadata(item.metadata(), form.version));
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

}  // namespace

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
    }
    if (!type.type.empty()) types.push_back(std::move(type));
  }
  if (types.empty()) types.push_back({"*/*", "", "", ""});
  return types;
}

bool is_json(const MediaType& type) {
  return type.type == "application/json" || type.type == "*/*" || type.type == "application/*";
}

Result<Form> negotiate(const Request& request) {
  for (const MediaType& type : parse_accept(request.header("Accept"))) {
    if (!is_json(type)) continue;
    Form form;
    if (type.as.empty()) return form;
    bool known = type.group == "meta.k8s.io" && (type.version == "v1" || type.version == "v1beta1");
    if (!known) continue;
    form.version = type.version;
    form.table.version = type.version;
    if (type.as == "Table") {
      form.kind = Form::Kind::Table;
      std::string_view include = request.parameter("includeObject");
      if (include == "Object") form.table.include = TableOptions::Include::Object;
      if (include == "None") form.table.include = TableOptions::Include::None;
      return form;
    }
    form.kind = Form::Kind::Metadata;
    if (type.as == "PartialObjectMetadata" || type.as == "PartialObjectMetadataList") return form;
  }
  return Error(Code::NotAcceptable, "only the following media types are accepted: application/json");
}

Result<Chunk> write_object(const Form& form, const registry::Object& object, WallTime now) {
  if (form.kind == Form::Kind::Metadata)
    return Chunk(std::make_shared<std::string>(partial_metadata(object.metadata(), form.version)));
  Chunk json = object.shared_json();
  if (converts(form)) {
    TRY_ASSIGN(std::string converted, registry::in_version(*form.served, *json));
    json = std::make_shared<std::string>(std::move(converted));
  }
  if (form.kind == Form::Kind::Object) return json;
  return table_of_one(form, object.any(), json.get(), now);
}

Result<Chunk> write_object(const Form& form, const client::AnyRef& object, WallTime now) {
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
  if (form.kind == Form::Kind::Object) return object_list(form, page);
  if (form.kind == Form::Kind::Metadata) return metadata_list(form, page);
  bool whole = converts(form) && form.table.include == TableOptions::Include::Object;
  std::vector<std::string> converted;
  if (whole) {
    TRY_ASSIGN(converted, registry::in_version(*form.served, page.items));
  }
  std::vector<TableItem> items;
  items.reserve(page.items.size());
  for (size_t i = 0; i < page.items.size(); ++i)
    items.push_back({page.items[i].any(), whole ? &converted[i] : &page.items[i].json()});
  api::ListMeta metadata;
  metadata.resourceVersion = std::to_string(page.revision);
  metadata.continue_ = page.continue_token;
  metadata.remainingItemCount = page.remaining;
  return table_of(form, *form.served->resource->kind, items, metadata, now);
}

}  // namespace skiff::apiserver
