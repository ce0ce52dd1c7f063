#pragma once
// The file that tells Kubernetes clients where a cluster is and who they are.

#include <string>

#include "base/error.hpp"

namespace skiff::client {

/// One cluster, user and context, all of the same name. Certificates and the key are PEM.
struct KubeconfigEntry {
  std::string name;
  std::string server;  // "https://127.0.0.1:6443"
  std::string authority;
  std::string certificate;
  std::string key;
};

/// A file with this entry alone (mode 0600 when it is written).
std::string kubeconfig_text(const KubeconfigEntry& entry);

/// Adds or replaces the entry in `text` (may be empty) and makes it the current context; everything else stays.
/// Invalid: `text` is not a kubeconfig.
Result<std::string> merge_kubeconfig(const std::string& text, const KubeconfigEntry& entry);

/// Gives the entry its new certificate and key where `text` has it, of this very cluster; everything else stays, the
/// current context too.
Result<std::string> renewed_kubeconfig(const std::string& text, const KubeconfigEntry& entry);

/// Takes the entry of that name out of `text`; the current context is unset when it was this one.
Result<std::string> without_kubeconfig(const std::string& text, const std::string& name);

/// The entry of the file's current context. Invalid: incomplete or unreadable.
Result<KubeconfigEntry> read_kubeconfig(const std::string& text);

}  // namespace skiff::client
