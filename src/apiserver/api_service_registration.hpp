#pragma once
// The APIServices that the server keeps of what it serves itself: of the built-in versions when it starts, of custom
// resources always (kube-aggregator/pkg/controllers/autoregister).

#include <optional>
#include <string>
#include <vector>

#include "api/gen/apiregistration.hpp"
#include "client/client.hpp"
#include "registry/catalogue.hpp"

namespace skiff::api {
struct CustomResourceDefinition;
}

namespace skiff::apiserver {

inline constexpr char kAutomanaged[] = "kube-aggregator.kubernetes.io/automanaged";

/// One for every built-in version that is served, but those of APIServices themselves.
std::vector<api::APIService> built_in_api_services(const registry::Catalogue& catalogue);
/// Creates and corrects them, and removes those of versions that are served no more.
Status register_built_in(client::Client& client, const registry::Catalogue& catalogue);

/// v1.stable.example.com and the like, of every served version.
std::vector<std::string> api_service_names(const api::CustomResourceDefinition& definition);
/// The APIService named `name` for the custom resources among `definitions`; nullopt: none of them is of that version.
std::optional<api::APIService> custom_api_service(
    const std::string& name, const std::vector<client::Ref<api::CustomResourceDefinition>>& definitions);
/// Makes the object named `name` what is wanted, unless a user keeps it.
Status keep_registered(client::Client& client, const std::string& name, const std::optional<api::APIService>& wanted);

}  // namespace skiff::apiserver
