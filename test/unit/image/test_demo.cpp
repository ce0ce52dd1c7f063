#include <stdio.h>
#include <sys/wait.h>

#include "image/demo.hpp"
#include "support.hpp"

namespace skiff::image::test {
namespace {

// Runs the demo program as unpacked; its output, and "exit N" when that is not 0.
std::string run(const std::string& program, const std::string& arguments) {
  FILE* pipe = ::popen((program + " " + arguments).c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string out(4096, '\0');
  out.resize(::fread(out.data(), 1, out.size(), pipe));
  int status = ::pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) out += fmt::format("exit {}", WEXITSTATUS(status));
  return out;
}

}  // namespace

TEST_CASE("the demo images are installed once, under both names") {
  Fixture fixture;
  REQUIRE(install_demo_images(*fixture.store).ok());
  Image one = fixture.must_resolve("hitcounter:1.0");
  CHECK(one.names == Lines{"hitcounter:1.0", "skiff.local/hitcounter:1.0"});
  CHECK(fixture.must_resolve("docker.io/library/hitcounter:1.0").id == one.id);
  Image two = fixture.must_resolve("skiff.local/hitcounter:2.0");
  CHECK(two.id != one.id);
  CHECK(two.lower_dirs == one.lower_dirs);  // they share the program
  CHECK(one.config.entrypoint == Lines{"/bin/hitcounter"});
  CHECK(one.config.exposed_ports == Lines{"8080/tcp"});

  fs::file_time_type before = fs::last_write_time(fixture.directory / "store/index.json");
  REQUIRE(install_demo_images(*fixture.store).ok());
  CHECK(fs::last_write_time(fixture.directory / "store/index.json") == before);

  Fixture other;
  REQUIRE(install_demo_images(*other.store).ok());
  CHECK(other.must_resolve("hitcounter:1.0").id == one.id);

  REQUIRE(fixture.store->remove("skiff.local/hitcounter:1.0", {}).ok());
  REQUIRE(install_demo_images(*fixture.store).ok());  // on demand again
  CHECK(fixture.must_resolve("skiff.local/hitcounter:1.0").id == one.id);
}

TEST_CASE("somebody's own hitcounter keeps its name") {
  Fixture fixture;
  std::string own =
      fixture.must_load(docker_archive({"hitcounter:1.0"}, {Tar().file("a", "mine").end()})).images[0].id;
  REQUIRE(install_demo_images(*fixture.store).ok());
  CHECK(fixture.must_resolve("hitcounter:1.0").id == own);
  CHECK(fixture.must_resolve("skiff.local/hitcounter:1.0").id != own);
}

TEST_CASE("the demo program runs from its layer and does what examples need") {
  Fixture fixture;
  REQUIRE(install_demo_images(*fixture.store).ok());
  std::string program = fixture.must_resolve("hitcounter:1.0").lower_dirs.at(0) + "/bin/hitcounter";
  std::string note = fixture.directory / "note";
  struct Row {
    std::string arguments, want;
  };
  for (const Row& row : std::vector<Row>{
           {"echo hello world", "hello world\n"},
           {"true", ""},
           {"false", "exit 1"},
           {"exit 7", "exit 7"},
           {"sleep 0.01", ""},
           {"write " + note + " a b", ""},
           {"cat " + note, "a b\n"},
           {"cat /nonexistent 2>&1", "hitcounter: /nonexistent: No such file or directory\nexit 1"},
           {"lookup localhost", "127.0.0.1\n"},
           {"crash 2>/dev/null", "exit 132"},
           {"get http://127.0.0.1:1/ 2>/dev/null", "exit 1"},
           {"nonsense 2>/dev/null", "exit 2"}}) {
    INFO(row.arguments);
    CHECK(run(program, row.arguments) == row.want);
  }
  CHECK(run("NAME=value " + program, "env").find("NAME=value\n") != std::string::npos);
}

}  // namespace skiff::image::test
