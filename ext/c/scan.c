#define _GNU_SOURCE
#include "scan.h"
#include "kluis.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Most directories fit into the first batch, which costs no allocation. The others read on in
 * batches that are large enough for a network file system to fill its own answers. */
#define FIRST_BATCH_BYTES ((size_t)32 << 10)
#define LATER_BATCH_BYTES ((size_t)256 << 10)

#define FIRST_ENTRIES 64u
#define FIRST_NAME_BYTES 2048u

/* What a backup records; the access time, which reading changes, is not asked for. */
#define WANTED_STATX ((unsigned)(STATX_BASIC_STATS & ~STATX_ATIME) | STATX_BTIME)

static uint64_t prefix_of(const char *name, size_t length) {
    uint8_t head[8] = {0};
    memcpy(head, name, length < sizeof head ? length : sizeof head);
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof head; i++)
        value = value << 8 | head[i];
    return value;
}

static int compare_names(const void *a, size_t a_length, const void *b, size_t b_length) {
    size_t shorter = a_length < b_length ? a_length : b_length;
    int order = shorter ? memcmp(a, b, shorter) : 0;
    if (order)
        return order;
    return (a_length > b_length) - (a_length < b_length);
}

static int reserve(struct kluis_listing *listing, size_t name_bytes) {
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity ? 2 * listing->capacity : FIRST_ENTRIES;
        void *grown = realloc(listing->entries, capacity * sizeof *listing->entries);
        if (!grown)
            return -ENOMEM;
        listing->entries = grown;
        listing->capacity = capacity;
    }
    if (listing->names_capacity - listing->names_size < name_bytes) {
        size_t capacity = 2 * listing->names_capacity + FIRST_NAME_BYTES + name_bytes;
        void *grown = realloc(listing->names, capacity);
        if (!grown)
            return -ENOMEM;
        listing->names = grown;
        listing->names_capacity = capacity;
    }
    return 0;
}

