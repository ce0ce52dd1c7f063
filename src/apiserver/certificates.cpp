#include "apiserver/certificates.hpp"

#include <arpa/inet.h>

#include <array>

#include "apiserver/openssl.hpp"
#include "base/random.hpp"
#include "sys/files.hpp"

namespace skiff::apiserver {

Error openssl_error(std::string_view doing) {
  unsigned long code = ERR_get_error();
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return error(Code::Internal, "{}: {}", doing, code == 0 ? "unknown OpenSSL failure" : text.data());
}

namespace {

enum class Purpose { Authority, Server, Client };

struct Subject {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> names;  // subject alternative names
};

BioPtr memory_bio(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

Result<std::string> key_pem(EVP_PKEY* key) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_error("write private key");
  return text_of(bio.get());
}

Result<std::string> certificate_pem(X509* certificate) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return openssl_error("write certificate");
  return text_of(bio.get());
}

Status set_subject(X509* certificate, const Subject& subject) {
  X509_NAME* name = X509_get_subject_name(certificate);
  auto add = [name](const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  for (const std::string& organization : subject.organizations)
    if (!add("O", organization)) return openssl_error("organization '" + organization + "'");
  if (!add("CN", subject.common_name)) return openssl_error("common name '" + subject.common_name + "'");
  return ok();
}

Status set_random_serial(X509* certificate) {
  SystemRandom random;
  // 63 bits: positive, and never repeated within the life of one authority.
  if (ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), (random.next() >> 1) | 1) != 1)
    return openssl_error("serial number");
  return ok();
}

// A cluster that was made while the clock was wrong by a time zone outlives its being set right.
constexpr long kBackdate = 24 * 60 * 60;

void set_validity(X509* certificate, Validity validity) {
  time_t from = std::chrono::system_clock::to_time_t(
      std::chrono::time_point_cast<std::chrono::system_clock::duration>(validity.from));
  long seconds = std::chrono::duration_cast<std::chrono::seconds>(validity.span).count();
  X509_time_adj(X509_getm_notBefore(certificate), -kBackdate, &from);
  X509_time_adj(X509_getm_notAfter(certificate), seconds, &from);
}

Status add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  if (extension == nullptr) return openssl_error(value);
  int added = X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  if (added != 1) return openssl_error(value);
  return ok();
}

bool is_ip_address(const std::string& text) {
  in6_addr buffer{};
  return ::inet_pton(AF_INET, text.c_str(), &buffer) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &buffer) == 1;
}

// Built name by name, not through a configuration string, so that a comma in a name cannot add another.
Status add_alternative_names(X509* certificate, const std::vector<std::string>& names) {
  if (names.empty()) return ok();
  std::unique_ptr<GENERAL_NAMES, OpensslDeleter<GENERAL_NAMES_free>> list(GENERAL_NAMES_new());
  for (const std::string& name : names) {
    GENERAL_NAME* entry = a2i_GENERAL_NAME(nullptr, nullptr, nullptr,
                                           is_ip_address(name) ? GEN_IPADD : GEN_DNS, name.c_str(), 0);
    if (entry == nullptr) return openssl_error("subject alternative name '" + name + "'");
    sk_GENERAL_NAME_push(list.get(), entry);
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, list.get(), 0, X509V3_ADD_DEFAULT) != 1)
    return openssl_error("subject alternative names");
  return ok();
}

