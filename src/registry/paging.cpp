#include "registry/paging.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/encoding.hpp"
#include "registry/write.hpp"

namespace skiff::registry {

std::string encode_continue(const ContinueToken& token) {
  nlohmann::json fields = {{"v", "meta.k8s.io/v1"}, {"rv", token.revision}, {"start", token.after_key}};
  return base64url_encode(fields.dump());
}

Result<ContinueToken> decode_continue(std::string_view text) {
  Error invalid = api::bad_request("continue key is not valid: token is malformed");
  std::optional<std::string> bytes = base64url_decode(text);
  if (!bytes) return invalid;
  nlohmann::json fields = nlohmann::json::parse(*bytes, nullptr, false);
  if (!fields.is_object() || fields.value("v", nlohmann::json()) != "meta.k8s.io/v1") return invalid;
  auto revision = fields.find("rv"), start = fields.find("start");
  if (revision == fields.end() || !revision->is_number_integer() || start == fields.end() || !start->is_string())
    return invalid;
  ContinueToken token{revision->get<store::Revision>(), start->get<std::string>()};
  if (token.after_key.empty() || token.after_key.find("..") != std::string::npos || token.revision < -1) return invalid;
  return token;
}

namespace {

std::map<std::string, std::string> fields_of(const Resource& resource, const AnyRef& object) {
  std::map<std::string, std::string> fields;
  if (resource.strategy.selectable_fields) fields = resource.strategy.selectable_fields(object.get());
  fields["metadata.name"] = object.metadata().name;
  if (resource.kind->namespaced) fields["metadata.namespace"] = object.metadata().namespace_;
  return fields;
}

}  // namespace

Status check_fields(const Resource& resource, const api::FieldSelector& selector) {
  for (const api::FieldSelector::Term& term : selector.terms()) {
    const std::vector<std::string>& names = resource.strategy.selectable_names;
    bool known = term.field == "metadata.name" || (term.field == "metadata.namespace" && resource.kind->namespaced) ||
                 std::find(names.begin(), names.end(), term.field) != names.end();
    if (!known) return api::bad_request(fmt::format("field label not supported: {}", term.field));
  }
  return ok();
}

bool selects_all(const ListQuery& query) {
  return query.labels.selects_everything() && query.fields.selects_everything();
}

namespace {

// Whether the name, which needs no decoding, rules the object out.
bool has_other_name(const ListQuery& query, const Object& object) {
  const std::string& key = object.record()->key;
  std::string_view name = std::string_view(key).substr(key.rfind('/') + 1);
  return !key.empty() && std::any_of(query.fields.terms().begin(), query.fields.terms().end(), [&](const auto& term) {
    return term.field == "metadata.name" && (term.value == name) != term.equal;
  });
}

}  // namespace

bool selects(const Resource& resource, const ListQuery& query, const Object& object) {
  if (has_other_name(query, object)) return false;
  AnyRef typed = object.any();
  if (!query.labels.matches(typed.metadata().labels)) return false;
  if (query.fields.selects_everything()) return true;
  std::map<std::string, std::string> fields = fields_of(resource, typed);
  return std::all_of(query.fields.terms().begin(), query.fields.terms().end(), [&](const auto& term) {
    auto field = fields.find(term.field);
    return (field != fields.end() ? field->second == term.value : term.value.empty()) == term.equal;
  });
}

std::string list_prefix(const Resource& resource, const ListQuery& query) {
  bool narrow = resource.kind->namespaced && !query.namespace_.empty();
  return narrow ? resource.prefix() + query.namespace_ + "/" : resource.prefix();
}

Error too_old(store::Revision asked, store::Revision current) {
  return error(Code::Expired, "too old resource version: {} ({})", asked, current);
}

Error too_large(store::Revision asked, store::Revision current) {
  auto detail = std::make_shared<api::StatusDetail>();
  detail->causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  detail->retry_after_seconds = 1;
  return error(Code::Timeout, "Timeout: Too large resource version: {}, current: {}", asked, current).with(std::move(detail));
}

Result<store::Revision> parse_revision(const std::string& text) {
  store::Revision revision = 0;
  if (text.empty()) return revision;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), revision);
  if (failure != std::errc() || end != text.data() + text.size() || revision < 0)
    return api::bad_request(fmt::format("resourceVersion: Invalid value: {}: strconv.ParseUint: parsing {}: invalid syntax",
                                        api::quote(text), api::quote(text)));
  return revision;
}

