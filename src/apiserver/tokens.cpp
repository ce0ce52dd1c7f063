#include "apiserver/tokens.hpp"

#include <openssl/core_names.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "apiserver/openssl.hpp"
#include "base/encoding.hpp"

namespace skiff::apiserver {

using nlohmann::json;

namespace {

constexpr size_t kCoordinate = 32;  // bytes of one P-256 coordinate, and of half a signature
constexpr size_t kMaxToken = 16384;

Error refused(std::string_view why) {
  return error(Code::Unauthorized, "invalid service account token: {}", why);
}

std::int64_t seconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

json to_json(const BoundObject& object) {
  json result = {{"name", object.name}};
  if (!object.uid.empty()) result["uid"] = object.uid;
  return result;
}

std::optional<BoundObject> bound_object(const json& parent, const char* name) {
  auto found = parent.find(name);
  if (found == parent.end() || !found->is_object()) return std::nullopt;
  return BoundObject{found->value("name", ""), found->value("uid", "")};
}

json to_json(const TokenClaims& claims) {
  json kubernetes = {{"namespace", claims.token_namespace},
                     {"serviceaccount", to_json(claims.service_account)}};
  if (claims.pod) kubernetes["pod"] = to_json(*claims.pod);
  if (claims.node) kubernetes["node"] = to_json(*claims.node);
  if (claims.secret) kubernetes["secret"] = to_json(*claims.secret);
  json result = {
      {"aud", claims.audiences}, {"exp", seconds_of(claims.expires)},      {"iat", seconds_of(claims.issued)},
      {"iss", kTokenIssuer},     {"kubernetes.io", std::move(kubernetes)}, {"nbf", seconds_of(claims.issued)},
      {"sub", claims.subject()}};
  if (!claims.id.empty()) result["jti"] = claims.id;
  if (claims.warn_after) result["kubernetes.io"]["warnafter"] = *claims.warn_after;
  return result;
}

constexpr char kLegacyIssuer[] = "kubernetes/serviceaccount";
constexpr char kLegacy[] = "kubernetes.io/serviceaccount/";

json to_legacy_json(const TokenClaims& claims) {
  const std::string prefix = kLegacy;
  return {{"iss", kLegacyIssuer},
          {prefix + "namespace", claims.token_namespace},
          {prefix + "secret.name", claims.secret ? claims.secret->name : ""},
          {prefix + "service-account.name", claims.service_account.name},
          {prefix + "service-account.uid", claims.service_account.uid},
          {"sub", claims.subject()}};
}

// May throw, as from_json.
TokenClaims from_legacy_json(const json& document) {
  const std::string prefix = kLegacy;
  TokenClaims claims;
  claims.legacy = true;
  claims.token_namespace = document.at(prefix + "namespace").get<std::string>();
  claims.service_account = {document.at(prefix + "service-account.name").get<std::string>(),
                            document.at(prefix + "service-account.uid").get<std::string>()};
  claims.secret = BoundObject{document.at(prefix + "secret.name").get<std::string>(), ""};
  claims.audiences = {std::string(kTokenIssuer)};
  return claims;
}

std::vector<std::string> audiences_of(const json& claims) {
  const json& audience = claims.at("aud");
  if (audience.is_string()) return {audience.get<std::string>()};
  return audience.get<std::vector<std::string>>();
}

// May throw nlohmann's exceptions; the caller turns them into one refusal.
TokenClaims from_json(const json& document) {
  const json& kubernetes = document.at("kubernetes.io");
  TokenClaims claims;
  claims.token_namespace = kubernetes.at("namespace").get<std::string>();
  claims.service_account = bound_object(kubernetes, "serviceaccount").value_or(BoundObject{});
  claims.pod = bound_object(kubernetes, "pod");
  claims.node = bound_object(kubernetes, "node");
  claims.secret = bound_object(kubernetes, "secret");
  claims.audiences = audiences_of(document);
  claims.id = document.value("jti", "");
  claims.issued = WallTime(std::chrono::seconds(document.at("iat").get<std::int64_t>()));
  claims.expires = WallTime(std::chrono::seconds(document.at("exp").get<std::int64_t>()));
  return claims;
}

// JWS wants r and s at fixed width (RFC 7518, 3.4); OpenSSL speaks DER.
Result<std::string> der_to_raw(std::string_view der) {
  const auto* cursor = reinterpret_cast<const unsigned char*>(der.data());
  SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(der.size())));
  if (!signature) return openssl_error("read signature");
  std::string raw(2 * kCoordinate, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  if (BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out, kCoordinate) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out + kCoordinate, kCoordinate) < 0)
    return openssl_error("pad signature");
  return raw;
}

std::optional<std::string> raw_to_der(std::string_view raw) {
  if (raw.size() != 2 * kCoordinate) return std::nullopt;
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  SignaturePtr signature(ECDSA_SIG_new());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(bytes, kCoordinate, nullptr),
                 BN_bin2bn(bytes + kCoordinate, kCoordinate, nullptr));
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return std::nullopt;
  std::string result(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return result;
}

Result<std::string> coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return openssl_error("public key coordinate");
  std::string bytes(kCoordinate, '\0');
  int size = BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), kCoordinate);
  BN_free(number);
  if (size < 0) return openssl_error("public key coordinate");
  return base64url_encode(bytes);
}

