#include "client/kubeconfig.hpp"

#include <yaml-cpp/yaml.h>

#include "base/encoding.hpp"

namespace skiff::client {
namespace {

YAML::Node named(const std::string& name, const char* key, const YAML::Node& value) {
  YAML::Node item;
  item[key] = value;
  item["name"] = name;
  return item;
}

// The list without its item of that name.
YAML::Node others(const YAML::Node& list, const std::string& name) {
  YAML::Node kept(YAML::NodeType::Sequence);
  if (list.IsSequence())
    for (const YAML::Node& item : list)
      if (!item["name"] || item["name"].as<std::string>() != name) kept.push_back(item);
  return kept;
}

void put(YAML::Node& root, const char* list, const YAML::Node& item) {
  YAML::Node items = others(root[list], item["name"].as<std::string>());
  items.push_back(item);
  root[list] = items;
}

Result<YAML::Node> parse(const std::string& text) {
  try {
    YAML::Node root = YAML::Load(text);
    if (root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
    if (!root.IsMap()) return Error(Code::Invalid, "kubeconfig: not a mapping");
    return root;
  } catch (const YAML::Exception& problem) {
    return error(Code::Invalid, "kubeconfig: {}", problem.what());
  }
}

std::string emit(const YAML::Node& root) {
  YAML::Emitter out;
  out << root;
  return std::string(out.c_str()) + "\n";
}

constexpr char kAuthority[] = "certificate-authority-data";

YAML::Node user_of(const KubeconfigEntry& entry) {
  YAML::Node user;
  user["client-certificate-data"] = base64_encode(entry.certificate);
  user["client-key-data"] = base64_encode(entry.key);
  return user;
}

YAML::Node find(const YAML::Node& list, const std::string& name) {
  if (list.IsSequence())
    for (const YAML::Node& item : list)
      if (item["name"] && item["name"].as<std::string>() == name) return item;
  return YAML::Node(YAML::NodeType::Undefined);
}

}  // namespace

Result<std::string> merge_kubeconfig(const std::string& text, const KubeconfigEntry& entry) {
  TRY_ASSIGN(YAML::Node root, parse(text));
  YAML::Node cluster, context;
  cluster[kAuthority] = base64_encode(entry.authority);
  cluster["server"] = entry.server;
  context["cluster"] = entry.name;
  context["user"] = entry.name;
  root["apiVersion"] = "v1";
  root["kind"] = "Config";
  put(root, "clusters", named(entry.name, "cluster", cluster));
  put(root, "contexts", named(entry.name, "context", context));
  put(root, "users", named(entry.name, "user", user_of(entry)));
  root["current-context"] = entry.name;
  return emit(root);
}

std::string kubeconfig_text(const KubeconfigEntry& entry) { return merge_kubeconfig("", entry).value(); }

Result<std::string> renewed_kubeconfig(const std::string& text, const KubeconfigEntry& entry) {
  TRY_ASSIGN(YAML::Node root, parse(text));
  try {
    YAML::Node cluster = find(root["clusters"], entry.name), user = find(root["users"], entry.name);
    if (!cluster.IsDefined() || !user.IsDefined()) return text;
    YAML::Node authority = cluster["cluster"][kAuthority];
    if (!authority || authority.as<std::string>() != base64_encode(entry.authority)) return text;
  } catch (const YAML::Exception& problem) {
    return error(Code::Invalid, "kubeconfig: {}", problem.what());
  }
  put(root, "users", named(entry.name, "user", user_of(entry)));
  return emit(root);
}

Result<std::string> without_kubeconfig(const std::string& text, const std::string& name) {
  TRY_ASSIGN(YAML::Node root, parse(text));
  for (const char* list : {"clusters", "contexts", "users"})
    if (root[list]) root[list] = others(root[list], name);
  if (root["current-context"] && root["current-context"].as<std::string>() == name) root["current-context"] = "";
  return emit(root);
}

Result<KubeconfigEntry> read_kubeconfig(const std::string& text) {
  TRY_ASSIGN(YAML::Node root, parse(text));
  try {
    KubeconfigEntry entry;
    entry.name = root["current-context"].as<std::string>();
    YAML::Node context = find(root["contexts"], entry.name)["context"];
    YAML::Node cluster = find(root["clusters"], context["cluster"].as<std::string>())["cluster"];
    YAML::Node user = find(root["users"], context["user"].as<std::string>())["user"];
    auto decoded = [](const YAML::Node& node) { return base64_decode(node.as<std::string>()).value_or(""); };
    entry.server = cluster["server"].as<std::string>();
    entry.authority = decoded(cluster[kAuthority]);
    entry.certificate = decoded(user["client-certificate-data"]);
    entry.key = decoded(user["client-key-data"]);
    return entry;
  } catch (const YAML::Exception& problem) {
    return error(Code::Invalid, "kubeconfig: {}", problem.what());
  }
}

}  // namespace skiff::client
