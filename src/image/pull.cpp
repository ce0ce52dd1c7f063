#include "image/pull.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "base/mutex.hpp"
#include "image/digest.hpp"
#include "image/import.hpp"
#include "image/registry_client.hpp"
#include "sys/files.hpp"

namespace skiff::image {

namespace {

constexpr size_t kParallel = 3;  // as containerd
constexpr int kIndexDepth = 3;
constexpr int kImportAttempts = 3;

// Where blobs lie until they are imported; not in the store's tmp, which every change empties. A lock shows that somebody
// is at it.
class Downloads {
 public:
  static Result<Downloads> make(const std::string& store) {
    const std::string root = store + "/pulls";
    TRY(sys::make_directory(root, 0700));
    TRY(remove_abandoned(root));
    std::string path = root + "/XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return errno_error(errno, "mkdtemp '{}'", path);
    TRY_ASSIGN(UniqueFd lock, sys::open(path, O_RDONLY | O_DIRECTORY));
    if (::flock(lock.get(), LOCK_EX) < 0) return errno_error(errno, "flock '{}'", path);
    return Downloads(std::move(path), std::move(lock));
  }
  Downloads(Downloads&& other) noexcept : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  Downloads& operator=(Downloads&&) = delete;
  ~Downloads() {
    // What cannot be removed now goes with the next pull.
    if (!path_.empty()) static_cast<void>(sys::remove_tree(path_));
  }
  std::string file(std::string_view digest) const { return fmt::format("{}/{}", path_, hex_of(digest)); }

 private:
  Downloads(std::string path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  static Status remove_abandoned(const std::string& root) {
    TRY_ASSIGN(std::vector<std::string> names, sys::list_directory(root));
    for (const std::string& name : names) {
      Result<UniqueFd> directory = sys::open(root + "/" + name, O_RDONLY | O_DIRECTORY);
      if (!directory.ok()) continue;  // its owner was faster
      if (::flock(directory.value().get(), LOCK_EX | LOCK_NB) == 0) TRY(sys::remove_tree(root + "/" + name));
    }
    return ok();
  }

  std::string path_;
  UniqueFd lock_;
};

class DownloadedBlobs final : public Source {
 public:
  explicit DownloadedBlobs(const Downloads& downloads) : downloads_(downloads) {}
  bool has(const std::string& name) const override { return sys::exists(downloads_.file(name)); }
  Result<Blob> open(const std::string& name) const override {
    Result<UniqueFd> file = sys::open(downloads_.file(name), O_RDONLY);
    if (!file.ok() && file.error().sys_errno() == ENOENT) return error(Code::NotFound, "'{}' is missing", name);
    if (!file.ok()) return std::move(file).error();
    return Blob{std::move(file).value()};
  }

 private:
  const Downloads& downloads_;
};

class Pull {
 public:
  Pull(ContentStore& store, const PullRequest& request, const RegistryConfig& config, Clock& clock, std::stop_token stop)
      : store_(store), image_(request.image), config_(config), clock_(clock), stop_(std::move(stop)),
        credentials_(request.credentials) {}

  Result<Pulled> run() {
    TRY_ASSIGN(std::vector<Endpoint> endpoints, endpoints_of(config_, image_.domain));
    std::optional<Error> last;
    const Endpoint* before = nullptr;
    for (const Endpoint& endpoint : endpoints) {
      // Plain HTTP is for a loopback registry that speaks no TLS, not for one that refused us.
      bool once_more = before && before->tls && !endpoint.tls && before->host == endpoint.host;
      if (once_more && last->code() != Code::Unavailable) break;
      before = &endpoint;
      Result<Candidate> found = resolve(endpoint);
      if (found.ok()) return download(endpoint, found.value());
      if (found.error().code() == Code::Canceled) return std::move(found).error();
      last = found.error();
    }
    return std::move(*last).in(fmt::format("failed to resolve reference \"{}\"", image_.canonical()));
  }

 private:
  RegistryClient client(const Endpoint& endpoint) const {
    return RegistryClient(endpoint, image_.path, config_, credentials_for(endpoint), clock_);
  }

  // A pod's secrets are for the registry that the image names; a mirror learns only what the configuration has for it.
  std::vector<Credentials> credentials_for(const Endpoint& endpoint) const {
    if (working_) return {*working_};
    Result<Endpoint> own = parse_endpoint((endpoint.tls ? "https://" : "http://") + image_.domain);
    bool named = endpoint.host == "registry-1.docker.io" ||
                 (own.ok() && own.value().host == endpoint.host && own.value().port == endpoint.port);
    std::vector<Credentials> known = named ? credentials_ : std::vector<Credentials>();
    std::set<std::string> hosts{endpoint.authority()};
    if (named) hosts.insert(image_.domain);
    for (const std::string& host : hosts)
      if (auto found = config_.hosts.find(host); found != config_.hosts.end())
        known.insert(known.end(), found->second.credentials.begin(), found->second.credentials.end());
    return known;
  }

