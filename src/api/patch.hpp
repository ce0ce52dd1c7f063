#pragma once
// The three patches of the API on JSON documents.

#include <nlohmann/json_fwd.hpp>

#include "api/descriptor.hpp"
#include "base/error.hpp"

namespace skiff::api {

/// RFC 6902. BadRequest: not a patch; Invalid: it does not apply (a failed test, a missing path).
Result<nlohmann::json> apply_json_patch(nlohmann::json document, const nlohmann::json& patch);

/// RFC 7386.
nlohmann::json apply_merge_patch(nlohmann::json document, const nlohmann::json& patch);

/// Kubernetes' strategic merge: lists merge by the keys that `type` states; understands $patch, $retainKeys,
/// $setElementOrder/x and $deleteFromPrimitiveList/x. BadRequest: a directive is malformed.
Result<nlohmann::json> apply_strategic_patch(nlohmann::json document, const nlohmann::json& patch,
                                             const TypeInfo& type);

}  // namespace skiff::api
