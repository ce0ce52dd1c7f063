#pragma once
// How endpoints are laid out over EndpointSlices so that few slices change at a time
// (k8s.io/endpointslice/reconciler.go): pure.

#include <string>
#include <vector>

#include "api/gen/discovery.hpp"
#include "client/object.hpp"

namespace skiff::controllers {

using Slice = client::Ref<api::EndpointSlice>;
using Ports = std::vector<api::DiscoveryEndpointPort>;

/// Endpoints that share their ports.
struct EndpointGroup {
  Ports ports;
  std::vector<api::Endpoint> endpoints;
};

struct SlicePlan {
  std::vector<api::EndpointSlice> create, update;
  std::vector<Slice> remove;
};

/// Groups by ports, in a stable order.
class EndpointGroups {
 public:
  void add(Ports ports, api::Endpoint endpoint);
  std::vector<EndpointGroup> take();

 private:
  std::vector<EndpointGroup> groups_;
};

/// What turns `existing` (all of one owner and address type) into `groups`. `model` carries what every slice
/// has: labels, annotations, owner, generateName, address type. Endpoints stay in the slice they are in;
/// slices that change anyway are filled first; none holds more than 100. Without any endpoint one empty slice
/// remains.
SlicePlan plan_slices(const api::EndpointSlice& model, std::vector<EndpointGroup> groups,
                      const std::vector<Slice>& existing);

}  // namespace skiff::controllers
