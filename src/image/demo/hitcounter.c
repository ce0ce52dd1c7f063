#define _GNU_SOURCE
/* The subcommands: what examples need where an image has no shell. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"

static volatile sig_atomic_t stop_signal = 0;

static void note_stop(int signal_number) { stop_signal = signal_number; }

void catch_stop_signals(void) {
  struct sigaction action = {.sa_handler = note_stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
}

int stop_requested(void) { return stop_signal != 0; }

void sleep_until_stopped(double seconds) {
  sigset_t stops, before;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  /* Blocked outside ppoll, so that a signal between the check and the wait is not missed. */
  sigprocmask(SIG_BLOCK, &stops, &before);
  struct timespec left = {.tv_sec = (time_t)seconds,
                          .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
  if (!stop_requested()) ppoll(NULL, 0, seconds < 0 ? NULL : &left, &before);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

static int print_words(int count, char** words) {
  for (int i = 0; i < count; ++i) printf("%s%s", i > 0 ? " " : "", words[i]);
  putchar('\n');
  return 0;
}

static int print_environment(void) {
  for (char** variable = environ; *variable != NULL; ++variable) puts(*variable);
  return 0;
}

static int fail_with(const char* what) {
  fprintf(stderr, "hitcounter: %s: %s\n", what, strerror(errno));
  return 1;
}

static int cat(const char* path) {
  FILE* file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
  if (file == NULL) return fail_with(path);
  char buffer[4096];
  size_t size;
  while ((size = fread(buffer, 1, sizeof buffer, file)) > 0) fwrite(buffer, 1, size, stdout);
  int failed = ferror(file) ? fail_with(path) : 0;
  if (file != stdin) fclose(file);
  return failed;
}

static int write_file(const char* path, int count, char** words) {
  FILE* file = fopen(path, "a");
  if (file == NULL) return fail_with(path);
  for (int i = 0; i < count; ++i) fprintf(file, "%s%s", i > 0 ? " " : "", words[i]);
  fputc('\n', file);
  return fclose(file) == 0 ? 0 : fail_with(path);
}

static int sleep_for(const char* seconds) {
  sleep_until_stopped(strcmp(seconds, "infinity") == 0 ? -1 : atof(seconds));
  return stop_requested() ? 128 + SIGTERM : 0;
}

static int tick(const char* seconds, int count, char** words) {
  double pause = atof(seconds);
  for (unsigned long number = 1; !stop_requested(); ++number) {
    printf("%lu ", number);
    print_words(count, words);
    sleep_until_stopped(pause > 0 ? pause : 1);
  }
  return 0;
}

static int print_hostname(void) {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  puts(name);
  return 0;
}

static int print_ids(void) {
  printf("uid=%u gid=%u", (unsigned)getuid(), (unsigned)getgid());
  gid_t groups[64];
  int count = getgroups(64, groups);
  for (int i = 0; i < count; ++i) printf("%s%u", i == 0 ? " groups=" : ",", (unsigned)groups[i]);
  putchar('\n');
  return 0;
}

static int usage(void) {
  fputs(
      "hitcounter serve            answer HTTP on $PORT (8080): /, /healthz, /break, /env, /hostname, "
      "/version\n"
      "hitcounter get URL          print what http://... answers\n"
      "hitcounter lookup NAME      print the addresses of a name\n"
      "hitcounter sleep SECONDS    or \"infinity\"\n"
      "hitcounter tick SECONDS TEXT...   print a numbered line again and again\n"
      "hitcounter echo TEXT...     hitcounter write FILE TEXT...   hitcounter cat FILE...\n"
      "hitcounter env | hostname | id | true | false | exit STATUS | crash\n",
      stderr);
  return 2;
}

static int run(int count, char** arguments) {
  const char* command = count > 0 ? arguments[0] : "serve";
  char** rest = arguments + 1;
  int left = count - 1;
  if (strcmp(command, "serve") == 0) return serve();
  if (strcmp(command, "echo") == 0) return print_words(left, rest);
  if (strcmp(command, "env") == 0) return print_environment();
  if (strcmp(command, "hostname") == 0) return print_hostname();
  if (strcmp(command, "id") == 0) return print_ids();
  if (strcmp(command, "true") == 0) return 0;
  if (strcmp(command, "false") == 0) return 1;
  if (strcmp(command, "crash") == 0) __builtin_trap(); /* abort() would be ignored in process 1 */
  if (left < 1) return usage();
  if (strcmp(command, "get") == 0) return http_get(rest[0]);
  if (strcmp(command, "lookup") == 0) return lookup(rest[0]);
  if (strcmp(command, "sleep") == 0) return sleep_for(rest[0]);
  if (strcmp(command, "exit") == 0) return atoi(rest[0]);
  if (strcmp(command, "write") == 0) return write_file(rest[0], left - 1, rest + 1);
  if (strcmp(command, "tick") == 0) return tick(rest[0], left - 1, rest + 1);
  if (strcmp(command, "cat") == 0) {
    int failed = 0;
    for (int i = 0; i < left; ++i) failed |= cat(rest[i]);
    return failed;
  }
  return usage();
}

int main(int count, char** arguments) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  catch_stop_signals();
  signal(SIGPIPE, SIG_IGN);
  int status = run(count - 1, arguments + 1);
  if (fflush(stdout) != 0 && status == 0) status = fail_with("standard output");
  return status;
}
