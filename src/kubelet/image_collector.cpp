#include "kubelet/image_collector.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "base/log.hpp"
#include "sys/files.hpp"

namespace skiff::kubelet {
namespace {

constexpr std::string_view kPrefix = "sha256:";

// A registry gave it, by every name it has.
bool can_be_had_again(const image::Image& image) {
  return image.pulled_names == image.names.size();
}

}  // namespace

Status mark_image(const std::string& pod_directory, const std::string& image_id) {
  const std::string directory = pod_directory + "/images";
  const std::string path = directory + "/" + image_id.substr(std::min(kPrefix.size(), image_id.size()));
  if (sys::exists(path)) return ok();
  TRY(sys::make_directories(directory));
  TRY_ASSIGN(UniqueFd mark, sys::open(path, O_WRONLY | O_CREAT, 0600));
  return ok();
}

std::set<std::string> images_in_use(const std::string& node_directory) {
  std::set<std::string> ids;
  const std::string pods = node_directory + "/pods/";
  Result<std::vector<std::string>> uids = sys::list_directory(pods);
  if (!uids.ok()) return ids;
  for (const std::string& uid : uids.value())
    if (Result<std::vector<std::string>> marks = sys::list_directory(pods + uid + "/images"); marks.ok())
      for (const std::string& mark : marks.value()) ids.insert(std::string(kPrefix) + mark);
  return ids;
}

std::uint64_t bytes_to_free(const DiskSpace& disk, const CollectionPolicy& policy) {
  if (disk.capacity == 0) return 0;
  std::uint64_t used_percent = 100 - disk.available * 100 / disk.capacity;
  if (used_percent < static_cast<std::uint64_t>(policy.high_percent)) return 0;
  std::uint64_t wanted = disk.capacity / 100 * (100 - static_cast<std::uint64_t>(policy.low_percent));
  return wanted > disk.available ? wanted - disk.available : 0;
}

std::vector<std::string> choose_images(const std::vector<image::Image>& images, const std::map<std::string, ImageHistory>& history,
                                       const std::set<std::string>& in_use, TimePoint not_after) {
  std::vector<std::pair<ImageHistory, std::string>> may_go;
  for (const image::Image& image : images) {
    auto seen = history.find(image.id);
    if (in_use.contains(image.id) || seen == history.end() || !can_be_had_again(image)) continue;
    if (seen->second.first_seen > not_after || seen->second.last_used > not_after) continue;
    may_go.emplace_back(seen->second, image.id);
  }
  std::ranges::stable_sort(may_go, [](const auto& a, const auto& b) {
    return std::pair(a.first.last_used, a.first.first_seen) < std::pair(b.first.last_used, b.first.first_seen);
  });
  std::vector<std::string> ids;
  for (auto& [when, id] : may_go) ids.push_back(std::move(id));
  return ids;
}

void ImageCollector::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "image-gc");
    do look();
    while (clock_.wait_for(stop, policy_.period));
  });
}

void ImageCollector::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

std::vector<image::Image> ImageCollector::see(const std::set<std::string>& in_use) {
  Result<std::vector<image::Image>> listed = images_.list();
  if (!listed.ok()) {
    log::warning("kubelet", "list images: {}", listed.error().message());
    return {};
  }
  TimePoint now = clock_.now();
  MutexLock lock(mutex_);
  std::map<std::string, ImageHistory> seen;
  for (const image::Image& image : listed.value()) {
    auto known = history_.find(image.id);
    ImageHistory& history = seen[image.id] = known == history_.end() ? ImageHistory{now, {}} : known->second;
    if (in_use.contains(image.id)) history.last_used = now;
  }
  history_ = std::move(seen);
  return std::move(listed).value();
}

std::uint64_t ImageCollector::free(std::uint64_t wanted, TimePoint not_after) {
  std::set<std::string> in_use = uses_.in_use();
  std::vector<image::Image> images = see(in_use);
  std::vector<std::string> ids;
  {
    MutexLock lock(mutex_);
    ids = choose_images(images, history_, in_use, not_after);
  }
  std::uint64_t freed = 0;
  for (const std::string& id : ids) {
    if (freed >= wanted) break;
    // Asked anew: a pod may have begun to use it meanwhile.
    Result<image::ContentStore::Removed> removed = images_.remove(id, uses_.in_use());
    if (!removed.ok() || removed.value().deleted.empty()) continue;
    auto image = std::ranges::find(images, id, &image::Image::id);
    freed += image->size;
    log::info("kubelet", "removed the unused image {} ({} bytes)", image->names.empty() ? id : image->names.front(), image->size);
  }
  return freed;
}

void ImageCollector::look() {
  std::uint64_t wanted = bytes_to_free(uses_.disk(), policy_);
  if (wanted == 0) {
    (void)see(uses_.in_use());
    return;
  }
  std::uint64_t freed = free(wanted, clock_.now() - policy_.min_age);
  if (freed < wanted)
    uses_.failed(fmt::format("Failed to garbage collect required amount of images. Attempted to free {} bytes, but only found {} "
                             "bytes eligible to free.",
                             wanted, freed));
}

std::uint64_t ImageCollector::free_all() { return free(~std::uint64_t{0}, clock_.now()); }

DiskSpace disk_space(const std::string& directory) {
  struct statvfs disk {};
  if (::statvfs(directory.c_str(), &disk) < 0) return {};
  return {disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize};
}

}  // namespace skiff::kubelet
