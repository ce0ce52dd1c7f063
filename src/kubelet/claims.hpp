#pragma once
// From a pod's volume to the PersistentVolume behind its claim.

#include <string>

#include "api/gen/pod.hpp"
#include "api/gen/volume.hpp"
#include "client/client.hpp"

namespace skiff::kubelet {

/// The claim that a volume of the pod stands for (a generic ephemeral volume's is "<pod>-<volume>"); "": none.
std::string claim_name(const api::Pod& pod, const api::Volume& volume);

/// Whether a volume of the pod is this claim.
bool uses_claim(const api::Pod& pod, const client::ObjectKey& claim);

/// The volume bound to the claim, once it may be used by this pod. An error is what keeps the pod waiting, in the
/// kubelet's words; a bound claim's volume of an unknown kind is for the caller to refuse.
Result<client::Ref<api::PersistentVolume>> find_volume(client::Client& client, const api::Pod& pod,
                                                       const api::Volume& volume);

}  // namespace skiff::kubelet
