// The composition root: what is started, in which order, and stopped in the opposite one.

#include "skiff/cluster.hpp"

#include <unistd.h>

#include "base/log.hpp"
#include "cluster/bootstrap.hpp"
#include "cluster/control_plane.hpp"
#include "cluster/images.hpp"
#include "cluster/kubeconfig.hpp"
#include "cluster/control_socket.hpp"
#include "cluster/custom_metrics.hpp"
#include "cluster/fake_nodes.hpp"
#include "cluster/fleet.hpp"
#include "cluster/network.hpp"
#include "cluster/node.hpp"
#include "cluster/state.hpp"
#include "cluster/volume_directories.hpp"
#include "cluster/why.hpp"
#include "controllers/controllers.hpp"
#include "image/demo.hpp"
#include "net/host_network.hpp"
#include "scheduler/scheduler.hpp"
#include "sys/files.hpp"
#include "sys/namespaces.hpp"

namespace skiff {

using cluster::ControlPlane;
using cluster::Paths;
using cluster::Settings;

// Members in the order they are made; destroyed in the opposite one.
struct Cluster::Parts {
  SystemClock clock;
  SystemRandom random;
  UniqueFd lock;
  Settings settings;
  std::string kubeconfig;
  cluster::KubeletDirectory kubelets;
  std::unique_ptr<sys::CgroupTree> cgroups;
  std::unique_ptr<image::ContentStore> images;
  image::RegistryConfig registries;
  std::unique_ptr<net::HostNetwork> host;
  std::unique_ptr<ControlPlane> plane;
  std::unique_ptr<client::Client> manager_client, scheduler_client, kubelet_client;  // each owns what it writes
  std::unique_ptr<cluster::HostDirectories> directories;
  std::unique_ptr<client::Informers> informers;
  std::unique_ptr<cluster::AggregatedMetrics> metrics;
  std::unique_ptr<controllers::Controllers> controllers;
  std::unique_ptr<scheduler::Scheduler> scheduler;
  std::unique_ptr<cluster::ClusterNetwork> network;
  std::unique_ptr<cluster::Fleet> fleet;
  std::unique_ptr<cluster::FakeNodes> fake_nodes;
  std::unique_ptr<cluster::ControlSocket> control;

