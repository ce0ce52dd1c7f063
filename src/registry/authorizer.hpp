#pragma once
// Who asks and whether they may: the question that the request path, the review kinds, escalation checks and admission
// put to whatever authorisation `cluster` connected.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace skiff::api {
struct PolicyRule;
}

namespace skiff::registry {

/// user.Info: what authentication (or impersonation) made of a request's credentials.
struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;  // ends with system:authenticated
  std::map<std::string, std::vector<std::string>> extra;

  bool in_group(std::string_view group) const;
  /// Of system:masters: may do everything.
  bool is_master() const { return in_group("system:masters"); }
};

/// authorizer.Attributes. Views into what the caller holds.
struct AccessRequest {
  const User& user;
  std::string_view verb;
  bool is_resource = true;
  std::string_view group, version, resource, subresource, name, namespace_;
  std::string_view path;            // of what is not a resource
  std::string_view field_selector;  // of a list, watch or deletecollection, as in the query
};

enum class Decision { NoOpinion, Allow, Deny };

struct Verdict {
  Decision decision = Decision::NoOpinion;
  std::string reason;
  std::string evaluation_error;

  bool allowed() const { return decision == Decision::Allow; }
};

/// What a user may do in a namespace, as far as it can be told.
struct SubjectRules {
  std::vector<api::PolicyRule> rules;
  bool incomplete = false;
  std::string evaluation_error;

  SubjectRules();
  SubjectRules(SubjectRules&&) noexcept;
  SubjectRules& operator=(SubjectRules&&) noexcept;
  ~SubjectRules();
};

/// Any thread.
class Authorizer {
 public:
  virtual ~Authorizer() = default;
  virtual Verdict authorize(const AccessRequest& request) const = 0;
  virtual SubjectRules rules_for(const User& user, const std::string& namespace_) const = 0;
};

/// Whom a bearer token speaks for, and for which of the audiences that were asked about.
struct TokenIdentity {
  User user;
  std::vector<std::string> audiences;
};

/// Any thread.
class TokenAuthenticator {
 public:
  virtual ~TokenAuthenticator() = default;
  /// Unauthorized, with the reason: the token is no good for any of `audiences` (the API server's own when empty).
  virtual Result<TokenIdentity> authenticate_token(const std::string& token,
                                                   const std::vector<std::string>& audiences) const = 0;
};

/// Allows everything: a registry's authorizer until another is set (tests of what lies below authorisation).
const Authorizer& always_allow();

}  // namespace skiff::registry
