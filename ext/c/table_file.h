/* A sorted file of cache entries: reading one, and the layout that table_write.c writes.
 *
 *   header   4,096 bytes: the fields below, the rest zero
 *   blocks   4,096 bytes each: 127 entries of 32 bytes sorted by hash (the last block may hold
 *            fewer; of one hash the newest comes first), 4 bytes number of entries, 20 bytes zero,
 *            8 bytes checksum over what precedes it, seeded with generation and block number
 *   index    8 bytes per block: the first bytes of its first hash, as a sortable number
 *   filter   8 bytes per word: of each entry one to four bits are set in one word
 *
 * All numbers little endian. A header of another size than the file's, or a wrong checksum, makes
 * the file foreign; a wrong block, index or filter makes what depends on it unknown.
 */
#ifndef KLUIS_TABLE_FILE_H
#define KLUIS_TABLE_FILE_H

#include "table_entry.h"
#include "table_usable.h"

enum {
    TABLE_BLOCK_BYTES = 4096,
    TABLE_BLOCK_ENTRIES = 127,
    TABLE_BLOCK_COUNT_AT = TABLE_BLOCK_ENTRIES * ENTRY_BYTES,
    TABLE_BLOCK_SUM_AT = TABLE_BLOCK_BYTES - 8,
    TABLE_READ_BLOCKS = 16,           /* read or written at once in a merge */
    TABLE_FILTER_WORDS_MAX = 1 << 21, /* 16 MiB a file: 8 bits an entry up to 16 M entries */
};

enum { /* offsets in the header */
       HEADER_MAGIC_AT = 0,
       HEADER_GENERATION_AT = 8,
       HEADER_COUNT_AT = 16,
       HEADER_BLOCKS_AT = 24,
       HEADER_FILTER_WORDS_AT = 32,
       HEADER_FILTER_PROBES_AT = 40,
       HEADER_INDEX_SUM_AT = 48,
       HEADER_FILTER_SUM_AT = 56,
       HEADER_SUM_AT = 64, /* over all before it */
       HEADER_END = 72,
};

#define TABLE_MAGIC "kltable1"

_Static_assert(TABLE_BLOCK_COUNT_AT + 32 == TABLE_BLOCK_BYTES, "a block has 32 bytes of tail");

typedef struct {
    uint64_t generation; /* of two files the one with the higher number is newer; also its name */
    uint64_t count, blocks, filter_words, filter_probes;
    uint64_t index_sum, filter_sum;
    uint32_t serial; /* tells apart the files that one process opens */
    int fd;
    int state; /* 0 index and filter not read yet, 1 read, -1 unreadable */
    uint64_t *first;
    uint64_t *filter;
} kluis_table_file;

/* Verified blocks of all files; one place for each block, so no search and no ageing. */
enum { TABLE_CACHED_BLOCKS = 2048 /* 8 MiB */ };

typedef struct {
    uint64_t *keys; /* serial and block number, 0 for none */
    uint8_t *blocks;
} kluis_block_cache;

/* Detects every change of one aligned 8-byte word, and any other with 1 - 2^-64. Size: a multiple
 * of
 * 8. Guards against accidents, not against forgers. */
uint64_t kluis_table_sum(const uint8_t *data, size_t size, uint64_t seed);

uint64_t kluis_block_seed(uint64_t generation, uint64_t block);

/* Bits of the hash in a filter, all in its word number *word. */
uint64_t kluis_filter_bits(const uint8_t *hash, uint64_t words, uint64_t probes, size_t *word);

/* 0; 1 if it is torn, foreign or of another generation; -errno. Takes fd over when it returns 0. */
int kluis_file_open(kluis_table_file *file, int fd, uint64_t generation);

void kluis_file_close(kluis_table_file *file);

/* Number of entries in the block if it is whole, else 0. */
size_t kluis_block_check(const kluis_table_file *file, const uint8_t *block, uint64_t number);

/* Reads exactly size bytes at the offset. 0, or -errno (-EIO where the file ends early). */
int kluis_table_read_at(int fd, uint8_t *to, size_t size, uint64_t offset);

/* The newest usable entry for the hash; NULL if there is none, or it cannot be read or trusted.
 * Good until the next call. */
const uint8_t *kluis_file_find(kluis_table_file *file, kluis_block_cache *cache,
                               const uint8_t *hash, const kluis_usable *usable);

#endif