  Status start(const ClusterConfig& config, const Progress& progress);
  Status prepare_host(const ClusterConfig& config);
  Status start_control_plane(const Progress& progress);
  Status start_nodes(const Progress& progress);
  std::string kubeconfig_text() const;
  Status write_kubeconfig() const;
  void stop_threads();
};

namespace {

Status check_rights() {
  if (::geteuid() != 0)
    return Error(Code::Forbidden, "a cluster needs root: it makes namespaces, mounts and control groups");
  return ok();
}

}  // namespace

Status Cluster::Parts::start(const ClusterConfig& config, const Progress& progress) {
  TRY(check_rights());
  TRY(prepare_host(config));
  TRY(start_control_plane(progress));
  TRY(start_nodes(progress));
  return ok();
}

Status Cluster::Parts::prepare_host(const ClusterConfig& config) {
  Paths paths(config);
  TRY_ASSIGN(lock, cluster::lock_cluster(paths));
  TRY_ASSIGN(settings, cluster::load_or_choose_settings(config, random));
  TRY_ASSIGN(cgroups, sys::CgroupTree::detect());
  TRY_ASSIGN(images, image::ContentStore::open(paths.images()));
  TRY(image::install_demo_images(*images));
  TRY_ASSIGN(registries, cluster::load_registries(config));
  TRY_ASSIGN(UniqueFd here, sys::open_namespace(sys::Namespace::Network));
  TRY_ASSIGN(host, net::HostNetwork::open(std::move(here), {.cluster = settings.id, .ranges = settings.ranges()}));
  return host->ensure();
}

Status Cluster::Parts::start_control_plane(const Progress& progress) {
  TRY_ASSIGN(plane, ControlPlane::start(settings, clock, random, [this](const std::string& node) {
               return kubelets.find(node);
             }));
  kubeconfig = kubeconfig_text();
  TRY(write_kubeconfig());
  plane->keep_certificates_fresh(settings, [this]() -> Status {
    TRY(write_kubeconfig());
    return cluster::renew_user_kubeconfigs(settings.config);
  });
  TRY(cluster::bootstrap_objects(plane->client(), settings, plane->identity()));
  progress("API server answers");
  manager_client = plane->registry().client_for("kube-controller-manager");
  scheduler_client = plane->registry().client_for("kube-scheduler");
  kubelet_client = plane->registry().client_for("kubelet");
  directories = std::make_unique<cluster::HostDirectories>(Paths(settings.config).volumes());
  metrics = std::make_unique<cluster::AggregatedMetrics>(
      *manager_client, [this] { return client::read_kubeconfig(kubeconfig_text()); });
  informers = std::make_unique<client::Informers>(plane->client(), clock);
  std::vector<const api::KindInfo*> kinds;
  for (const registry::Resource& resource : plane->registry().resources())
    if (resource.strategy.stored) kinds.push_back(resource.kind);
  controllers = std::make_unique<controllers::Controllers>(
      controllers::Controllers::Uses{*manager_client, *informers, clock, random},
      controllers::ControllersOptions{
          .root_ca = plane->identity().authority.certificate,
          .served = std::move(kinds),
          .sign_account_token = [this](const client::ObjectKey& secret, const std::string& account,
                                       const std::string& uid) {
            return plane->sign_legacy_token(secret, account, uid);
          },
          .authority = &plane->certificates(),
          .quota_pending = [this](const std::string& namespace_) {
            return plane->registry().admission().quota().pending(namespace_);
          },
          .directories = directories.get(),
          .custom_metrics = metrics.get(),
          .node_grace = std::chrono::seconds(settings.config.node_grace)});
  TRY_ASSIGN(std::vector<scheduler::Profile> profiles, scheduler::parse_profiles(settings.config.scheduler_profiles));
  scheduler = std::make_unique<scheduler::Scheduler>(
      scheduler::Scheduler::Uses{*scheduler_client, *informers, clock, random}, std::move(profiles));
  TRY_ASSIGN(network, cluster::ClusterNetwork::create({*manager_client, *informers, clock, random, *host}, settings));
  return ok();
}

Status Cluster::Parts::start_nodes(const Progress& progress) {
  cluster::NodeSurroundings around{.settings = settings,
                                   .clock = clock,
                                   .random = random,
                                   .cgroups = *cgroups,
                                   .images = *images,
                                   .registries = registries,
                                   .host = *host,
                                   .client = *kubelet_client,
                                   .kubelets = kubelets,
                                   .network = *network};
  fleet = std::make_unique<cluster::Fleet>(cluster::Fleet::Uses{around, *plane, *network});
  TRY(fleet->open());
  fake_nodes = std::make_unique<cluster::FakeNodes>(*kubelet_client, *informers, clock, settings);
  informers->start();
  controllers->start();
  scheduler->start();
  TRY(network->start());
  TRY(fleet->start());
  progress(fleet->size() == 1 ? "node is Ready" : fmt::format("{} nodes are Ready", fleet->size()));
  TRY(fleet->wait_dns());
  progress("DNS answers");
  TRY(fake_nodes->start(settings.config.fake_nodes));
  TRY_ASSIGN(control, cluster::ControlSocket::start(Paths(settings.config), [this](const cluster::Words& words) {
               if (words.size() == 3 && words[0] == "why") return cluster::why(plane->client(), *scheduler, words[1], words[2]);
               return cluster::answer_node_command(*fleet, words);
             }));
  return ok();
}

std::string Cluster::Parts::kubeconfig_text() const {
  const apiserver::CertificatePair admin = plane->admin();
  client::KubeconfigEntry entry{.name = cluster::context_name(settings.config),
                                .server = plane->url(),
                                .authority = plane->identity().authority.certificate,
                                .certificate = admin.certificate,
                                .key = admin.key};
  return client::kubeconfig_text(entry);
}

// Also when certificates are renewed, on another thread: what was handed out at start stays as it is.
Status Cluster::Parts::write_kubeconfig() const {
  return sys::replace_file(Paths(settings.config).kubeconfig(), kubeconfig_text(), 0600);
}

// The informers before those whose handlers they call; the API last, for all of them write to it.
void Cluster::Parts::stop_threads() {
  if (control) control->stop();
  if (fleet) fleet->stop();
  if (informers) informers->stop();
  if (fake_nodes) fake_nodes->stop();
  if (network) network->stop();
  if (scheduler) scheduler->stop();
  if (controllers) controllers->stop();
  if (plane) plane->stop();
}

Cluster::Cluster(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Cluster::~Cluster() {
  if (parts_) parts_->stop_threads();
}

Result<std::unique_ptr<Cluster>> Cluster::start(const ClusterConfig& config, Progress progress) {
  auto parts = std::make_unique<Parts>();
  Status started = parts->start(config, progress ? progress : [](const std::string&) {});
  if (!started.ok()) {
    parts->stop_threads();
    return std::move(started).error();
  }
  return std::unique_ptr<Cluster>(new Cluster(std::move(parts)));
}

Status Cluster::stop() {
  parts_->stop_threads();
  Status result = parts_->fleet->power_off();
  if (Status removed = parts_->host->remove(); !removed.ok()) result = std::move(removed);
  if (Status removed = parts_->cgroups->remove(parts_->settings.cgroup(), parts_->clock); !removed.ok())
    result = std::move(removed);
  if (Status emptied = parts_->cgroups->remove_if_empty(parts_->settings.config.cgroup_root); !emptied.ok())
    result = std::move(emptied);
  return result;
}

const std::string& Cluster::kubeconfig() const { return parts_->kubeconfig; }
const std::string& Cluster::api_url() const { return parts_->plane->url(); }

Status delete_cluster(const ClusterConfig& config) {
  TRY(check_rights());
  Paths paths(config);
  if (!sys::exists(paths.root())) return error(Code::NotFound, "there is no cluster '{}'", config.name);
  TRY_ASSIGN(UniqueFd lock, cluster::lock_cluster(paths));
  Result<Settings> settings = cluster::load_settings(config);
  if (settings.ok()) TRY(cluster::remove_traces(settings.value()));
  return sys::remove_tree(paths.root());
}

}  // namespace skiff
