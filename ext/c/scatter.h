/* Writing files back: stretches of one buffer to many files, many small files in one call, and the
 * system calls that keep both inside their folder.
 *
 * Where a function takes a name in a directory, it is one component: not empty, not "." or "..",
 * without '/'; else EINVAL. All names are NUL-terminated. Functions return 0 (or a descriptor) or
 * -errno if nothing else is said.
 */
#ifndef KLUIS_SCATTER_H
#define KLUIS_SCATTER_H

#include <stddef.h>
#include <stdint.h>

#define KLUIS_PART_SIZE 24
#define KLUIS_SMALL_SIZE 40
#define KLUIS_SMALL_RESULT_SIZE 8
#define KLUIS_SPARSE_BLOCK_BYTES                                                                   \
    4096u /* the smallest hole worth an extent in common file systems */

/* Writes all of it. */
int kluis_write_at(int fd, const uint8_t *data, size_t size, uint64_t offset);

struct kluis_part { /* where one stretch of the buffer goes */
    int32_t fd;
    uint32_t pad;
    uint64_t file_offset;
    uint32_t start; /* in the buffer */
    uint32_t length;
};
_Static_assert(sizeof(struct kluis_part) == KLUIS_PART_SIZE, "a part has a fixed size");

/* 0 if all parts lie inside a buffer of `size` bytes and inside the file offsets that exist, else
 * -1. The functions below rely on it. `parts` may lie at any address. */
int kluis_parts_check(const uint8_t *parts, size_t count, size_t size);

/* Writes the parts in order, going on after a failure: errors[i] is 0 or the errno of part i.
 * `sparse` leaves out whole blocks of zeros (aligned in the file), for files that are new: the
 * caller sets their size. Returns the number of failures. */
size_t kluis_scatter(const uint8_t *data, const uint8_t *parts, size_t count, int sparse,
                     int32_t *errors);

/* Opens a path that stays beneath dirfd and passes through no link of any kind, itself included.
 * Close-on-exec. ENOSYS where the kernel is too old (or EPERM under an old container filter). */
int kluis_open_beneath(int dirfd, const char *path, int flags, uint32_t mode);

struct kluis_place {
    int fd;
    const char *name;
};

/* Renames; EEXIST if the target exists. EINVAL where the file system cannot promise that. */
int kluis_rename_noreplace(struct kluis_place from, struct kluis_place to);

/* Swaps the two names in one step. */
int kluis_exchange(struct kluis_place one, struct kluis_place other);

/* Sets the modification time, of a link itself, of dirfd itself if the name is empty; the access
 * time stays. EINVAL if mtime_ns is not below 1e9. */
int kluis_set_times_at(int dirfd, const char *name, int64_t mtime_s, uint32_t mtime_ns);

/* The inode flags of chattr(1). */
int kluis_get_flags(int fd, uint32_t *flags);
int kluis_set_flags(int fd, uint32_t flags);

#define KLUIS_SMALL_CHOWN 1u
#define KLUIS_SMALL_HIDDEN 2u /* nobody else reaches its folder: it may have its mode at once */

struct kluis_small { /* a small file to create */
    uint16_t name_length;
    uint16_t pad;
    uint32_t mode;  /* its low 12 bits are set as they are */
    uint32_t start; /* of its content, in the data */
    uint32_t length;
    int64_t mtime_s;
    uint32_t mtime_ns;
    uint32_t uid; /* set with KLUIS_SMALL_CHOWN only */
    uint32_t gid;
    uint32_t flags;
};
_Static_assert(sizeof(struct kluis_small) == KLUIS_SMALL_SIZE, "an entry has a fixed size");

enum kluis_small_step { /* what failed; from KLUIS_STEP_OWNER on the content is there */
                        KLUIS_STEP_NONE = 0,
                        KLUIS_STEP_NAME = 1,
                        KLUIS_STEP_OPEN = 2,
                        KLUIS_STEP_WRITE = 3, /* also close; what was written is removed again */
                        KLUIS_STEP_OWNER = 4, /* the mode is then set without setuid and setgid */
                        KLUIS_STEP_MODE = 5,
                        KLUIS_STEP_TIMES = 6,
};

struct kluis_small_result {
    int32_t error; /* errno of the first failure, or 0 */
    int32_t step;
};
_Static_assert(sizeof(struct kluis_small_result) == KLUIS_SMALL_RESULT_SIZE, "a fixed size");

struct kluis_small_batch {
    int dirfd;
    const uint8_t *names; /* back to back, without terminators */
    size_t names_size;
    const uint8_t *entries; /* kluis_small, at any address */
    size_t count;
    const uint8_t *data;
    size_t data_size;
};

/* 0 if names and contents lie inside their buffers, and the names fill theirs; else -1. */
int kluis_small_check(const struct kluis_small_batch *batch);

/* Sets owner, mode and time of a file or folder that is open, from a kluis_small (its name and
 * content do not count); `mode` becomes the one that it then has. */
int kluis_finish(int fd, const uint8_t *entry, uint32_t *mode);

/* Makes a symlink with the owner and time of a kluis_small. `made` tells after a failure whether
 * there is one: ESTALE if it is not the one that was made. */
int kluis_make_link(struct kluis_place to, const char *points_to, const uint8_t *entry, int *made);

/* Creates the files, each new: one that exists is left alone (EEXIST). Goes on after failures;
 * `results` has room for a kluis_small_result per entry. */
void kluis_write_small(const struct kluis_small_batch *batch, uint8_t *results);

#endif
