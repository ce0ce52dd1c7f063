#pragma once
// Kubernetes' protobuf encoding: what Go's clients send and prefer to be answered in.

#include <string>
#include <string_view>
#include <vector>

#include "api/descriptor.hpp"
#include "base/error.hpp"

namespace skiff::api {

struct ListMeta;
struct ObjectMeta;

constexpr std::string_view kProtobufType = "application/vnd.kubernetes.protobuf";

/// The JSON of a body that starts with "k8s\0" and carries an object of `type`. Unknown fields are skipped,
/// as protobuf has it. BadRequest when it is malformed or nested too deeply.
Result<std::string> json_from_protobuf(std::string_view body, const api::TypeInfo& type);

/// Whether encode_protobuf knows the type: the schema numbers a kind's fields all or not at all.
bool has_protobuf(const TypeInfo& type);

/// `object` as a whole document: "k8s\0" and a runtime.Unknown. The type must have a kind.
std::string encode_protobuf(const TypeInfo& type, const void* object);

/// A list document, written from its objects. `kind` is the list's own ("PodList").
struct ProtobufList {
  std::string api_version, kind;
  const TypeInfo* type = nullptr;         // of the items
  std::vector<const void*> items;
};
std::string encode_protobuf_list(const ProtobufList& list, const ListMeta& metadata);

/// meta.k8s.io PartialObjectMetadata, and the list of it.
std::string encode_protobuf_metadata(const std::string& api_version, const ObjectMeta& metadata);
std::string encode_protobuf_metadata_list(const std::string& api_version, const std::vector<const ObjectMeta*>& items,
                                          const ListMeta& metadata);

/// One frame of a watch (application/vnd.kubernetes.protobuf;stream=watch): four bytes of length, then a WatchEvent
/// around a whole document.
std::string protobuf_watch_frame(std::string_view type, std::string_view document);

}  // namespace skiff::api
