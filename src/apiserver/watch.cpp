// Watches: the registry's events as a stream of JSON documents.

#include <atomic>
#include <charconv>

#include "api/json.hpp"
#include "api/protobuf.hpp"
#include "api/status.hpp"
#include "apiserver/event_queue.hpp"
#include "apiserver/status.hpp"
#include "apiserver/verbs.hpp"
#include "base/random.hpp"
#include "registry/custom_conversion.hpp"
#include "registry/paging.hpp"

namespace skiff::apiserver {

using registry::ObjectEvent;

namespace {

constexpr Duration kBookmarkInterval = 60s;
constexpr std::chrono::seconds kMinLifetime{1800};  // as --min-request-timeout: [30, 60) minutes

Chunk constant(std::string_view text) { return std::make_shared<std::string>(text); }

// Shared by all watches: an event is then this, the object's stored bytes, and an end.
struct EventText {
  Chunk added = constant(R"({"type":"ADDED","object":)");
  Chunk modified = constant(R"({"type":"MODIFIED","object":)");
  Chunk deleted = constant(R"({"type":"DELETED","object":)");
  Chunk end = constant("}\n");

  const Chunk& head(ObjectEvent::Type type) const {
    if (type == ObjectEvent::Type::Added) return added;
    return type == ObjectEvent::Type::Deleted ? deleted : modified;
  }
};

struct WatchOptions {
  bool bookmarks = false;
  bool initial_events = false;   // ?sendInitialEvents=true
  bool legacy_snapshot = false;  // no resourceVersion: the present first, then what follows
  std::int64_t after = 0;
};

/// One watch: lives until its stream is over. Events come from the store's writer, ticks from the streamer.
class WatchStream final : public registry::EventSink {
 public:
  WatchStream(Form form, std::shared_ptr<StreamSink> sink) : form_(std::move(form)), sink_(std::move(sink)) {}

  void on_event(const ObjectEvent& event) override { send(event.type, event.object); }
  void on_closed(const Error& why) override {
    send_error(why);
    sink_->close();
  }
  void on_retired() override { sink_->close(); }

  void send(ObjectEvent::Type type, const registry::Object& object) {
    Result<Chunk> body = write_object(form_, object, SystemClock().wall_now());
    if (!body.ok()) return on_closed(body.error());
    if (form_.protobuf) return send_frame(kTypes[static_cast<size_t>(type)], *body.value());
    form_.table.headers = false;  // only a watch's first table names its columns
    sink_->write({text_.head(type), std::move(body).value(), text_.end});
  }
  void send_error(const Error& why) {
    if (form_.protobuf) return send_frame("ERROR", status_protobuf(why));
    sink_->write({constant(R"({"type":"ERROR","object":)"), constant(status_document(why)), text_.end});
  }
  void send_bookmark(std::int64_t revision, bool initial_end);
  void send_progress();
  void send_frame(std::string_view type, std::string_view document) {
    sink_->write(std::make_shared<std::string>(api::protobuf_watch_frame(type, document)));
  }

  /// Takes the running watch; ends it at once if the stream is already over.
  void hold(std::unique_ptr<registry::ObjectWatch> watch);
  void let_go();

 private:
  static constexpr std::string_view kTypes[] = {"ADDED", "MODIFIED", "DELETED"};  // by ObjectEvent::Type
  void send_protobuf_bookmark(std::int64_t revision, bool initial_end);

  Form form_;
  const EventText text_;
  const std::shared_ptr<StreamSink> sink_;
  Mutex mutex_;
  bool over_ GUARDED_BY(mutex_) = false;
  std::int64_t bookmarked_ GUARDED_BY(mutex_) = 0;
  std::unique_ptr<registry::ObjectWatch> watch_ GUARDED_BY(mutex_);
};

void WatchStream::send_protobuf_bookmark(std::int64_t revision, bool initial_end) {
  const api::TypeInfo& type = *form_.served->kind->type;
  std::shared_ptr<void> object = type.ops->make();
  auto& metadata = *static_cast<api::ObjectMeta*>(object.get());
  metadata.resourceVersion = std::to_string(revision);
  if (initial_end) metadata.annotations["k8s.io/initial-events-end"] = "true";
  send_frame("BOOKMARK", form_.kind == Form::Kind::Metadata
                             ? api::encode_protobuf_metadata("meta.k8s.io/" + form_.version, metadata)
                             : api::encode_protobuf(type, object.get()));
}

void WatchStream::send_bookmark(std::int64_t revision, bool initial_end) {
  if (form_.protobuf) return send_protobuf_bookmark(revision, initial_end);
  std::string annotations = initial_end ? R"(,"annotations":{"k8s.io/initial-events-end":"true"})" : "";
  std::string metadata = fmt::format(R"({{"resourceVersion":"{}"{}}})", revision, annotations);
  std::string object;
  if (form_.kind == Form::Kind::Object) {
    object = fmt::format(R"({{"kind":"{}","apiVersion":"{}","metadata":{}}})", form_.served->kind->kind,
                         form_.served->kind->api_version(), metadata);
  } else if (form_.kind == Form::Kind::Metadata) {
    object = fmt::format(R"({{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{}","metadata":{}}})",
                         form_.version, metadata);
  } else {
    object = fmt::format(
        R"({{"kind":"Table","apiVersion":"meta.k8s.io/{}","metadata":{},"columnDefinitions":null,"rows":[]}})",
        form_.version, metadata);
  }
  sink_->write({constant(R"({"type":"BOOKMARK","object":)"), constant(object), text_.end});
}

