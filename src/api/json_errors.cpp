#include "api/json_errors.hpp"

#include <array>
#include <cctype>
#include <utility>

namespace skiff::api {
namespace {

// What the parser was reading, and how Go's scanner calls that place.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kPlaces = {{
    {"parsing object key - ", "looking for beginning of object key string"},
    {"parsing object separator - ", "after object key"},
    {"parsing object - ", "after object key:value pair"},
    {"parsing array - ", "after array element"},
    {"parsing value - ", "looking for beginning of value"},
}};

// The first character of the last token.
char token_begin(std::string_view read) {
  auto goes_on = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.'; };
  size_t begin = read.size() - 1;
  while (begin > 0 && goes_on(read[begin]) && goes_on(read[begin - 1])) --begin;
  return read[begin];
}

}  // namespace

std::string syntax_error_words(std::string_view problem, std::string_view read) {
  if (problem.find("unexpected end of input") != std::string_view::npos) return "unexpected end of JSON input";
  for (const auto& [reading, place] : kPlaces)
    if (!read.empty() && problem.find(reading) != std::string_view::npos)
      return std::string("invalid character '") + token_begin(read) + "' " + std::string(place);
  size_t begin = problem.find("] ");  // after nlohmann's own number of the error
  return std::string(begin == std::string_view::npos ? problem : problem.substr(begin + 2));
}

}  // namespace skiff::api
