/* Directory listings as flat arrays: one record per entry, the names back to back beside them.
 *
 * A listing is (records, names): `count` records of KLUIS_ENTRY_SIZE bytes in ascending order of
 * their names, compared byte by byte, a prefix before what it begins; names without terminator.
 * "." and ".." are left out and no name comes twice, even if the directory changes meanwhile.
 * Records may lie at any address. Integers are in the machine's own byte order.
 */
#ifndef KLUIS_SCAN_H
#define KLUIS_SCAN_H

#include <stddef.h>
#include <stdint.h>

#define KLUIS_ENTRY_SIZE 112
#define KLUIS_BTIME_UNKNOWN_NS 0xffffffffu /* in btime_ns: the file system keeps no birth time */
#define KLUIS_NO_ENTRY 0xffffffffu         /* in the answer of kluis_diff_entries */

struct kluis_entry {
    uint64_t ino;
    uint64_t dev; /* as makedev() packs major and minor, like st_dev */
    uint64_t size;
    uint64_t blocks; /* of 512 bytes */
    uint64_t rdev;   /* of a device node, else 0 */
    int64_t mtime_s;
    int64_t ctime_s;
    int64_t btime_s; /* 0 if unknown */
    uint32_t mtime_ns;
    uint32_t ctime_ns;
    uint32_t btime_ns;
    uint32_t mode; /* type and permissions, like st_mode */
    uint32_t uid;
    uint32_t gid;
    uint32_t nlink;
    uint32_t attributes; /* low half of stx_attributes: STATX_ATTR_COMPRESSED and so on */
    uint16_t name_length;
    uint8_t zero[14];
};
_Static_assert(sizeof(struct kluis_entry) == KLUIS_ENTRY_SIZE, "a record has a fixed size");
_Static_assert(offsetof(struct kluis_entry, mtime_ns) == 64, "records have no holes");
_Static_assert(offsetof(struct kluis_entry, name_length) == 96, "records have no holes");

/* A name found by kluis_listing_read, on its way to a record. */
struct kluis_listed {
    uint64_t prefix; /* first 8 bytes of the name, big endian, zero padded: orders most pairs */
    uint64_t ino;
    uint64_t offset; /* into kluis_listing.names */
    uint32_t length;
    int32_t error; /* errno of its statx, 0 if that succeeded or was not tried */
};

/* The names in a directory. Zero it first, release it with kluis_listing_free in any case. */
struct kluis_listing {
    struct kluis_listed *entries;
    size_t count;
    size_t capacity;
    char *names; /* each terminated by NUL */
    size_t names_size;
    size_t names_capacity;
    size_t bytes; /* sum of the lengths: what the names take without terminators */
    int error;    /* errno that cut the listing short: entries after it are missing */
};

/* Reads all names of the directory, from its start, wherever the descriptor's position is, and
 * sorts them. Returns 0; -errno if nothing could be read or memory ran out. An error after the
 * first batch of names returns 0 and is kept in listing->error. */
int kluis_listing_read(int fd, struct kluis_listing *listing);

/* Asks for the status of every entry, following no link, in the order of the inode numbers (which
 * spares a disk's arm), and writes records and names for those that answered, sorted by name.
 * `records` holds count * KLUIS_ENTRY_SIZE bytes, `names` listing->bytes. Returns 0 or -ENOMEM;
 * afterwards *kept records and *kept_bytes of names are valid, and the entries that failed have
 * their errno in listing->entries[i].error. */
int kluis_listing_stat(int fd, struct kluis_listing *listing, uint8_t *records, uint8_t *names,
                       size_t *kept, size_t *kept_bytes);

void kluis_listing_free(struct kluis_listing *listing);

/* One record: of `name` (NUL-terminated, `length` bytes) looked up from fd, or of fd itself if the
 * name is empty. A link at the end of the name is not followed. Returns 0 or -errno. */
int kluis_stat_entry(int fd, const char *name, size_t length, uint8_t *record);

/* 0 if the name lengths of `count` records add up to names_size, else -1. Every function below
 * relies on it: call it first on records from elsewhere. */
int kluis_records_check(const uint8_t *records, size_t count, size_t names_size);

/* Room for the entries with keep[i] != 0: number of records, and of bytes of names. */
void kluis_select_size(const uint8_t *records, size_t count, const uint8_t *keep, size_t *kept,
                       size_t *kept_bytes);

/* Copies the entries with keep[i] != 0, in order, to where kluis_select_size said. */
void kluis_select(const uint8_t *records, size_t count, const uint8_t *names, const uint8_t *keep,
                  uint8_t *kept_records, uint8_t *kept_names);

struct kluis_side { /* one listing in a comparison */
    const uint8_t *records;
    size_t count;
    const uint8_t *names;
};

/* An instant; a time before it cannot hide a later change. */
struct kluis_instant {
    int64_t s;
    uint32_t ns;
};

/* For each new entry the index of the old one of the same name that has the same inode, device,
 * size, mtime, ctime and type, both times being older than `racy`; else KLUIS_NO_ENTRY. `matches`
 * has one number for each new entry. Both sides have fewer than KLUIS_NO_ENTRY entries. */
void kluis_diff_entries(const struct kluis_side *old, const struct kluis_side *new,
                        struct kluis_instant racy, uint32_t *matches);

/* Copies the records with 0 as the device of directories and of what lies on `device`, which is the
 * directory's own, and 1 for what lies elsewhere. The system gives a file system another number
 * after a restart or in another socket: records are compared without it. */
void kluis_hide_device(const uint8_t *records, size_t count, uint64_t device, uint8_t *hidden);

/* 1 if an entry other than a directory has an mtime or ctime that is not older than `racy`. */
int kluis_any_racy(const uint8_t *records, size_t count, struct kluis_instant racy);

#endif
