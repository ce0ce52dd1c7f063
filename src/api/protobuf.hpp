#pragma once
// Request bodies in Kubernetes' protobuf encoding: newer kubectl sends its typed objects so.

#include <string>
#include <string_view>

#include "api/descriptor.hpp"
#include "base/error.hpp"

namespace skiff::api {

constexpr std::string_view kProtobufType = "application/vnd.kubernetes.protobuf";

/// The JSON of a body that starts with "k8s\0" and carries an object of `type`. Unknown fields are skipped,
/// as protobuf has it. BadRequest when it is malformed or nested too deeply.
Result<std::string> json_from_protobuf(std::string_view body, const api::TypeInfo& type);

}  // namespace skiff::api
