#pragma once
// Which images pods use, and removing others before the disk is full of them (pkg/kubelet/images/image_gc_manager).

#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "image/content_store.hpp"

namespace skiff::kubelet {

/// Notes on disk, in the pod's own directory and so gone with it, that the pod uses the image: other processes of the host
/// must know it too, also while this one is down.
Status mark_image(const std::string& pod_directory, const std::string& image_id);
/// The ids that pods of the node in `node_directory` are marked to use.
std::set<std::string> images_in_use(const std::string& node_directory);

struct CollectionPolicy {
  int high_percent = 85;     // of the disk: from here on images go,
  int low_percent = 80;      // down to this
  Duration min_age = 2min;   // since an image was first seen unused here
  Duration period = 5min;
};

struct DiskSpace {
  std::uint64_t capacity = 0, available = 0;
};
/// How much has to go. Pure.
std::uint64_t bytes_to_free(const DiskSpace& disk, const CollectionPolicy& policy);

/// When an image was seen here, and when last in use.
struct ImageHistory {
  TimePoint first_seen{}, last_used{};
};
/// The ids of images that may go, those that were not used for longest first. Images in use stay, and so do those that
/// nobody can give back: tagged or loaded by hand. Pure.
std::vector<std::string> choose_images(const std::vector<image::Image>& images, const std::map<std::string, ImageHistory>& history,
                                       const std::set<std::string>& in_use, TimePoint not_after);

/// Looks now and then. collect() from any thread.
class ImageCollector {
 public:
  struct Uses {
    std::function<std::set<std::string>()> in_use;   // by any pod of the host
    std::function<DiskSpace()> disk;
    std::function<void(const std::string& message)> failed;
  };
  ImageCollector(image::ContentStore& images, Clock& clock, CollectionPolicy policy, Uses uses)
      : images_(images), clock_(clock), policy_(policy), uses_(std::move(uses)) {}

  void start();
  void stop();
  /// One look; public for tests.
  void look();
  /// Everything that may go goes, however young: the node is short of disk. Bytes that were freed.
  std::uint64_t free_all();

 private:
  std::uint64_t free(std::uint64_t wanted, TimePoint not_after);
  std::vector<image::Image> see(const std::set<std::string>& in_use);

  image::ContentStore& images_;
  Clock& clock_;
  const CollectionPolicy policy_;
  const Uses uses_;
  Mutex mutex_;
  std::map<std::string, ImageHistory> history_ GUARDED_BY(mutex_);
  std::jthread thread_;  // last
};

/// Of the file system with `directory`.
DiskSpace disk_space(const std::string& directory);

}  // namespace skiff::kubelet
