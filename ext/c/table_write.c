#include "table_write.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the file ---- */

typedef struct {
    int fd, error; /* the first error; nothing is written after it */
    uint64_t generation, count, blocks, filter_words, filter_probes;
    uint64_t *first, *filter;
    uint8_t *buffer; /* TABLE_READ_BLOCKS blocks */
    size_t full;     /* of them finished */
    size_t in_block; /* entries in the block after those */
} writer;

static void write_at(writer *w, const uint8_t *from, size_t size, uint64_t offset) {
    while (size > 0 && w->error == 0) {
        ssize_t put = pwrite(w->fd, from, size, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            w->error = put < 0 ? -errno : -EIO;
            return;
        }
        from += put;
        size -= (size_t)put;
        offset += (uint64_t)put;
    }
}

static void writer_free(writer *w) {
    free(w->first);
    free(w->filter);
    free(w->buffer);
}

static int writer_start(writer *w, int fd, uint64_t generation, uint64_t planned) {
    *w = (writer){.fd = fd, .generation = generation};
    uint64_t words = planned / 8 + 1; /* 8 bits an entry: about 3 % false positives */
    w->filter_words = words < TABLE_FILTER_WORDS_MAX ? words : TABLE_FILTER_WORDS_MAX;
    uint64_t bits_per_entry = 64 * w->filter_words / planned;
    w->filter_probes = bits_per_entry >= 8 ? 4 : bits_per_entry >= 3 ? 2 : 1;
    w->first = malloc(8 * (planned / TABLE_BLOCK_ENTRIES + 1));
    w->filter = calloc(w->filter_words, 8);
    w->buffer = calloc(TABLE_READ_BLOCKS, TABLE_BLOCK_BYTES);
    if (w->first != NULL && w->filter != NULL && w->buffer != NULL)
        return 0;
    writer_free(w);
    return -ENOMEM;
}

static void write_buffer(writer *w) {
    uint64_t start = 1 + w->blocks - w->full;
    write_at(w, w->buffer, w->full * TABLE_BLOCK_BYTES, start * TABLE_BLOCK_BYTES);
    memset(w->buffer, 0, w->full * TABLE_BLOCK_BYTES);
    w->full = 0;
}

static void end_block(writer *w) {
    uint8_t *block = w->buffer + w->full * TABLE_BLOCK_BYTES;
    kluis_store32(block + TABLE_BLOCK_COUNT_AT, (uint32_t)w->in_block);
    uint64_t seed = kluis_block_seed(w->generation, w->blocks);
    kluis_store64(block + TABLE_BLOCK_SUM_AT, kluis_table_sum(block, TABLE_BLOCK_SUM_AT, seed));
    kluis_store64(&w->first[w->blocks], hash_prefix(block));
    w->blocks++;
    w->full++;
    w->in_block = 0;
    if (w->full == TABLE_READ_BLOCKS)
        write_buffer(w);
}

static void writer_add(writer *w, const uint8_t *entry) {
    uint8_t *block = w->buffer + w->full * TABLE_BLOCK_BYTES;
    memcpy(block + ENTRY_BYTES * w->in_block, entry, ENTRY_BYTES);
    size_t word;
    uint64_t bits = kluis_filter_bits(entry, w->filter_words, w->filter_probes, &word);
    w->filter[word] |= bits;
    w->count++;
    if (++w->in_block == TABLE_BLOCK_ENTRIES)
        end_block(w);
}

/* The header comes last, so that a file without an end has no beginning either. */
static void writer_end(writer *w) {
    if (w->in_block > 0)
        end_block(w);
    write_buffer(w);
    for (uint64_t i = 0; i < w->filter_words; i++)
        kluis_store64(&w->filter[i], w->filter[i]);
    const uint8_t *first = (const uint8_t *)w->first, *filter = (const uint8_t *)w->filter;
    uint64_t offset = (1 + w->blocks) * TABLE_BLOCK_BYTES;
    write_at(w, first, 8 * w->blocks, offset);
    write_at(w, filter, 8 * w->filter_words, offset + 8 * w->blocks);
    uint8_t header[TABLE_BLOCK_BYTES] = TABLE_MAGIC;
    kluis_store64(header + HEADER_GENERATION_AT, w->generation);
    kluis_store64(header + HEADER_COUNT_AT, w->count);
    kluis_store64(header + HEADER_BLOCKS_AT, w->blocks);
    kluis_store64(header + HEADER_FILTER_WORDS_AT, w->filter_words);
    kluis_store64(header + HEADER_FILTER_PROBES_AT, w->filter_probes);
    kluis_store64(header + HEADER_INDEX_SUM_AT,
                  kluis_table_sum(first, 8 * w->blocks, w->generation));
    kluis_store64(header + HEADER_FILTER_SUM_AT,
                  kluis_table_sum(filter, 8 * w->filter_words, w->generation));
    kluis_store64(header + HEADER_SUM_AT, kluis_table_sum(header, HEADER_SUM_AT, 0));
    write_at(w, header, sizeof header, 0);
}

/* ---- the sources ---- */

