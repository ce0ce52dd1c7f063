// Who asks: front proxies, impersonation, tokens of all kinds, and what reviews say of them.

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "api/gen/certificates.hpp"
#include "api/gen/nodes.hpp"
#include "api/json.hpp"
#include "registry/certificate_admission.hpp"
#include "unit/apiserver/test_api.hpp"

using namespace skiff;
using namespace skiff::apiserver;
using Json = nlohmann::json;

namespace {

using NamedHeaders = std::vector<std::pair<std::string, std::string>>;

struct World : test::TestApi {
  World() {
    bootstrap();
    registry.set_token_authenticator(authenticator);
  }

  Request plain(const NamedHeaders& headers, const std::string& method = "POST",
                const std::string& target = "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                const std::string& body = "{}") {
    Request out = request(method, target, body);
    out.headers.erase("Authorization");
    for (const auto& [name, value] : headers) out.headers.emplace(name, value);
    return out;
  }
  /// What the server takes the sender for; or the message of its refusal, under "message".
  Json who(const Request& request) {
    Json answer = Json::parse(*call(request).body, nullptr, false);
    return answer.contains("status") && answer["status"].is_object() ? answer["status"]["userInfo"] : answer;
  }
  Json who_has(const std::string& token) { return who(plain({{"Authorization", "Bearer " + token}})); }

  template <class T>
  std::string make(const std::string& json) {
    auto made = registry.local_client().create(api::from_json<T>(json).value());
    if (!made.ok()) FAIL(made.error().message());
    return made.value()->metadata.uid;
  }
  TokenClaims claims() {
    auto account = registry.local_client().get<api::ServiceAccount>({"default", "default"}).value();
    return {.token_namespace = "default",
            .service_account = {"default", account->metadata.uid},
            .audiences = {std::string(kTokenIssuer)},
            .id = "id-1",
            .issued = clock.wall_now(),
            .expires = clock.wall_now() + 1h};
  }
  std::string refusal(const TokenClaims& of, const std::vector<std::string>& audiences = {}) {
    auto identity = authenticator.authenticate_token(signer->sign(of).value(), audiences);
    return identity.ok() ? "" : identity.error().message();
  }

  Authenticator authenticator = options().authenticator;
};

}  // namespace

TEST_CASE("a front proxy speaks for others, nobody else does") {
  World world;
  const NamedHeaders headers = {{"X-Remote-User", "jane"},         {"X-Remote-Uid", "u1"},
                                {"X-Remote-Group", "a"},           {"X-Remote-Group", "b"},
                                {"X-Remote-Extra-Scopes", "s1"},   {"X-Remote-Extra-Scopes", "s2"},
                                {"X-Remote-Extra-Example.com%2fTag", "t"}};
  Request proxied = world.plain(headers);
  proxied.peer.front_proxy = "front-proxy-client";
  CHECK(world.who(proxied) == Json::parse(R"({"username":"jane","uid":"u1","groups":["a","b","system:authenticated"],
      "extra":{"scopes":["s1","s2"],"example.com/tag":["t"]}})"));
  Request stranger = proxied;
  stranger.peer.front_proxy = "somebody";
  CHECK(world.call(stranger).status == 401);
  Request unnamed = world.plain({{"X-Remote-Group", "system:masters"}});
  unnamed.peer.front_proxy = "front-proxy-client";
  CHECK(world.call(unnamed).status == 401);
  // Without the proxy's certificate they are but headers.
  CHECK(world.call(world.plain(headers)).status == 403);
  Request admin = world.plain(headers);
  admin.headers.emplace("Authorization", "Bearer secret");
  CHECK(world.who(admin)["username"] == "admin");
}

