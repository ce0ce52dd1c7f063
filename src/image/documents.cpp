#include "image/documents.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "image/digest.hpp"

namespace skiff::image {

namespace {

using Json = nlohmann::json;

// Parses and reads; nlohmann's exceptions (bad syntax, a member of the wrong type) end here.
template <class Read>
auto read_document(std::string_view text, std::string_view what, Read&& read) -> decltype(read(Json())) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception& failed) {
    return error(Code::Invalid, "{}: {}", what, failed.what());
  }
}

// A member that may be missing or null, as Go writes empty ones.
const Json* member(const Json& object, const char* key) {
  auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}
std::string text_of(const Json& object, const char* key) {
  const Json* found = member(object, key);
  return found ? found->get<std::string>() : std::string();
}
std::vector<std::string> texts_of(const Json& object, const char* key) {
  const Json* found = member(object, key);
  return found ? found->get<std::vector<std::string>>() : std::vector<std::string>();
}
// Go's map[string]struct{}.
std::vector<std::string> keys_of(const Json& object, const char* key) {
  std::vector<std::string> keys;
  if (const Json* found = member(object, key))
    for (const auto& [name, nothing] : found->get<Json::object_t>()) keys.push_back(name);
  return keys;
}

Result<Descriptor> descriptor(const Json& json, std::string_view what) {
  Descriptor out;
  out.media_type = text_of(json, "mediaType");
  out.digest = text_of(json, "digest");
  if (!is_digest(out.digest)) return error(Code::Invalid, "{}: '{}' is no sha256 digest", what, out.digest);
  if (const Json* annotations = member(json, "annotations")) {
    out.name = text_of(*annotations, "io.containerd.image.name");
    if (out.name.empty()) out.name = text_of(*annotations, "org.opencontainers.image.ref.name");
  }
  if (const Json* platform = member(json, "platform")) {
    out.architecture = text_of(*platform, "architecture");
    out.os = text_of(*platform, "os");
  }
  return out;
}

Result<std::vector<Descriptor>> descriptors(const Json& json, const char* key, std::string_view what) {
  std::vector<Descriptor> out;
  if (const Json* list = member(json, key)) {
    for (const Json& one : list->get_ref<const Json::array_t&>()) {
      TRY_ASSIGN(Descriptor next, descriptor(one, what));
      out.push_back(std::move(next));
    }
  }
  return out;
}

Result<Config> config_from(const Json& json) {
  Config out;
  out.created = text_of(json, "created");
  out.architecture = text_of(json, "architecture");
  out.os = text_of(json, "os");
  if (const Json* config = member(json, "config")) {
    out.entrypoint = texts_of(*config, "Entrypoint");
    out.cmd = texts_of(*config, "Cmd");
    out.env = texts_of(*config, "Env");
    out.user = text_of(*config, "User");
    out.working_dir = text_of(*config, "WorkingDir");
    out.stop_signal = text_of(*config, "StopSignal");
    out.exposed_ports = keys_of(*config, "ExposedPorts");
    out.volumes = keys_of(*config, "Volumes");
    if (const Json* labels = member(*config, "Labels"))
      out.labels = labels->get<std::map<std::string, std::string>>();
  }
  if (const Json* rootfs = member(json, "rootfs")) out.diff_ids = texts_of(*rootfs, "diff_ids");
  if (!std::all_of(out.diff_ids.begin(), out.diff_ids.end(), is_digest))
    return error(Code::Invalid, "image configuration: a diff_id is no sha256 digest");
  return out;
}

}  // namespace

Result<Config> parse_config(std::string_view json) {
  return read_document(json, "image configuration", config_from);
}

Result<Manifest> parse_manifest(std::string_view text, std::string_view what) {
  return read_document(text, what, [&](const Json& json) -> Result<Manifest> {
    Manifest out;
    out.is_index = member(json, "manifests") != nullptr;
    TRY_ASSIGN(out.manifests, descriptors(json, "manifests", what));
    TRY_ASSIGN(out.layers, descriptors(json, "layers", what));
    if (out.is_index) return out;
    const Json* config = member(json, "config");
    if (config == nullptr) return error(Code::Invalid, "{}: neither an image manifest nor an index", what);
    TRY_ASSIGN(out.config, descriptor(*config, what));
    return out;
  });
}

Result<std::vector<DockerImage>> parse_docker_manifest(std::string_view text) {
  return read_document(text, "manifest.json", [](const Json& json) -> Result<std::vector<DockerImage>> {
    std::vector<DockerImage> out;
    for (const Json& image : json.get_ref<const Json::array_t&>())
      out.push_back({text_of(image, "Config"), texts_of(image, "RepoTags"), texts_of(image, "Layers")});
    return out;
  });
}

}  // namespace skiff::image
