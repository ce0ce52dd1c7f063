#define _GNU_SOURCE
/* A small HTTP client. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "demo.h"

enum { kAddresses = 16, kPatience = 5, kHead = 16384 };

static int connect_to(const char* host, int port) {
  struct in_addr found[kAddresses];
  int count = resolve(host, found, kAddresses);
  if (count == 0) {
    fprintf(stderr, "hitcounter: no address for '%s'\n", host);
    return -1;
  }
  for (int i = 0; i < count; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = kPatience};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* also limits connect() */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = found[i]};
    if (connect(fd, (struct sockaddr*)&to, sizeof to) == 0) return fd;
    fprintf(stderr, "hitcounter: connect to %s:%d: %s\n", inet_ntoa(found[i]), port, strerror(errno));
    close(fd);
  }
  return -1;
}

/* Prints the body of an answer that ends with the connection; the HTTP status, 0 when there is none. */
static int print_answer(int fd) {
  char head[kHead + 1];
  size_t size = 0;
  char* body = NULL;
  while (body == NULL && size < kHead) {
    ssize_t got = recv(fd, head + size, kHead - size, 0);
    if (got <= 0) break;
    size += (size_t)got;
    head[size] = '\0';
    if ((body = strstr(head, "\r\n\r\n")) != NULL) body += 4;
  }
  int status = 0;
  if (body == NULL || sscanf(head, "HTTP/%*s %d", &status) != 1) return 0;
  fwrite(body, 1, size - (size_t)(body - head), stdout);
  ssize_t got;
  while ((got = recv(fd, head, kHead, 0)) > 0) fwrite(head, 1, (size_t)got, stdout);
  return status;
}

int http_get(const char* url) {
  char host[256] = "", path[2048] = "/";
  int port = 80;
  if (strncmp(url, "http://", 7) == 0) url += 7;
  size_t host_length = strcspn(url, ":/");
  snprintf(host, sizeof host, "%.*s", (int)host_length, url);
  url += host_length;
  if (*url == ':') port = (int)strtol(url + 1, (char**)&url, 10);
  if (*url == '/') snprintf(path, sizeof path, "%s", url);
  int fd = connect_to(host, port);
  if (fd < 0) return 1;
  char request[2560];
  /* HTTP/1.0: the answer is neither chunked nor followed by another. */
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: hitcounter\r\n\r\n", path, host);
  int status = send(fd, request, (size_t)length, MSG_NOSIGNAL) == length ? print_answer(fd) : 0;
  close(fd);
  if (status == 0) fprintf(stderr, "hitcounter: no HTTP answer from %s:%d\n", host, port);
  return status == 0 ? 1 : status / 100 == 2 ? 0 : 22;
}
