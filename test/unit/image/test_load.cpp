#include <sys/mount.h>

#include <sched.h>
#include <cstring>
#include <iostream>
#include <thread>

#include "image/archive.hpp"
#include "support.hpp"
#include "sys/files.hpp"

namespace skiff::image::test {

TEST_CASE("a docker archive is loaded and found under every spelling of its name") {
  Fixture fixture;
  std::string base = Tar().directory("bin/").file("bin/sh", "shell", {.mode = 0755}).end();
  std::string app = Tar().file("app", "v1").end();
  LoadReport report = fixture.must_load(docker_archive(
      {"shop:1.0", "registry.example/team/shop:1.0"}, {base, app},
      R"("Entrypoint":["/app"],"Cmd":null,"Env":["A=1","B="],"User":"1000:100","WorkingDir":"/data",)"
      R"("StopSignal":"SIGQUIT",)"
      R"("ExposedPorts":{"8080/tcp":{},"53/udp":{}},"Volumes":{"/data":{}},"Labels":{"k":"v"})"));
  REQUIRE(report.images.size() == 1);
  CHECK(report.images[0].names == Lines{"shop:1.0", "registry.example/team/shop:1.0"});
  CHECK(report.images[0].new_content);
  for (const char* name :
       {"shop:1.0", "docker.io/library/shop:1.0", "docker.io/shop:1.0", "registry.example/team/shop:1.0"})
    CHECK(fixture.must_resolve(name).id == report.images[0].id);
  CHECK(fixture.store->resolve("shop").error().message() == "image 'shop:latest' not found");
  CHECK(fixture.store->resolve("skiff.local/shop:1.0").error().code() == Code::NotFound);
  CHECK(fixture.store->resolve("Shop").error().code() == Code::Invalid);

  Image image = fixture.must_resolve("shop:1.0");
  CHECK(image.names == Lines{"registry.example/team/shop:1.0", "shop:1.0"});
  CHECK(image.config.entrypoint == Lines{"/app"});
  CHECK(image.config.cmd.empty());
  CHECK(image.config.env == Lines{"A=1", "B="});
  CHECK(image.config.user == "1000:100");
  CHECK(image.config.working_dir == "/data");
  CHECK(image.config.stop_signal == "SIGQUIT");
  CHECK(image.config.exposed_ports == Lines{"53/udp", "8080/tcp"});
  CHECK(image.config.volumes == Lines{"/data"});
  CHECK(image.config.labels.at("k") == "v");
  CHECK(image.config.created == "2026-02-03T04:05:06Z");
  CHECK(image.size == 7);
  REQUIRE(image.lower_dirs.size() == 2);
  CHECK(read(image.lower_dirs[0] + "/app") == "v1");  // top first
  CHECK(read(image.lower_dirs[1] + "/bin/sh") == "shell");
  CHECK(fixture.must_resolve(image.id).id == image.id);
  CHECK(fixture.must_resolve(image.id.substr(7, 12)).id == image.id);
}

TEST_CASE("loading again adds nothing; a changed layer adds one, and the name moves") {
  Fixture fixture;
  std::string base = Tar().file("base", "b").end();
  std::string v1 = docker_archive({"shop:1.0"}, {base, Tar().file("app", "v1").end()});
  std::string first = fixture.must_load(v1).images[0].id;
  CHECK(names_in(fixture.directory / "store/layers").size() == 2);
  CHECK_FALSE(fixture.must_load(v1).images[0].new_content);
  LoadReport changed = fixture.must_load(docker_archive({"shop:1.0"}, {base, Tar().file("app", "v2").end()}));
  CHECK(names_in(fixture.directory / "store/layers").size() == 3);
  CHECK(fixture.must_resolve("shop:1.0").id == changed.images[0].id);
  CHECK(read(fixture.must_resolve("shop:1.0").lower_dirs[0] + "/app") == "v2");

  std::vector<Image> all = fixture.store->list().value();
  REQUIRE(all.size() == 2);
  CHECK(all[0].names == Lines{"shop:1.0"});
  CHECK(all[1].names.empty());
  CHECK(all[1].id == first);
  CHECK(fixture.store->collect_garbage({first}).value().empty());
  CHECK(fixture.store->collect_garbage({}).value() == Lines{first});
  CHECK(names_in(fixture.directory / "store/layers").size() == 2);
  CHECK(names_in(fixture.directory / "store/blobs/sha256").size() == 1);
}

TEST_CASE("an OCI layout is loaded from a tar and from a directory, whatever compresses its layers") {
  Fixture fixture;
  Compression how = GENERATE(Compression::None, Compression::Gzip, Compression::Zstd);
  Lines layers{Tar().file("a", "bottom").end(), Tar().file("a", "top").end()};
  auto files = oci_layout("example.org/x:1", layers, how);
  SECTION("tar") { fixture.must_load(tar_of(files)); }
  SECTION("compressed tar") { fixture.must_load(compressed(tar_of(files), Compression::Gzip)); }
  SECTION("directory") {
    for (const auto& [name, content] : files) write(fixture.directory / ("layout/" + name), content);
    auto loaded = fixture.store->load(fixture.directory / "layout");
    if (!loaded.ok()) FAIL(loaded.error().message());
  }
  Image image = fixture.must_resolve("example.org/x:1");
  CHECK(read(image.lower_dirs.at(0) + "/a") == "top");
  CHECK(read(image.lower_dirs.at(1) + "/a") == "bottom");
  REQUIRE(image.digests.size() == 1);
  CHECK(fixture.must_resolve(image.digests[0]).id == image.id);
  CHECK(fixture.must_resolve("example.org/x:other@" + image.digests[0].substr(image.digests[0].find('@') + 1))
            .id == image.id);
}

TEST_CASE("of several platforms the one of this machine is taken") {
  Fixture fixture;
  auto files = oci_layout("x:1", {Tar().file("a", "here").end()}, Compression::None,
#if defined(__x86_64__)
                          R"({"architecture":"amd64","os":"linux"})");
#else
                          R"({"architecture":"arm64","os":"linux"})");
#endif
  std::string inner = files["index.json"];
  auto foreign = oci_layout("x:1", {Tar().file("a", "foreign").end()}, Compression::None,
                            R"({"architecture":"s390x","os":"linux"})");
  std::string both = inner.substr(0, inner.rfind("]}")) + "," +
                     foreign["index.json"].substr(foreign["index.json"].find("[{") + 1);
  files.merge(foreign);
  files["blobs/sha256/" + std::string(hex_of(digest_of(both)))] = both;  // an index in the index
  files["index.json"] = fmt::format(R"({{"manifests":[{{"digest":"{}"}}]}})", digest_of(both));
  fixture.must_load(tar_of(files));
  CHECK(fixture.store->list().value().size() == 1);
  CHECK(read(fixture.must_resolve("x:1").lower_dirs.at(0) + "/a") == "here");

