#pragma once
// Archives made by hand, good and bad, and a content store in a directory of its own.

#include <catch2/catch.hpp>

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "image/content_store.hpp"
#include "image/digest.hpp"

namespace skiff::image::test {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

class TempDirectory {
 public:
  TempDirectory() {
    std::string name = (fs::temp_directory_path() / "skiff-image-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDirectory() { fs::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}
inline std::string write(const std::string& path, std::string_view text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
  return path;
}
inline Lines names_in(const std::string& directory) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.insert(entry.path().filename());
  return {names.begin(), names.end()};
}

struct Attributes {
  unsigned mode = 0644;
  unsigned uid = 0;
  unsigned gid = 0;
  std::map<std::string, std::string> pax;  // extended header
};

/// Writes ustar archives byte by byte, so that it can also write what no honest tool would.
class Tar {
 public:
  Tar& file(const std::string& name, std::string_view content, const Attributes& attributes = {}) {
    return add(name, '0', "", content, attributes);
  }
  Tar& directory(const std::string& name, unsigned mode = 0755) {
    return add(name, '5', "", "", {.mode = mode});
  }
  Tar& symlink(const std::string& name, const std::string& target) { return add(name, '2', target, "", {}); }
  Tar& hard_link(const std::string& name, const std::string& target) {
    return add(name, '1', target, "", {});
  }
  Tar& special(const std::string& name, char type) { return add(name, type, "", "", {}); }
  std::string end() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& unfinished() const { return bytes_; }

 private:
  Tar& add(const std::string& name, char type, const std::string& target, std::string_view content,
           const Attributes& attributes) {
    if (!attributes.pax.empty()) {
      std::string records;
      for (const auto& [key, value] : attributes.pax) {
        size_t rest = key.size() + value.size() + 3;
        size_t size = rest + std::to_string(rest + 2).size();
        records += fmt::format("{} {}={}\n", size, key, value);
      }
      raw("pax", 'x', "", records, {});
    }
    raw(name, type, target, content, attributes);
    return *this;
  }
  void raw(const std::string& name, char type, const std::string& target, std::string_view content,
           const Attributes& attributes) {
    std::string header(512, '\0');
    auto put = [&](size_t at, std::string_view text) { header.replace(at, text.size(), text); };
    put(0, name.substr(0, 100));
    put(100, fmt::format("{:07o}", attributes.mode));
    put(108, fmt::format("{:07o}", attributes.uid));
    put(116, fmt::format("{:07o}", attributes.gid));
    put(124, fmt::format("{:011o}", content.size()));
    put(136, "15000000000");
    put(148, "        ");
    put(156, std::string_view(&type, 1));
    put(157, target.substr(0, 100));
    put(257, std::string("ustar\0", 6) + "00");
    if (type == '3' || type == '4') put(329, std::string("0000010\0", 8) + "0000001");
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    bytes_ += header;
    bytes_ += content;
    bytes_.resize((bytes_.size() + 511) / 512 * 512, '\0');
  }
  std::string bytes_;
};

enum class Compression { None, Gzip, Zstd };

inline std::string compressed(std::string_view bytes, Compression how) {
  if (how == Compression::None) return std::string(bytes);
  std::string out(bytes.size() * 2 + 4096, '\0');
  size_t used = 0;
  archive* writer = archive_write_new();
  if (how == Compression::Gzip)
    archive_write_add_filter_gzip(writer);
  else
    archive_write_add_filter_zstd(writer);
  archive_write_set_format_raw(writer);
  archive_write_set_bytes_in_last_block(writer, 1);
  REQUIRE(archive_write_open_memory(writer, out.data(), out.size(), &used) == ARCHIVE_OK);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_write_header(writer, entry);
  archive_write_data(writer, bytes.data(), bytes.size());
  archive_entry_free(entry);
  archive_write_free(writer);
  out.resize(used);
  return out;
}

inline std::string quoted(const Lines& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "\"" : ",\"") + item + "\"";
  return out;
}

/// An image configuration over `layers` (uncompressed tars, bottom first); `extra` are more members of
/// "config".
inline std::string config_for(const Lines& layers, const std::string& extra = R"("Cmd":["/bin/sh"])") {
  Lines diff_ids;
  for (const std::string& layer : layers) diff_ids.push_back(digest_of(layer));
  return fmt::format(
      R"({{"created":"2026-02-03T04:05:06Z","architecture":"amd64","os":"linux","config":{{{}}},)"
      R"("rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
      extra, quoted(diff_ids));
}

/// As `docker save` writes it.
inline std::string docker_archive(const Lines& names, const Lines& layers,
                                  const std::string& extra = R"("Cmd":["/bin/sh"])") {
  Tar tar;
  Lines files;
  for (size_t i = 0; i < layers.size(); ++i) {
    files.push_back(fmt::format("{}/layer.tar", i));
    tar.file(files.back(), layers[i]);
  }
  tar.file("config.json", config_for(layers, extra));
  tar.file("manifest.json", fmt::format(R"([{{"Config":"config.json","RepoTags":[{}],"Layers":[{}]}}])",
                                        quoted(names), quoted(files)));
  return tar.end();
}

/// The files of an OCI layout with one image.
inline std::map<std::string, std::string> oci_layout(const std::string& name, const Lines& layers,
                                                     Compression how, const std::string& platform = "") {
  std::map<std::string, std::string> files;
  auto blob = [&](const std::string& content) {
    files["blobs/sha256/" + std::string(hex_of(digest_of(content)))] = content;
    return fmt::format(R"("digest":"{}","size":{})", digest_of(content), content.size());
  };
  std::string list;
  for (const std::string& layer : layers)
    list += fmt::format(R"({}{{"mediaType":"application/vnd.oci.image.layer.v1.tar",{}}})",
                        list.empty() ? "" : ",", blob(compressed(layer, how)));
  std::string manifest = fmt::format(
      R"({{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{}}},)"
      R"("layers":[{}]}})",
      blob(config_for(layers)), list);
  files["oci-layout"] = R"({"imageLayoutVersion":"1.0.0"})";
  files["index.json"] = fmt::format(
      R"({{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",{}{},)"
      R"("annotations":{{"org.opencontainers.image.ref.name":"{}"}}}}]}})",
      blob(manifest), platform.empty() ? "" : R"(,"platform":)" + platform, name);
  return files;
}

inline std::string tar_of(const std::map<std::string, std::string>& files) {
  Tar tar;
  for (const auto& [name, content] : files) tar.file("./" + name, content);
  return tar.end();
}

/// A store and a place for archives beside it.
struct Fixture {
  explicit Fixture(Limits limits = {}) {
    auto opened = ContentStore::open(directory / "store", limits);
    if (!opened.ok()) FAIL(opened.error().message());
    store = std::move(opened).value();
  }
  Result<LoadReport> load(std::string_view archive) {
    return store->load(write(directory / "image.tar", archive));
  }
  LoadReport must_load(std::string_view archive) {
    auto loaded = load(archive);
    if (!loaded.ok()) FAIL(loaded.error().message());
    return std::move(loaded).value();
  }
  Image must_resolve(std::string_view name) {
    auto image = store->resolve(name);
    if (!image.ok()) FAIL(image.error().message());
    return std::move(image).value();
  }
  /// Loads an image of one layer; the directory it was unpacked to.
  std::string unpack(const std::string& layer) {
    must_load(docker_archive({"x:1"}, {layer}));
    return must_resolve("x:1").lower_dirs.at(0) + "/";
  }
  TempDirectory directory;
  std::unique_ptr<ContentStore> store;
};

}  // namespace skiff::image::test
