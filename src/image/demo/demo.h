#pragma once
/* hitcounter: the demo program of skiff's built-in image. It uses only libc and is linked statically. */

/* Serves until SIGTERM or SIGINT; the exit status. */
int serve(void);
/* Prints the body of an http:// URL; 0 for a 2xx answer, 22 for another one, 1 when there is none. */
int http_get(const char* url);
/* Prints the IPv4 addresses of a name; 0 when there are some. */
int lookup(const char* name);

struct in_addr;
/* Up to `limit` addresses of `name`: itself when numeric, else from /etc/hosts, else by DNS as
 * /etc/resolv.conf says. */
int resolve(const char* name, struct in_addr* out, int limit);

/* Catches SIGTERM and SIGINT: as process 1 of a container nothing else would end this program. */
void catch_stop_signals(void);
/* Whether one has come. */
int stop_requested(void);
/* Sleeps unless a stop signal comes. Negative: for ever. */
void sleep_until_stopped(double seconds);
