#pragma once

#include "registry/registry.hpp"

namespace skiff::registry {

/// POST to serviceaccounts/token: checks the request and what it is to be bound to, and has it signed.
Result<AnyRef> issue_token(Registry& registry, const Resource& accounts, const ObjectKey& key, Draft draft,
                           const Registry::TokenSigner& signer);

}  // namespace skiff::registry
