// What is saved can be loaded, here and by others.

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "support.hpp"

namespace skiff::image::test {

TEST_CASE("a saved image comes back with all its files, whiteouts and settings") {
  Fixture fixture;
  std::string base = Tar()
                         .directory("d", 01777)
                         .file("d/old", "old")
                         .file("bin/tool", "tool", {.mode = 04755, .uid = 7, .gid = 8})
                         .hard_link("bin/alias", "bin/tool")
                         .symlink("lib", "usr/lib")
                         .file("gone", "x")
                         .end();
  std::string top = Tar().file("d/.wh..wh..opq", "").file("d/new", "new").file(".wh.gone", "").end();
  fixture.must_load(docker_archive({"app:1", "app:2"}, {base, top}, R"("Cmd":["/run"],"Env":["A=1"],"User":"9")"));
  REQUIRE(fixture.store->save({"app:1"}, fixture.directory / "saved.tar").ok());

  Fixture other;
  LoadReport report = other.store->load(fixture.directory / "saved.tar").value();
  REQUIRE(report.images.size() == 1);
  CHECK(report.images[0].names == Lines{"app:1"});
  Image image = other.must_resolve("app:1");
  CHECK(image.config.cmd == Lines{"/run"});
  CHECK(image.config.env == Lines{"A=1"});
  CHECK(image.config.user == "9");
  REQUIRE(image.lower_dirs.size() == 2);
  const std::string low = image.lower_dirs[1], high = image.lower_dirs[0];
  struct stat tool {}, alias {}, directory {}, gone {};
  REQUIRE(::stat((low + "/bin/tool").c_str(), &tool) == 0);
  REQUIRE(::stat((low + "/bin/alias").c_str(), &alias) == 0);
  CHECK(tool.st_ino == alias.st_ino);
  CHECK((tool.st_mode & 07777) == 04755);
  CHECK((tool.st_uid == 7 && tool.st_gid == 8));
  CHECK(tool.st_mtime == ::time_t(015000000000));
  REQUIRE(::stat((low + "/d").c_str(), &directory) == 0);
  CHECK((directory.st_mode & 07777) == 01777);
  CHECK(fs::read_symlink(low + "/lib") == "usr/lib");
  CHECK(read(high + "/d/new") == "new");
  char opaque = 0;
  CHECK((::getxattr((high + "/d").c_str(), "trusted.overlay.opaque", &opaque, 1) == 1 && opaque == 'y'));
  REQUIRE(::lstat((high + "/gone").c_str(), &gone) == 0);
  CHECK((S_ISCHR(gone.st_mode) && gone.st_rdev == makedev(0, 0)));
}

TEST_CASE("several images share their layers in the archive; saving the same twice gives the same") {
  Fixture fixture;
  std::string base = Tar().file("base", std::string(100'000, 'b')).end();
  fixture.must_load(docker_archive({"a:1"}, {base}));
  fixture.must_load(docker_archive({"b:1"}, {base, Tar().file("b", "b").end()}));
  REQUIRE(fixture.store->save({"a:1", "b:1"}, fixture.directory / "one.tar").ok());
  REQUIRE(fixture.store->save({"a:1", "b:1"}, fixture.directory / "two.tar").ok());
  std::string archive = read(fixture.directory / "one.tar");
  CHECK(archive == read(fixture.directory / "two.tar"));
  CHECK(archive.size() < 200'000);
  Fixture other;
  other.must_load(archive);
  CHECK(other.must_resolve("b:1").lower_dirs.back() == other.must_resolve("a:1").lower_dirs.back());
  std::string whole = fixture.directory / "none.tar";
  CHECK(fixture.store->save({"a:1", "nothing:1"}, whole).error().code() == Code::NotFound);
  CHECK_FALSE(fs::exists(whole));
}

}  // namespace skiff::image::test
