#include "image/index.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "image/digest.hpp"

namespace skiff::image {

namespace {
constexpr int kFormat = 1;
constexpr size_t kDirectoryDigits = 16;

AccessByRepository access_from(const nlohmann::json& json) {
  AccessByRepository all;
  for (const auto& [repository, one] : json.items())
    all[repository] = {one.at("anyone").get<bool>(), one.at("secrets").get<std::set<std::string>>(),
                       one.at("hashes").get<std::set<std::string>>()};
  return all;
}

nlohmann::json json_of(const std::map<std::string, AccessByRepository>& access) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [id, repositories] : access)
    for (const auto& [repository, one] : repositories)
      json[id][repository] = {{"anyone", one.anyone}, {"secrets", one.secrets}, {"hashes", one.hashes}};
  return json;
}
}  // namespace

Result<Index> parse_index(std::string_view text) {
  try {
    auto json = nlohmann::json::parse(text);
    if (int format = json.at("format").get<int>(); format > kFormat)
      return error(Code::Invalid,
                   "has format {}, but this skiff knows formats up to {}: it was written by a newer skiff; "
                   "use that one",
                   format, kFormat);
    Index index;
    index.images = json.at("images").get<decltype(index.images)>();
    index.layers = json.at("layers").get<decltype(index.layers)>();
    index.names = json.at("names").get<decltype(index.names)>();
    if (auto pulled = json.find("pulled"); pulled != json.end()) index.pulled = pulled->get<decltype(index.pulled)>();
    if (auto access = json.find("access"); access != json.end())
      for (const auto& [id, repositories] : access->items()) index.access[id] = access_from(repositories);
    bool sound = std::all_of(index.layers.begin(), index.layers.end(),
                             [](const auto& layer) { return is_digest(layer.first); }) &&
                 std::all_of(index.images.begin(), index.images.end(),
                             [](const auto& image) { return is_digest(image.first); });
    if (!sound) return error(Code::Invalid, "is damaged: a digest is none");
    return index;
  } catch (const nlohmann::json::exception& failed) {
    return error(Code::Invalid, "is damaged: {}", failed.what());
  }
}

std::string format_index(const Index& index) {
  nlohmann::json json{
      {"format", kFormat}, {"images", index.images}, {"layers", index.layers}, {"names", index.names},
      {"pulled", index.pulled}, {"access", json_of(index.access)}};
  return json.dump(1) + "\n";
}

std::string layer_directory(std::string_view diff_id) {
  return std::string(hex_of(diff_id).substr(0, kDirectoryDigits));
}

}  // namespace skiff::image