static int add_name(struct kluis_listing *listing, const struct dirent64 *found) {
    const char *name = found->d_name;
    size_t length = strnlen(name, found->d_reclen - offsetof(struct dirent64, d_name));
    if (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')))
        return 0;
    if (length > UINT16_MAX || listing->count + 1 >= KLUIS_NO_ENTRY)
        return -EOVERFLOW;
    int failed = reserve(listing, length + 1);
    if (failed)
        return failed;
    struct kluis_listed *entry = &listing->entries[listing->count++];
    *entry = (struct kluis_listed){.prefix = prefix_of(name, length),
                                   .ino = found->d_ino,
                                   .offset = listing->names_size,
                                   .length = (uint32_t)length};
    memcpy(listing->names + listing->names_size, name, length);
    listing->names[listing->names_size + length] = 0;
    listing->names_size += length + 1;
    return 0;
}

/* Adds one batch of names. Returns how many bytes of it there were, 0 at the end, or -errno. */
static ssize_t read_batch(int fd, struct kluis_listing *listing, char *batch, size_t size) {
    ssize_t got;
    do
        got = getdents64(fd, batch, size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    for (ssize_t at = 0; at < got;) {
        const struct dirent64 *found = (const void *)(batch + at);
        int failed = add_name(listing, found);
        if (failed)
            return failed;
        at += found->d_reclen;
    }
    return got;
}

static int by_name(const void *a, const void *b, void *names) {
    const struct kluis_listed *left = a, *right = b;
    if (left->prefix != right->prefix)
        return left->prefix < right->prefix ? -1 : 1;
    return compare_names((const char *)names + left->offset, left->length,
                         (const char *)names + right->offset, right->length);
}

/* A file that is renamed while its directory is read can be listed twice under one name. */
static void sort_names(struct kluis_listing *listing) {
    struct kluis_listed *entries = listing->entries;
    size_t kept = 0;
    listing->bytes = 0;
    if (listing->count > 1)
        qsort_r(entries, listing->count, sizeof *entries, by_name, listing->names);
    for (size_t i = 0; i < listing->count; i++) {
        if (kept && by_name(&entries[kept - 1], &entries[i], listing->names) == 0)
            continue;
        listing->bytes += entries[i].length;
        entries[kept++] = entries[i];
    }
    listing->count = kept;
}

int kluis_listing_read(int fd, struct kluis_listing *listing) {
    _Alignas(struct dirent64) char first[FIRST_BATCH_BYTES];
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    ssize_t got = read_batch(fd, listing, first, sizeof first);
    if (got < 0)
        return (int)got;
    if ((size_t)got > sizeof first / 2) {
        char *later = malloc(LATER_BATCH_BYTES);
        if (!later)
            return -ENOMEM;
        while (got > 0)
            got = read_batch(fd, listing, later, LATER_BATCH_BYTES);
        free(later);
    } else {
        while (got > 0)
            got = read_batch(fd, listing, first, sizeof first);
    }
    if (got == -ENOMEM || got == -EOVERFLOW)
        return (int)got;
    listing->error = (int)-got;
    sort_names(listing);
    return 0;
}

void kluis_listing_free(struct kluis_listing *listing) {
    free(listing->entries);
    free(listing->names);
    *listing = (struct kluis_listing){0};
}

/* AT_STATX_SYNC_AS_STAT: on a network file system an answer from a stale cache could make a changed
 * file look unchanged. */
static int stat_into(int fd, const char *name, size_t length, uint8_t *record) {
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_SYNC_AS_STAT;
    struct statx status;
    int failed;
    if (length == 0)
        flags |= AT_EMPTY_PATH;
    do
        failed = statx(fd, name, flags, WANTED_STATX, &status);
    while (failed && errno == EINTR);
    if (failed)
        return errno;
    int born = (status.stx_mask & STATX_BTIME) != 0;
    struct kluis_entry entry = {
        .ino = status.stx_ino,
        .dev = makedev(status.stx_dev_major, status.stx_dev_minor),
        .size = status.stx_size,
        .blocks = status.stx_blocks,
        .rdev = makedev(status.stx_rdev_major, status.stx_rdev_minor),
        .mtime_s = status.stx_mtime.tv_sec,
        .ctime_s = status.stx_ctime.tv_sec,
        .btime_s = born ? status.stx_btime.tv_sec : 0,
        .mtime_ns = status.stx_mtime.tv_nsec,
        .ctime_ns = status.stx_ctime.tv_nsec,
        .btime_ns = born ? status.stx_btime.tv_nsec : KLUIS_BTIME_UNKNOWN_NS,
        .mode = status.stx_mode,
        .uid = status.stx_uid,
        .gid = status.stx_gid,
        .nlink = status.stx_nlink,
        .attributes = (uint32_t)status.stx_attributes,
        .name_length = (uint16_t)length,
    };
    memcpy(record, &entry, sizeof entry);
    return 0;
}

struct visit {
    uint64_t ino;
    size_t slot;
};

static int by_inode(const void *a, const void *b) {
    const struct visit *left = a, *right = b;
    return (left->ino > right->ino) - (left->ino < right->ino);
}

static int stat_by_inode(int fd, struct kluis_listing *listing, uint8_t *records) {
    struct visit *visits = malloc(listing->count * sizeof *visits);
    if (!visits)
        return -ENOMEM;
    for (size_t i = 0; i < listing->count; i++)
        visits[i] = (struct visit){.ino = listing->entries[i].ino, .slot = i};
    qsort(visits, listing->count, sizeof *visits, by_inode);
    for (size_t i = 0; i < listing->count; i++) {
        struct kluis_listed *entry = &listing->entries[visits[i].slot];
        entry->error = stat_into(fd, listing->names + entry->offset, entry->length,
                                 records + visits[i].slot * KLUIS_ENTRY_SIZE);
    }
    free(visits);
    return 0;
}

int kluis_listing_stat(int fd, struct kluis_listing *listing, uint8_t *records, uint8_t *names,
                       size_t *kept, size_t *kept_bytes) {
    *kept = *kept_bytes = 0;
    int failed = listing->count ? stat_by_inode(fd, listing, records) : 0;
    if (failed)
        return failed;
    for (size_t i = 0; i < listing->count; i++) {
        const struct kluis_listed *entry = &listing->entries[i];
        if (entry->error)
            continue;
        if (*kept != i)
            memcpy(records + *kept * KLUIS_ENTRY_SIZE, records + i * KLUIS_ENTRY_SIZE,
                   KLUIS_ENTRY_SIZE);
        memcpy(names + *kept_bytes, listing->names + entry->offset, entry->length);
        *kept += 1;
        *kept_bytes += entry->length;
    }
    return 0;
}

int kluis_stat_entry(int fd, const char *name, size_t length, uint8_t *record) {
    if (length > UINT16_MAX)
        return -ENAMETOOLONG;
    return -stat_into(fd, name, length, record);
}

static struct kluis_entry load(const uint8_t *records, size_t index) {
    struct kluis_entry entry;
    memcpy(&entry, records + index * KLUIS_ENTRY_SIZE, sizeof entry);
    return entry;
}

static size_t name_length(const uint8_t *records, size_t index) {
    uint16_t length;
    memcpy(&length, records + index * KLUIS_ENTRY_SIZE + offsetof(struct kluis_entry, name_length),
           sizeof length);
    return length;
}

int kluis_records_check(const uint8_t *records, size_t count, size_t names_size) {
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += name_length(records, i);
    return sum == names_size ? 0 : -1;
}

void kluis_select_size(const uint8_t *records, size_t count, const uint8_t *keep, size_t *kept,
                       size_t *kept_bytes) {
    *kept = *kept_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (!keep[i])
            continue;
        *kept += 1;
        *kept_bytes += name_length(records, i);
    }
}

void kluis_select(const uint8_t *records, size_t count, const uint8_t *names, const uint8_t *keep,
                  uint8_t *kept_records, uint8_t *kept_names) {
    for (size_t i = 0; i < count; i++) {
        size_t length = name_length(records, i);
        if (keep[i]) {
            memcpy(kept_records, records + i * KLUIS_ENTRY_SIZE, KLUIS_ENTRY_SIZE);
            memcpy(kept_names, names, length);
            kept_records += KLUIS_ENTRY_SIZE;
            kept_names += length;
        }
        names += length;
    }
}

static int is_racy(const struct kluis_entry *entry, struct kluis_instant racy) {
    int changed_before =
        entry->mtime_s < racy.s || (entry->mtime_s == racy.s && entry->mtime_ns < racy.ns);
    int touched_before =
        entry->ctime_s < racy.s || (entry->ctime_s == racy.s && entry->ctime_ns < racy.ns);
    return !(changed_before && touched_before);
}

static int is_same(const struct kluis_entry *old, const struct kluis_entry *new) {
    return old->ino == new->ino && old->dev == new->dev && old->size == new->size &&
           old->mtime_s == new->mtime_s && old->mtime_ns == new->mtime_ns &&
           old->ctime_s == new->ctime_s && old->ctime_ns == new->ctime_ns &&
           (old->mode & S_IFMT) == (new->mode & S_IFMT);
}

void kluis_diff_entries(const struct kluis_side *old, const struct kluis_side *new,
                        struct kluis_instant racy, uint32_t *matches) {
    const uint8_t *old_name = old->names, *new_name = new->names;
    size_t at = 0;
    for (size_t i = 0; i < new->count; i++) {
        struct kluis_entry entry = load(new->records, i);
        int order = -1;
        while (at < old->count) {
            size_t length = name_length(old->records, at);
            order = compare_names(new_name, entry.name_length, old_name, length);
            if (order <= 0)
                break;
            old_name += length;
            at++;
        }
        matches[i] = KLUIS_NO_ENTRY;
        if (at < old->count && order == 0) {
            struct kluis_entry before = load(old->records, at);
            if (is_same(&before, &entry) && !is_racy(&entry, racy))
                matches[i] = (uint32_t)at;
        }
        new_name += entry.name_length;
    }
}

void kluis_hide_device(const uint8_t *records, size_t count, uint64_t device, uint8_t *hidden) {
    memcpy(hidden, records, count * KLUIS_ENTRY_SIZE);
    for (size_t i = 0; i < count; i++) {
        struct kluis_entry entry = load(records, i);
        uint64_t dev = S_ISDIR(entry.mode) || entry.dev == device ? 0 : 1;
        memcpy(hidden + i * KLUIS_ENTRY_SIZE + offsetof(struct kluis_entry, dev), &dev, sizeof dev);
    }
}

int kluis_any_racy(const uint8_t *records, size_t count, struct kluis_instant racy) {
    for (size_t i = 0; i < count; i++) {
        struct kluis_entry entry = load(records, i);
        if (!S_ISDIR(entry.mode) && is_racy(&entry, racy))
            return 1;
    }
    return 0;
}
