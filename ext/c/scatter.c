#define _GNU_SOURCE
#include "scatter.h"
#include "kluis.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/openat2.h> is younger than the oldest C library that we build with. */
#ifndef SYS_openat2
#define SYS_openat2 437 /* on x86-64 and on aarch64 */
#endif
#define RESOLVE_FLAGS (0x02u | 0x04u | 0x08u) /* no magic links, no links, beneath */

struct open_how_v0 {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

/* The kernel gives up (EAGAIN) when a rename anywhere races with a path that has ".." in it. */
#define OPEN_TRIES 100

#define NS_PER_S 1000000000u
#define SETID_BITS (S_ISUID | S_ISGID)
#define MODE_BITS 07777u

int kluis_write_at(int fd, const uint8_t *data, size_t size, uint64_t offset) {
    size_t done = 0;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return -EFBIG;
    while (done < size) {
        ssize_t written = pwrite(fd, data + done, size - done, (off_t)(offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        done += (size_t)written;
    }
    return 0;
}

static struct kluis_part part_at(const uint8_t *parts, size_t index) {
    struct kluis_part part;
    memcpy(&part, parts + index * sizeof part, sizeof part);
    return part;
}

int kluis_parts_check(const uint8_t *parts, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++) {
        struct kluis_part part = part_at(parts, i);
        if (part.start > size || part.length > size - part.start ||
            part.file_offset > (uint64_t)INT64_MAX - part.length)
            return -1;
    }
    return 0;
}

static int is_zero(const uint8_t *data, size_t size) {
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Bytes up to the next block border in the file, at most what is left. */
static size_t to_border(uint64_t offset, size_t left) {
    size_t step = KLUIS_SPARSE_BLOCK_BYTES - (size_t)(offset % KLUIS_SPARSE_BLOCK_BYTES);
    return step < left ? step : left;
}

static int write_sparse(int fd, const uint8_t *data, size_t size, uint64_t offset) {
    size_t pending = 0; /* start of what has to be written before `at` */
    for (size_t at = 0; at < size;) {
        size_t step = to_border(offset + at, size - at);
        if (step == KLUIS_SPARSE_BLOCK_BYTES && is_zero(data + at, step)) {
            int failed = kluis_write_at(fd, data + pending, at - pending, offset + pending);
            if (failed)
                return failed;
            pending = at + step;
        }
        at += step;
    }
    return kluis_write_at(fd, data + pending, size - pending, offset + pending);
}

size_t kluis_scatter(const uint8_t *data, const uint8_t *parts, size_t count, int sparse,
                     int32_t *errors) {
    size_t failures = 0;
    for (size_t i = 0; i < count; i++) {
        struct kluis_part part = part_at(parts, i);
        const uint8_t *from = part.length ? data + part.start : data;
        int failed = sparse ? write_sparse(part.fd, from, part.length, part.file_offset)
                            : kluis_write_at(part.fd, from, part.length, part.file_offset);
        errors[i] = -failed;
        failures += failed != 0;
    }
    return failures;
}

int kluis_open_beneath(int dirfd, const char *path, int flags, uint32_t mode) {
    int creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how_v0 how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                              .mode = creates ? mode & MODE_BITS : 0,
                              .resolve = RESOLVE_FLAGS};
    for (int tries = 1;; tries++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0)
            return (int)fd;
        if (errno != EINTR && (errno != EAGAIN || tries == OPEN_TRIES))
            return -errno;
    }
}

static int is_component(const char *name) {
    return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

static int rename_with(struct kluis_place from, struct kluis_place to, unsigned flags) {
    if (!is_component(from.name) || !is_component(to.name))
        return -EINVAL;
    return renameat2(from.fd, from.name, to.fd, to.name, flags) ? -errno : 0;
}

int kluis_rename_noreplace(struct kluis_place from, struct kluis_place to) {
    return rename_with(from, to, RENAME_NOREPLACE);
}

int kluis_exchange(struct kluis_place one, struct kluis_place other) {
    return rename_with(one, other, RENAME_EXCHANGE);
}

/* Nanoseconds past 1e9 have meanings of their own to the kernel, "now" among them. */
static int times_of(int64_t mtime_s, uint32_t mtime_ns, struct timespec times[2]) {
    if (mtime_ns >= NS_PER_S)
        return -EINVAL;
    times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    times[1] = (struct timespec){.tv_sec = mtime_s, .tv_nsec = (long)mtime_ns};
    return 0;
}

int kluis_set_times_at(int dirfd, const char *name, int64_t mtime_s, uint32_t mtime_ns) {
    struct timespec times[2];
    if (name[0] && !is_component(name))
        return -EINVAL;
    if (times_of(mtime_s, mtime_ns, times))
        return -EINVAL;
    int failed =
        name[0] ? utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) : futimens(dirfd, times);
    return failed ? -errno : 0;
}

/* Some drivers in user space read and write a long instead of the int that the kernel promises. */
union inode_flags {
    int value;
    long wide;
};

int kluis_get_flags(int fd, uint32_t *flags) {
    union inode_flags got = {.wide = 0};
    if (ioctl(fd, FS_IOC_GETFLAGS, &got))
        return -errno;
    *flags = (uint32_t)got.value;
    return 0;
}

int kluis_set_flags(int fd, uint32_t flags) {
    union inode_flags set = {.wide = 0};
    set.value = (int)flags;
    return ioctl(fd, FS_IOC_SETFLAGS, &set) ? -errno : 0;
}

static struct kluis_small small_at(const struct kluis_small_batch *batch, size_t index) {
    struct kluis_small small;
    memcpy(&small, batch->entries + index * sizeof small, sizeof small);
    return small;
}

int kluis_small_check(const struct kluis_small_batch *batch) {
    size_t names_size = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct kluis_small small = small_at(batch, i);
        names_size += small.name_length;
        if (small.start > batch->data_size || small.length > batch->data_size - small.start)
            return -1;
    }
    return names_size == batch->names_size ? 0 : -1;
}

