// CertificateSigningRequests: what may be asked for, and who may answer.

#include <algorithm>
#include <set>

#include "api/gen/certificates.hpp"
#include "api/names.hpp"
#include "base/encoding.hpp"
#include "registry/certificate_admission.hpp"
#include "registry/kinds/kind.hpp"
#include "registry/kinds/kinds.hpp"

namespace skiff::registry {
namespace {

using Request = api::CertificateSigningRequest;
using Condition = api::CertificateSigningRequestCondition;

constexpr char kLegacySigner[] = "kubernetes.io/legacy-unknown";
constexpr std::int32_t kShortest = 600;

const std::vector<std::string>& known_usages() {
  static const std::vector<std::string> kUsages{
      "any",           "cert sign",        "client auth",       "code signing",     "content commitment",
      "crl sign",      "data encipherment", "decipher only",    "digital signature", "email protection",
      "encipher only", "ipsec end system", "ipsec tunnel",      "ipsec user",       "key agreement",
      "key encipherment", "microsoft sgc", "netscape sgc",      "ocsp signing",     "s/mime",
      "server auth",   "signing",          "timestamping"};
  return kUsages;
}

void validate_usages(const Request& request, api::FieldErrors& errors) {
  if (request.spec.usages.empty()) errors.required("spec.usages");
  std::set<std::string> seen;
  for (size_t i = 0; i < request.spec.usages.size(); ++i) {
    const std::string& usage = request.spec.usages[i];
    std::string path = fmt::format("spec.usages[{}]", i);
    if (std::ranges::find(known_usages(), usage) == known_usages().end())
      errors.not_supported(path, usage, known_usages());
    if (!seen.insert(usage).second) errors.duplicate(path, api::quote(usage));
  }
}

void validate_signer(const std::string& signer, api::FieldErrors& errors) {
  const std::string path = "spec.signerName", value = api::quote(signer);
  if (signer.empty()) return errors.required(path);
  size_t slash = signer.find('/');
  if (slash == std::string::npos || signer.find('/', slash + 1) != std::string::npos)
    return errors.invalid(path, value, "must be a fully qualified domain and path of the form \"example.com/signer-name\"");
  std::string domain = signer.substr(0, slash);
  for (const std::string& problem : api::dns1123_subdomain_problems(domain))
    errors.invalid(path, api::quote(domain), "validating label \"" + domain + "\": " + problem);
  if (domain.find('.') == std::string::npos)
    errors.invalid(path, value, "should be a domain with at least two segments separated by dots");
  for (const std::string& problem : api::dns1123_subdomain_problems(signer.substr(slash + 1)))
    errors.invalid(path, value, problem);
}

void validate_conditions(const Request& request, api::FieldErrors& errors) {
  std::set<std::string> seen;
  for (size_t i = 0; i < request.status.conditions.size(); ++i) {
    const Condition& condition = request.status.conditions[i];
    std::string path = fmt::format("status.conditions[{}]", i);
    if (condition.type.empty()) errors.required(path + ".type");
    bool decision = condition.type == "Approved" || condition.type == "Denied" || condition.type == "Failed";
    if (condition.status.empty()) errors.required(path + ".status");
    else if (decision && condition.status != "True") errors.not_supported(path + ".status", condition.status, {"True"});
    if (!seen.insert(condition.type).second) errors.duplicate(path + ".type", api::quote(condition.type));
  }
  if (seen.contains("Approved") && seen.contains("Denied"))
    errors.invalid("status.conditions", "\"Denied\"", "Approved and Denied conditions are mutually exclusive");
}

void validate(const Request& request, const Request* old, api::FieldErrors& errors) {
  if (!old) {
    validate_usages(request, errors);
    validate_signer(request.spec.signerName, errors);
    if (request.spec.signerName == kLegacySigner)
      errors.invalid("spec.signerName", api::quote(kLegacySigner),
                     "the legacy signerName is not allowed via this API version");
    if (request.spec.expirationSeconds && *request.spec.expirationSeconds < kShortest)
      errors.invalid("spec.expirationSeconds", std::to_string(*request.spec.expirationSeconds),
                     "may not specify a duration less than 600 seconds (10 minutes)");
  }
  validate_conditions(request, errors);
}

Status prepare_create(Request& request, StrategyContext& context) {
  const User& user = context.request.user;
  request.spec.username = user.name;
  request.spec.uid = user.uid;
  request.spec.groups = user.groups;
  request.spec.extra = user.extra;
  if (context.certificates == nullptr) return ok();
  Result<client::CertificateRequest> asked = context.certificates->read(request.spec.request.data);
  if (!asked.ok()) {
    api::FieldErrors errors;
    errors.invalid("spec.request", api::quote(base64_encode(request.spec.request.data)), asked.error().message());
    return api::invalid(api::kind_of<Request>(), request.metadata.name, errors);
  }
  return admit_certificate_subject(request, asked.value());
}

Status prepare_update(Request& next, const Request& old, StrategyContext&) {
  next.spec = old.spec;
  next.status = old.status;
  return ok();
}

const Condition* find(const Request& request, const std::string& type) {
  for (const Condition& condition : request.status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

void stamp_conditions(Request& next, const Request& old, WallTime now) {
  for (Condition& condition : next.status.conditions) {
    const Condition* before = find(old, condition.type);
    if (!condition.lastUpdateTime) condition.lastUpdateTime = api::Time::from(now);
    if (condition.lastTransitionTime) continue;
    bool same = before && before->status == condition.status && before->lastTransitionTime;
    condition.lastTransitionTime = same ? before->lastTransitionTime : api::Time::from(now);
  }
}

// A decision stays; only the approval subresource makes one.
Status check_decisions(const Request& next, const Request& old, bool approval) {
  api::FieldErrors errors;
  for (const char* type : {"Approved", "Denied"}) {
    bool had = find(old, type), has = find(next, type);
    if (had && !has)
      errors.forbidden("status.conditions", fmt::format("updates may not remove a condition of type \"{}\"", type));
    if (!had && has && !approval)
      errors.forbidden("status.conditions", fmt::format("updates may not add a condition of type \"{}\"", type));
  }
  if (find(old, "Failed") && !find(next, "Failed"))
    errors.forbidden("status.conditions", "updates may not remove a condition of type \"Failed\"");
  validate_conditions(next, errors);
  const std::string& before = old.status.certificate.data;
  if (!before.empty() && before != next.status.certificate.data)
    errors.forbidden("status.certificate", "updates may not change certificate content once it has been set");
  if (errors.empty()) return ok();
  return api::invalid(api::kind_of<Request>(), old.metadata.name, errors);
}

Status prepare_status_update(Request& next, const Request& old, StrategyContext& context) {
  next.spec = old.spec;
  stamp_conditions(next, old, context.now);
  TRY(admit_certificate_signing(next, old, context));
  return check_decisions(next, old, false);
}

Status prepare_approval(Request& next, const Request& old, const std::string&, StrategyContext& context) {
  next.spec = old.spec;
  next.status.certificate = old.status.certificate;
  stamp_conditions(next, old, context.now);
  TRY(admit_certificate_approval(old, context));
  return check_decisions(next, old, true);
}

std::map<std::string, std::string> selectable_fields(const Request& request) {
  return {{"spec.signerName", request.spec.signerName}};
}

}  // namespace

Resource certificate_signing_requests() {
  Rules<Request> rules;
  rules.prepare_create = prepare_create;
  rules.prepare_update = prepare_update;
  rules.prepare_status_update = prepare_status_update;
  rules.prepare_subresource_update = prepare_approval;
  rules.validate = validate;
  rules.selectable_fields = selectable_fields;
  rules.name_problems = api::path_segment_problems;
  return define(rules);
}

}  // namespace skiff::registry