TEST_CASE("impersonation asks for every part of the one who is played") {
  World world;
  struct Row {
    const char* name;
    NamedHeaders headers;
    const char* user;
  };
  const Row rows[] = {
      {"user", {{"Impersonate-User", "jane"}}, R"({"username":"jane","groups":["system:authenticated"]})"},
      {"groups", {{"Impersonate-User", "jane"}, {"Impersonate-Group", "a"}, {"Impersonate-Group", "b"}},
       R"({"username":"jane","groups":["a","b","system:authenticated"]})"},
      {"uid and extra",
       {{"Impersonate-User", "jane"}, {"Impersonate-Uid", "u"}, {"Impersonate-Extra-Reason", "x"},
        {"Impersonate-Extra-acme.com%2Fproject", "p"}},
       R"({"username":"jane","uid":"u","groups":["system:authenticated"],"extra":{"reason":["x"],"acme.com/project":["p"]}})"},
      {"account", {{"Impersonate-User", "system:serviceaccount:default:default"}},
       R"({"username":"system:serviceaccount:default:default",
           "groups":["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"]})"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Request request = world.plain(row.headers);
    request.headers.emplace("Authorization", "Bearer secret");
    CHECK(world.who(request) == Json::parse(row.user));
  }
  Request nameless = world.plain({{"Authorization", "Bearer secret"}, {"Impersonate-Group", "a"}});
  CHECK(world.call(nameless).status == 500);
}

TEST_CASE("who may not impersonate is told what") {
  World world;
  auto rule = [&](const char* rules) {
    api::ClusterRole role = api::from_json<api::ClusterRole>(rules).value();
    role.metadata.name = "plays";
    REQUIRE(world.registry.local_client().update(role).ok());
  };
  world.make<api::ClusterRole>(R"({"metadata":{"name":"plays"}})");
  world.make<api::ClusterRoleBinding>(R"({"metadata":{"name":"plays"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io",
      "kind":"ClusterRole","name":"plays"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"joe"}]})");
  auto message = [&](const NamedHeaders& played) {
    NamedHeaders headers = played;
    headers.emplace_back("X-Remote-User", "joe");
    Request request = world.plain(headers);
    request.peer.front_proxy = "front-proxy-client";
    Json answer = world.who(request);
    return answer.value("message", "");
  };
  CHECK(message({{"Impersonate-User", "jane"}}) ==
        R"(users "jane" is forbidden: User "joe" cannot impersonate resource "users" in API group "" at the cluster scope)");
  CHECK(message({{"Impersonate-User", "system:serviceaccount:default:x"}}) ==
        R"(serviceaccounts "x" is forbidden: User "joe" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "default")");
  rule(R"({"rules":[{"apiGroups":[""],"resources":["users"],"resourceNames":["jane"],"verbs":["impersonate"]}]})");
  CHECK(message({{"Impersonate-User", "jane"}}) == "");
  CHECK(message({{"Impersonate-User", "root"}}).find(R"(users "root" is forbidden)") == 0);
  CHECK(message({{"Impersonate-User", "jane"}, {"Impersonate-Group", "system:masters"}}).find(
            R"(groups "system:masters" is forbidden)") == 0);
  CHECK(message({{"Impersonate-User", "jane"}, {"Impersonate-Uid", "7"}}) ==
        R"(uids.authentication.k8s.io "7" is forbidden: User "joe" cannot impersonate resource "uids" in API group "authentication.k8s.io" at the cluster scope)");
  CHECK(message({{"Impersonate-User", "jane"}, {"Impersonate-Extra-Reason", "x"}}) ==
        R"(userextras.authentication.k8s.io "x" is forbidden: User "joe" cannot impersonate resource "userextras/reason" in API group "authentication.k8s.io" at the cluster scope)");
  rule(R"({"rules":[{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"]},
      {"apiGroups":["authentication.k8s.io"],"resources":["userextras/reason"],"verbs":["impersonate"]}]})");
  CHECK(message({{"Impersonate-User", "jane"}, {"Impersonate-Extra-Reason", "x"}}) == "");
}

