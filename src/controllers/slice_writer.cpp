#include "controllers/slice_writer.hpp"

namespace skiff::controllers {
namespace {

constexpr char kByService[] = "service";

std::string label(const api::EndpointSlice& slice, const char* name) {
  auto found = slice.metadata.labels.find(name);
  return found == slice.metadata.labels.end() ? "" : found->second;
}

}  // namespace

void index_slices(client::Informer<api::EndpointSlice> slices) {
  slices.add_index(kByService, [](const api::EndpointSlice& slice) {
    std::string name = label(slice, kServiceName);
    return name.empty() ? std::vector<std::string>{}
                        : std::vector<std::string>{slice.metadata.namespace_ + "/" + name};
  });
}

client::ObjectKey service_key(const api::EndpointSlice& slice, const std::string& manager) {
  if (label(slice, kSliceManagedBy) != manager) return {};
  return {slice.metadata.namespace_, label(slice, kServiceName)};
}

std::vector<Slice> slices_of(const client::Informer<api::EndpointSlice>& slices, const client::ObjectKey& key,
                             const std::string& manager) {
  std::vector<Slice> found = slices.by_index(kByService, key.str());
  std::erase_if(found, [&](const Slice& slice) {
    return slice->metadata.deletionTimestamp || label(*slice, kSliceManagedBy) != manager;
  });
  return found;
}

Status write_slices(client::Client& client, const client::ObjectKey& key, SlicePlan plan,
                    client::Fence& fence) {
  auto note = [&](const Result<Slice>& written) -> Status {
    if (written.ok()) fence.wrote(key, client::revision_of(written.value()->metadata));
    // Forbidden: the namespace is going; NotFound: the slice went, and its event brings this key back.
    else if (written.error().code() != Code::Forbidden && written.error().code() != Code::NotFound)
      return written.error();
    return ok();
  };
  for (api::EndpointSlice& slice : plan.create) TRY(note(client.create(std::move(slice))));
  for (api::EndpointSlice& slice : plan.update) TRY(note(client.update(std::move(slice))));
  for (const Slice& slice : plan.remove) {
    auto removed = client.remove<api::EndpointSlice>(client::key_of(*slice), {.uid = slice->metadata.uid});
    if (!removed.ok() && removed.error().code() != Code::NotFound) return std::move(removed).error();
    if (removed.ok() && removed.value()) fence.wrote(key, client::revision_of(removed.value().metadata()));
  }
  return ok();
}

}  // namespace skiff::controllers
