#pragma once
// Whether a backend can be reached, and what it offers (kube-aggregator/pkg/controllers/status/remote).

#include "api/gen/apiregistration.hpp"
#include "apiserver/backend.hpp"

namespace skiff::api {
struct Service;
struct Endpoints;
}  // namespace skiff::api

namespace skiff::apiserver {

/// The condition Available of an APIService whose service lacks something; nullopt: it can be tried. Either object may
/// be null, when there is none. No transition time.
std::optional<api::APIServiceCondition> service_problem(const Backend& backend, const api::Service* service,
                                                        const api::Endpoints* endpoints);

struct BackendState {
  api::APIServiceCondition available;                // without a transition time
  std::shared_ptr<const RemoteDocuments> documents;  // null: it could not be asked
};

/// Asks the backend for its documents.
BackendState ask_backend(const BackendCaller& caller, const Backend& backend);

api::APIServiceCondition locally_available();
bool is_available(const api::APIService& service);
/// `condition` in place of the one of its type; the transition time is `now` when its status changes.
void set_condition(api::APIService& service, api::APIServiceCondition condition, api::Time now);

/// An APIResourceList as the entries of aggregated discovery: a JSON array. Invalid: it is something else.
Result<std::string> aggregated_entries(const std::string& resource_list, const Backend& backend);

}  // namespace skiff::apiserver
