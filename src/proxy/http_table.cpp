#include "proxy/http_table.hpp"

#include <re2/re2.h>

#include <algorithm>

namespace skiff::proxy {
namespace {

using net::HttpDecision;
using net::HttpQuestion;

constexpr std::int64_t kRegexMemory = 1 << 20;
constexpr int kMaxGroups = 10;  // $0 to $9

/// What a rule's path took of the request's.
struct PathMatch {
  bool matches = false;
  std::vector<std::string> groups;  // of a regex; [0] is all of it
};

/// "/a" takes "/a" and "/a/b" but not "/ab"; "/a/" takes what "/a" does.
bool takes_prefix(std::string_view prefix, std::string_view path) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

PathMatch match_path(const HttpRule& rule, const std::string& path) {
  switch (rule.kind) {
    case HttpRule::Path::Exact:
      return {path == rule.path, {}};
    case HttpRule::Path::Prefix:
      return {takes_prefix(rule.path, path), {}};
    case HttpRule::Path::Pattern:
      break;
  }
  int count = std::min(rule.regex->NumberOfCapturingGroups() + 1, kMaxGroups);
  std::vector<re2::StringPiece> found(static_cast<size_t>(count));
  if (!rule.regex->Match(path, 0, path.size(), re2::RE2::ANCHOR_START, found.data(), count)) return {};
  PathMatch match{true, {}};
  for (const re2::StringPiece& group : found)
    match.groups.emplace_back(group.data() == nullptr ? "" : group.ToString());
  return match;
}

bool has_value(const ValueMatch& wanted, std::string_view value) {
  if (!wanted.regex) return value == wanted.value;
  return re2::RE2::FullMatch(re2::StringPiece(value.data(), value.size()), *wanted.regex);
}

/// The first value of a query parameter, as it stands there.
std::optional<std::string_view> parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    std::string_view one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(one.size() + 1, query.size()));
    size_t equals = std::min(one.find('='), one.size());
    if (one.substr(0, equals) == name) return one.substr(std::min(equals + 1, one.size()));
  }
  return std::nullopt;
}

bool matches_rest(const HttpRule& rule, const HttpQuestion& question) {
  if (!rule.method.empty() && rule.method != question.head.method) return false;
  for (const ValueMatch& wanted : rule.headers) {
    const std::string* value = net::find_header(question.head.headers, wanted.name);
    if (value == nullptr || !has_value(wanted, *value)) return false;
  }
  for (const ValueMatch& wanted : rule.query) {
    std::optional<std::string_view> value = parameter(question.query, wanted.name);
    if (!value || !has_value(wanted, *value)) return false;
  }
  return true;
}

/// Fills $0 to $9.
std::string filled(const std::string& pattern, const std::vector<std::string>& groups) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    bool group =
        pattern[i] == '$' && i + 1 < pattern.size() && pattern[i + 1] >= '0' && pattern[i + 1] <= '9';
    if (!group) {
      out += pattern[i];
      continue;
    }
    auto index = static_cast<size_t>(pattern[++i] - '0');
    if (index < groups.size()) out += groups[index];
  }
  return out;
}

std::string with_prefix(const HttpRule& rule, const std::string& replacement, const std::string& path) {
  std::string_view matched = rule.path;
  while (matched.ends_with('/')) matched.remove_suffix(1);
  std::string rest = path.substr(std::min(matched.size(), path.size())), head = replacement;
  while (head.ends_with('/')) head.pop_back();
  std::string out = head + rest;
  return out.empty() ? "/" : out;
}

/// A path as it may stand in a request line.
std::string escaped(const std::string& path) {
  static constexpr std::string_view kPlain = "-._~!$&'()*+,;=:@/";
  std::string out;
  for (char c : path) {
    auto byte = static_cast<unsigned char>(c);
    bool plain = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
    plain = plain || (byte >= '0' && byte <= '9') || (byte != 0 && kPlain.find(c) != std::string_view::npos);
    if (plain && byte < 0x80)
      out += c;
    else
      out += fmt::format("%{:02X}", byte);
  }
  return out;
}

/// "/new?x=1" of a rewritten path: a query of its own comes before the request's.
std::string target_of(const std::string& path, std::string_view query) {
  size_t mark = path.find('?');
  std::string target = escaped(path.substr(0, mark));
  std::string own = mark == std::string::npos ? "" : path.substr(mark + 1);
  if (own.empty() && query.empty()) return target;
  return target + "?" + own + (own.empty() || query.empty() ? "" : "&") + std::string(query);
}

std::string redirect_url(const HttpRule& rule, const HttpRule::Redirect& to, const HttpQuestion& question) {
  if (!to.url.empty()) return to.url;
  std::string scheme = to.scheme.empty() ? (question.tls ? "https" : "http") : to.scheme;
  std::string authority = to.host.empty() ? question.head.host : to.host;
  bool usual = to.port == 0 || (scheme == "https" && to.port == 443) || (scheme == "http" && to.port == 80);
  // Without a port and with the same scheme the request's own port stays.
  if (to.port == 0 && to.scheme.empty() && to.host.empty()) authority = question.head.authority;
  if (!usual) authority += fmt::format(":{}", to.port);
  std::string target = question.head.target;
  if (to.path) target = target_of(*to.path, question.query);
  if (to.path_prefix) target = target_of(with_prefix(rule, *to.path_prefix, question.path), question.query);
  return scheme + "://" + authority + target;
}