  auto result = fixture.load(
      tar_of(oci_layout("y:1", {Tar().end()}, Compression::None, R"({"architecture":"s390x"})")));
  CHECK(result.error().message().find("no image in it is for linux/") != std::string::npos);
}

TEST_CASE("an archive may bring several images, and old docker links equal layers") {
  Fixture fixture;
  std::string layer = Tar().file("a", "x").end();
  Tar tar;
  tar.file("one/layer.tar", layer).symlink("two/layer.tar", "../one/layer.tar");
  tar.file("1.json", config_for({layer}, R"("Cmd":["1"])"))
      .file("2.json", config_for({layer, layer}, R"("Cmd":["2"])"));
  tar.file("manifest.json",
           R"([{"Config":"1.json","RepoTags":["a:1","a:2"],"Layers":["one/layer.tar"]},)"
           R"({"Config":"2.json","RepoTags":null,"Layers":["one/layer.tar","two/layer.tar"]}])");
  LoadReport report = fixture.must_load(tar.end());
  REQUIRE(report.images.size() == 2);
  CHECK(fixture.must_resolve("a:2").config.cmd == Lines{"1"});
  Image untagged = fixture.must_resolve(report.images[1].id);
  CHECK(untagged.names.empty());
  CHECK(untagged.lower_dirs.size() == 1);  // the same layer twice is one directory: overlayfs refuses two
}

TEST_CASE("an image without layers still has a directory to mount") {
  Fixture fixture;
  fixture.must_load(docker_archive({"empty:1"}, {}));
  Image image = fixture.must_resolve("empty:1");
  REQUIRE(image.lower_dirs.size() == 1);
  CHECK(names_in(image.lower_dirs[0]).empty());
}

