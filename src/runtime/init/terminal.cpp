#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "child.hpp"
#include "paths.hpp"

namespace skiff::init {

/// Opens a terminal in the container's own devpts, hands the master side to the parent and makes the other
/// side stdin, stdout, stderr and the controlling terminal. The caller is a session leader without a
/// terminal.
void open_terminal(const Child& child) {
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) fail(child, errno, "open /dev/ptmx");
  int unlock = 0;
  unsigned number = 0;
  if (ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
    fail(child, errno, "unlock the terminal");
  // By the master, not by name: the name may be a link that somebody put there.
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) fail(child, errno, "open terminal %u", number);
  if (ioctl(slave, TIOCSCTTY, 0) < 0) fail(child, errno, "make terminal %u the controlling one", number);
  // So that isatty-by-name programs find it; only the container's first process has an empty /dev/console to
  // cover.
  if (getpid() == 1) {
    int console = open("/dev/console", O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC, 0620);
    if (console >= 0) mount(FdPath(slave).text, FdPath(console).text, nullptr, MS_BIND, nullptr);
    if (console >= 0) close(console);
  }
  send_terminal(child, master);
  close(master);
  for (int fd = 0; fd < 3; ++fd)
    if (dup2(slave, fd) < 0) fail(child, errno, "dup2 of the terminal");
}

}  // namespace skiff::init
