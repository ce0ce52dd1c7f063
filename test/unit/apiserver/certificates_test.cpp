#include "apiserver/certificates.hpp"

#include <catch2/catch.hpp>

#include "apiserver/openssl.hpp"
#include "apiserver/tokens.hpp"
#include "base/encoding.hpp"
#include "sys/files.hpp"
#include "unit/apiserver/temporary_directory.hpp"

using namespace skiff;
using namespace skiff::apiserver;

namespace {

const WallTime kNow{std::chrono::seconds(1'800'000'000)};

CertificatePair authority() { return make_authority("skiff-ca", {kNow, kAuthorityLifetime}).value(); }

bool verifies(const CertificatePair& leaf, const CertificatePair& ca, WallTime when, int purpose) {
  CertificatePtr certificate = parse_certificate(leaf.certificate).value();
  CertificatePtr root = parse_certificate(ca.certificate).value();
  std::unique_ptr<X509_STORE, OpensslDeleter<X509_STORE_free>> store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), root.get());
  std::unique_ptr<X509_STORE_CTX, OpensslDeleter<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), certificate.get(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  X509_STORE_CTX_set_time(context.get(), 0,
                          std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count());
  return X509_verify_cert(context.get()) == 1;
}

}  // namespace

TEST_CASE("leaf certificates verify for their purpose, time and authority only") {
  CertificatePair ca = authority();
  CertificatePair other = authority();
  CertificatePair server = issue_server(ca, "api", {"kubernetes", "127.0.0.1", "::1"}, {kNow, 1h}).value();
  CertificatePair client = issue_client(ca, "admin", {"system:masters"}, {kNow, 1h}).value();
  CHECK(verifies(server, ca, kNow, X509_PURPOSE_SSL_SERVER));
  CHECK_FALSE(verifies(server, ca, kNow, X509_PURPOSE_SSL_CLIENT));
  CHECK(verifies(client, ca, kNow, X509_PURPOSE_SSL_CLIENT));
  CHECK_FALSE(verifies(client, ca, kNow, X509_PURPOSE_SSL_SERVER));
  CHECK_FALSE(verifies(client, ca, kNow + 2h, X509_PURPOSE_SSL_CLIENT));
  CHECK_FALSE(verifies(client, other, kNow, X509_PURPOSE_SSL_CLIENT));
}

TEST_CASE("a server certificate names exactly what it was asked to") {
  CertificatePair pair = issue_server(authority(), "api", {"kubernetes", "10.0.0.1"}, {kNow, 1h}).value();
  CertificatePtr certificate = parse_certificate(pair.certificate).value();
  CHECK(X509_check_host(certificate.get(), "kubernetes", 0, 0, nullptr) == 1);
  CHECK(X509_check_host(certificate.get(), "other", 0, 0, nullptr) == 0);
  CHECK(X509_check_ip_asc(certificate.get(), "10.0.0.1", 0) == 1);
  CHECK(X509_check_ip_asc(certificate.get(), "10.0.0.2", 0) == 0);
}

TEST_CASE("renewal is due when a third of the life is left, or the authority is another") {
  CertificatePair ca = authority();
  CertificatePair leaf = issue_client(ca, "admin", {}, {kNow, kLeafLifetime}).value();
  CHECK(expiry_of(leaf.certificate).value() == kNow + kLeafLifetime);
  CHECK_FALSE(needs_renewal(leaf.certificate, ca.certificate, kNow));
  CHECK_FALSE(needs_renewal(leaf.certificate, ca.certificate, kNow + kLeafLifetime / 2));
  CHECK(needs_renewal(leaf.certificate, ca.certificate, kNow + kLeafLifetime * 3 / 4));
  CHECK(needs_renewal(leaf.certificate, authority().certificate, kNow));
  CHECK(needs_renewal("not a certificate", ca.certificate, kNow));
}

TEST_CASE("pairs are stored with a private key that only the owner reads") {
  test::TemporaryDirectory directory;
  CertificatePair ca = authority();
  REQUIRE(save_pair(ca, directory.path(), "ca").ok());
  CHECK((sys::stat_of(directory.path() + "/ca.key").value().st_mode & 0777) == 0600);
  CHECK(load_pair(directory.path(), "ca").value().certificate == ca.certificate);
  CHECK(load_pair(directory.path(), "missing").error().sys_errno() == ENOENT);
  REQUIRE(sys::replace_file(directory.path() + "/ca.key", authority().key).ok());
  CHECK(load_pair(directory.path(), "ca").error().code() == Code::Invalid);
}

namespace {
TokenClaims claims() {
  TokenClaims result;
  result.token_namespace = "default";
  result.service_account = {"builder", "uid-1"};
  result.pod = BoundObject{"builder-0", "uid-2"};
  result.node = BoundObject{"skiff", ""};
  result.audiences = {std::string(kTokenIssuer)};
  result.id = "token-id";
  result.issued = kNow;
  result.expires = kNow + 1h;
  return result;
}
}  // namespace

TEST_CASE("a token carries its claims through signing and checking") {
  auto signer = TokenSigner::create(make_signing_key().value()).value();
  std::string token = signer->sign(claims()).value();
  TokenClaims read = signer->verify(token, kNow).value();
  CHECK(read.subject() == "system:serviceaccount:default:builder");
  CHECK(read.service_account == BoundObject{"builder", "uid-1"});
  CHECK(read.pod == BoundObject{"builder-0", "uid-2"});
  CHECK(read.node == BoundObject{"skiff", ""});
  CHECK_FALSE(read.secret.has_value());
  CHECK(read.expires == kNow + 1h);
  CHECK(signer->jwks().find("\"kid\":\"" + signer->key_id() + "\"") != std::string::npos);
}

TEST_CASE("tokens that were not issued like this are refused") {
  auto signer = TokenSigner::create(make_signing_key().value()).value();
  auto other = TokenSigner::create(make_signing_key().value()).value();
  std::string token = signer->sign(claims()).value();
  std::string unsigned_token = base64url_encode(R"({"alg":"none"})") + token.substr(token.find('.'));
  std::string altered = token;
  altered[altered.find('.') + 5] = altered[altered.find('.') + 5] == 'A' ? 'B' : 'A';
  struct Row {
    std::string name, token;
    WallTime when;
    std::vector<std::string> audiences;
    std::string why;
  };
  const std::vector<Row> rows{
      {"expired", token, kNow + 2h, {}, "token has expired"},
      {"not yet valid", token, kNow - 1h, {}, "token is not valid yet"},
      {"another audience", token, kNow, {"vault"}, "token audiences do not include this API server"},
      {"another key", other->sign(claims()).value(), kNow, {}, "signature is not from this cluster"},
      {"altered", altered, kNow, {}, "signature is not from this cluster"},
      {"algorithm none", unsigned_token, kNow, {}, "signature is not from this cluster"},
      {"no signature", token.substr(0, token.rfind('.') + 1), kNow, {}, "not a JWT"},
      {"not a token", "hello", kNow, {}, "not a JWT"},
      {"empty", "", kNow, {}, "not a JWT"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    Result<TokenClaims> result = signer->verify(row.token, row.when, row.audiences);
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().code() == Code::Unauthorized);
    CHECK(result.error().message() == "invalid service account token: " + row.why);
  }
}