TEST_CASE("names are given and taken; content goes with the last one unless it is in use") {
  Fixture fixture;
  std::string base = Tar().file("base", "b").end();
  std::string one = fixture.must_load(docker_archive({"a:1"}, {base})).images[0].id;
  std::string two =
      fixture.must_load(docker_archive({"b:1"}, {base, Tar().file("top", "t").end()})).images[0].id;
  REQUIRE(fixture.store->tag("a:1", "example.org/c:2").ok());
  CHECK(fixture.store->tag("a:1", "c@sha256:" + std::string(64, 'a')).error().code() == Code::Invalid);
  CHECK(fixture.store->tag("nothing", "c").error().code() == Code::NotFound);
  CHECK(fixture.must_resolve("example.org/c:2").id == one);

  auto removed = fixture.store->remove("a:1", {}).value();
  CHECK(removed.untagged == Lines{"a:1"});
  CHECK(removed.deleted.empty());
  CHECK(fixture.store->remove("a:1", {}).error().code() == Code::NotFound);
  CHECK(fixture.store->remove(one, {one}).error().code() == Code::Conflict);
  removed = fixture.store->remove("example.org/c:2", {one}).value();  // a container still runs it
  CHECK(removed.deleted.empty());
  CHECK(fixture.must_resolve(one).names.empty());
  CHECK(fixture.store->remove(one, {}).value().deleted == Lines{one});
  CHECK(names_in(fixture.directory / "store/layers").size() == 2);  // the base is b:1's too
  CHECK(fixture.store->remove(two, {}).value().deleted == Lines{two});
  CHECK(names_in(fixture.directory / "store/layers").empty());
  CHECK(fixture.store->list().value().empty());
}

TEST_CASE("overlayfs shows what the layers mean") {
  Fixture fixture;
  Lines layers{Tar()
                   .directory("d/")
                   .file("d/old", "1")
                   .file("gone", "1")
                   .file("kept", "1")
                   .directory("tree/")
                   .file("tree/x", "1")
                   .end(),
               Tar()
                   .directory("d/")
                   .file("d/.wh..wh..opq", "")
                   .file("d/new", "2")
                   .file(".wh.gone", "")
                   .file(".wh.tree", "")
                   .end()};
  fixture.must_load(docker_archive({"x:1"}, layers));
  Image image = fixture.must_resolve("x:1");
  bool own = ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  std::string lower = "lowerdir=" + image.lower_dirs[0] + ":" + image.lower_dirs[1];
  std::string at = fixture.directory / "merged";
  fs::create_directory(at);
  if (!own || ::mount("overlay", at.c_str(), "overlay", MS_RDONLY, lower.c_str()) != 0) {
    std::cout << "skipped: mounting overlayfs: " << std::strerror(errno) << "\n";
    return;
  }
  Lines root = names_in(at), d = names_in(at + "/d");
  ::umount2(at.c_str(), MNT_DETACH);
  CHECK(root == Lines{"d", "kept"});
  CHECK(d == Lines{"new"});
}

TEST_CASE("scripts/make-test-images makes one image in both forms") {
  if (!fs::exists("/bin/busybox")) {
    std::cout << "skipped: no /bin/busybox (package busybox-static)\n";
    return;
  }
  Fixture fixture;
  std::string out = fixture.directory / "out";
  std::string make = SKIFF_SOURCE_DIR "/scripts/make-test-images -o " + out + " ";
  REQUIRE(std::system(
              (make + "-c 'httpd -f -h /www' -p 80 -w hello web:1 example.org/web > /dev/null").c_str()) ==
          0);
  LoadReport docker = fixture.store->load(out + "/image.docker.tar").value();
  LoadReport oci = fixture.store->load(out + "/image.oci.tar").value();
  REQUIRE(docker.images.size() == 1);
  REQUIRE(oci.images.size() == 1);
  CHECK(docker.images[0].names == Lines{"web:1", "example.org/web:latest"});
  CHECK(oci.images[0].names == docker.images[0].names);
  CHECK(oci.images[0].id == docker.images[0].id);
  Image image = fixture.must_resolve("web:1");
  CHECK(image.config.cmd == Lines{"/bin/sh", "-c", "httpd -f -h /www"});
  CHECK(read(image.lower_dirs.at(0) + "/www/index.html") == "hello\n");
  CHECK(fs::read_symlink(image.lower_dirs.at(1) + "/bin/sh") == "busybox");
  REQUIRE(std::system((make + "busybox > /dev/null").c_str()) == 0);
  REQUIRE(fixture.store->load(out + "/image.oci.tar").ok());
  CHECK(fixture.must_resolve("busybox").lower_dirs.at(0) ==
        image.lower_dirs.at(1));  // the lowest layer is shared
}

