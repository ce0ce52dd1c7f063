#include "apiserver/sessions.hpp"

#include <pthread.h>

namespace skiff::apiserver {

bool Sessions::start(std::function<void(std::stop_token)> body) {
  MutexLock lock(mutex_);
  // Those that are done are only joined here and in stop(): a thread cannot join itself.
  sessions_.remove_if([](const Session& session) { return session.done.load(); });
  if (stopping_ || sessions_.size() >= limit_) return false;
  Session& session = sessions_.emplace_back();
  ++running_;
  session.thread = std::jthread([this, &session, body = std::move(body)](std::stop_token stop) mutable {
    ::pthread_setname_np(::pthread_self(), "api-session");
    body(std::move(stop));
    body = nullptr;  // what it holds ends with the session, not with its reaping
    --running_;
    session.done = true;
  });
  return true;
}

void Sessions::stop() {
  std::list<Session> joining;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    joining.swap(sessions_);
  }
  for (Session& session : joining) session.thread.request_stop();
  joining.clear();  // joins
}

}  // namespace skiff::apiserver