namespace {

Error expired_continue(const ContinueToken& token) {
  // The token to go on with reads the newest state from the same place: complete, but not of one moment.
  auto detail = std::make_shared<api::StatusDetail>();
  detail->causes.push_back({"InconsistentContinue", encode_continue({-1, token.after_key}), ""});
  return Error(Code::Expired,
               "The provided continue parameter is too old to display a consistent list result. You can start a new "
               "list without the continue parameter, or use the continue token in this response to retrieve the "
               "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
               "that were created, modified, or deleted between the time the first chunk was returned and now may show "
               "up in the list.")
      .with(std::move(detail));
}

// ValidateListOptions of k8s.io/apimachinery.
Status check_match(const ListQuery& query) {
  const std::string& match = query.resource_version_match;
  if (match.empty()) return ok();
  api::FieldErrors errors;
  if (query.resource_version.empty())
    errors.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (!query.continue_token.empty())
    errors.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
  if (match != "Exact" && match != "NotOlderThan")
    errors.not_supported("resourceVersionMatch", match, {"Exact", "NotOlderThan", ""});
  if (match == "Exact" && query.resource_version == "0")
    errors.forbidden("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  if (errors.empty()) return ok();
  return invalid_list_options(errors);
}

// Where the list starts and which moment it shows.
Status aim(const Resource& resource, const ListQuery& query, const store::Store& store, store::ListOptions& options) {
  TRY(check_match(query));
  if (!query.continue_token.empty()) {
    if (!query.resource_version.empty() && query.resource_version != "0")
      return api::bad_request("specifying resource version is not allowed when using continue");
    TRY_ASSIGN(ContinueToken token, decode_continue(query.continue_token));
    options.after_key = resource.prefix() + token.after_key;
    if (token.revision > 0) options.at_revision = token.revision;
    return ok();
  }
  TRY_ASSIGN(store::Revision revision, parse_revision(query.resource_version));
  if (revision > store.revision()) return too_large(revision, store.revision());
  // A first page of an older moment is of exactly that moment, as it always was.
  bool exact = query.resource_version_match == "Exact" ||
               (query.resource_version_match.empty() && query.limit > 0 && revision > 0);
  if (exact) options.at_revision = revision;
  return ok();
}

}  // namespace

Error invalid_list_options(const api::FieldErrors& errors) {
  static constexpr api::KindInfo kListOptions{.group = "meta.k8s.io", .kind = "ListOptions"};
  return api::invalid(kListOptions, "", errors);
}

Result<ListPage> Registry::list(const Resource& resource, const ListQuery& query) const {
  TRY(check_fields(resource, query.fields));
  if (resource.strategy.make_all) {
    ListPage page{made(resource), store_.revision(), "", std::nullopt};
    std::erase_if(page.items, [&](const Object& object) {
      bool elsewhere = resource.kind->namespaced && !query.namespace_.empty() &&
                       object.metadata()->namespace_ != query.namespace_;
      return elsewhere || !selects(resource, query, object);
    });
    return page;
  }
  store::ListOptions options;
  options.limit = query.limit > 0 ? static_cast<size_t>(query.limit) : 0;
  TRY(aim(resource, query, store_, options));
  if (!selects_all(query))
    options.wanted = [&](const store::Record& record) {
      // The list holds the record while it asks; the alias only lends it to Object.
      return selects(resource, query, Object(*resource.kind, store::RecordRef(store::RecordRef(), &record)));
    };
  Result<store::Page> page = store_.list(list_prefix(resource, query), options);
  if (!page.ok() && page.error().code() == Code::Gone) {
    if (query.continue_token.empty()) return too_old(*options.at_revision, store_.revision());
    TRY_ASSIGN(ContinueToken token, decode_continue(query.continue_token));
    return expired_continue(token);
  }
  if (!page.ok()) return std::move(page).error();
  ListPage result;
  result.revision = page.value().revision;
  for (store::RecordRef& record : page.value().items) result.items.emplace_back(*resource.kind, std::move(record));
  if (page.value().more) {
    std::string last = result.items.back().record()->key.substr(resource.prefix().size());
    result.continue_token = encode_continue({result.revision, last});
    if (page.value().remaining) result.remaining = static_cast<std::int64_t>(*page.value().remaining);
  }
  return result;
}

}  // namespace skiff::registry
