#include "apiserver/request_info.hpp"

#include <catch2/catch.hpp>

using namespace skiff::apiserver;

TEST_CASE("request info is read as kube-apiserver reads it") {
  struct Row {
    const char *method, *path, *query;
    const char *verb, *group, *version, *namespace_, *resource, *subresource, *name;
  };
  auto row = GENERATE(values<Row>({
      {"GET", "/api/v1/pods", "", "list", "", "v1", "", "pods", "", ""},
      {"GET", "/api/v1/pods", "watch", "watch", "", "v1", "", "pods", "", ""},
      {"GET", "/api/v1/namespaces/a/pods", "", "list", "", "v1", "a", "pods", "", ""},
      {"GET", "/api/v1/namespaces/a/pods/p", "", "get", "", "v1", "a", "pods", "", "p"},
      {"HEAD", "/api/v1/namespaces/a/pods/p", "", "get", "", "v1", "a", "pods", "", "p"},
      {"GET", "/api/v1/namespaces/a/pods/p/log", "", "get", "", "v1", "a", "pods", "log", "p"},
      {"POST", "/api/v1/namespaces/a/pods", "", "create", "", "v1", "a", "pods", "", ""},
      {"PUT", "/api/v1/namespaces/a/pods/p/status", "", "update", "", "v1", "a", "pods", "status", "p"},
      {"PATCH", "/apis/apps/v1/namespaces/a/deployments/d", "", "patch", "apps", "v1", "a", "deployments", "",
       "d"},
      {"DELETE", "/apis/apps/v1/namespaces/a/deployments/d", "", "delete", "apps", "v1", "a", "deployments",
       "", "d"},
      {"DELETE", "/api/v1/namespaces/a/pods", "", "deletecollection", "", "v1", "a", "pods", "", ""},
      {"GET", "/api/v1/namespaces", "", "list", "", "v1", "", "namespaces", "", ""},
      {"GET", "/api/v1/namespaces/a", "", "get", "", "v1", "a", "namespaces", "", "a"},
      {"PUT", "/api/v1/namespaces/a/finalize", "", "update", "", "v1", "a", "namespaces", "finalize", "a"},
      {"GET", "/api/v1/watch/pods", "", "watch", "", "v1", "", "pods", "", ""},
      {"GET", "/api/v1/watch/namespaces/a/pods", "", "watch", "", "v1", "a", "pods", "", ""},
      {"GET", "/api/v1/nodes/n/proxy/a/b/", "", "get", "", "v1", "", "nodes", "proxy", "n"},
      {"GET", "/api", "", "get", "", "", "", "", "", ""},
      {"GET", "/api/v1", "", "get", "", "", "", "", "", ""},
      {"GET", "/apis/apps/v1", "", "get", "", "", "", "", "", ""},
      {"GET", "/healthz", "", "get", "", "", "", "", "", ""},
      {"GET", "/", "", "get", "", "", "", "", "", ""},
  }));
  DYNAMIC_SECTION(row.method << " " << row.path << "?" << row.query) {
    Request request;
    request.method = row.method;
    request.path = row.path;
    if (*row.query) request.query.emplace(row.query, "true");
    RequestInfo info = parse_request_info(request);
    CHECK(info.verb == row.verb);
    CHECK(info.group == row.group);
    CHECK(info.version == row.version);
    CHECK(info.namespace_ == row.namespace_);
    CHECK(info.resource == row.resource);
    CHECK(info.subresource == row.subresource);
    CHECK(info.name == row.name);
    CHECK(info.is_resource == (*row.resource != '\0'));
  }
}

TEST_CASE("what follows a proxy is kept as it was written") {
  struct Row {
    const char *path, *rest;
  };
  auto row = GENERATE(values<Row>({
      {"/api/v1/namespaces/a/services/s/proxy", ""},
      {"/api/v1/namespaces/a/services/s/proxy/", "/"},
      {"/api/v1/namespaces/a/services/s/proxy/x/y/", "/x/y/"},
      {"/api/v1/nodes/n/proxy/metrics", "/metrics"},
  }));
  Request request;
  request.method = "GET";
  request.path = request.target = row.path;
  CHECK(parse_request_info(request).rest == row.rest);
}

TEST_CASE("boolean parameters are read as Go reads them") {
  struct Row {
    const char* value;
    bool want;
  };
  auto row = GENERATE(
      values<Row>({{"true", true}, {"1", true}, {"", true}, {"false", false}, {"0", false}, {"F", false}}));
  Request request;
  request.query.emplace("watch", row.value);
  CHECK(is_true(request, "watch") == row.want);
  CHECK_FALSE(is_true(request, "follow"));
}