  // The image for this machine: its documents, not yet its layers.
  Result<Candidate> resolve(const Endpoint& endpoint) {
    RegistryClient registry = client(endpoint);
    std::string wanted = image_.digest.empty() ? image_.tag : image_.digest;
    Result<FetchedManifest> fetched = registry.manifest(wanted, stop_);
    if (!fetched.ok() && (fetched.error().code() == Code::NotFound || fetched.error().code() == Code::Forbidden))
      return std::move(fetched).error().in(image_.canonical());
    TRY(fetched);
    Candidate candidate;
    candidate.names = {image_};
    candidate.pulled = true;
    working_ = registry.used();
    candidate.access = granted_by(working_);
    candidate.manifest_digest = fetched.value().digest;
    TRY_ASSIGN(Manifest manifest, parse_manifest(fetched.value().text, candidate.manifest_digest));
    for (int depth = 0; manifest.is_index; ++depth) {
      const Descriptor* here = depth < kIndexDepth ? for_this_machine(manifest) : nullptr;
      if (here == nullptr)
        return error(Code::NotFound, "no match for platform in manifest: not found");
      TRY_ASSIGN(FetchedManifest next, registry.manifest(here->digest, stop_));
      TRY_ASSIGN(manifest, parse_manifest(next.text, here->digest));
    }
    TRY_ASSIGN(candidate.config, document(registry, manifest.config.digest));
    for (const Descriptor& layer : manifest.layers) candidate.layers.push_back({layer.digest, layer.digest, ""});
    TRY(complete(candidate));
    return candidate;
  }

  static const Descriptor* for_this_machine(const Manifest& index) {
    auto fits = [](const Descriptor& one) {
      return one.architecture == machine_architecture() && (one.os.empty() || one.os == "linux");
    };
    auto found = std::find_if(index.manifests.begin(), index.manifests.end(), fits);
    if (found != index.manifests.end()) return &*found;
    return index.manifests.size() == 1 && index.manifests[0].architecture.empty() ? &index.manifests[0] : nullptr;
  }

  Result<std::string> document(RegistryClient& registry, const std::string& digest) {
    TRY_ASSIGN(Downloads downloads, Downloads::make(store_.directory()));
    const std::string path = downloads.file(digest);
    TRY_ASSIGN(UniqueFd file, sys::open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
    TRY(registry.blob(digest, file, path, stop_));
    return sys::read_file(path, kDocumentLimit);
  }

  Result<Pulled> download(const Endpoint& endpoint, const Candidate& candidate) {
    TRY_ASSIGN(Downloads downloads, Downloads::make(store_.directory()));
    // Layers that were there may go while others are fetched: then those are fetched too.
    for (int attempt = 1;; ++attempt) {
      TRY_ASSIGN(std::vector<std::string> missing, store_.missing_layers(candidate));
      TRY(fetch(endpoint, downloads, missing));
      TRY_ASSIGN(Import import, Import::begin(store_));
      Result<LoadReport> report = import.run(DownloadedBlobs(downloads), {candidate});
      if (!report.ok() && report.error().code() == Code::NotFound && attempt < kImportAttempts) continue;
      if (!report.ok()) return std::move(report).error().in("failed to extract layer");
      return Pulled{candidate.id, report.value().images.at(0).new_content, received_};
    }
  }

  // Several at once; the first failure ends the others.
  Status fetch(const Endpoint& endpoint, const Downloads& downloads, const std::vector<std::string>& digests) {
    std::atomic<size_t> next = 0;
    std::stop_source failed;
    std::stop_callback canceled(stop_, [&] { failed.request_stop(); });
    Mutex mutex;
    Status outcome = ok();
    auto work = [&] {
      RegistryClient registry = client(endpoint);
      for (size_t i; (i = next++) < digests.size();) {
        Status fetched = fetch_one(registry, downloads.file(digests[i]), digests[i], failed.get_token());
        if (fetched.ok()) continue;
        MutexLock lock(mutex);
        if (outcome.ok()) outcome = std::move(fetched);
        failed.request_stop();
        return;
      }
    };
    {
      std::vector<std::jthread> threads;
      for (size_t i = 1; i < std::min(kParallel, digests.size()); ++i) threads.emplace_back(work);
      work();
    }
    return outcome;
  }

  Status fetch_one(RegistryClient& registry, const std::string& path, const std::string& digest,
                   const std::stop_token& stop) {
    if (sys::exists(path)) return ok();  // of an earlier attempt
    const std::string part = path + ".part";
    TRY_ASSIGN(UniqueFd file, sys::open(part, O_RDWR | O_CREAT | O_TRUNC, 0600));
    TRY(registry.blob(digest, file, part, stop));
    TRY_ASSIGN(struct stat info, sys::stat_of(part));
    received_ += static_cast<std::uint64_t>(info.st_size);
    return sys::rename(part, path);
  }

  ContentStore& store_;
  const Reference image_;
  const RegistryConfig& config_;
  Clock& clock_;
  const std::stop_token stop_;
  const std::vector<Credentials> credentials_;  // the pod's
  std::optional<Credentials> working_;          // what opened the manifest opens the rest
  std::atomic<std::uint64_t> received_ = 0;
};

}  // namespace

Result<Pulled> pull(ContentStore& store, const PullRequest& request, const RegistryConfig& config, Clock& clock,
                    std::stop_token stop) {
  Result<Pulled> pulled = Pull(store, request, config, clock, std::move(stop)).run();
  if (!pulled.ok())
    return std::move(pulled).error().in(fmt::format("failed to pull and unpack image \"{}\"", request.image.canonical()));
  return pulled;
}

}  // namespace skiff::image
