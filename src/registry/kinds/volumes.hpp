#pragma once
// Volume sources of pods and of PersistentVolumes, and what claims ask for.

#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "registry/kinds/field_checks.hpp"

namespace skiff::registry {

/// Whether it stands in a pod that runs, or in something pods are made from.
enum class PodKind : std::uint8_t { Pod, Template };

/// ValidateVolumes; returns those volumes that are valid, which alone can be mounted.
std::vector<const api::Volume*> check_volumes(const std::vector<api::Volume>& volumes, const Path& spec, PodKind kind,
                                              FieldErrors& errors);
/// The type-specific part of a PersistentVolume's spec: exactly one, with what it needs.
void check_persistent_volume_source(const api::PersistentVolumeSpec& spec, const Path& path, FieldErrors& errors);
void check_claim_spec(const api::PersistentVolumeClaimSpec& spec, const Path& path, FieldErrors& errors);

/// fieldRef: a field of the pod out of `allowed`, or one label or annotation.
void check_field_ref(const api::ObjectFieldSelector& ref, Words allowed, const Path& path, FieldErrors& errors);
/// resourceFieldRef; a volume must name the container.
void check_resource_field_ref(const api::ResourceFieldSelector& ref, bool in_volume, const Path& path,
                              FieldErrors& errors);
void check_csi_driver_name(const std::string& driver, const Path& path, FieldErrors& errors);

/// Counts alternatives of which exactly one may be set.
class OneOf {
 public:
  OneOf(const Path& path, const char* what, FieldErrors& errors) : path_(path), what_(what), errors_(errors) {}
  /// Whether this one is set and the first: then it is worth a look.
  bool first(bool set, const char* name) {
    if (!set) return false;
    if (count_++ == 0) return true;
    errors_.forbidden(path_.child(name), what_);
    return false;
  }
  bool none() const { return count_ == 0; }

 private:
  const Path& path_;
  const char* what_;
  FieldErrors& errors_;
  int count_ = 0;
};

}  // namespace skiff::registry
