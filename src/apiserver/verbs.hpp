#pragma once
// The verbs on resources: a verb is a plain function from a Call to an answer.

#include "apiserver/authenticate.hpp"
#include "apiserver/message.hpp"
#include "apiserver/negotiate.hpp"
#include "apiserver/request_info.hpp"
#include "client/node_access.hpp"
#include "registry/registry.hpp"

namespace skiff::apiserver {

/// A request on its way through the API, after authentication: everything a verb may look at.
struct Call {
  const Request& request;
  const RequestInfo& info;
  const User& user;
  const registry::ServedKind& served;    // the version the client speaks
  const registry::Resource& resource;    // and what it is stored as
  registry::Registry& registry;
  const client::NodeAccessByName& nodes;
  WallTime now;
  Form form;
  registry::RequestContext context;  // collects warnings

  client::ObjectKey key() const {
    return {resource.kind->namespaced ? info.namespace_ : std::string(), info.name};
  }
};

/// (A struct, because a Result of a bare function pointer trips over -Wshadow.)
struct Verb {
  Result<Response> (*run)(Call&);
};

/// The function for `info`'s verb and subresource. NotFound or MethodNotAllowed when there is none.
Result<Verb> find_verb(const RequestInfo& info, const api::KindInfo& kind);

/// Selectors, paging and revisions from the query. BadRequest when one is malformed.
Result<registry::ListQuery> list_query(const Call& call);

Result<Response> get_object(Call& call);
Result<Response> list_objects(Call& call);
Result<Response> watch_objects(Call& call);
Result<Response> create_object(Call& call);
Result<Response> update_object(Call& call);
Result<Response> patch_object(Call& call);
Result<Response> delete_object(Call& call);
Result<Response> delete_collection(Call& call);
// subresources.cpp
Result<Response> get_scale(Call& call);
Result<Response> update_scale(Call& call);
Result<Response> patch_scale(Call& call);
Result<Response> create_subresource(Call& call);
Result<Response> pod_log(Call& call);
Result<Response> pod_exec(Call& call);
Result<Response> pod_attach(Call& call);
Result<Response> pod_port_forward(Call& call);
Result<Response> proxy(Call& call);

/// Admission of an exec, attach, port-forward or proxy (connect.cpp).
Status admit_connect(Call& call);
/// Takes fieldManager and force into the context. Invalid when they do not go with the patch.
Status patch_options(Call& call, client::PatchType type);
/// The type that a patch's Content-Type names. UnsupportedMediaType with the list of those accepted.
Result<client::PatchType> patch_type(const Request& request);
/// The body as JSON; a protobuf one is an object of `type`. UnsupportedMediaType for anything else.
Result<std::string> json_body(const Request& request, const api::TypeInfo& type);

Result<Response> answer(Call& call, int status, const registry::Object& object);
Result<Response> answer(Call& call, int status, const client::AnyRef& object);

}  // namespace skiff::apiserver