TEST_CASE("of a plain archive only what is missing is read") {
  Fixture fixture;
  std::string base = Tar().file("base", std::string(3000, 'b')).end();
  std::string old_top = Tar().file("top", "old").end(), new_top = Tar().file("top", "new").end();
  fixture.must_load(docker_archive({"x:1"}, {base, old_top}));
  std::string archive = docker_archive({"x:1"}, {base, new_top});
  // Whoever read the lowest layer again would see that it is damaged.
  size_t at = archive.find(std::string(3000, 'b'));
  REQUIRE(at != archive.npos);
  archive[at] = 'X';
  fixture.must_load(archive);
  CHECK(read(fixture.must_resolve("x:1").lower_dirs.at(0) + "/top") == "new");
  REQUIRE(fixture.store->remove("x:1", {}).ok());
  REQUIRE(fixture.store->collect_garbage({}).ok());
  CHECK(fixture.load(archive).error().message().find("its content has the digest") != std::string::npos);
}

TEST_CASE("an archive's members are found by their headers, of whatever kind") {
  TempDirectory directory;
  std::string bytes = Tar()
                          .file("plain", std::string(1000, 'p'))
                          .file("long", std::string(700, 'l'), {.pax = {{"path", std::string(150, 'n')}}})
                          .symlink("link", "plain")
                          .hard_link("hard", "plain")
                          .directory("d")
                          .file("empty", "")
                          .file("last", "z")
                          .end();
  auto file = sys::open(write(directory / "a.tar", bytes), O_RDONLY).value();
  std::vector<TarMember> members = list_members(file, 100).value().value();
  REQUIRE(members.size() == 7);
  for (const TarMember& member : members) {
    if (member.entry.type != LayerEntry::Type::File || &member == &members.back()) continue;
    REQUIRE(member.size);
    char expected = member.entry.path == "plain" ? 'p' : 'l';
    CHECK(bytes.substr(member.offset, *member.size) == std::string(member.entry.size, expected));
  }
  CHECK(members[1].entry.path == std::string(150, 'n'));
  CHECK(list_members(file, 3).error().code() == Code::TooLarge);
  auto zipped = sys::open(write(directory / "a.tar.gz", compressed(bytes, Compression::Gzip)), O_RDONLY).value();
  CHECK_FALSE(list_members(zipped, 100).value());
}

TEST_CASE("several processes' stores share a directory; readers see whole states") {
  Fixture fixture;
  std::string archive = docker_archive({"x:1"}, {Tar().file("a", std::string(100'000, 'a')).end()});
  write(fixture.directory / "image.tar", archive);
  std::atomic<bool> done = false;
  std::jthread reader([&] {
    while (!done) {
      auto images = fixture.store->list();
      if (!images.ok()) break;
      for (const Image& image : images.value())
        for (const std::string& lower : image.lower_dirs)
          if (fs::file_size(lower + "/a") != 100'000) std::abort();
    }
  });
  std::atomic<int> loaded = 0;
  {
    std::vector<std::jthread> loaders;
    for (int i = 0; i < 4; ++i)
      loaders.emplace_back([&, i] {
        auto store = ContentStore::open(fixture.directory / "store");
        if (!store.ok() || !store.value()->load(fixture.directory / "image.tar").ok()) return;
        if (store.value()->tag("x:1", fmt::format("y:{}", i)).ok()) ++loaded;
      });
  }
  done = true;
  reader.join();
  CHECK(loaded == 4);
  CHECK(fixture.must_resolve("x:1").names == Lines{"x:1", "y:0", "y:1", "y:2", "y:3"});
  CHECK(names_in(fixture.directory / "store/tmp").empty());
}

TEST_CASE("a store of a newer skiff is refused, what a crash left behind goes") {
  TempDirectory directory;
  SECTION("newer") {
    write(directory / "store/index.json", R"({"format":9})");
    CHECK(
        ContentStore::open(directory / "store").error().message() ==
        fmt::format(
            "image store '{}' has format 9, but this skiff knows formats up to 1: it was written by a newer "
            "skiff; use that one",
            directory / "store/index.json"));
  }
  SECTION("damaged") {
    write(directory / "store/index.json", "{");
    CHECK(ContentStore::open(directory / "store").error().code() == Code::Invalid);
  }
  SECTION("left behind") {
    auto store = ContentStore::open(directory / "store").value();
    write(directory / "store/tmp/abc/layers/x/fs/file", "half");
    write(directory / "store/layers/0123456789abcdef/fs/file", "orphan");
    CHECK(store->collect_garbage({}).value().empty());
    CHECK(names_in(directory / "store/tmp").empty());
    CHECK(names_in(directory / "store/layers").empty());
  }
}

}  // namespace skiff::image::test
