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

using ContextPtr = std::unique_ptr<nft_ctx, FreeContext>;

/// Its socket belongs to the calling thread's namespace.
Result<ContextPtr> open_context() {
  MutexLock lock(library_mutex());
  ContextPtr context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context) return error(Code::System, "libnftables: no context");
  nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_NUMERIC_PROTO);
  if (nft_ctx_buffer_output(context.get()) != 0 || nft_ctx_buffer_error(context.get()) != 0)
    return error(Code::System, "libnftables: no buffers");
  return context;
}

Result<std::string> run_in(nft_ctx* context, const std::string& commands) {
  MutexLock lock(library_mutex());
  bool done = nft_run_cmd_from_buffer(context, commands.c_str()) == 0;
  // Both are asked for each time: that is what empties them.
  std::string output = nft_ctx_get_output_buffer(context), failure = nft_ctx_get_error_buffer(context);
  if (!done) return error(Code::Invalid, "nft: {}", failure);
  return output;
}

}  // namespace

Result<std::string> run_nft(const UniqueFd& network, const std::string& commands) {
  TRY_ASSIGN(ContextPtr context, in_network(network, open_context));
  return run_in(context.get(), commands);
}

struct NftSession::Context {
  ContextPtr context;
};

NftSession::NftSession(std::unique_ptr<Context> context) : context_(std::move(context)) {}
NftSession::~NftSession() = default;

Result<std::unique_ptr<NftSession>> NftSession::open(const UniqueFd& network) {
  TRY_ASSIGN(ContextPtr context, in_network(network, open_context));
  return std::unique_ptr<NftSession>(new NftSession(std::make_unique<Context>(Context{std::move(context)})));
}

Result<std::string> NftSession::run(const std::string& commands) {
  return run_in(context_->context.get(), commands);
}

}  // namespace skiff::sys
