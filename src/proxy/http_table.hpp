#pragma once
// Which rule takes a request: hosts, then paths, then whatever else a rule asks for. What Ingresses and
// HTTPRoutes are both made into. Immutable once built.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/http_routes.hpp"

namespace re2 {
class RE2;
}

namespace skiff::proxy {

using Regex = std::shared_ptr<const re2::RE2>;
/// Invalid: not one that RE2 knows, or one that would take too much memory.
Result<Regex> compile_regex(const std::string& pattern);

/// A header or query parameter that must have a value.
struct ValueMatch {
  std::string name, value;
  Regex regex;  // instead of `value`
};

struct HttpRule {
  enum class Path : std::uint8_t { Exact, Prefix, Pattern } kind = Path::Prefix;
  std::string path = "/";  // of Pattern: the regular expression, whose length says who is asked first
  Regex regex;             // from the path's beginning
  std::string method;      // empty: any
  std::vector<ValueMatch> headers, query;

  struct Redirect {
    int status = 302;
    std::string url;  // whole; else the parts below over the request's own
    std::string scheme, host;
    std::uint16_t port = 0;
    std::optional<std::string> path;         // instead of all of it
    std::optional<std::string> path_prefix;  // instead of what the rule's prefix matched
  };
  std::optional<Redirect> redirect;

  struct Choice {
    std::uint32_t weight = 1;
    std::shared_ptr<const net::HttpBackends> backends;
    net::HttpHeaderChanges request, response;
  };
  std::vector<Choice> choices;  // none: 503 (500 where a route's own reference is broken)
  int broken_status = 503;
  std::optional<std::string> rewrite;         // the whole path; $1 is the regex' first group
  std::optional<std::string> rewrite_prefix;  // instead of what the rule's prefix matched
  net::HttpForward forward;                   // everything but backends and target
  int order = 0;                              // ties: the smaller first
};

/// Rules of one listener by host.
class HttpTable {
 public:
  struct Options {
    bool wildcard_is_one_label = true;  // "*.a" takes "x.a" but not "y.x.a"
  };
  explicit HttpTable(Options options) : options_(options) {}

  /// `host` is a name, "*.name", or empty for all.
  void add(const std::string& host, HttpRule rule);
  /// What takes requests that nothing else takes.
  void set_default(HttpRule rule) { default_ = std::make_shared<HttpRule>(std::move(rule)); }
  /// Brings rules into their order; call once after the last add().
  void finish();

  net::HttpDecision decide(const net::HttpQuestion& question) const;

 private:
  using Rules = std::vector<HttpRule>;
  const Rules* rules_of(const std::string& host) const;

  const Options options_;
  std::map<std::string, Rules> hosts_;
  std::shared_ptr<const HttpRule> default_;
  mutable std::atomic<std::uint32_t> turn_{0};
};

/// Certificates by the name clients ask for.
class CertificateTable {
 public:
  using Certificate = std::shared_ptr<const net::TlsCertificate>;
  void add(const std::string& host, Certificate certificate) {
    by_host_.try_emplace(host, std::move(certificate));
  }
  /// The host's own, its wildcard's, or the one for all ("" as host).
  Certificate find(const std::string& host) const;

 private:
  std::map<std::string, Certificate> by_host_;
};

}  // namespace skiff::proxy
