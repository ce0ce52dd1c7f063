#pragma once
// Syntax errors of JSON in the words of Go's decoder, which clients and their users know.

#include <string>
#include <string_view>

namespace skiff::api {

/// "invalid character 'b' looking for beginning of value". `problem` is what() of nlohmann's parse_error, `read` all
/// text up to the place of it.
std::string syntax_error_words(std::string_view problem, std::string_view read);

}  // namespace skiff::api
