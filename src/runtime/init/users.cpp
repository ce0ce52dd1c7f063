#include "users.hpp"

#include <fcntl.h>
#include <sys/stat.h>

namespace skiff::init {
namespace {

/// A regular file of at most 1 MiB with a final NUL; anything else (a FIFO would block us) reads as empty.
void read_table(const char* path, Buffer& text) {
  Fd file(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (file.valid() && fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode)) {
    while (text.size() < (1U << 20)) {
      ssize_t got = read(file.get(), text.room(16384), 16384);
      if (got <= 0) break;
      text.grown(static_cast<size_t>(got));
    }
  }
  text.append("", 1);
}

bool to_number(const char* text, uint32_t& number) {
  if (text == nullptr || *text == '\0') return false;
  uint64_t value = 0;
  for (; *text != '\0'; ++text) {
    if (*text < '0' || *text > '9') return false;
    value = value * 10 + static_cast<uint64_t>(*text - '0');
    if (value > 0x7fffffff) return false;
  }
  number = static_cast<uint32_t>(value);
  return true;
}

/// Splits at `separator`; nullptr at the end. Keeps empty parts, as these tables have them.
char* take(char*& rest, char separator) {
  if (rest == nullptr) return nullptr;
  char* part = rest;
  char* end = strchr(rest, separator);
  if (end != nullptr) *end = '\0';
  rest = end == nullptr ? nullptr : end + 1;
  return part;
}

constexpr int kMaxColumns = 7;

/// The next line with at least `wanted` columns.
bool next_row(char*& rest, char* (&columns)[kMaxColumns], int wanted) {
  while (char* line = take(rest, '\n')) {
    int count = 0;
    for (char* part = line; count < kMaxColumns && part != nullptr;) columns[count++] = take(part, ':');
    if (count >= wanted) return true;
  }
  return false;
}

bool find_user(const char* name, Identity& identity, char (&user)[256]) {
  uint32_t number = 0;
  bool numeric = to_number(name, number);
  Buffer text;
  read_table("/etc/passwd", text);
  char* rest = text.data();
  for (char* row[kMaxColumns]; next_row(rest, row, 6);) {  // name:x:uid:gid:gecos:home[:shell]
    uint32_t uid = 0, gid = 0;
    if (!to_number(row[2], uid) || !to_number(row[3], gid)) continue;
    if (numeric ? uid != number : strcmp(row[0], name) != 0) continue;
    identity.uid = uid;
    identity.gid = gid;
    strncpy(identity.home, row[5][0] != '\0' ? row[5] : "/", sizeof identity.home - 1);
    strncpy(user, row[0], sizeof user - 1);
    return true;
  }
  identity.uid = number;
  return numeric;
}

bool find_group(const char* name, gid_t& gid) {
  uint32_t number = 0;
  if (to_number(name, number)) {
    gid = number;
    return true;
  }
  Buffer text;
  read_table("/etc/group", text);
  char* rest = text.data();
  for (char* row[kMaxColumns]; next_row(rest, row, 3);) {  // name:x:gid:members
    if (strcmp(row[0], name) != 0 || !to_number(row[2], number)) continue;
    gid = number;
    return true;
  }
  return false;
}

void add_memberships(const char* user, Identity& identity) {
  Buffer text;
  read_table("/etc/group", text);
  char* rest = text.data();
  for (char* row[kMaxColumns]; next_row(rest, row, 4);) {
    uint32_t gid = 0;
    if (!to_number(row[2], gid)) continue;
    char* members = row[3];
    while (char* member = take(members, ','))
      if (strcmp(member, user) == 0) identity.groups.push(gid);
  }
}

}  // namespace

Lookup look_up_user(const char* text, Identity& identity, bool memberships) {
  char* copy = copy_text(*text != '\0' ? text : "0");
  char* group = copy;
  char* name = take(group, ':');
  char user[256] = "";
  Lookup result = Lookup::Found;
  if (!find_user(*name != '\0' ? name : "0", identity, user)) result = Lookup::NoUser;
  if (result == Lookup::Found && group != nullptr && *group != '\0' && !find_group(group, identity.gid))
    result = Lookup::NoGroup;
  // A group given by hand replaces the memberships, as image configurations have it.
  if (memberships && result == Lookup::Found && group == nullptr && user[0] != '\0') add_memberships(user, identity);
  free(copy);
  return result;
}

}  // namespace skiff::init
