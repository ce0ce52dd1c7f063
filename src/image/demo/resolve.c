#define _GNU_SOURCE
/* Names to IPv4 addresses. libc's own resolver loads shared libraries at run time, which this image does not
 * have. */

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "demo.h"

enum { kServers = 3, kSearches = 8, kName = 256, kPacket = 4096, kTypeA = 1, kClassIn = 1, kHeader = 12 };

struct settings {
  struct in_addr servers[kServers];
  int server_count;
  char searches[kSearches][kName];
  int search_count;
  int ndots;
};

static void read_line(struct settings* settings, char* line) {
  char* rest = NULL;
  char* word = strtok_r(line, " \t\n", &rest);
  if (word == NULL) return;
  char* value;
  if (strcmp(word, "nameserver") == 0 && (value = strtok_r(NULL, " \t\n", &rest)) != NULL) {
    if (settings->server_count < kServers &&
        inet_pton(AF_INET, value, &settings->servers[settings->server_count]) == 1)
      ++settings->server_count;
  } else if (strcmp(word, "search") == 0) {
    settings->search_count = 0;
    while ((value = strtok_r(NULL, " \t\n", &rest)) != NULL && settings->search_count < kSearches)
      snprintf(settings->searches[settings->search_count++], kName, "%s", value);
  } else if (strcmp(word, "options") == 0) {
    while ((value = strtok_r(NULL, " \t\n", &rest)) != NULL)
      if (strncmp(value, "ndots:", 6) == 0) settings->ndots = atoi(value + 6);
  }
}

static void read_settings(struct settings* settings) {
  memset(settings, 0, sizeof *settings);
  settings->ndots = 1;
  FILE* file = fopen("/etc/resolv.conf", "r");
  char line[1024];
  while (file != NULL && fgets(line, sizeof line, file) != NULL) read_line(settings, line);
  if (file != NULL) fclose(file);
}

static int from_hosts(const char* name, struct in_addr* out, int limit) {
  int count = 0;
  FILE* file = fopen("/etc/hosts", "r");
  char line[1024];
  while (file != NULL && count < limit && fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "#")] = '\0';
    char* rest = NULL;
    char* address = strtok_r(line, " \t\n", &rest);
    if (address == NULL || inet_pton(AF_INET, address, &out[count]) != 1) continue;
    for (char* alias; (alias = strtok_r(NULL, " \t\n", &rest)) != NULL;) {
      if (strcasecmp(alias, name) != 0) continue;
      ++count;
      break;
    }
  }
  if (file != NULL) fclose(file);
  if (count == 0 && limit > 0 && strcasecmp(name, "localhost") == 0)
    out[count++].s_addr = htonl(INADDR_LOOPBACK);
  return count;
}

/* The question packet; 0 when the name does not fit the rules of DNS. */
static size_t question(const char* name, uint16_t id, uint8_t* out) {
  const uint8_t head[kHeader] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
  memcpy(out, head, kHeader);
  size_t at = kHeader;
  while (*name != '\0') {
    size_t length = strcspn(name, ".");
    if (length == 0 || length > 63 || at + length > 400) return 0;
    out[at++] = (uint8_t)length;
    memcpy(out + at, name, length);
    at += length;
    name += length;
    if (*name == '.') ++name;
  }
  const uint8_t tail[5] = {0, 0, kTypeA, 0, kClassIn};
  memcpy(out + at, tail, sizeof tail);
  return at + sizeof tail;
}

static size_t skip_name(const uint8_t* packet, size_t size, size_t at) {
  while (at < size && packet[at] != 0) {
    if (packet[at] >= 0xc0) return at + 2;
    at += packet[at] + 1U;
  }
  return at + 1;
}

static int read_answers(const uint8_t* packet, size_t size, struct in_addr* out, int limit) {
  if (size < kHeader) return 0;
  int questions = packet[4] << 8 | packet[5], answers = packet[6] << 8 | packet[7], count = 0;
  size_t at = kHeader;
  for (; questions > 0; --questions) at = skip_name(packet, size, at) + 4;
  for (; answers > 0 && count < limit; --answers) {
    at = skip_name(packet, size, at);
    if (at + 10 > size) break;
    int type = packet[at] << 8 | packet[at + 1];
    size_t length = (size_t)(packet[at + 8] << 8 | packet[at + 9]);
    at += 10;
    if (at + length > size) break;
    if (type == kTypeA && length == 4) memcpy(&out[count++], packet + at, 4);
    at += length;
  }
  return count;
}

/* Asks one server once. -1: no answer. */
static int ask(struct in_addr server, const char* name, struct in_addr* out, int limit) {
  uint8_t packet[kPacket];
  uint16_t id = (uint16_t)(getpid() * 31 + rand());
  size_t size = question(name, id, packet);
  if (size == 0) return 0;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {.tv_sec = 2};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = server};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  int count = -1;
  if (connect(fd, (struct sockaddr*)&to, sizeof to) == 0 && send(fd, packet, size, 0) == (ssize_t)size) {
    ssize_t got;
    while ((got = recv(fd, packet, sizeof packet, 0)) >= kHeader) {
      if ((packet[0] << 8 | packet[1]) != id) continue;
      count = read_answers(packet, (size_t)got, out, limit);
      break;
    }
  }
  close(fd);
  return count;
}

static int ask_all(const struct settings* settings, const char* name, struct in_addr* out, int limit) {
  for (int attempt = 0; attempt < 2; ++attempt)
    for (int i = 0; i < settings->server_count; ++i) {
      int count = ask(settings->servers[i], name, out, limit);
      if (count >= 0) return count;
    }
  return 0;
}

int resolve(const char* name, struct in_addr* out, int limit) {
  if (limit > 0 && inet_pton(AF_INET, name, out) == 1) return 1;
  int count = from_hosts(name, out, limit);
  if (count > 0) return count;
  struct settings settings;
  read_settings(&settings);
  int dots = 0;
  for (const char* c = name; *c != '\0'; ++c) dots += *c == '.';
  int absolute = name[0] != '\0' && name[strlen(name) - 1] == '.';
  int as_is_first = absolute || dots >= settings.ndots;
  if (as_is_first && (count = ask_all(&settings, name, out, limit)) > 0) return count;
  for (int i = 0; i < settings.search_count && !absolute; ++i) {
    char full[2 * kName + 2];
    snprintf(full, sizeof full, "%.*s.%s", kName, name, settings.searches[i]);
    if ((count = ask_all(&settings, full, out, limit)) > 0) return count;
  }
  return as_is_first ? 0 : ask_all(&settings, name, out, limit);
}

int lookup(const char* name) {
  struct in_addr found[32];
  int count = resolve(name, found, 32);
  for (int i = 0; i < count; ++i) puts(inet_ntoa(found[i]));
  if (count == 0) fprintf(stderr, "hitcounter: no address for '%s'\n", name);
  return count > 0 ? 0 : 1;
}