TEST_CASE("tokens of service accounts live no longer than what they are bound to") {
  World world;
  client::Client& client = world.registry.local_client();
  CHECK(world.who_has(world.signer->sign(world.claims()).value())["extra"] ==
        Json::parse(R"({"authentication.kubernetes.io/credential-id":["JTI=id-1"]})"));
  constexpr char kGone[] = "[invalid bearer token, service account token has been invalidated]";
  SECTION("pod") {
    TokenClaims bound = world.claims();
    bound.pod = {"p", world.make<api::Pod>(R"({"metadata":{"name":"p","namespace":"default"},
        "spec":{"containers":[{"name":"c","image":"i"}]}})")};
    bound.node = {"n", "nu"};
    CHECK(world.who_has(world.signer->sign(bound).value())["extra"] == Json::parse(R"({
        "authentication.kubernetes.io/credential-id":["JTI=id-1"],
        "authentication.kubernetes.io/node-name":["n"],"authentication.kubernetes.io/node-uid":["nu"],
        "authentication.kubernetes.io/pod-name":["p"],"authentication.kubernetes.io/pod-uid":[")" + bound.pod->uid + R"("]})"));
    REQUIRE(client.remove<api::Pod>({"default", "p"}, {.grace_seconds = 0}).ok());
    CHECK(world.refusal(bound) == kGone);
  }
  SECTION("secret") {
    TokenClaims bound = world.claims();
    bound.secret = {"s", world.make<api::Secret>(R"({"metadata":{"name":"s","namespace":"default"}})")};
    CHECK(world.refusal(bound) == "");
    bound.secret->uid = "another";
    CHECK(world.refusal(bound) == kGone);
  }
  SECTION("node") {
    TokenClaims bound = world.claims();
    bound.node = {"n", world.make<api::Node>(R"({"metadata":{"name":"n"}})")};
    CHECK(world.refusal(bound) == "");
    REQUIRE(client.remove<api::Node>({"", "n"}).ok());
    CHECK(world.refusal(bound) == kGone);
  }
  SECTION("account") {
    TokenClaims other = world.claims();
    other.service_account.uid = "another";
    CHECK(world.refusal(other).find("does not match claim (another)") != std::string::npos);
  }
  SECTION("time") {
    TokenClaims now = world.claims();
    world.clock.advance(2h);
    CHECK(world.refusal(now).find("token") != std::string::npos);
  }
  SECTION("audience") {
    TokenClaims elsewhere = world.claims();
    elsewhere.audiences = {"vault"};
    CHECK(world.refusal(elsewhere) != "");
    CHECK(world.refusal(elsewhere, {"vault", "more"}) == "");
  }
  SECTION("key") {
    auto stranger = TokenSigner::create(make_signing_key().value()).value();
    CHECK(world.call(world.plain({{"Authorization", "Bearer " + stranger->sign(world.claims()).value()}})).status == 401);
  }
}

TEST_CASE("a token of a Secret counts while the Secret holds it") {
  World world;
  TokenClaims claims = world.claims();
  claims.secret = {"s", ""};
  std::string token = world.signer->sign_legacy(claims).value();
  CHECK(world.call(world.plain({{"Authorization", "Bearer " + token}})).status == 401);
  api::Secret secret;
  secret.metadata.name = "s";
  secret.metadata.namespace_ = "default";
  secret.data["token"].data = token;
  REQUIRE(world.registry.local_client().create(secret).ok());
  CHECK(world.who_has(token)["username"] == "system:serviceaccount:default:default");
  secret.data["token"].data = token + "x";
  REQUIRE(world.registry.local_client().update(secret).ok());
  CHECK(world.call(world.plain({{"Authorization", "Bearer " + token}})).status == 401);
}

TEST_CASE("bootstrap tokens are what their Secrets say") {
  struct Row {
    const char* name;
    std::map<std::string, std::string> data;
    const char* type = "bootstrap.kubernetes.io/token";
    bool good = false;
  };
  const std::map<std::string, std::string> all = {{"token-id", "abcdef"},
                                                  {"token-secret", "0123456789abcdef"},
                                                  {"usage-bootstrap-authentication", "true"},
                                                  {"auth-extra-groups", "system:bootstrappers:kubeadm:x"}};
  auto with = [&](const char* key, const char* value) {
    auto data = all;
    data[key] = value;
    return data;
  };
  const Row rows[] = {{"all", all, "bootstrap.kubernetes.io/token", true},
                      {"other type", all, "Opaque"},
                      {"other secret", with("token-secret", "0123456789abcdeg")},
                      {"other id", with("token-id", "abcdeg")},
                      {"other use", with("usage-bootstrap-authentication", "false")},
                      {"long ago", with("expiration", "2001-01-01T00:00:00Z")},
                      {"no time", with("expiration", "tomorrow")},
                      {"far ahead", with("expiration", "2901-01-01T00:00:00Z"), "bootstrap.kubernetes.io/token", true},
                      {"other group", with("auth-extra-groups", "system:masters")}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      World world;
      api::Secret secret;
      secret.metadata.name = "bootstrap-token-abcdef";
      secret.metadata.namespace_ = "kube-system";
      secret.type = row.type;
      for (const auto& [key, value] : row.data) secret.data[key].data = value;
      REQUIRE(world.registry.local_client().create(secret).ok());
      Json user = world.who_has("abcdef.0123456789abcdef");
      if (row.good)
        CHECK(user == Json::parse(R"({"username":"system:bootstrap:abcdef",
            "groups":["system:bootstrappers","system:bootstrappers:kubeadm:x","system:authenticated"]})"));
      else CHECK(user["code"] == 401);
    }
  }
}

