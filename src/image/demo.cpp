#include "image/demo.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "image/digest.hpp"
#include "image/import.hpp"
#include "image/reference.hpp"
#include "image/source.hpp"

extern "C" {
extern const char skiff_demo_program[];
extern const char skiff_demo_program_end[];
}

namespace skiff::image {

namespace {

constexpr const char* kLabel = "io.skiff.demo";
constexpr const char* kBlob = "layer";

// One 512-byte ustar header. Everything that could differ from build to build is fixed.
std::string tar_header(std::string_view name, char type, unsigned mode, size_t size) {
  std::string header(512, '\0');
  auto put = [&](size_t at, std::string_view text) { header.replace(at, text.size(), text); };
  put(0, name);
  put(100, fmt::format("{:07o}", mode));
  put(108, "0000000");  // uid
  put(116, "0000000");  // gid
  put(124, fmt::format("{:011o}", size));
  put(136, "00000000000");  // time
  put(148, "        ");     // the checksum counts as blanks while it is computed
  put(156, std::string_view(&type, 1));
  put(257, std::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return header;
}

void add_file(std::string& tar, std::string_view name, unsigned mode, std::string_view content) {
  tar += tar_header(name, '0', mode, content.size());
  tar += content;
  tar.resize((tar.size() + 511) / 512 * 512, '\0');
}

void add_directory(std::string& tar, std::string_view name, unsigned mode) {
  tar += tar_header(name, '5', mode, 0);
}

std::string demo_layer() {
  std::string tar;
  add_directory(tar, "bin/", 0755);
  add_file(tar, "bin/hitcounter", 0755,
           {skiff_demo_program, static_cast<size_t>(skiff_demo_program_end - skiff_demo_program)});
  add_directory(tar, "etc/", 0755);
  add_file(tar, "etc/group", 0644, "root:x:0:\nnobody:x:65534:\n");
  add_file(tar, "etc/passwd", 0644,
           "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n");
  add_directory(tar, "tmp/", 01777);
  tar.append(1024, '\0');
  return tar;
}

std::string demo_config(std::string_view version, std::string_view diff_id) {
  return fmt::format(
      R"({{"created":"2026-01-01T00:00:00Z","architecture":"{0}","os":"linux","config":{{)"
      R"("Entrypoint":["/bin/hitcounter"],"Cmd":["serve"],"Env":["PATH=/bin","HITCOUNTER_VERSION={1}"],)"
      R"("ExposedPorts":{{"8080/tcp":{{}}}},"WorkingDir":"/","StopSignal":"SIGTERM",)"
      R"("Labels":{{"{2}":"{1}"}}}},)"
      R"("rootfs":{{"type":"layers","diff_ids":["{3}"]}}}})",
      machine_architecture(), version, kLabel, diff_id);
}

Result<Candidate> demo_candidate(std::string_view version, const std::string& diff_id) {
  Candidate candidate;
  candidate.config = demo_config(version, diff_id);
  candidate.id = digest_of(candidate.config);
  candidate.layers.push_back({kBlob, "", diff_id});
  for (const char* repository : {"hitcounter", "skiff.local/hitcounter"}) {
    TRY_ASSIGN(Reference name, parse_reference(fmt::format("{}:{}", repository, version)));
    candidate.names.push_back(std::move(name));
  }
  return candidate;
}

// Takes the names off that somebody has given to an image of their own. True: nothing is left to do.
Result<bool> keep_open_names(const ContentStore& store, Candidate& candidate) {
  std::vector<Reference> open;
  for (Reference& name : candidate.names) {
    Result<Image> holder = store.resolve(name.canonical());
    if (!holder.ok() && holder.error().code() != Code::NotFound) return std::move(holder).error();
    if (holder.ok() && (holder.value().id == candidate.id || !holder.value().config.labels.contains(kLabel)))
      continue;
    open.push_back(std::move(name));
  }
  candidate.names = std::move(open);
  return candidate.names.empty();
}

}  // namespace

Status install_demo_images(ContentStore& store) {
  std::string layer = demo_layer();
  const std::string diff_id = digest_of(layer);
  std::vector<Candidate> missing;
  for (const char* version : {"1.0", "2.0"}) {
    TRY_ASSIGN(Candidate candidate, demo_candidate(version, diff_id));
    TRY_ASSIGN(bool present, keep_open_names(store, candidate));
    if (!present) missing.push_back(std::move(candidate));
  }
  if (missing.empty()) return ok();
  std::unique_ptr<Source> source = memory_source({{kBlob, std::move(layer)}});
  TRY_ASSIGN(Import import, Import::begin(store));
  TRY(import.run(*source, missing));
  return ok();
}

}  // namespace skiff::image
