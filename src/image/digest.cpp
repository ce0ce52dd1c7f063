#include "image/digest.hpp"

#include <openssl/evp.h>

#include <algorithm>

#include "base/encoding.hpp"

namespace skiff::image {

namespace {
constexpr std::string_view kPrefix = "sha256:";
constexpr size_t kBytes = 32;
}  // namespace

// OpenSSL's digest calls fail only when memory runs out or on misuse; there is nothing to hand to a caller.
Sha256::Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::add(std::string_view bytes) { EVP_DigestUpdate(context_, bytes.data(), bytes.size()); }

std::string Sha256::digest() {
  std::string raw(kBytes, '\0');
  EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(raw.data()), nullptr);
  return std::string(kPrefix) + hex_encode(raw);
}

std::string digest_of(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.digest();
}

bool is_digest(std::string_view text) {
  return text.starts_with(kPrefix) && text.size() == kPrefix.size() + 2 * kBytes &&
         std::all_of(text.begin() + kPrefix.size(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string_view hex_of(std::string_view digest) { return digest.substr(kPrefix.size()); }

}  // namespace skiff::image