// A bookmark, if anything at all has happened since the last one.
void WatchStream::send_progress() {
  std::int64_t progress = 0;
  {
    MutexLock lock(mutex_);
    if (!watch_) return;
    progress = static_cast<std::int64_t>(watch_->progress());
    if (progress <= bookmarked_) return;
    bookmarked_ = progress;
  }
  send_bookmark(progress, false);
}

void WatchStream::hold(std::unique_ptr<registry::ObjectWatch> watch) {
  MutexLock lock(mutex_);
  if (!over_) watch_ = std::move(watch);
}

void WatchStream::let_go() {
  std::unique_ptr<registry::ObjectWatch> ending;  // goes after the lock: it waits for an event under way
  {
    MutexLock lock(mutex_);
    over_ = true;
    ending = std::move(watch_);
  }
}

Result<WatchOptions> watch_options(const Call& call) {
  WatchOptions options;
  options.bookmarks = is_true(call.request, "allowWatchBookmarks");
  std::string_view version = call.request.parameter("resourceVersion");
  std::string_view match = call.request.parameter("resourceVersionMatch");
  bool wants_initial = call.request.query.contains("sendInitialEvents");
  options.initial_events = is_true(call.request, "sendInitialEvents");
  api::FieldErrors errors;
  if (wants_initial && match != "NotOlderThan")
    errors.forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (!match.empty()) {
    if (!wants_initial)
      errors.forbidden("resourceVersionMatch",
                       "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    if (match != "NotOlderThan")
      errors.not_supported("resourceVersionMatch", std::string(match), {"NotOlderThan"});
    if (!call.request.parameter("continue").empty())
      errors.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
  }
  if (!errors.empty()) return registry::invalid_list_options(errors);
  options.legacy_snapshot = !wants_initial && (version.empty() || version == "0");
  TRY_ASSIGN(options.after, registry::parse_revision(std::string(version)));
  if (wants_initial && !options.initial_events && (version.empty() || version == "0"))
    options.after = static_cast<std::int64_t>(call.registry.revision());
  return options;
}

Result<Duration> lifetime(const Request& request) {
  std::string_view text = request.parameter("timeoutSeconds");
  std::int64_t seconds = 0;
  if (text.empty()) {
    SystemRandom random;
    return Duration(kMinLifetime +
                    std::chrono::seconds(random.below(static_cast<std::uint64_t>(kMinLifetime.count()))));
  }
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (failure != std::errc{} || end != text.data() + text.size())
    return api::bad_request(fmt::format("strconv.ParseInt: parsing {}: invalid syntax", api::quote(text)));
  return Duration(std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, 1 << 20)));
}

// What the watch shows before anything new happens, and the revision from which on it goes.
Result<store::Revision> snapshot(registry::Registry& registry, const registry::Resource& resource,
                                 registry::ListQuery query, WatchStream& stream) {
  query.limit = 0;
  query.resource_version.clear();
  query.resource_version_match.clear();
  TRY_ASSIGN(registry::ListPage page, registry.list(resource, query));
  for (const registry::Object& object : page.items) stream.send(ObjectEvent::Type::Added, object);
  return page.revision;
}

}  // namespace

Result<Response> watch_objects(Call& call) {
  TRY_ASSIGN(registry::ListQuery query, list_query(call));
  TRY_ASSIGN(WatchOptions options, watch_options(call));
  TRY_ASSIGN(Duration limit, lifetime(call.request));
  if (options.after > static_cast<std::int64_t>(call.registry.revision()))
    return error(Code::Timeout, "Timeout: Too large resource version: {}, current: {}", options.after,
                 call.registry.revision());
  // Made once the sink exists; the tick, on another thread, may come before.
  auto made = std::make_shared<std::atomic<std::shared_ptr<WatchStream>>>();
  StreamReply reply;
  reply.limit = limit;
  if (call.form.protobuf) reply.content_type = "application/vnd.kubernetes.protobuf;stream=watch";
  // A webhook may take long: such a watch has a thread of its own, and no bookmarks, for what it was given is not yet
  // what it has sent.
  const bool slow = registry::may_block(call.served);
  reply.own_thread = slow;
  if (options.bookmarks && !slow) {
    reply.interval = kBookmarkInterval;
    reply.tick = [made](StreamSink&) {
      if (std::shared_ptr<WatchStream> stream = made->load()) stream->send_progress();
    };
  }
  registry::Registry& registry = call.registry;
  const registry::Resource& resource = call.resource;
  reply.start = [&registry, &resource, query, options, made, slow, form = call.form](
                    std::shared_ptr<StreamSink> sink, std::stop_token stop) {
    auto stream = std::make_shared<WatchStream>(form, sink);
    made->store(stream);
    auto after = static_cast<store::Revision>(options.after);
    if (options.initial_events || options.legacy_snapshot) {
      Result<store::Revision> now = snapshot(registry, resource, query, *stream);
      if (!now.ok()) return stream->on_closed(now.error());
      after = now.value();
    }
    if (options.initial_events && options.bookmarks)
      stream->send_bookmark(static_cast<std::int64_t>(after), true);
    auto queue = slow ? std::make_shared<EventQueue>() : nullptr;
    registry::EventSink& events = slow ? static_cast<registry::EventSink&>(*queue) : *stream;
    Result<std::unique_ptr<registry::ObjectWatch>> watch = registry.watch(resource, query, after, events);
    if (!watch.ok()) return stream->on_closed(watch.error());
    stream->hold(std::move(watch).value());
    sink->on_closed([stream, queue] {
      stream->let_go();
      if (queue) queue->end();
    });
    if (!queue) return;
    queue->run(*stream, std::move(stop));
    stream->let_go();
  };
  return Response(std::move(reply));
}

}  // namespace skiff::apiserver
