#define _GNU_SOURCE
#include "read.h"
#include "kluis.h"
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* O_NONBLOCK: whatever took the file's place since the scan, opening it does not wait. */
#define OPEN_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)

static struct kluis_entry entry_at(const struct kluis_reader *reader, size_t index) {
    struct kluis_entry entry;
    memcpy(&entry, reader->records + index * KLUIS_ENTRY_SIZE, sizeof entry);
    return entry;
}

static size_t wanted_at(const struct kluis_reader *reader, size_t i) {
    uint32_t index;
    memcpy(&index, reader->wanted + i * sizeof index, sizeof index);
    return index;
}

int kluis_reader_prepare(struct kluis_reader *reader, size_t *expected) {
    *expected = 0;
    reader->next = reader->used = 0;
    reader->offsets = NULL;
    if (reader->limit > KLUIS_READ_LIMIT_MAX ||
        kluis_records_check(reader->records, reader->count, reader->names_size))
        return -1;
    for (size_t i = 0; i < reader->wanted_count; i++) {
        if (wanted_at(reader, i) >= reader->count)
            return -1;
        uint64_t size = entry_at(reader, wanted_at(reader, i)).size;
        *expected += size <= reader->limit ? size : 0;
    }
    if (reader->count == 0)
        return 0;
    reader->offsets = malloc(reader->count * sizeof *reader->offsets);
    if (!reader->offsets)
        return -ENOMEM;
    uint64_t offset = 0;
    for (size_t i = 0; i < reader->count; i++) {
        reader->offsets[i] = offset;
        offset += entry_at(reader, i).name_length;
    }
    return 0;
}

void kluis_reader_finish(struct kluis_reader *reader) {
    free(reader->offsets);
    reader->offsets = NULL;
}

static int open_entry(const struct kluis_reader *reader, size_t index) {
    char name[PATH_MAX];
    struct kluis_entry entry = entry_at(reader, index);
    const uint8_t *bytes = reader->names + reader->offsets[index];
    size_t length = entry.name_length;
    if (!S_ISREG(entry.mode) || length == 0 || memchr(bytes, '/', length) ||
        memchr(bytes, 0, length))
        return -EINVAL;
    if (length >= sizeof name)
        return -ENAMETOOLONG;
    memcpy(name, bytes, length);
    name[length] = 0;
    int flags = OPEN_FLAGS | O_NOATIME; /* allowed to the file's owner and root only */
    for (;;) {
        int fd = openat(reader->fd, name, flags);
        if (fd >= 0)
            return fd;
        if (errno == EPERM && flags & O_NOATIME)
            flags &= ~O_NOATIME;
        else if (errno != EINTR)
            return -errno;
    }
}

