#include "sys/nftables.hpp"

#include <nftables/libnftables.h>

#include <memory>

#include "base/mutex.hpp"
#include "sys/namespaces.hpp"

namespace skiff::sys {
namespace {

struct FreeContext {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

/// libnftables keeps its symbol tables in static memory, so its users take turns. Held for some milliseconds.
Mutex& library_mutex() {
  static Mutex mutex;
  return mutex;
}

}  // namespace

Result<std::string> run_nft(const UniqueFd& network, const std::string& commands) {
  return in_network(network, [&]() -> Result<std::string> {
    MutexLock lock(library_mutex());
    // Contexts are made per call: their socket belongs to the namespace, and they are cheap.
    std::unique_ptr<nft_ctx, FreeContext> context(nft_ctx_new(NFT_CTX_DEFAULT));
    if (!context) return error(Code::System, "libnftables: no context");
    nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_NUMERIC_PROTO);
    if (nft_ctx_buffer_output(context.get()) != 0 || nft_ctx_buffer_error(context.get()) != 0)
      return error(Code::System, "libnftables: no buffers");
    if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) != 0)
      return error(Code::Invalid, "nft: {}", nft_ctx_get_error_buffer(context.get()));
    return std::string(nft_ctx_get_output_buffer(context.get()));
  });
}

}  // namespace skiff::sys