// As Kubernetes does: the hash of the public key in its DER form.
Result<std::string> key_id_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return openssl_error("encode public key");
  std::array<unsigned char, 32> hash{};
  EVP_Digest(der, static_cast<size_t>(size), hash.data(), nullptr, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  return base64url_encode({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

Status check_times(const json& document, WallTime now) {
  if (document.at("exp").get<std::int64_t>() <= seconds_of(now)) return refused("token has expired");
  constexpr std::int64_t kLeeway = 60;  // between clocks, as Kubernetes' library has it
  if (document.value("nbf", std::int64_t{0}) > seconds_of(now) + kLeeway) return refused("token is not valid yet");
  return ok();
}

Status check_audience(const std::vector<std::string>& audiences, const std::vector<std::string>& wanted) {
  for (const std::string& audience : audiences) {
    bool known =
        wanted.empty() ? audience == kTokenIssuer : std::ranges::find(wanted, audience) != wanted.end();
    if (known) return ok();
  }
  return refused("token audiences do not include this API server");
}

}  // namespace

struct TokenSigner::Key {
  KeyPtr pkey;
  std::string x, y;
};

TokenSigner::TokenSigner(std::unique_ptr<Key> key) : key_(std::move(key)) {}
TokenSigner::~TokenSigner() = default;

std::string TokenClaims::subject() const {
  return "system:serviceaccount:" + token_namespace + ":" + service_account.name;
}

Result<std::unique_ptr<TokenSigner>> TokenSigner::create(const std::string& key_pem) {
  auto key = std::make_unique<Key>();
  TRY_ASSIGN(key->pkey, parse_private_key(key_pem));
  if (EVP_PKEY_get_bits(key->pkey.get()) != 256 || EVP_PKEY_is_a(key->pkey.get(), "EC") != 1)
    return error(Code::Invalid, "the token signing key is not an ECDSA P-256 key");
  TRY_ASSIGN(key->x, coordinate(key->pkey.get(), OSSL_PKEY_PARAM_EC_PUB_X));
  TRY_ASSIGN(key->y, coordinate(key->pkey.get(), OSSL_PKEY_PARAM_EC_PUB_Y));
  TRY_ASSIGN(std::string id, key_id_of(key->pkey.get()));
  std::unique_ptr<TokenSigner> signer(new TokenSigner(std::move(key)));
  signer->key_id_ = std::move(id);
  return signer;
}

Result<std::string> TokenSigner::sign(const TokenClaims& claims) const { return sign_text(to_json(claims).dump()); }

Result<std::string> TokenSigner::sign_legacy(const TokenClaims& claims) const {
  return sign_text(to_legacy_json(claims).dump());
}

Result<std::string> TokenSigner::sign_text(const std::string& payload) const {
  json header = {{"alg", "ES256"}, {"kid", key_id_}};
  std::string text = base64url_encode(header.dump()) + "." + base64url_encode(payload);
  DigestPtr digest(EVP_MD_CTX_new());
  std::array<unsigned char, 128> der{};
  size_t size = der.size();
  if (EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, key_->pkey.get()) != 1 ||
      EVP_DigestSign(digest.get(), der.data(), &size, reinterpret_cast<const unsigned char*>(text.data()),
                     text.size()) != 1)
    return openssl_error("sign token");
  TRY_ASSIGN(std::string raw, der_to_raw({reinterpret_cast<const char*>(der.data()), size}));
  return text + "." + base64url_encode(raw);
}

Result<TokenClaims> TokenSigner::verify(std::string_view token, WallTime now,
                                        const std::vector<std::string>& audiences) const {
  size_t first = token.find('.');
  size_t second = first == token.npos ? token.npos : token.find('.', first + 1);
  if (token.size() > kMaxToken || second == token.npos) return refused("not a JWT");
  std::optional<std::string> header = base64url_decode(token.substr(0, first));
  std::optional<std::string> payload = base64url_decode(token.substr(first + 1, second - first - 1));
  std::optional<std::string> raw = base64url_decode(token.substr(second + 1));
  std::optional<std::string> der = raw ? raw_to_der(*raw) : std::nullopt;
  if (!header || !payload || !der) return refused("not a JWT");
  DigestPtr digest(EVP_MD_CTX_new());
  EVP_DigestVerifyInit(digest.get(), nullptr, EVP_sha256(), nullptr, key_->pkey.get());
  bool genuine =
      EVP_DigestVerify(digest.get(), reinterpret_cast<const unsigned char*>(der->data()), der->size(),
                       reinterpret_cast<const unsigned char*>(token.data()), second) == 1;
  ERR_clear_error();
  if (!genuine) return refused("signature is not from this cluster");
  try {
    if (json::parse(*header).at("alg") != "ES256") return refused("algorithm is not ES256");
    json document = json::parse(*payload);
    bool legacy = document.at("iss") == kLegacyIssuer;
    if (!legacy && document.at("iss") != kTokenIssuer) return refused("unknown issuer");
    if (!legacy) TRY(check_times(document, now));
    TokenClaims claims = legacy ? from_legacy_json(document) : from_json(document);
    TRY(check_audience(claims.audiences, audiences));
    if (document.at("sub") != claims.subject()) return refused("subject does not match the service account");
    return claims;
  } catch (const json::exception&) {
    return refused("claims are malformed");
  }
}

std::string TokenSigner::jwks() const {
  json key = {{"alg", "ES256"}, {"crv", "P-256"}, {"kid", key_id_}, {"kty", "EC"},
              {"use", "sig"},   {"x", key_->x},   {"y", key_->y}};
  return json{{"keys", json::array({std::move(key)})}}.dump();
}

}  // namespace skiff::apiserver
