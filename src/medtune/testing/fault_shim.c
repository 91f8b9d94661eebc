/* Preloaded into a process under test: counts the file events below one folder, and at a chosen one kills the process,
 * tears the file, or makes the call fail. Python, Rust and C++ code alike go through these calls of libc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { COUNT = 0, KILL = 1, TEAR = 2, FAIL_ONCE = 3, FAIL_ALWAYS = 4 };
enum { MAX_EVENTS = 100000, MAX_FILES = 4096 };

static char root[PATH_MAX];
static size_t root_length;
static enum mode mode = COUNT;
static long chosen = -1;
static int failure = 0;
static long events = 0;
static char kinds[MAX_EVENTS]; /* c create, w write, s sync, r rename, u unlink, m mkdir, d rmdir, t truncate */

#define REAL(name) \
    static __typeof__(name) *real = NULL; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

void fault_arm(const char *folder, int what, long at, int error) {
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    mode = (enum mode)what;
    chosen = at;
    failure = error;
    __atomic_store_n(&events, 0, __ATOMIC_SEQ_CST);
}

long fault_events(char *out, long size) {
    long n = __atomic_load_n(&events, __ATOMIC_SEQ_CST);
    for (long i = 0; i < n && i < size; i++) out[i] = kinds[i];
    return n;
}

static int is_below(const char *path) {
    return root_length && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

static int fd_is_below(int fd) {
    char link[64], target[PATH_MAX];
    if (!root_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n < 0) return 0;
    target[n] = 0;
    return is_below(target);
}

static int path_is_below(int directory, const char *path) {
    if (!root_length || !path) return 0;
    if (path[0] == '/') return is_below(path);
    if (directory != AT_FDCWD) return fd_is_below(directory);
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here)) return 0;
    return is_below(here);
}

/* Returns 1 when the call must fail (errno is set), 2 when the caller must tear its file and die, else 0. */
static int event(char kind) {
    long n = __atomic_fetch_add(&events, 1, __ATOMIC_SEQ_CST);
    if (n < MAX_EVENTS) kinds[n] = kind;
    int hit = n == chosen || (mode == FAIL_ALWAYS && n > chosen);
    if (!hit || mode == COUNT) return 0;
    if (mode == KILL) kill(getpid(), SIGKILL);
    if (mode == TEAR) return 2;
    errno = failure;
    return 1;
}

/* What a file held when it was last synced is on the device and stays: only the rest of it can be torn. */
static struct { dev_t device; ino_t inode; off_t size; } synced[MAX_FILES];
static int synced_files = 0;

static off_t *synced_size(const struct stat *status) {
    for (int i = synced_files - 1; i >= 0; i--)
        if (synced[i].device == status->st_dev && synced[i].inode == status->st_ino) return &synced[i].size;
    return NULL;
}

static void note_sync(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
    off_t *size = synced_size(&status);
    if (size) {
        *size = status.st_size;
    } else {
        int i = __atomic_fetch_add(&synced_files, 1, __ATOMIC_SEQ_CST);
        if (i >= MAX_FILES) return;
        synced[i].device = status.st_dev;
        synced[i].inode = status.st_ino;
        synced[i].size = status.st_size;
    }
}

/* By path, because a file is often synced through a descriptor that may only read. */
static void tear(int fd) {
    char link[64];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        off_t *size = synced_size(&status);
        off_t safe = size && *size < status.st_size ? *size : 0;
        (void)!truncate(link, safe + (status.st_size - safe) / 2);
    }
    kill(getpid(), SIGKILL);
}

/* A new file may get the number of a deleted one, whose size is no longer true. */
static int new_file(int fd, int flags) {
    struct stat status;
    if (fd >= 0 && synced_files && (flags & (O_TRUNC | O_EXCL)) && fstat(fd, &status) == 0) {
        off_t *size = synced_size(&status);
        if (size) *size = 0;
    }
    return fd;
}

static int is_writing(int flags) { return (flags & (O_CREAT | O_TRUNC | O_APPEND)) != 0; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; \
        va_start(list, flags); \
        int permission = va_arg(list, int); \
        va_end(list); \
        if (is_writing(flags) && path_is_below(AT_FDCWD, path)) { \
            int verdict = event('c'); \
            if (verdict == 1) return -1; \
            if (verdict == 2) tear(-1); \
        } \
        return new_file(real(path, flags, permission), flags); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int directory, const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; \
        va_start(list, flags); \
        int permission = va_arg(list, int); \
        va_end(list); \
        if (is_writing(flags) && path_is_below(directory, path)) { \
            int verdict = event('c'); \
            if (verdict == 1) return -1; \
            if (verdict == 2) tear(-1); \
        } \
        return new_file(real(directory, path, flags, permission), flags); \
    }
OPENAT(openat)
OPENAT(openat64)

#define ON_FD(kind, fd) \
    if (fd_is_below(fd)) { \
        int verdict = event(kind); \
        if (verdict == 1) return -1; \
        if (verdict == 2) tear(fd); \
    }

#define ON_PATH(kind, directory, path) \
    if (path_is_below(directory, path)) { \
        int verdict = event(kind); \
        if (verdict == 1) return -1; \
        if (verdict == 2) tear(-1); \
    }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (fd > 2 && fd_is_below(fd)) {
        int verdict = event('w');
        if (verdict == 1) return -1;
        if (verdict == 2) { /* half of it reaches the file */
            (void)!real(fd, data, size / 2);
            kill(getpid(), SIGKILL);
        }
    }
    return real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    ON_FD('w', fd)
    return real(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    ON_FD('w', fd)
    return real(fd, data, size, offset);
}

int fsync(int fd) {
    REAL(fsync);
    ON_FD('s', fd)
    int result = real(fd);
    if (result == 0 && fd_is_below(fd)) note_sync(fd);
    return result;
}

int fdatasync(int fd) {
    REAL(fdatasync);
    ON_FD('s', fd)
    int result = real(fd);
    if (result == 0 && fd_is_below(fd)) note_sync(fd);
    return result;
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    ON_FD('t', fd)
    return real(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    ON_FD('t', fd)
    return real(fd, size);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    ON_PATH('r', AT_FDCWD, to)
    return real(from, to);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    REAL(renameat);
    ON_PATH('r', to_directory, to)
    return real(from_directory, from, to_directory, to);
}

int unlink(const char *path) {
    REAL(unlink);
    ON_PATH('u', AT_FDCWD, path)
    return real(path);
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(unlinkat);
    ON_PATH('u', directory, path)
    return real(directory, path, flags);
}

int rmdir(const char *path) {
    REAL(rmdir);
    ON_PATH('d', AT_FDCWD, path)
    return real(path);
}

int mkdir(const char *path, mode_t permission) {
    REAL(mkdir);
    ON_PATH('m', AT_FDCWD, path)
    return real(path, permission);
}
