#include "apiserver/api.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "api/status.hpp"
#include "apiserver/authorize.hpp"
#include "apiserver/impersonate.hpp"
#include "apiserver/status.hpp"
#include "apiserver/verbs.hpp"
#include "base/log.hpp"

namespace skiff::apiserver {

using Json = nlohmann::ordered_json;

namespace {

std::vector<const api::KindInfo*> served_kinds(const registry::Catalogue& catalogue) {
  std::vector<const api::KindInfo*> kinds;
  for (const registry::ServedKind* served : catalogue.served()) kinds.push_back(served->kind);
  return kinds;
}

User anonymous() { return {"system:anonymous", "", {"system:unauthenticated"}, {}}; }

// RFC 7234 warn-text, as Kubernetes writes it: 299 - "text".
std::string warning_header(const std::string& text) {
  std::string out = "299 - \"";
  for (char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c == '\n' || c == '\r' ? ' ' : c);
  }
  return out.append("\"");
}

void add_headers(Headers& headers, const std::vector<std::string>& warnings) {
  headers.emplace("Cache-Control", "no-cache, private");
  for (const std::string& warning : warnings) headers.emplace("Warning", warning_header(warning));
}

constexpr size_t kMaxManager = 128;

// Who owns the fields that a request writes: whom it names, or the program that sent it.
Result<std::string> manager_of(const Request& request) {
  std::string_view named = request.parameter("fieldManager");
  auto printable = [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; };
  if (!named.empty()) {
    const char* options = request.method == "PATCH" ? "PatchOptions" : request.method == "PUT" ? "UpdateOptions" : "CreateOptions";
    if (named.size() > kMaxManager)
      return error(Code::Invalid, "{}.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than {} bytes",
                   options, kMaxManager);
    if (!std::ranges::all_of(named, printable))
      return error(Code::Invalid,
                   "{}.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: {}: should only contain printable characters",
                   options, api::quote(named));
    return std::string(named);
  }
  std::string_view agent = request.header("User-Agent");
  std::string manager(agent.substr(0, agent.find('/')));
  std::erase_if(manager, [&](char c) { return !printable(c); });
  return manager.substr(0, kMaxManager);
}

}  // namespace

Api::Documents::Documents(const registry::Catalogue& catalogue, const Backends& backends,
                          const std::string& git_version)
    : generation(catalogue.generation()),
      backends_generation(backends.generation),
      discovery(served_kinds(catalogue), backends),
      openapi(discovery, git_version) {}

Api::Api(ApiOptions options) : options_(std::move(options)), metrics_(options_.limits) {}

std::shared_ptr<const Backends> Api::backends() const {
  return options_.aggregator != nullptr ? options_.aggregator->backends() : std::make_shared<const Backends>();
}

std::shared_ptr<Api::Documents> Api::documents() {
  std::shared_ptr<const registry::Catalogue> catalogue = options_.registry.catalogue();
  std::shared_ptr<const Backends> remote = backends();
  MutexLock lock(mutex_);
  if (!documents_ || documents_->generation != catalogue->generation() ||
      documents_->backends_generation != remote->generation)
    documents_ = std::make_shared<Documents>(*catalogue, *remote, options_.git_version);
  return documents_;
}

namespace {

Reply too_many_requests() {
  Reply reply = text_reply(429, "Too many requests, please try again later.\n");
  reply.headers.emplace("Retry-After", "1");
  return reply;
}

int status_of(const Response& response) {
  if (const auto* reply = std::get_if<Reply>(&response)) return reply->status;
  if (const auto* stream = std::get_if<StreamReply>(&response)) return stream->status;
  return 101;
}

}  // namespace

Response Api::handle(const Request& request) {
  Passage passage{request, parse_request_info(request), anonymous(), {}, {}};
  const TimePoint start = options_.clock.now();
  const WallTime received = options_.clock.wall_now();
  Metrics::InFlight slot = metrics_.begin(passage.info);
  Result<Response> answered = slot.admitted() ? answer(passage) : Result<Response>(Response(too_many_requests()));
  Response response = answered.ok() ? std::move(answered).value() : Response(status_reply(answered.error(), prefers_protobuf(request)));
  std::visit(
      [&passage](auto& reply) {
        if constexpr (!std::is_same_v<std::remove_reference_t<decltype(reply)>, UpgradeReply>)
          add_headers(reply.headers, passage.warnings);
      },
      response);
  metrics_.record(passage.info, status_of(response), request.parameter("dryRun") == "All",
                  options_.clock.now() - start);
  if (options_.audit != nullptr) {
    const auto* reply = std::get_if<Reply>(&response);
    const RequestInfo& info = passage.info;
    const registry::ServedKind* served = options_.registry.find(info.group, info.version, info.resource);
    const bool whole = served != nullptr && info.subresource.empty() && info.verb != "delete";
    options_.audit->record({request, info, passage.user, whole ? served->kind->type : nullptr, status_of(response),
                            reply != nullptr ? reply->body.get() : nullptr, passage.audit_annotations, received,
                            options_.clock.wall_now()});
  }
  return response;
}