/* Owner, permissions, times of what is open, as far as they differ. Goes on after a failure, so
 * that as much as possible is right, and keeps the first. */
static void set_metadata(int fd, const struct kluis_small *small,
                         struct kluis_small_result *result) {
    uint32_t mode = small->mode & MODE_BITS;
    struct stat now;
    struct timespec times[2];
    int known = !fstat(fd, &now);
    int owned = !(small->flags & KLUIS_SMALL_CHOWN) ||
                (known && now.st_uid == small->uid && now.st_gid == small->gid);
    if (!owned && fchown(fd, small->uid, small->gid)) {
        *result = (struct kluis_small_result){.error = errno, .step = KLUIS_STEP_OWNER};
        mode &= ~(uint32_t)SETID_BITS; /* they would lend the rights of the wrong owner */
    }
    int as_wanted = owned && known && (now.st_mode & MODE_BITS) == mode;
    if (!as_wanted && fchmod(fd, mode) && !result->error)
        *result = (struct kluis_small_result){.error = errno, .step = KLUIS_STEP_MODE};
    int failed = times_of(small->mtime_s, small->mtime_ns, times);
    if (!failed && futimens(fd, times))
        failed = -errno;
    if (failed && !result->error)
        *result = (struct kluis_small_result){.error = -failed, .step = KLUIS_STEP_TIMES};
}

int kluis_finish(int fd, const uint8_t *entry, uint32_t *mode) {
    struct kluis_small wanted;
    struct kluis_small_result result = {0};
    struct stat now;
    memcpy(&wanted, entry, sizeof wanted);
    set_metadata(fd, &wanted, &result);
    if (result.error)
        return -result.error;
    if (fstat(fd, &now))
        return -errno;
    *mode = now.st_mode & MODE_BITS;
    return 0;
}

/* Kernels before 5.8 take no empty name here, but a way to the descriptor. */
static int set_link_times(int fd, const struct timespec times[2]) {
    char path[32];
    if (!utimensat(fd, "", times, AT_EMPTY_PATH))
        return 0;
    if (errno != EINVAL && errno != ENOENT)
        return -errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return utimensat(AT_FDCWD, path, times, 0) ? -errno : 0;
}

static int finish_link(int fd, const struct kluis_small *wanted) {
    struct stat now;
    struct timespec times[2];
    if (fstat(fd, &now))
        return -errno;
    if (!S_ISLNK(now.st_mode) || now.st_nlink != 1)
        return -ESTALE;
    if ((now.st_uid != wanted->uid || now.st_gid != wanted->gid) &&
        fchownat(fd, "", wanted->uid, wanted->gid, AT_EMPTY_PATH))
        return -errno;
    int failed = times_of(wanted->mtime_s, wanted->mtime_ns, times);
    return failed ? failed : set_link_times(fd, times);
}

int kluis_make_link(struct kluis_place to, const char *points_to, const uint8_t *entry, int *made) {
    struct kluis_small wanted;
    memcpy(&wanted, entry, sizeof wanted);
    *made = 0;
    if (!is_component(to.name))
        return -EINVAL;
    if (symlinkat(points_to, to.fd, to.name))
        return -errno;
    *made = 1;
    int fd = openat(to.fd, to.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int failed = finish_link(fd, &wanted);
    close(fd);
    return failed;
}

static struct kluis_small_result write_one(int dirfd, const char *name, const uint8_t *data,
                                           const struct kluis_small *small) {
    struct kluis_small_result result = {0};
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
    mode_t mode = small->flags & KLUIS_SMALL_HIDDEN ? small->mode & 0777 : 0600;
    int fd;
    do
        fd = openat(dirfd, name, flags, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return (struct kluis_small_result){.error = errno, .step = KLUIS_STEP_OPEN};
    int failed = kluis_write_at(fd, data, small->length, 0);
    if (!failed)
        set_metadata(fd, small, &result);
    if (close(fd) && errno != EINTR && !failed)
        failed = -errno; /* a full quota on a network file system shows here */
    if (failed) {
        result = (struct kluis_small_result){.error = -failed, .step = KLUIS_STEP_WRITE};
        unlinkat(dirfd, name, 0);
    }
    return result;
}

static int copy_name(char *name, size_t room, const uint8_t *bytes, size_t length) {
    if (length >= room)
        return ENAMETOOLONG;
    memcpy(name, bytes, length);
    name[length] = 0;
    return strlen(name) == length && is_component(name) ? 0 : EINVAL;
}

void kluis_write_small(const struct kluis_small_batch *batch, uint8_t *results) {
    char name[PATH_MAX];
    size_t at = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct kluis_small small = small_at(batch, i);
        struct kluis_small_result result = {.step = KLUIS_STEP_NAME};
        const uint8_t *data = small.length ? batch->data + small.start : NULL;
        result.error = copy_name(name, sizeof name, batch->names + at, small.name_length);
        if (!result.error)
            result = write_one(batch->dirfd, name, data, &small);
        memcpy(results + i * sizeof result, &result, sizeof result);
        at += small.name_length;
    }
}