TEST_CASE("a TokenReview tells whom a token is for") {
  World world;
  auto review = [&](const std::string& spec) {
    return Json::parse(*world.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":)" + spec + "}").body);
  };
  TokenClaims claims = world.claims();
  claims.audiences = {"vault", std::string(kTokenIssuer)};
  std::string token = world.signer->sign(claims).value();
  Json good = review(R"({"token":")" + token + R"("})")["status"];
  CHECK(good["authenticated"] == true);
  CHECK(good["user"]["username"] == "system:serviceaccount:default:default");
  CHECK(good["audiences"] == Json{std::string(kTokenIssuer)});
  CHECK(review(R"({"token":")" + token + R"(","audiences":["vault","x"]})")["status"]["audiences"] == Json{"vault"});
  Json wrong = review(R"({"token":")" + token + R"(","audiences":["x"]})")["status"];
  CHECK_FALSE(wrong.contains("authenticated"));
  CHECK(wrong["error"].get<std::string>().starts_with("[invalid bearer token, "));
  CHECK(review(R"({"token":"nonsense"})")["status"].contains("error"));
  CHECK(review("{}")["message"] == "token is required for TokenReview in authentication");
}

TEST_CASE("certificates are asked for, approved and signed only by those who may") {
  World world;
  auto request = api::from_json<api::CertificateSigningRequest>(
                     R"({"metadata":{"name":"r"},"spec":{"signerName":"kubernetes.io/kube-apiserver-client"}})")
                     .value();
  client::CertificateRequest asked;
  asked.organizations = {"cooks"};
  CHECK(registry::admit_certificate_subject(request, asked).ok());
  asked.organizations.emplace_back("system:masters");
  CHECK(registry::admit_certificate_subject(request, asked).error().message() ==
        R"(certificatesigningrequests.certificates.k8s.io "r" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed)");
  auto served = request;
  served.spec.signerName = "example.com/any";
  CHECK(registry::admit_certificate_subject(served, asked).ok());

  for (const char* name : {"kubernetes.io/kube-apiserver-client", "example.com/*"})
    world.make<api::ClusterRole>(R"({"metadata":{"name":"r)" + std::to_string(name[0]) + R"("},"rules":[{"apiGroups":["certificates.k8s.io"],
        "resources":["signers"],"resourceNames":[")" + name + R"("],"verbs":["approve","sign"]}]})");
  for (const auto& [user, role] : {std::pair("jane", 'k'), std::pair("joe", 'e')})
    world.make<api::ClusterRoleBinding>(R"({"metadata":{"name":")" + std::string(user) + R"("},
        "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"r)" + std::to_string(role) +
        R"("},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":")" + user + R"("}]})");
  struct Row {
    const char* user;
    const api::CertificateSigningRequest* request;
    bool may;
  };
  const Row rows[] = {{"jane", &request, true}, {"jane", &served, false}, {"joe", &request, false},
                      {"joe", &served, true}, {"jack", &served, false}};
  for (const Row& row : rows) {
    registry::RequestContext asking;
    asking.user = {row.user, "", {}, {}};
    registry::StrategyContext context{asking, world.registry.local_client(), *world.access, nullptr, nullptr,
                                      world.random, world.clock.wall_now()};
    auto next = *row.request;
    next.status.certificate.data = "x";
    INFO(row.user << " " << row.request->spec.signerName);
    Status approval = registry::admit_certificate_approval(*row.request, context);
    CHECK(approval.ok() == row.may);
    if (!approval.ok())
      CHECK(approval.error().message().ends_with("user not permitted to approve requests with signerName \"" +
                                                 row.request->spec.signerName + "\""));
    CHECK(registry::admit_certificate_signing(next, *row.request, context).ok() == row.may);
    CHECK(registry::admit_certificate_signing(*row.request, *row.request, context).ok());
  }
}
