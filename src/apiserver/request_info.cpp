#include "apiserver/request_info.hpp"

#include <algorithm>
#include <array>

#include "base/encoding.hpp"

namespace skiff::apiserver {

namespace {

// Below a namespace these are subresources of the namespace itself, not resources in it.
constexpr std::array<std::string_view, 2> kNamespaceSubresources{"status", "finalize"};

std::vector<std::string> segments(std::string_view path) {
  std::vector<std::string> all;
  for (std::string& part : split(path, '/'))
    if (!part.empty()) all.push_back(std::move(part));
  return all;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return text;
}

std::string verb_of(const std::string& method) {
  if (method == "POST") return "create";
  if (method == "GET" || method == "HEAD") return "get";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return "";
}

// The path from its `from`-th segment on, as it was written.
std::string tail(std::string_view path, size_t from) {
  size_t at = 0;
  for (size_t i = 0; i <= from && at != path.npos; ++i) {
    at = path.find('/', at);
    if (at == path.npos) return "";
    while (at + 1 < path.size() && path[at + 1] == '/') ++at;
    if (i < from) ++at;
  }
  return at == path.npos ? "" : std::string(path.substr(at));
}

void take_namespace(std::vector<std::string>& parts, RequestInfo& info, size_t& consumed) {
  if (parts.size() < 2 || parts[0] != "namespaces") return;
  info.namespace_ = parts[1];
  if (parts.size() < 3 || std::ranges::find(kNamespaceSubresources, parts[2]) != kNamespaceSubresources.end())
    return;
  parts.erase(parts.begin(), parts.begin() + 2);
  consumed += 2;
}

}  // namespace

std::string_view written_path(const Request& request) {
  if (!request.target.starts_with('/')) return request.path;  // the absolute form, of proxies
  return std::string_view(request.target).substr(0, request.target.find('?'));
}

bool is_true(const Request& request, std::string_view parameter) {
  auto found = request.query.find(parameter);
  if (found == request.query.end()) return false;
  static constexpr std::array<std::string_view, 6> kFalse{"0", "f", "F", "false", "False", "FALSE"};
  return std::ranges::find(kFalse, found->second) == kFalse.end();
}

RequestInfo parse_request_info(const Request& request) {
  RequestInfo info;
  info.path = request.path;
  info.verb = lower(request.method);
  std::vector<std::string> parts = segments(request.path);
  bool core = !parts.empty() && parts[0] == "api";
  bool grouped = !parts.empty() && parts[0] == "apis";
  size_t prefix = core ? 2 : 3;
  if ((!core && !grouped) || parts.size() <= prefix) return info;
  info.is_resource = true;
  if (grouped) info.group = parts[1];
  info.version = parts[prefix - 1];
  info.verb = verb_of(request.method);
  parts.erase(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(prefix));
  size_t consumed = prefix;
  bool watching = parts[0] == "watch" && parts.size() > 1;  // the old form of ?watch=true
  if (watching) {
    parts.erase(parts.begin());
    ++consumed;
  }
  take_namespace(parts, info, consumed);
  info.resource = parts[0];
  if (parts.size() > 1) info.name = parts[1];
  if (parts.size() > 2) info.subresource = parts[2];
  if (parts.size() > 3) info.rest = tail(written_path(request), consumed + 3);
  if (info.subresource == "proxy" && info.rest.empty() && request.path.ends_with('/')) info.rest = "/";
  if (info.verb == "get" && (watching || is_true(request, "watch")) && info.subresource.empty())
    info.verb = "watch";
  if (info.name.empty() && info.verb == "get") info.verb = "list";
  if (info.name.empty() && info.verb == "delete") info.verb = "deletecollection";
  return info;
}

}  // namespace skiff::apiserver