Status add_extensions(X509* certificate, X509* issuer, Purpose purpose) {
  if (purpose == Purpose::Authority) {
    TRY(add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
    TRY(add_extension(certificate, issuer, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature"));
    return add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
  }
  TRY(add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  TRY(add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature"));
  TRY(add_extension(certificate, issuer, NID_ext_key_usage,
                    purpose == Purpose::Server ? "serverAuth" : "clientAuth"));
  return add_extension(certificate, issuer, NID_authority_key_identifier, "keyid");
}

// Signs a new key's certificate with `issuer`, or with itself when `issuer` is null.
Result<CertificatePair> issue(const CertificatePair* issuer, Purpose purpose, const Subject& subject,
                              Validity validity) {
  KeyPtr key(EVP_EC_gen("P-256"));
  CertificatePtr certificate(X509_new());
  if (!key || !certificate) return openssl_error("generate P-256 key");
  KeyPtr issuer_key;
  CertificatePtr issuer_certificate;
  if (issuer != nullptr) {
    TRY_ASSIGN(issuer_key, parse_private_key(issuer->key));
    TRY_ASSIGN(issuer_certificate, parse_certificate(issuer->certificate));
  }
  X509* signer = issuer_certificate ? issuer_certificate.get() : certificate.get();
  X509_set_version(certificate.get(), X509_VERSION_3);
  TRY(set_random_serial(certificate.get()));
  set_validity(certificate.get(), validity);
  TRY(set_subject(certificate.get(), subject));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  X509_set_pubkey(certificate.get(), key.get());
  TRY(add_extensions(certificate.get(), signer, purpose));
  TRY(add_alternative_names(certificate.get(), subject.names));
  if (X509_sign(certificate.get(), issuer_key ? issuer_key.get() : key.get(), EVP_sha256()) == 0)
    return openssl_error("sign certificate of '" + subject.common_name + "'");
  CertificatePair pair;
  TRY_ASSIGN(pair.certificate, certificate_pem(certificate.get()));
  TRY_ASSIGN(pair.key, key_pem(key.get()));
  return pair;
}

}  // namespace

Result<KeyPtr> parse_private_key(std::string_view pem) {
  BioPtr bio = memory_bio(pem);
  KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!key) return openssl_error("read private key");
  return key;
}

Result<CertificatePtr> parse_certificate(std::string_view pem) {
  BioPtr bio = memory_bio(pem);
  CertificatePtr certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) return openssl_error("read certificate");
  return certificate;
}

Result<CertificatePair> make_authority(const std::string& common_name, Validity validity) {
  return issue(nullptr, Purpose::Authority, {common_name, {}, {}}, validity);
}

Result<CertificatePair> issue_server(const CertificatePair& authority, const std::string& common_name,
                                     const std::vector<std::string>& names, Validity validity) {
  return issue(&authority, Purpose::Server, {common_name, {}, names}, validity);
}

Result<CertificatePair> issue_client(const CertificatePair& authority, const std::string& user,
                                     const std::vector<std::string>& groups, Validity validity) {
  return issue(&authority, Purpose::Client, {user, groups, {}}, validity);
}

Result<std::string> make_signing_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("generate P-256 key");
  return key_pem(key.get());
}

Result<WallTime> expiry_of(const std::string& certificate_pem) {
  TRY_ASSIGN(CertificatePtr certificate, parse_certificate(certificate_pem));
  tm broken_down{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &broken_down) != 1)
    return openssl_error("end of validity");
  return WallTime(std::chrono::seconds(::timegm(&broken_down)));
}

bool needs_renewal(const std::string& certificate_pem, const std::string& authority_pem, WallTime now,
                   std::chrono::hours lifetime) {
  Result<WallTime> expiry = expiry_of(certificate_pem);
  if (!expiry.ok() || expiry.value() - now < lifetime / 3) return true;
  Result<CertificatePtr> certificate = parse_certificate(certificate_pem);
  Result<CertificatePtr> authority = parse_certificate(authority_pem);
  if (!certificate.ok() || !authority.ok()) return true;
  bool signed_by = X509_verify(certificate.value().get(), X509_get0_pubkey(authority.value().get())) == 1;
  ERR_clear_error();
  return !signed_by;
}

Status save_pair(const CertificatePair& pair, const std::string& directory, const std::string& name) {
  TRY(sys::replace_file(directory + "/" + name + ".key", pair.key, 0600));
  return sys::replace_file(directory + "/" + name + ".crt", pair.certificate, 0644);
}

Result<CertificatePair> load_pair(const std::string& directory, const std::string& name) {
  CertificatePair pair;
  TRY_ASSIGN(pair.certificate, sys::read_file(directory + "/" + name + ".crt", 1U << 20));
  TRY_ASSIGN(pair.key, sys::read_file(directory + "/" + name + ".key", 1U << 20));
  TRY_ASSIGN(CertificatePtr certificate, parse_certificate(pair.certificate));
  TRY_ASSIGN(KeyPtr key, parse_private_key(pair.key));
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return error(Code::Invalid, "{}/{}.key is not the key of {}.crt", directory, name, name);
  }
  return pair;
}

}  // namespace skiff::apiserver