typedef struct {
    const uint8_t *entry;         /* NULL at the end */
    const uint8_t **sorted;       /* of a map: pointers to its entries ... */
    size_t position, count;       /* ... or of a file: place in the block and its length */
    const kluis_table_file *file; /* NULL for a map */
    uint8_t *buffer;              /* TABLE_READ_BLOCKS blocks */
    uint64_t block;               /* number of the next block */
} source;

static int newest_first(const void *left, const void *right) {
    const uint8_t *a = *(const uint8_t *const *)left, *b = *(const uint8_t *const *)right;
    int order = memcmp(a, b, ENTRY_HASH);
    return order != 0 ? order : a > b ? -1 : a < b;
}

static int map_source(source *s, const kluis_map *map) {
    *s = (source){.count = map->count};
    if (map->count == 0)
        return 0;
    s->sorted = malloc(map->count * sizeof *s->sorted);
    if (s->sorted == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < map->count; i++)
        s->sorted[i] = map->entries + ENTRY_BYTES * i;
    qsort(s->sorted, map->count, sizeof *s->sorted, newest_first);
    s->entry = s->sorted[0];
    return 0;
}

/* Goes to the next block that is whole; what the others held is forgotten. */
static void next_block(source *s) {
    const kluis_table_file *file = s->file;
    s->entry = NULL;
    s->position = 0;
    for (s->count = 0; s->count == 0 && s->block < file->blocks; s->block++) {
        uint64_t place = s->block % TABLE_READ_BLOCKS;
        uint8_t *block = s->buffer + place * TABLE_BLOCK_BYTES;
        if (place == 0) {
            uint64_t left = file->blocks - s->block;
            size_t blocks = left < TABLE_READ_BLOCKS ? (size_t)left : TABLE_READ_BLOCKS;
            uint64_t offset = (1 + s->block) * TABLE_BLOCK_BYTES;
            if (kluis_table_read_at(file->fd, block, blocks * TABLE_BLOCK_BYTES, offset) < 0)
                memset(block, 0, blocks * TABLE_BLOCK_BYTES); /* which no checksum matches */
        }
        s->count = kluis_block_check(file, block, s->block);
        s->entry = s->count > 0 ? block : NULL;
    }
}

static int file_source(source *s, const kluis_table_file *file) {
    *s = (source){.file = file, .buffer = malloc(TABLE_READ_BLOCKS * TABLE_BLOCK_BYTES)};
    if (s->buffer == NULL)
        return -ENOMEM;
    next_block(s);
    return 0;
}

static void advance(source *s) {
    s->position++;
    if (s->file == NULL)
        s->entry = s->position < s->count ? s->sorted[s->position] : NULL;
    else if (s->position < s->count)
        s->entry += ENTRY_BYTES;
    else
        next_block(s);
}

/* ---- the merge ---- */

/* Those written of the present hash. */
typedef struct {
    uint8_t entries[ENTRY_COPIES][ENTRY_BYTES];
    size_t count;
} copies;

static bool is_new(copies *kept, const uint8_t *entry) {
    if (kept->count > 0 && !same_hash(kept->entries[0], entry))
        kept->count = 0;
    for (size_t i = 0; i < kept->count; i++)
        if (memcmp(kept->entries[i], entry, ENTRY_BYTES) == 0)
            return false;
    if (kept->count == ENTRY_COPIES)
        return false;
    memcpy(kept->entries[kept->count++], entry, ENTRY_BYTES);
    return true;
}

static source *smallest(source *sources, size_t count) {
    source *best = NULL;
    for (size_t i = 0; i < count; i++)
        if (sources[i].entry != NULL &&
            (best == NULL || memcmp(sources[i].entry, best->entry, ENTRY_HASH) < 0))
            best = &sources[i];
    return best; /* of equal ones the newest, which comes first */
}

static int merge(writer *w, source *sources, size_t count, const kluis_usable *usable) {
    copies kept = {.count = 0};
    source *next;
    while (w->error == 0 && (next = smallest(sources, count)) != NULL) {
        if (!kluis_usable_dead(usable, next->entry) && is_new(&kept, next->entry))
            writer_add(w, next->entry);
        advance(next);
    }
    if (w->count > 0)
        writer_end(w);
    return w->error;
}

int kluis_table_merge(int fd, uint64_t generation, const kluis_map *map,
                      const kluis_table_file *const *files, size_t file_count,
                      const kluis_usable *usable, uint64_t *written) {
    *written = 0;
    uint64_t planned = map->count;
    for (size_t i = 0; i < file_count; i++)
        planned += files[i]->count;
    if (planned == 0)
        return 0;
    source *sources = calloc(file_count + 1, sizeof *sources);
    if (sources == NULL)
        return -ENOMEM;
    writer w;
    int status = writer_start(&w, fd, generation, planned);
    if (status == 0) {
        status = map_source(&sources[0], map);
        for (size_t i = 0; status == 0 && i < file_count; i++)
            status = file_source(&sources[i + 1], files[i]);
        if (status == 0)
            status = merge(&w, sources, file_count + 1, usable);
        *written = w.count;
        writer_free(&w);
    }
    for (size_t i = 0; i <= file_count; i++) {
        free(sources[i].sorted);
        free(sources[i].buffer);
    }
    free(sources);
    return status;
}
