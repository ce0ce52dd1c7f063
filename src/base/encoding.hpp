#pragma once
// Text encodings of bytes.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skiff {

/// RFC 4648 base64 with padding.
std::string base64_encode(std::string_view bytes);
/// Accepts padded input only (as Go's StdEncoding does), ignoring CR and LF; nullopt on anything else.
std::optional<std::string> base64_decode(std::string_view text);
/// The URL alphabet without padding (JWT, WebSocket bearer tokens).
std::string base64url_encode(std::string_view bytes);
std::optional<std::string> base64url_decode(std::string_view text);

std::string hex_encode(std::string_view bytes);

/// "a,b,,c" split at ',' gives {"a","b","","c"}; empty text gives {}.
std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

}  // namespace skiff
