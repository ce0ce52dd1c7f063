// What a layer's archive may contain, and what it must not.

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <sched.h>
#include <cstring>
#include <iostream>

#include "support.hpp"

namespace skiff::image::test {
namespace {

struct stat lstat_of(const std::string& path) {
  struct stat info {};
  INFO(path);
  REQUIRE(::lstat(path.c_str(), &info) == 0);
  return info;
}

bool is_root() {
  if (::geteuid() == 0) return true;
  std::cout << "skipped: needs root for owners, device nodes and trusted attributes\n";
  return false;
}

}  // namespace

TEST_CASE("files keep their kind, owner, mode, time and attributes") {
  if (!is_root()) return;
  Fixture fixture;
  Tar tar;
  tar.directory("./", 0750).directory("./bin/", 0711);
  tar.file("./bin/su", "program",
           {.mode = 04755, .uid = 7, .gid = 8, .pax = {{"SCHILY.xattr.user.note", "hi"}}});
  tar.hard_link("bin/su2", "bin/su").symlink("bin/sh", "/absolute/target").symlink("up", "../../outside");
  tar.special("pipe", '6');
  tar.file("made/on/the/way", "x");
  tar.file("short", "utf-8",
           {.pax = {{"path",
                     "stra\xc3\x9f"
                     "e"}}});
  tar.file("/absolute", "in the layer");
  std::string root = fixture.unpack(tar.end());
  CHECK((lstat_of(root).st_mode & 07777) == 0750);
  CHECK((lstat_of(root + "bin").st_mode & 07777) == 0711);
  CHECK(lstat_of(root + "bin").st_mtime == 015000000000);
  struct stat su = lstat_of(root + "bin/su");
  CHECK((su.st_mode & 07777) == 04755);
  CHECK(su.st_uid == 7);
  CHECK(su.st_gid == 8);
  CHECK(su.st_mtime == 015000000000);
  CHECK(su.st_nlink == 2);
  CHECK(lstat_of(root + "bin/su2").st_ino == su.st_ino);
  char value[8] = {};
  CHECK(::getxattr((root + "bin/su").c_str(), "user.note", value, sizeof value) == 2);
  CHECK(fs::read_symlink(root + "bin/sh") == "/absolute/target");  // kept; it is the container's
  CHECK(fs::read_symlink(root + "up") == "../../outside");
  CHECK(S_ISFIFO(lstat_of(root + "pipe").st_mode));
  CHECK(read(root + "made/on/the/way") == "x");
  CHECK(read(root + "stra\xc3\x9f"
                    "e") == "utf-8");
  CHECK(read(root + "absolute") == "in the layer");
}

TEST_CASE("whiteouts become what overlayfs understands") {
  if (!is_root()) return;
  Fixture fixture;
  Tar tar;
  tar.file(".wh.gone", "").directory("d/").file("d/.wh..wh..opq", "").file("d/.wh..wh.plnk", "");
  tar.file("back", "here").file(".wh.back", "");                      // the layer's own file stays
  tar.file(".wh.again", "").directory("again/").file("again/x", "");  // hidden below, new here
  std::string root = fixture.unpack(tar.end());
  struct stat gone = lstat_of(root + "gone");
  CHECK(S_ISCHR(gone.st_mode));
  CHECK(gone.st_rdev == makedev(0, 0));
  char value[2] = {};
  CHECK(::getxattr((root + "d").c_str(), "trusted.overlay.opaque", value, sizeof value) == 1);
  CHECK(value[0] == 'y');
  CHECK(names_in(root + "d").empty());
  CHECK(read(root + "back") == "here");
  CHECK(::getxattr((root + "again").c_str(), "trusted.overlay.opaque", value, sizeof value) == 1);
  CHECK(names_in(root) == Lines{"again", "back", "d", "gone"});
}

TEST_CASE("the last of several entries with one name wins") {
  if (!is_root()) return;
  Fixture fixture;
  Tar tar;
  tar.file("a", "one")
      .file("a", "two")
      .symlink("b", "a")
      .file("b", "file")
      .directory("c/")
      .file("c/x", "x")
      .symlink("c", "a");
  tar.directory("e/").file("e/x", "1").directory("e/", 0700).file("e/y", "2").hard_link("a", "a");
  std::string root = fixture.unpack(tar.end());
  CHECK(read(root + "a") == "two");
  CHECK(fs::is_symlink(root + "b") == false);
  CHECK(fs::read_symlink(root + "c") == "a");
  CHECK(names_in(root + "e") == Lines{"x", "y"});
}

// A layer that brings the host's disk as a device, or attributes that steer overlayfs (the class of CVE-2021-3493).
TEST_CASE("device nodes are left out and mentioned; steering attributes too") {
  if (!is_root()) return;
  Fixture fixture;
  Tar tar;
  tar.directory("dev/").special("dev/sda", '4').special("dev/null", '3');
  tar.file("x", "x",
           {.pax = {{"SCHILY.xattr.trusted.overlay.redirect", "/etc"},
                    {"SCHILY.xattr.user.overlay.opaque", "y"}}});
  LoadReport report = fixture.must_load(docker_archive({"x:1"}, {tar.end()}));
  std::string root = fixture.must_resolve("x:1").lower_dirs.at(0) + "/";
  CHECK(names_in(root + "dev").empty());
  REQUIRE(report.notes.size() == 1);
  CHECK(report.notes[0].find("2 device nodes left out") != std::string::npos);
  CHECK(::llistxattr((root + "x").c_str(), nullptr, 0) <= 0);
}

// The class of CVE-2018-15664 and CVE-2021-41089 (paths out of a layer and through its links), and bombs against memory and disk.
TEST_CASE("hostile and broken layers are refused and leave nothing") {
  if (!is_root()) return;
  Fixture fixture({.archive_bytes = 4 << 20, .layer_bytes = 1 << 20, .entries = 100});
  write(fixture.directory / "canary/file", "untouched");
  const std::string canary = fixture.directory / "canary";
  const std::string up = "../../../../../..";  // from tmp/X/layers/Y/fs to the canary's parent
  Tar many, bomb;
  for (int i = 0; i < 101; ++i) many.file(fmt::format("f{}", i), "");
  for (int i = 0; i < 3; ++i) bomb.file(fmt::format("f{}", i), std::string(500'000, '\0'));
  struct Row {
    const char* name;
    std::string layer;
    const char* message;
  };
  for (const Row& row : std::vector<Row>{
           {"dot dot", Tar().file("../x", "x").end(), "entry '../x' leads out of the layer ('..')"},
           {"dot dot inside", Tar().file("a/../../x", "x").end(), "leads out of the layer"},
           {"absolute dot dot", Tar().file("/../x", "x").end(), "leads out of the layer"},
           {"directory dot dot", Tar().directory(up + "/canary/made/").end(), "leads out of the layer"},
           {"through an absolute link", Tar().symlink("l", canary).file("l/x", "x").end(),
            "entry 'l/x' goes through a symbolic link"},
           {"through a relative link", Tar().symlink("l", up + "/canary").file("l/file", "x").end(),
            "goes through a symbolic link"},
           {"through a link to a directory of the layer",
            Tar().directory("d/").symlink("l", "d").file("l/x", "x").end(), "goes through a symbolic link"},
           {"through a deeper link", Tar().symlink("a/l", canary).file("a/l/b/c", "x").end(),
            "goes through a symbolic link"},
           {"a directory entry through a link", Tar().symlink("a", canary).directory("a/made/").end(),
            "goes through a symbolic link"},
           {"a whiteout through a link", Tar().symlink("a", canary).file("a/.wh.file", "").end(),
            "goes through a symbolic link"},
           {"an opaque mark through a link", Tar().symlink("a", canary).file("a/.wh..wh..opq", "").end(),
            "goes through a symbolic link"},
           {"a whiteout of dot dot", Tar().file(".wh...", "").end(), "entry '.wh...' hides no name"},
           {"a whiteout of nothing", Tar().file("a/.wh.", "").end(), "hides no name"},
           {"a hard link out", Tar().hard_link("h", up + "/canary/file").end(), "leads out of the layer"},
           {"a hard link to an absolute path", Tar().hard_link("h", canary + "/file").end(),
            "which is no file of the layer"},
           {"a hard link through a link", Tar().symlink("l", canary).hard_link("h", "l/file").end(),
            "goes through a symbolic link"},
           {"a hard link to a directory", Tar().directory("d/").hard_link("h", "d").end(),
            "which is no file of the layer"},
           {"a file under a file", Tar().file("a", "").file("a/b", "").end(),
            "goes through a file that is no directory"},
           {"the root replaced", Tar().symlink("./", canary).end(), "would replace the layer's root"},
           {"a symbolic link to nothing", Tar().symlink("l", "").end(), "is a symbolic link to nothing"},
           {"a name too long", Tar().file("x", "", {.pax = {{"path", std::string(300, 'n')}}}).end(),
            "has a name that is too long"},
           {"cut off in a file", Tar().file("a", std::string(5000, 'x')).unfinished().substr(0, 3000),
            "Truncated tar archive"},
           {"cut off in a header", Tar().file("a", "").unfinished().substr(0, 300), "this is no tar archive"},
           {"no tar", "hello", "this is no tar archive"},
           {"nothing", "", "the file is empty"},
           {"too many files", many.end(), "has more than 100 files"},
           {"too many bytes", bomb.end(), "unpacks to more than 1048576 bytes"},
           {"a compressed bomb", compressed(bomb.end(), Compression::Gzip),
            "unpacks to more than 1048576 bytes"},
           {"half a gzip",
            compressed(Tar().file("a", std::string(50'000, 'x')).end(), Compression::Gzip).substr(0, 60),
            "truncated gzip"},
           {"a sparse giant",
            Tar()
                .file("x", "",
                      {.pax = {{"GNU.sparse.size", "999999999999"},
                               {"GNU.sparse.numblocks", "1"},
                               {"GNU.sparse.map", "999999999999,0"}}})
                .end(),
            "unpacks to more than 1048576 bytes"},
       }) {
    INFO(row.name);
    auto result = fixture.load(docker_archive({"x:1"}, {row.layer}));
    REQUIRE_FALSE(result.ok());
    INFO(result.error().message());
    CHECK((result.error().code() == Code::Invalid || result.error().code() == Code::TooLarge));
    CHECK(result.error().message().find(row.message) != std::string::npos);
    CHECK(result.error().message().find("load '" + (fixture.directory / "image.tar") +
                                        "': layer '0/layer.tar': ") == 0);
    CHECK(names_in(fixture.directory / "store/layers").empty());
    CHECK(names_in(fixture.directory / "store/tmp").empty());
    CHECK(names_in(fixture.directory / "store/blobs/sha256").empty());
    CHECK(fixture.store->list().value().empty());
    CHECK(names_in(canary) == Lines{"file"});
    CHECK(read(canary + "/file") == "untouched");
    CHECK(lstat_of(canary + "/file").st_nlink == 1);
  }
}

TEST_CASE("broken archives are refused and leave nothing") {
  Fixture fixture({.archive_bytes = 1 << 20});
  std::string layer = Tar().file("a", "x").end();
  std::string good = docker_archive({"x:1"}, {layer});
  auto oci = oci_layout("x:1", {layer}, Compression::Gzip);
  auto damaged = oci;
  for (auto& [name, content] : damaged)
    if (name.starts_with("blobs/") && content.find("layers") != std::string::npos &&
        content.find("diff_ids") == std::string::npos)
      content += " ";
  auto swapped = oci;
  for (auto& [name, content] : swapped)
    if (name.starts_with("blobs/") && content[0] != '{')
      content = compressed(Tar().file("a", "y").end(), Compression::Gzip);
  auto incomplete = oci;
  std::erase_if(incomplete,
                [](const auto& file) { return file.first.starts_with("blobs/") && file.second[0] != '{'; });
  auto manifest = [](std::string text) {
    return Tar().file("manifest.json", text).file("c.json", config_for({})).end();
  };
  struct Row {
    const char* name;
    std::string archive, message;
  };
  for (const Row& row : std::vector<Row>{
           {"no archive", "hello", "this is no tar archive"},
           {"an empty file", "", "the file is empty"},
           {"an archive of something else", Tar().file("readme", "x").end(), "this is no image archive"},
           {"cut off", good.substr(0, good.size() / 2), "Truncated tar archive"},
           {"too large", compressed(Tar().file("x", std::string(2 << 20, 'x')).end(), Compression::Zstd),
            "unpacks to more than 1048576 bytes"},
           {"manifest is no JSON", manifest("{"), "manifest.json: "},
           {"manifest is no list", manifest("{}"), "manifest.json: "},
           {"config is missing", manifest(R"([{"Config":"other.json","Layers":[]}])"),
            "'other.json' is missing"},
           {"config outside", manifest(R"([{"Config":"../../etc/passwd","Layers":[]}])"),
            "'etc/passwd' is missing"},
           {"a layer is missing", manifest(R"([{"Config":"c.json","Layers":["x"]}])"),
            "1 layers, but its configuration has 0"},
           {"a bad name", manifest(R"([{"Config":"c.json","RepoTags":["A B"],"Layers":[]}])"),
            "invalid reference format"},
           {"a deep manifest", manifest(std::string(200'000, '[')), "manifest.json: "},
           {"a manifest that does not have its digest", tar_of(damaged),
            "does not have the digest of its name"},
           {"a layer that does not have its digest", tar_of(swapped), "does not have the digest"},
           {"a blob that is not there", tar_of(incomplete), "is missing"},
           {"an index of nothing", Tar().file("index.json", "{}").end(),
            "index.json: neither an image manifest nor an index"},
           {"a digest that is a path",
            Tar().file("index.json", R"({"manifests":[{"digest":"sha256:../../x"}]})").end(),
            "is no sha256 digest"},
           {"content that is not what the configuration says",
            Tar()
                .file("l", Tar().file("a", "other").end())
                .file("c.json", config_for({layer}))
                .file("manifest.json", R"([{"Config":"c.json","Layers":["l"]}])")
                .end(),
            "its content has the digest"},
       }) {
    INFO(row.name);
    auto result = fixture.load(row.archive);
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().message().find(row.message) != std::string::npos);
    INFO(result.error().message());
    CHECK(names_in(fixture.directory / "store/layers").empty());
    CHECK(names_in(fixture.directory / "store/tmp").empty());
    CHECK(fixture.store->list().value().empty());
  }
  CHECK(fixture.store->load(fixture.directory / "none.tar").error().message() ==
        fmt::format("load '{0}': stat '{0}': No such file or directory", fixture.directory / "none.tar"));
  fixture.must_load(good);  // and the store still works
}

TEST_CASE("a full disk fails the load, and the next one works when there is room") {
  TempDirectory directory;
  bool mounted = ::unshare(CLONE_NEWNS) == 0 &&
                 ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                 ::mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=1m") == 0;
  if (!mounted) {
    std::cout << "skipped: mounting a small tmpfs: " << std::strerror(errno) << "\n";
    return;
  }
  TempDirectory elsewhere;
  std::string big = write(elsewhere / "big.tar",
                          docker_archive({"x:1"}, {Tar().file("a", std::string(2 << 20, 'x')).end()}));
  std::string small = write(elsewhere / "small.tar", docker_archive({"x:1"}, {Tar().file("a", "x").end()}));
  {
    auto store = ContentStore::open(directory / "store").value();
    auto result = store->load(big);
    CHECK(result.error().sys_errno() == ENOSPC);
    CHECK(names_in(directory / "store/tmp").empty());
    CHECK(names_in(directory / "store/layers").empty());
    CHECK(store->load(small).ok());
    CHECK(store->has("x:1"));
  }
  ::umount2(directory.path().c_str(), MNT_DETACH);
}

}  // namespace skiff::image::test
