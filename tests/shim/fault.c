/* Calls to the system that fail where they are told to, for whole processes: loaded before the C library
 * (LD_PRELOAD), it stands between a program and its disk. For what no volume can be put below: the engines of the
 * index and of the operational state, and the program as it is.
 *
 *   TALLY_FAULT_CALL   sync, write or open, several with commas; without it nothing fails
 *   TALLY_FAULT_PATH   a part of the path of the file, as the kernel names it
 *   TALLY_FAULT_ERROR  EIO, ENOSPC, EMFILE; EIO unless it is said
 *   TALLY_FAULT_AFTER  so many matching calls work before; 0 unless it is said
 *   TALLY_FAULT_TIMES  so many fail then; 0, which is the rule: all
 *   TALLY_FAULT_ARMED  while this file is not there, nothing fails and nothing is counted
 *   TALLY_FAULT_CLOCK  so many seconds the clock on the wall is ahead
 *
 * A flush that fails does not flush. Calls that do not go through the C library pass unseen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long seen;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int error_number(void) {
    const char *text = getenv("TALLY_FAULT_ERROR");
    if (text && !strcmp(text, "ENOSPC")) return ENOSPC;
    if (text && !strcmp(text, "EMFILE")) return EMFILE;
    return EIO;
}

/* Whether this call is to fail; errno is set then, and as it was otherwise. */
static int fails(const char *call, const char *path) {
    int before = errno;
    const char *calls = getenv("TALLY_FAULT_CALL"), *part = getenv("TALLY_FAULT_PATH");
    const char *armed = getenv("TALLY_FAULT_ARMED");
    int ours = calls && path && strstr(calls, call) && (!part || strstr(path, part));
    if (ours && armed) ours = access(armed, F_OK) == 0;
    errno = before;
    if (!ours) return 0;
    long n = atomic_fetch_add(&seen, 1) - number("TALLY_FAULT_AFTER");
    long times = number("TALLY_FAULT_TIMES");
    if (n < 0 || (times > 0 && n >= times)) return 0;
    errno = error_number();
    return 1;
}

static int fd_fails(const char *call, int fd) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    errno = before;
    if (n <= 0) return 0;
    path[n] = 0;
    return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fd_fails("sync", fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fd_fails("sync", fd) ? -1 : REAL(fdatasync)(fd); }
int sync_file_range(int fd, off64_t from, off64_t bytes, unsigned flags) {
    return fd_fails("sync", fd) ? -1 : REAL(sync_file_range)(fd, from, bytes, flags);
}

ssize_t write(int fd, const void *bytes, size_t n) { return fd_fails("write", fd) ? -1 : REAL(write)(fd, bytes, n); }
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    return fd_fails("write", fd) ? -1 : REAL(pwrite)(fd, bytes, n, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    return fd_fails("write", fd) ? -1 : REAL(pwrite64)(fd, bytes, n, at);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    return fd_fails("write", fd) ? -1 : REAL(writev)(fd, parts, n);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int answer = REAL(clock_gettime)(clock, now);
    if (answer == 0 && clock == CLOCK_REALTIME) now->tv_sec += number("TALLY_FAULT_CLOCK");
    return answer;
}

/* A mode comes along only where a file may be made. */
#define MODE(flags)                                  \
    mode_t mode = 0;                                 \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {         \
        va_list more;                                \
        va_start(more, flags);                       \
        mode = va_arg(more, mode_t);                 \
        va_end(more);                                \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return fails("open", path) ? -1 : REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return fails("open", path) ? -1 : REAL(open64)(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return fails("open", path) ? -1 : REAL(openat)(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return fails("open", path) ? -1 : REAL(openat64)(folder, path, flags, mode);
}