Result<Response> Api::answer(Passage& passage) {
  const Request& request = passage.request;
  Result<std::optional<User>> user = options_.authenticator.authenticate(request);
  if (!user.ok()) {
    log::debug("apiserver", "{} {}: {}", request.method, request.path, user.error().message());
    return unauthorized();
  }
  const registry::Authorizer& authorizer = options_.registry.authorizer();
  TRY_ASSIGN(passage.user, impersonate(request, std::move(user).value().value_or(anonymous()), authorizer));
  TRY(authorize(authorizer, access_request(request, passage.info, passage.user)));
  if (options_.aggregator != nullptr)
    if (std::shared_ptr<const Backend> backend = options_.aggregator->find(request.path))
      return options_.aggregator->pass_on(request, passage.user, std::move(backend));
  return passage.info.is_resource ? serve_resource(passage) : serve_path(request);
}

Result<Response> Api::serve_resource(Passage& passage) {
  const auto& [request, info, user, warnings, annotations] = passage;
  const registry::ServedKind* served = options_.registry.find(info.group, info.version, info.resource);
  if (served == nullptr) {
    if (documents()->discovery.has_version(info.group, info.version)) return resource_not_found();
    return Response(text_reply(404, "404 page not found\n"));
  }
  TRY_ASSIGN(Verb verb, find_verb(info, *served->kind));
  TRY_ASSIGN(registry::RequestContext context, context_of(request, info, user));
  context.api_version = served->kind->api_version();
  if (!served->warning.empty()) context.warnings.push_back(served->warning);
  Call call{request,           info,           user,
            *served,           *served->resource, options_.registry,
            options_.nodes,    options_.clock.wall_now(), {},
            std::move(context)};
  bool plain = info.subresource.empty() || info.subresource == "status" || info.subresource == "scale";
  if (plain) {
    TRY_ASSIGN(call.form, negotiate(request, *served));
  }
  Result<Response> response = verb.run(call);
  passage.warnings = std::move(call.context.warnings);
  passage.audit_annotations = std::move(call.context.audit_annotations);
  return response;
}

Result<registry::RequestContext> Api::context_of(const Request& request, const RequestInfo& info,
                                                  const User& user) const {
  registry::RequestContext context;
  context.user = user;
  context.verb = info.verb;
  context.subresource = info.subresource;
  TRY_ASSIGN(context.field_manager, manager_of(request));
  std::string_view dry_run = request.parameter("dryRun");
  if (!dry_run.empty() && dry_run != "All")
    return error(Code::Invalid, "dryRun: Unsupported value: {}: supported values: \"All\"",
                 api::quote(dry_run));
  context.dry_run = dry_run == "All";
  std::string_view validation = request.parameter("fieldValidation");
  using Validation = registry::RequestContext::FieldValidation;
  if (validation == "Strict") context.field_validation = Validation::Strict;
  if (validation == "Ignore") context.field_validation = Validation::Ignore;
  static constexpr std::array<std::string_view, 4> kKnown{"", "Strict", "Warn", "Ignore"};
  if (std::ranges::find(kKnown, validation) == kKnown.end())
    return error(Code::Invalid,
                 "fieldValidation: Unsupported value: {}: supported values: \"Ignore\", \"Warn\", \"Strict\"",
                 api::quote(validation));
  return context;
}

// Everything that is not a resource.
Result<Response> Api::serve_path(const Request& request) {
  const std::string& path = request.path;
  if (request.method != "GET" && request.method != "HEAD") return method_not_allowed();
  if (is_health_path(path)) return Response(health_report(request, options_.health));
  if (path == "/version" || path == "/version/") return Response(version_document(options_.git_version));
  if (path == "/metrics") {
    Reply reply = text_reply(200, metrics_.text(options_.registry, options_.git_version));
    reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return Response(std::move(reply));
  }
  if (path == "/openid/v1/jwks" && options_.authenticator.signer != nullptr) {
    Reply reply = json_reply(200, options_.authenticator.signer->jwks());
    reply.content_type = "application/jwk-set+json";
    return Response(std::move(reply));
  }
  if (path == "/.well-known/openid-configuration") {
    Json document = {{"issuer", kTokenIssuer},
                     {"jwks_uri", std::string(kTokenIssuer) + "/openid/v1/jwks"},
                     {"response_types_supported", {"id_token"}},
                     {"subject_types_supported", {"public"}},
                     {"id_token_signing_alg_values_supported", {"ES256"}}};
    return Response(json_reply(200, document.dump()));
  }
  std::shared_ptr<Documents> served = documents();
  if (std::optional<Reply> document = served->openapi.serve(request)) return Response(std::move(*document));
  if (std::optional<Reply> document = served->discovery.serve(request)) return Response(std::move(*document));
  if (path == "/") {
    Json paths = {"/api",        "/api/v1",     "/apis",   "/healthz", "/livez",
                  "/metrics",    "/openapi/v2", "/openapi/v3", "/readyz", "/version"};
    return Response(json_reply(200, Json{{"paths", std::move(paths)}}.dump(2)));
  }
  return Response(text_reply(404, "404 page not found\n"));
}

}  // namespace skiff::apiserver
