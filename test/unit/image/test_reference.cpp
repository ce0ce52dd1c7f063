#include <catch2/catch.hpp>

#include "image/reference.hpp"

namespace skiff::image::test {

TEST_CASE("image names are completed as docker and Kubernetes complete them") {
  const std::string digest = "sha256:" + std::string(64, 'a');
  struct Row {
    std::string text, canonical, display;
  };
  for (const Row& row : std::vector<Row>{
           {"nginx", "docker.io/library/nginx:latest", "nginx:latest"},
           {"nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"},
           {"bitnami/redis", "docker.io/bitnami/redis:latest", "bitnami/redis:latest"},
           {"docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
           {"index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
           {"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"},
           {"localhost/x", "localhost/x:latest", "localhost/x:latest"},
           {"localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"},
           {"[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"},
           {"skiff.local/hitcounter:1.0", "skiff.local/hitcounter:1.0", "skiff.local/hitcounter:1.0"},
           {"a__b/c-d---e/f.g:T_1.x-y", "docker.io/a__b/c-d---e/f.g:T_1.x-y", "a__b/c-d---e/f.g:T_1.x-y"},
           {"nginx@" + digest, "docker.io/library/nginx@" + digest, "nginx@" + digest},
           {"nginx:1@" + digest, "docker.io/library/nginx@" + digest, "nginx:1@" + digest},
       }) {
    INFO(row.text);
    auto reference = parse_reference(row.text);
    REQUIRE(reference.ok());
    CHECK(reference.value().canonical() == row.canonical);
    CHECK(reference.value().display() == row.display);
  }
}

TEST_CASE("what is no image name is refused with the known messages") {
  struct Row {
    std::string text, message;
  };
  const std::string format = "invalid reference format";
  for (const Row& row : std::vector<Row>{
           {"", format},
           {":tag", format},
           {"a b", format},
           {"a:", format},
           {"a:-x", format},
           {"a:" + std::string(129, 'x'), format},
           {"a//b", format},
           {"/a", format},
           {"a/", format},
           {"-a", format},
           {"a-", format},
           {"a..b", format},
           {"a___b", format},
           {"../../etc", format},
           {"a@sha256:123", format},
           {"a@md5:" + std::string(32, 'a'), format},
           {"a.b:x/c", format},
           {"-a.b/c", format},
           {"<your-private-image>", format},
           {"library/Nginx", format + ": repository name (library/Nginx) must be lowercase"},
           {"NGINX", format + ": repository name (NGINX) must be lowercase"},
           {std::string(250, 'x'), format + ": repository name must not be more than 255 characters"},
           {std::string(64, 'a'), "invalid repository name (" + std::string(64, 'a') +
                                      "), cannot specify 64-byte hexadecimal strings"},
       }) {
    INFO(row.text);
    auto reference = parse_reference(row.text);
    REQUIRE_FALSE(reference.ok());
    CHECK(reference.error().code() == Code::Invalid);
    CHECK(reference.error().message() == row.message);
  }
}

}  // namespace skiff::image::test