static ssize_t read_some(int fd, uint8_t *to, size_t size) {
    ssize_t got;
    do
        got = read(fd, to, size);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

enum { NEEDS_ROOM = 1 };

/* Reads a file of `size` bytes, which may be wrong: files in /proc say 0. Returns 0, NEEDS_ROOM or
 * -errno; *length is limit + 1 if the file is larger than the limit. A read of just `size` bytes
 * is not followed by one that finds the end: the second fstat shows whether more came. */
static int read_content(int fd, uint64_t size, size_t limit, uint8_t *to, size_t room,
                        size_t *length) {
    size_t got = 0, ask = size ? (size_t)size : 1;
    for (;;) {
        if (got == ask) {
            if (got == size || got > limit)
                break;
            ask = limit + 1;
        }
        if (ask > room)
            return NEEDS_ROOM;
        ssize_t more = read_some(fd, to + got, ask - got);
        if (more < 0)
            return (int)more;
        if (more == 0)
            break;
        got += (size_t)more;
    }
    *length = got;
    return 0;
}

static int is_as_recorded(const struct kluis_entry *entry, const struct stat *now) {
    return entry->ino == now->st_ino && entry->size == (uint64_t)now->st_size &&
           entry->mtime_s == now->st_mtim.tv_sec &&
           entry->mtime_ns == (uint32_t)now->st_mtim.tv_nsec &&
           entry->ctime_s == now->st_ctim.tv_sec &&
           entry->ctime_ns == (uint32_t)now->st_ctim.tv_nsec;
}

static int has_xattrs(int fd) {
    ssize_t size = flistxattr(fd, NULL, 0);
    return size > 0 || (size < 0 && errno != EOPNOTSUPP && errno != ENOSYS);
}

/* Some drivers in user space write a long instead of the int that the kernel promises. */
static uint32_t inode_flags(int fd) {
    union {
        int value;
        long written;
    } flags = {.written = 0};
    return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 ? (uint32_t)flags.value : 0;
}

/* Returns 0 or NEEDS_ROOM; everything else goes into the result. */
static int read_open(const struct kluis_reader *reader, const struct kluis_entry *entry, int fd,
                     uint8_t *to, size_t room, struct kluis_read_result *result) {
    struct stat before, after;
    size_t length = 0;
    int outcome = 0;
    if (fstat(fd, &before))
        outcome = -errno;
    else if (!S_ISREG(before.st_mode))
        outcome = -ESTALE;
    else if ((uint64_t)before.st_size > reader->limit)
        length = (size_t)reader->limit + 1;
    else
        outcome = read_content(fd, (uint64_t)before.st_size, reader->limit, to, room, &length);
    if (outcome == NEEDS_ROOM)
        return NEEDS_ROOM;
    if (outcome == 0 && fstat(fd, &after))
        outcome = -errno;
    if (outcome < 0) {
        result->length = outcome;
        return 0;
    }
    int all_read = length > reader->limit || length == (uint64_t)after.st_size;
    if (!all_read || !is_as_recorded(entry, &after))
        result->flags |= KLUIS_READ_CHANGED;
    if (length > reader->limit) {
        result->flags |= KLUIS_READ_GREW;
        length = 0;
    }
    if (has_xattrs(fd))
        result->flags |= KLUIS_READ_XATTRS;
    result->inode_flags = inode_flags(fd);
    result->length = (int32_t)length;
    return 0;
}

int kluis_reader_run(struct kluis_reader *reader, uint8_t *data, size_t capacity) {
    for (; reader->next < reader->wanted_count; reader->next++) {
        size_t index = wanted_at(reader, reader->next);
        struct kluis_entry entry = entry_at(reader, index);
        struct kluis_read_result result = {0};
        int fd = open_entry(reader, index);
        if (fd < 0) {
            result.length = fd;
        } else {
            int outcome = read_open(reader, &entry, fd, data + reader->used,
                                    capacity - reader->used, &result);
            close(fd);
            if (outcome == NEEDS_ROOM)
                return 1;
        }
        memcpy(reader->results + reader->next * sizeof result, &result, sizeof result);
        reader->used += result.length > 0 ? (size_t)result.length : 0;
    }
    return 0;
}

int64_t kluis_read_at(int fd, uint8_t *data, size_t size, uint64_t offset) {
    size_t done = 0;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return -EOVERFLOW;
    while (done < size) {
        ssize_t got = pread(fd, data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int add_range(struct kluis_range **ranges, size_t *count, uint64_t start, uint64_t end) {
    if ((*count & (*count - 1)) == 0) { /* 0 or a power of two: the array is full */
        void *grown = realloc(*ranges, (*count ? 2 * *count : 1) * sizeof **ranges);
        if (!grown)
            return -ENOMEM;
        *ranges = grown;
    }
    (*ranges)[(*count)++] = (struct kluis_range){.start = start, .end = end};
    return 0;
}

static int knows_no_holes(int error) { return error == EINVAL || error == EOPNOTSUPP; }

int kluis_data_ranges(int fd, uint64_t size, struct kluis_range **ranges, size_t *count) {
    *ranges = NULL;
    *count = 0;
    if (size > INT64_MAX)
        return -EOVERFLOW;
    for (uint64_t at = 0; at < size;) {
        off_t start = lseek(fd, (off_t)at, SEEK_DATA);
        if (start < 0 && errno == ENXIO)
            break; /* a hole up to the end */
        if (start < 0 && !knows_no_holes(errno))
            return -errno;
        if (start < 0)
            return add_range(ranges, count, at, size);
        if ((uint64_t)start >= size)
            break;
        off_t end = lseek(fd, start, SEEK_HOLE);
        if (end < 0 && errno != ENXIO && !knows_no_holes(errno))
            return -errno;
        /* A file that changes meanwhile may answer with nonsense: then the rest counts as data. */
        uint64_t stop = end <= start || (uint64_t)end > size ? size : (uint64_t)end;
        int failed = add_range(ranges, count, (uint64_t)start, stop);
        if (failed)
            return failed;
        at = stop;
    }
    return 0;
}
