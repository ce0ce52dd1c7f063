#pragma once

#include "client/client.hpp"
#include "client/informer.hpp"
#include "controllers/slice_plan.hpp"

namespace skiff::controllers {

inline constexpr char kServiceName[] = "kubernetes.io/service-name";
inline constexpr char kSliceManagedBy[] = "endpointslice.kubernetes.io/managed-by";

/// The slices in `key`'s namespace that belong to the service `key` and that `manager` made. Needs
/// index_slices().
std::vector<Slice> slices_of(const client::Informer<api::EndpointSlice>& slices, const client::ObjectKey& key,
                             const std::string& manager);
void index_slices(client::Informer<api::EndpointSlice> slices);
/// The key of the service a slice of `manager` belongs to; empty name: not one of those.
client::ObjectKey service_key(const api::EndpointSlice& slice, const std::string& manager);

/// Carries out `plan` for `key` and remembers the writes in `fence`.
Status write_slices(client::Client& client, const client::ObjectKey& key, SlicePlan plan,
                    client::Fence& fence);

}  // namespace skiff::controllers
