#include "cluster/kubeconfig.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "cluster/state.hpp"
#include "sys/files.hpp"
#include "unit/apiserver/temporary_directory.hpp"

using namespace skiff;
using namespace skiff::cluster;

TEST_CASE("files that a cluster was merged into get its renewed credentials, those that forgot it do not") {
  test::TemporaryDirectory home;
  ClusterConfig config;
  config.home = home.path();
  config.name = "skiff";
  const Paths paths(config);
  REQUIRE(sys::make_directories(paths.root(), 0700).ok());
  client::KubeconfigEntry entry{"skiff", "https://127.0.0.1:1", "CA", "old", "KEY"};
  auto write_own = [&] { return sys::replace_file(paths.kubeconfig(), client::kubeconfig_text(entry), 0600).ok(); };
  auto certificate_in = [&](const std::string& path) {
    return client::read_kubeconfig(sys::read_file(path).value()).value().certificate;
  };
  REQUIRE(write_own());
  const std::string mine = home.path() + "/a/mine", other = home.path() + "/other", gone = home.path() + "/gone";
  for (const std::string& file : {mine, other, gone}) {
    ::setenv("KUBECONFIG", file.c_str(), 1);
    CHECK(merge_user_kubeconfig(config).value() == file);
    CHECK(merge_user_kubeconfig(config).ok());
  }
  CHECK(sys::read_file(paths.kubeconfig_users()).value() == mine + "\n" + other + "\n" + gone + "\n");
  client::KubeconfigEntry another{"skiff", "https://127.0.0.1:2", "another CA", "theirs", "KEY"};
  REQUIRE(sys::replace_file(other, client::kubeconfig_text(another), 0600).ok());
  REQUIRE(sys::remove_file(gone).ok());
  entry.certificate = "new";
  REQUIRE(write_own());
  CHECK(renew_user_kubeconfigs(config).ok());
  CHECK(certificate_in(mine) == "new");
  CHECK(certificate_in(other) == "theirs");
  CHECK_FALSE(sys::exists(gone));
  ::unsetenv("KUBECONFIG");
}