const HttpRule::Choice* choose(const HttpRule& rule, std::uint32_t turn) {
  std::uint64_t total = 0;
  for (const HttpRule::Choice& choice : rule.choices) total += choice.weight;
  if (total == 0) return nullptr;
  // Steps of a golden ratio: heavy choices are not all asked in a row.
  std::uint64_t at = (std::uint64_t{turn} * 0x9e3779b9U) % total;
  for (const HttpRule::Choice& choice : rule.choices) {
    if (at < choice.weight) return &choice;
    at -= choice.weight;
  }
  return nullptr;
}

void append(net::HttpHeaderChanges& to, const net::HttpHeaderChanges& more) {
  to.set.insert(to.set.end(), more.set.begin(), more.set.end());
  to.add.insert(to.add.end(), more.add.begin(), more.add.end());
  to.remove.insert(to.remove.end(), more.remove.begin(), more.remove.end());
}

HttpDecision act(const HttpRule& rule, const PathMatch& match, const HttpQuestion& question,
                 std::uint32_t turn) {
  if (rule.redirect)
    return net::HttpAnswer{.status = rule.redirect->status,
                           .headers = {{"Location", redirect_url(rule, *rule.redirect, question)}},
                           .body = ""};
  const HttpRule::Choice* choice = rule.choices.size() == 1 ? &rule.choices[0] : choose(rule, turn);
  if (choice == nullptr || !choice->backends)
    return net::HttpAnswer{.status = rule.broken_status, .headers = {}, .body = ""};
  net::HttpForward forward = rule.forward;
  forward.backends = choice->backends;
  append(forward.request, choice->request);
  append(forward.response, choice->response);
  if (rule.rewrite) forward.target = target_of(filled(*rule.rewrite, match.groups), question.query);
  if (rule.rewrite_prefix)
    forward.target = target_of(with_prefix(rule, *rule.rewrite_prefix, question.path), question.query);
  return forward;
}

bool comes_before(const HttpRule& a, const HttpRule& b) {
  bool exact_a = a.kind == HttpRule::Path::Exact, exact_b = b.kind == HttpRule::Path::Exact;
  if (exact_a != exact_b) return exact_a;
  if (a.path.size() != b.path.size()) return a.path.size() > b.path.size();
  if (a.method.empty() != b.method.empty()) return !a.method.empty();
  if (a.headers.size() != b.headers.size()) return a.headers.size() > b.headers.size();
  if (a.query.size() != b.query.size()) return a.query.size() > b.query.size();
  return a.order < b.order;
}

/// "*.b.c" for "a.b.c"; empty when there is none.
std::string wildcard_of(const std::string& host) {
  size_t dot = host.find('.');
  return dot == std::string::npos || dot == 0 ? "" : "*" + host.substr(dot);
}

}  // namespace

Result<Regex> compile_regex(const std::string& pattern) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_case_sensitive(false);
  options.set_max_mem(kRegexMemory);
  auto regex = std::make_shared<re2::RE2>(pattern, options);
  if (!regex->ok()) return error(Code::Invalid, "'{}' is no regular expression: {}", pattern, regex->error());
  return Regex(std::move(regex));
}

void HttpTable::add(const std::string& host, HttpRule rule) { hosts_[host].push_back(std::move(rule)); }

void HttpTable::finish() {
  for (auto& [host, rules] : hosts_) std::stable_sort(rules.begin(), rules.end(), comes_before);
}

const HttpTable::Rules* HttpTable::rules_of(const std::string& host) const {
  if (auto exact = hosts_.find(host); exact != hosts_.end() && !host.empty()) return &exact->second;
  for (std::string wildcard = wildcard_of(host); !wildcard.empty();
       wildcard = wildcard_of(wildcard.substr(2))) {
    if (auto found = hosts_.find(wildcard); found != hosts_.end()) return &found->second;
    if (options_.wildcard_is_one_label) break;
  }
  auto all = hosts_.find("");
  return all == hosts_.end() ? nullptr : &all->second;
}

HttpDecision HttpTable::decide(const HttpQuestion& question) const {
  std::uint32_t turn = turn_.fetch_add(1, std::memory_order_relaxed);
  if (const Rules* rules = rules_of(question.head.host))
    for (const HttpRule& rule : *rules)
      if (PathMatch match = match_path(rule, question.path); match.matches && matches_rest(rule, question))
        return act(rule, match, question, turn);
  if (default_) return act(*default_, {true, {}}, question, turn);
  return net::HttpAnswer{.status = 404, .headers = {}, .body = ""};
}

CertificateTable::Certificate CertificateTable::find(const std::string& host) const {
  for (const std::string& name : {host, wildcard_of(host), std::string()})
    if (auto found = by_host_.find(name); found != by_host_.end()) return found->second;
  return nullptr;
}

}  // namespace skiff::proxy
