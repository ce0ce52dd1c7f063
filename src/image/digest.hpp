#pragma once
// SHA-256, the name of all content.

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace skiff::image {

/// Hashes what it is fed.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes);
  /// "sha256:" and 64 hexadecimal digits. Once.
  std::string digest();

 private:
  evp_md_ctx_st* context_;
};

std::string digest_of(std::string_view bytes);

/// Whether `text` is "sha256:" and 64 lower-case hexadecimal digits, so safe as a file name.
bool is_digest(std::string_view text);
/// The digits of a digest.
std::string_view hex_of(std::string_view digest);

}  // namespace skiff::image
