#include "apiserver/certificate_requests.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <map>

#include "apiserver/openssl.hpp"
#include "base/encoding.hpp"
#include "base/random.hpp"

namespace skiff::apiserver {

using client::CertificateRequest;
using client::CertificateTerms;

namespace {

using RequestPtr = std::unique_ptr<X509_REQ, OpensslDeleter<X509_REQ_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslDeleter<GENERAL_NAMES_free>>;

struct ExtensionsFree {
  void operator()(STACK_OF(X509_EXTENSION) * all) const { sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free); }
};
using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), ExtensionsFree>;

Result<RequestPtr> parse_request(const std::string& pem) {
  if (pem.find("-----BEGIN CERTIFICATE REQUEST-----") == pem.npos)
    return error(Code::Invalid, "PEM block type must be CERTIFICATE REQUEST");
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!request) return error(Code::Invalid, "the certificate request cannot be read");
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  bool genuine = key != nullptr && X509_REQ_verify(request.get(), key) == 1;
  ERR_clear_error();
  if (!genuine) return error(Code::Invalid, "the certificate request is not signed by its own key");
  return request;
}

std::vector<std::string> entries(X509_NAME* name, int nid) {
  std::vector<std::string> values;
  for (int i = X509_NAME_get_index_by_NID(name, nid, -1); i >= 0; i = X509_NAME_get_index_by_NID(name, nid, i)) {
    unsigned char* text = nullptr;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
    if (size < 0) continue;
    values.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  return values;
}

NamesPtr alternative_names(X509_REQ* request) {
  ExtensionsPtr extensions(X509_REQ_get_extensions(request));
  if (!extensions) return nullptr;
  return NamesPtr(
      static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions.get(), NID_subject_alt_name, nullptr, nullptr)));
}

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

std::string address_text(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  ::inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size());
  return text.data();
}

void add_names(const GENERAL_NAMES* names, CertificateRequest& out) {
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS) out.dns_names.push_back(text_of(name->d.dNSName));
    if (name->type == GEN_EMAIL) out.emails.push_back(text_of(name->d.rfc822Name));
    if (name->type == GEN_URI) out.uris.push_back(text_of(name->d.uniformResourceIdentifier));
    if (name->type == GEN_IPADD) out.ip_addresses.push_back(address_text(name->d.iPAddress));
  }
}

Status add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) return openssl_error(value);
  int added = X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  return added == 1 ? ok() : Status(openssl_error(value));
}

// Kubernetes' words for usages, and OpenSSL's.
const std::map<std::string, std::string>& key_usages() {
  static const std::map<std::string, std::string> kUsages{
      {"signing", "digitalSignature"},           {"digital signature", "digitalSignature"},
      {"content commitment", "nonRepudiation"},  {"key encipherment", "keyEncipherment"},
      {"key agreement", "keyAgreement"},         {"data encipherment", "dataEncipherment"},
      {"cert sign", "keyCertSign"},              {"crl sign", "cRLSign"},
      {"encipher only", "encipherOnly"},         {"decipher only", "decipherOnly"}};
  return kUsages;
}
const std::map<std::string, std::string>& extended_usages() {
  static const std::map<std::string, std::string> kUsages{
      {"any", "anyExtendedKeyUsage"},         {"server auth", "serverAuth"},
      {"client auth", "clientAuth"},          {"code signing", "codeSigning"},
      {"email protection", "emailProtection"}, {"s/mime", "emailProtection"},
      {"ipsec end system", "ipsecEndSystem"}, {"ipsec tunnel", "ipsecTunnel"},
      {"ipsec user", "ipsecUser"},            {"timestamping", "timeStamping"},
      {"ocsp signing", "OCSPSigning"},        {"microsoft sgc", "msSGC"},
      {"netscape sgc", "nsSGC"}};
  return kUsages;
}

std::string usage_words(const std::vector<std::string>& usages, const std::map<std::string, std::string>& words) {
  std::vector<std::string> chosen;
  for (const std::string& usage : usages) {
    auto word = words.find(usage);
    if (word == words.end()) continue;
    if (std::find(chosen.begin(), chosen.end(), word->second) == chosen.end()) chosen.push_back(word->second);
  }
  return join(chosen, ",");
}

Status add_extensions(X509* certificate, X509* issuer, const CertificateTerms& terms, X509_REQ* request) {
  if (std::string words = usage_words(terms.usages, key_usages()); !words.empty())
    TRY(add_extension(certificate, issuer, NID_key_usage, "critical," + words));
  if (std::string words = usage_words(terms.usages, extended_usages()); !words.empty())
    TRY(add_extension(certificate, issuer, NID_ext_key_usage, words));
  TRY(add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  TRY(add_extension(certificate, issuer, NID_authority_key_identifier, "keyid"));
  NamesPtr names = alternative_names(request);
  if (names && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) != 1)
    return openssl_error("subject alternative names");
  return ok();
}

void set_validity(X509* certificate, std::chrono::seconds lifetime, WallTime now) {
  constexpr long kBackdate = 5 * 60;  // for clocks that differ a little
  time_t from = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  X509_time_adj(X509_getm_notBefore(certificate), -kBackdate, &from);
  X509_time_adj(X509_getm_notAfter(certificate), static_cast<long>(lifetime.count()), &from);
}

Result<std::string> pem_of(X509* certificate) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return openssl_error("write certificate");
  char* data = nullptr;
  long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

Result<CertificateRequest> ClusterAuthority::read(const std::string& request_pem) const {
  TRY_ASSIGN(RequestPtr request, parse_request(request_pem));
  X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  CertificateRequest out;
  std::vector<std::string> names = entries(subject, NID_commonName);
  if (!names.empty()) out.common_name = names.back();
  out.organizations = entries(subject, NID_organizationName);
  add_names(alternative_names(request.get()).get(), out);
  return out;
}

Result<std::string> ClusterAuthority::sign(const std::string& request_pem, const CertificateTerms& terms,
                                           WallTime now) const {
  TRY_ASSIGN(RequestPtr request, parse_request(request_pem));
  TRY_ASSIGN(KeyPtr issuer_key, parse_private_key(authority_.key));
  TRY_ASSIGN(CertificatePtr issuer, parse_certificate(authority_.certificate));
  CertificatePtr certificate(X509_new());
  SystemRandom random;
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), (random.next() >> 1) | 1);
  set_validity(certificate.get(), terms.lifetime, now);
  X509_set_subject_name(certificate.get(), X509_REQ_get_subject_name(request.get()));
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get()));
  X509_set_pubkey(certificate.get(), X509_REQ_get0_pubkey(request.get()));
  TRY(add_extensions(certificate.get(), issuer.get(), terms, request.get()));
  if (X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()) == 0) return openssl_error("sign certificate");
  return pem_of(certificate.get());
}

}  // namespace skiff::apiserver
