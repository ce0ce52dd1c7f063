#pragma once
// Which form of an answer a client accepts, and objects and lists written in that form.

#include <string>
#include <string_view>

#include "apiserver/message.hpp"
#include "apiserver/table.hpp"
#include "base/error.hpp"
#include "registry/registry.hpp"

namespace skiff::apiserver {

struct Form {
  enum class Kind { Object, Table, Metadata } kind = Kind::Object;
  std::string version = "v1";  // of meta.k8s.io, for tables and metadata
  TableOptions table;
  bool protobuf = false;       // rather than JSON; never for tables
  const registry::ServedKind* served = nullptr;  // the version to answer in; null: as it is stored

  const char* content_type() const;
};

/// One entry of an Accept header.
struct MediaType {
  std::string type;  // "application/json"
  std::string as, group, version;
  double quality = 1;
};
/// The client's favourite first; an empty header accepts anything.
std::vector<MediaType> parse_accept(std::string_view accept);
bool is_json(const MediaType& type);

/// The form to answer in about `served`. NotAcceptable when nothing that is accepted can be made.
Result<Form> negotiate(const Request& request, const registry::ServedKind& served);
/// Whether errors are to be told in protobuf.
bool prefers_protobuf(const Request& request);

/// `object` in `form`, without a line break, so that it can stand in a watch event. Fails when it cannot be converted.
Result<Chunk> write_object(const Form& form, const registry::Object& object, WallTime now);
/// The same for an object that was not read from the store, which is never converted.
Result<Chunk> write_object(const Form& form, const client::AnyRef& object, WallTime now);
/// `form` must name the served kind.
Result<Chunk> write_list(const Form& form, const registry::ListPage& page, WallTime now);

}  // namespace skiff::apiserver
