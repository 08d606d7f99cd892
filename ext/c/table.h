/* The local dedup cache: hash16 -> where the chunk lies (run, frame, offset, length).
 *
 * A cache: it may forget anything (which costs space, since the chunk is then stored again), and
 * must never say anything that it was not told. So each block of its files carries a checksum, and
 * what does not match is treated as unknown.
 *
 * Entries are *pending* from being added until settled, then *permanent*; permanent ones live in
 * memory until flushed into a sorted file. Lookups ask pending entries first, then permanent ones
 * from the newest to the oldest, and return the first that is usable: a pending one always, a
 * permanent one if the bitmap of its run says so.
 *
 * Bounds. Memory: for `memory_entries` = E at most 96 E bytes of permanent and 192 E of pending
 * entries, 8 MiB of blocks, and for each file 8 bytes per 127 entries and a filter of at most 16
 * MiB. Pending entries beyond 2 E and, of one hash, all but about eight are forgotten.
 *
 * Files. Several processes may use one folder: each reads the files that it found when it opened
 * the table, and scans and writes of the folder are serialised by flock. Nothing is fsynced: what a
 * power cut tears is found by its checksum.
 *
 * Threads. Any may call anything but kluis_table_close; calls wait for each other.
 */
#ifndef KLUIS_TABLE_H
#define KLUIS_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define KLUIS_TABLE_HASH_BYTES 16
#define KLUIS_TABLE_PLACE_BYTES 16  /* run, frame, offset, length: 4 u32 little endian */
#define KLUIS_TABLE_RECORD_BYTES 32 /* hash16, then the place */
#define KLUIS_TABLE_NO_RUN UINT32_MAX

typedef struct kluis_table kluis_table;

/* Opens the table in an existing folder, which it alone writes to; removes files of its own naming
 * that are torn or foreign. 0 or -errno. */
int kluis_table_open(kluis_table **table, const char *folder, size_t memory_entries);

/* Frees everything; entries that were not flushed are forgotten. NULL is allowed. */
void kluis_table_close(kluis_table *table);

/* Bit n of the bitmap (least significant bit of the first byte first) tells whether frame n of the
 * run may be reused; frames past its end may not, nor those of runs never named. 0 or -ENOMEM. */
int kluis_table_set_usable(kluis_table *table, uint32_t run, const uint8_t *bitmap, size_t bytes);

/* Writes a place for each of `count` hashes, with run KLUIS_TABLE_NO_RUN where none is known or
 * usable. A file that cannot be read makes its entries unknown. */
void kluis_table_lookup(kluis_table *table, const uint8_t *hashes, size_t count, uint8_t *places);

/* Adds pending entries; at once visible to lookup. 0, -EINVAL if one names KLUIS_TABLE_NO_RUN (then
 * none is added), or -ENOMEM. */
int kluis_table_add_pending(kluis_table *table, const uint8_t *records, size_t count);

/* Makes pending entries of the run with frame < frame_limit permanent. Flushes when there are
 * memory_entries of them; entries that cannot be written then are forgotten. 0 or -ENOMEM. */
int kluis_table_settle(kluis_table *table, uint32_t run, uint32_t frame_limit);

void kluis_table_discard_pending(kluis_table *table);

/* Writes permanent entries into a sorted file under a name of its own, merging smaller files into
 * it so that few stay, and leaving out entries known to be unusable. 0 or -errno; after an error
 * the entries are in memory still. */
int kluis_table_flush(kluis_table *table);

/* Forgets everything, usable frames included, and removes the files. 0 or -errno. */
int kluis_table_clear(kluis_table *table);

/* Permanent entries, in memory and files; of one that lies in two files both count. */
uint64_t kluis_table_count(kluis_table *table);

#endif
