#define _GNU_SOURCE
/* A small HTTP server: one thread, one request a connection, no client can hold up another. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "demo.h"

enum { kClients = 512, kRequest = 4096, kAnswer = 65536 };

struct client {
  int fd; /* -1: free */
  unsigned long since;
  size_t size;
  char request[kRequest];
};

static struct client clients[kClients];
static unsigned long connections = 0;
static unsigned long hits = 0;
static int broken = 0;

static int listen_on(int port) {
  int on = 1, off = 0;
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0) {
    struct sockaddr_in6 any = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr*)&any, sizeof any) == 0 && listen(fd, 512) == 0) return fd;
    close(fd);
  }
  /* No IPv6 in this network namespace. */
  fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr*)&any, sizeof any) == 0 && listen(fd, 512) == 0) return fd;
  return -1;
}

static void drop(struct client* client) {
  close(client->fd);
  client->fd = -1;
}

/* A free place; when there is none, that of the client that has been silent for longest. */
static struct client* place(void) {
  struct client* oldest = &clients[0];
  for (int i = 0; i < kClients; ++i) {
    if (clients[i].fd < 0) return &clients[i];
    if (clients[i].since < oldest->since) oldest = &clients[i];
  }
  drop(oldest);
  return oldest;
}

static size_t print_environment(char* out, size_t room) {
  size_t size = 0;
  for (char** variable = environ; *variable != NULL && size + strlen(*variable) + 2 < room; ++variable)
    size += (size_t)sprintf(out + size, "%s\n", *variable);
  return size;
}

/* Writes the body for `path`; the HTTP status. */
static int answer(const char* path, char* body, size_t room, size_t* size) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const char* version = getenv("HITCOUNTER_VERSION");
  if (version == NULL) version = "1.0";
  int status = 200;
  if (strcmp(path, "/") == 0) {
    char label[64] = "";
    if (strcmp(version, "1.0") != 0) snprintf(label, sizeof label, " (version %s)", version);
    *size = (size_t)snprintf(body, room, "Hello from %s%s, hit %lu\n", host, label, ++hits);
  } else if (strcmp(path, "/healthz") == 0) {
    status = broken ? 500 : 200;
    *size = (size_t)snprintf(body, room, broken ? "broken\n" : "ok\n");
  } else if (strcmp(path, "/break") == 0) {
    broken = 1;
    *size = (size_t)snprintf(body, room, "from now on /healthz fails\n");
  } else if (strcmp(path, "/env") == 0) {
    *size = print_environment(body, room);
  } else if (strcmp(path, "/hostname") == 0) {
    *size = (size_t)snprintf(body, room, "%s\n", host);
  } else if (strcmp(path, "/version") == 0) {
    *size = (size_t)snprintf(body, room, "%s\n", version);
  } else {
    status = 404;
    *size = (size_t)snprintf(body, room, "not found\n");
  }
  if (*size >= room) *size = room - 1;
  return status;
}

static const char* peer_of(int fd, char* out, socklen_t room) {
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  const void* address = NULL;
  if (getpeername(fd, (struct sockaddr*)&peer, &size) != 0) return "?";
  if (peer.ss_family == AF_INET) address = &((struct sockaddr_in*)&peer)->sin_addr;
  if (peer.ss_family == AF_INET6) address = &((struct sockaddr_in6*)&peer)->sin6_addr;
  if (address == NULL || inet_ntop(peer.ss_family, address, out, room) == NULL) return "?";
  return strncmp(out, "::ffff:", 7) == 0 ? out + 7 : out;
}

/* The request is complete: answers it and closes. The answer fits into an empty socket buffer. */
static void reply(struct client* client) {
  static char body[kAnswer], head[256];
  char method[16] = "", path[1024] = "", peer[INET6_ADDRSTRLEN];
  size_t size = 0;
  int status = 400;
  if (sscanf(client->request, "%15s %1023s", method, path) == 2) {
    path[strcspn(path, "?#")] = '\0';
    status = answer(path, body, sizeof body, &size);
  } else {
    size = (size_t)snprintf(body, sizeof body, "bad request\n");
  }
  const char* reason = status == 200   ? "OK"
                       : status == 404 ? "Not Found"
                       : status == 500 ? "Internal Server Error"
                                       : "Bad Request";
  int length = snprintf(head, sizeof head,
                        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
                        "Connection: close\r\n\r\n",
                        status, reason, size);
  printf("%s %s %d %s\n", method, path, status, peer_of(client->fd, peer, sizeof peer));
  struct iovec parts[2] = {{head, (size_t)length}, {body, strcmp(method, "HEAD") == 0 ? 0 : size}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  if (sendmsg(client->fd, &message, MSG_NOSIGNAL) >= 0) shutdown(client->fd, SHUT_WR);
  drop(client);
}

static void receive(struct client* client) {
  ssize_t got = recv(client->fd, client->request + client->size, kRequest - 1 - client->size, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    drop(client);
    return;
  }
  client->size += (size_t)got;
  client->request[client->size] = '\0';
  if (strstr(client->request, "\r\n\r\n") != NULL || client->size == kRequest - 1) reply(client);
}

static void accept_all(int listener) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
    struct client* client = place();
    client->fd = fd;
    client->since = ++connections;
    client->size = 0;
  }
}

/* Waits with the stop signals let in, and serves what has come. */
static void serve_once(int listener, const sigset_t* while_waiting) {
  static struct pollfd waiting[kClients + 1];
  static struct client* who[kClients + 1];
  nfds_t count = 0;
  waiting[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
  for (int i = 0; i < kClients; ++i) {
    if (clients[i].fd < 0) continue;
    who[count] = &clients[i];
    waiting[count++] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
  }
  if (ppoll(waiting, count, NULL, while_waiting) <= 0) return;
  for (nfds_t i = 1; i < count; ++i)
    if (waiting[i].revents != 0) receive(who[i]);
  if (waiting[0].revents != 0) accept_all(listener);
}

int serve(void) {
  const char* port = getenv("PORT");
  int number = port != NULL ? atoi(port) : 8080;
  if (number <= 0 || number > 65535) number = 8080;
  for (int i = 0; i < kClients; ++i) clients[i].fd = -1;
  int listener = listen_on(number);
  if (listener < 0) {
    fprintf(stderr, "hitcounter: listen on port %d: %s\n", number, strerror(errno));
    return 1;
  }
  printf("listening on port %d\n", number);
  sigset_t stops, before;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  sigprocmask(SIG_BLOCK, &stops, &before);
  while (!stop_requested()) serve_once(listener, &before);
  puts("stopping");
  return 0;
}
