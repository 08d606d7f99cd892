/* Reading file contents: many small files in one call, or one file by offset. */
#ifndef KLUIS_READ_H
#define KLUIS_READ_H

#include <stddef.h>
#include <stdint.h>

#define KLUIS_READ_RESULT_SIZE 16
#define KLUIS_READ_LIMIT_MAX 0x7fffffffu

#define KLUIS_READ_CHANGED                                                                         \
    1u                       /* inode, size, mtime, ctime or what was read differ from the record */
#define KLUIS_READ_GREW 2u   /* larger than the limit by now; no data given */
#define KLUIS_READ_XATTRS 4u /* has extended attributes, or they cannot be listed */

/* What became of one file. Native byte order. */
struct kluis_read_result {
    int32_t length;       /* bytes of data given, or -errno: EINVAL if the record is of no regular
                             file, ESTALE if the file is none any more, EAGAIN while another process
                             gives up its lease (NFS and SMB servers take them): ask again later */
    uint32_t flags;       /* KLUIS_READ_* */
    uint32_t inode_flags; /* of FS_IOC_GETFLAGS; 0 where that is unknown */
    uint32_t zero;
};
_Static_assert(sizeof(struct kluis_read_result) == KLUIS_READ_RESULT_SIZE, "a fixed size");

/* A batch of small files to read. Fill in the first block; prepare, run, finish. */
struct kluis_reader {
    int fd;                 /* the directory */
    const uint8_t *records; /* a listing as in scan.h, and the bytes that its names take */
    size_t count;
    const uint8_t *names;
    size_t names_size;
    const uint8_t *wanted; /* u32 numbers of records, at any address, in any order */
    size_t wanted_count;
    uint32_t limit;   /* bytes; a larger file is not read. At most KLUIS_READ_LIMIT_MAX */
    uint8_t *results; /* room for a kluis_read_result per wanted entry */

    uint64_t *offsets; /* of the names */
    size_t next;       /* wanted entries that are done */
    size_t used;       /* bytes of data that are valid */
};

/* Checks the batch. Returns 0, -1 if it does not fit together, -ENOMEM. *expected is the room that
 * the data takes if no file changed. */
int kluis_reader_prepare(struct kluis_reader *reader, size_t *expected);

/* Reads until all is read (returns 0) or the next file needs more room (returns 1): then call again
 * with the same bytes in a buffer that has limit + 1 bytes more than reader->used, or more. */
int kluis_reader_run(struct kluis_reader *reader, uint8_t *data, size_t capacity);

void kluis_reader_finish(struct kluis_reader *reader);

/* Reads until `size` bytes are there or the file ends. Returns how many there are, or -errno. */
int64_t kluis_read_at(int fd, uint8_t *data, size_t size, uint64_t offset);

struct kluis_range {
    uint64_t start;
    uint64_t end;
};

/* The stretches of the first `size` bytes that are no holes, ascending; all of them where the file
 * system does not say. Moves the descriptor's position. Returns 0 or -errno; the caller frees
 * *ranges in any case. */
int kluis_data_ranges(int fd, uint64_t size, struct kluis_range **ranges, size_t *count);

#endif
