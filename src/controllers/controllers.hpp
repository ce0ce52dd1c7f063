#pragma once
// The controller manager: what `cluster` starts to make wishes come true.

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "client/certificate_authority.hpp"
#include "client/client.hpp"
#include "client/informer.hpp"
#include "client/metadata_feed.hpp"
#include "controllers/volume_directories.hpp"

namespace skiff::controllers {

class Controller;
class CustomMetrics;

/// The token of a service account, to be kept in `secret`.
using AccountTokenSigner = std::function<Result<std::string>(const client::ObjectKey& secret,
                                                             const std::string& account, const std::string& uid)>;

/// Whether something of a namespace is charged to its quotas and not written yet.
using QuotaPending = std::function<bool(const std::string& namespace_)>;

struct ControllersOptions {
  /// PEM of the authority that signed the API server's certificate.
  std::string root_ca;
  /// The resources that the API server serves (only these may be listed).
  std::vector<const api::KindInfo*> served;
  /// Both may be missing (in tests): then no Secret gets a token and no certificate is signed.
  AccountTokenSigner sign_account_token = {};
  const client::CertificateAuthority* authority = nullptr;
  /// Missing when the API server is elsewhere: a recount may then miss what is being written, as in Kubernetes.
  QuotaPending quota_pending = {};
  /// Missing: the built-in StorageClass makes no volumes.
  VolumeDirectories* directories = nullptr;
  /// Where autoscalers find metrics that are not resources; may be missing.
  CustomMetrics* custom_metrics = nullptr;
  /// How long a node may be silent before it counts as lost.
  Duration node_grace = 40s;
};

/// All controllers. Made before Informers::start(), for it registers handlers on the informers; the informers
/// must be stopped before it is destroyed.
class Controllers {
 public:
  struct Uses {
    client::Client& client;
    client::Informers& informers;
    Clock& clock;
    Random& random;
  };
  Controllers(const Uses& uses, const ControllersOptions& options);
  ~Controllers();

  /// Waits until the informers have synced, then starts the workers. False when `stop` came first.
  bool start(std::stop_token stop = {});
  /// Ends and joins the workers.
  void stop();

 private:
  client::Informers& informers_;
  std::vector<std::unique_ptr<Controller>> all_;
  client::MetadataFeed everything_;  // last: its handlers call the controllers
};

}  // namespace skiff::controllers
