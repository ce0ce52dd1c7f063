// ContentStore::save: images of the store as one archive.

#include <nlohmann/json.hpp>

#include "image/content_store.hpp"
#include "image/digest.hpp"
#include "image/import.hpp"
#include "image/index.hpp"
#include "image/source.hpp"
#include "image/tar_file.hpp"
#include "sys/files.hpp"

namespace skiff::image {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";

std::string blob_name(std::string_view digest) { return fmt::format("blobs/sha256/{}", hex_of(digest)); }

Json descriptor(const char* type, const std::string& digest, std::uint64_t size) {
  return {{"mediaType", type}, {"digest", digest}, {"size", size}};
}

// One archive being written: layers once each, then what the images say of them.
class Archive {
 public:
  Archive(TarFile& tar, std::string store, const std::string& scratch) : tar_(tar), store_(std::move(store)), scratch_(scratch) {}

  Status add(const Image& image) {
    TRY_ASSIGN(std::string text, sys::read_file(fmt::format("{}/blobs/sha256/{}", store_, hex_of(image.id))));
    Json config = Json::parse(text, nullptr, false);
    if (!config.is_object()) return error(Code::Invalid, "the configuration of {} is damaged", image.id);
    Json diff_ids = Json::array(), layers = Json::array(), files = Json::array();
    for (const std::string& diff_id : image.config.diff_ids) {
      TRY_ASSIGN(Packed layer, packed(diff_id));
      diff_ids.push_back(layer.digest);
      layers.push_back(descriptor("application/vnd.oci.image.layer.v1.tar", layer.digest, layer.size));
      files.push_back(blob_name(layer.digest));
    }
    config["rootfs"] = {{"type", "layers"}, {"diff_ids", diff_ids}};
    TRY_ASSIGN(Packed settings, document(config.dump()));
    Json manifest{{"schemaVersion", 2},
                  {"mediaType", kManifestType},
                  {"config", descriptor("application/vnd.oci.image.config.v1+json", settings.digest, settings.size)},
                  {"layers", layers}};
    TRY_ASSIGN(Packed whole, document(manifest.dump()));
    docker_.push_back({{"Config", blob_name(settings.digest)}, {"RepoTags", image.names}, {"Layers", files}});
    list(image, whole);
    return ok();
  }

  Status finish() {
    TRY(tar_.add("index.json", Json{{"schemaVersion", 2}, {"manifests", manifests_}}.dump()));
    TRY(tar_.add("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    TRY(tar_.add("manifest.json", docker_.dump()));
    return tar_.finish();
  }

 private:
  struct Packed {
    std::string digest;
    std::uint64_t size = 0;
  };

  Result<Packed> packed(const std::string& diff_id) {
    if (auto found = layers_.find(diff_id); found != layers_.end()) return found->second;
    const std::string path = scratch_ + "/layer.tar";
    TRY_ASSIGN(std::unique_ptr<TarFile> layer, pack_layer(fmt::format("{}/layers/{}/fs", store_, layer_directory(diff_id)), path));
    Packed out{layer->digest(), layer->size()};
    if (written_.insert(out.digest).second) TRY(tar_.add_file(blob_name(out.digest), path));
    return layers_[diff_id] = out;
  }

  Result<Packed> document(const std::string& text) {
    Packed out{digest_of(text), text.size()};
    if (written_.insert(out.digest).second) TRY(tar_.add(blob_name(out.digest), text));
    return out;
  }

  // A manifest is listed once a name.
  void list(const Image& image, const Packed& manifest) {
    Json entry = descriptor(kManifestType, manifest.digest, manifest.size);
    entry["platform"] = {{"architecture", image.config.architecture}, {"os", image.config.os}};
    if (image.names.empty()) manifests_.push_back(entry);
    for (const std::string& name : image.names) {
      Json named = entry;
      named["annotations"] = {{"io.containerd.image.name", name},
                              {"org.opencontainers.image.ref.name", name.substr(name.rfind(':') + 1)}};
      manifests_.push_back(named);
    }
  }

  TarFile& tar_;
  const std::string store_;
  const std::string& scratch_;
  std::map<std::string, Packed> layers_;  // by diff id
  std::set<std::string> written_;
  Json manifests_ = Json::array(), docker_ = Json::array();
};

}  // namespace

Status ContentStore::save(const std::vector<std::string>& references, const std::string& path) const {
  TRY_ASSIGN(UniqueFd locked, lock());  // nothing goes while it is packed
  TRY_ASSIGN(Index index, read_index());
  std::vector<Image> images;
  for (const std::string& reference : references) {
    TRY_ASSIGN(std::string id, id_of(index, reference));
    TRY_ASSIGN(Image found, image(index, id));
    if (std::string name = name_of(index, reference); !name.empty()) found.names = {name};
    images.push_back(std::move(found));
  }
  const std::string unfinished = path + ".part";
  Status written = write_archive(images, unfinished);
  if (written.ok()) return sys::rename(unfinished, path);
  static_cast<void>(sys::remove_file(unfinished));  // the first error is the one to tell
  return written;
}

Status ContentStore::write_archive(const std::vector<Image>& images, const std::string& path) const {
  TRY_ASSIGN(Scratch scratch, Scratch::make(directory_));
  TRY_ASSIGN(std::unique_ptr<TarFile> tar, TarFile::create(path));
  Archive archive(*tar, directory_, scratch.path());
  for (const Image& one : images) TRY(archive.add(one));
  return archive.finish();
}

}  // namespace skiff::image
