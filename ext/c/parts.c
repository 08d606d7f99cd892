#include "parts.h"
#include "fill.h"
#include "kluis.h"
#include "read.h"
#include "scan.h"

#include <limits.h>
#include <stdbool.h>

enum { HASH = 16, RUN = 16, TREE_FILE = 1, PERMISSIONS = 07777 };

/* The fields of a place, after its hash. */
struct place {
    uint32_t run, frame, offset, length;
};

static struct place place_at(const uint8_t *places, size_t i) {
    const uint8_t *at = places + i * KLUIS_FILL_PLACE_BYTES + HASH;
    return (struct place){kluis_load32(at), kluis_load32(at + 4), kluis_load32(at + 8),
                          kluis_load32(at + 12)};
}

static uint32_t native32(const uint8_t *array, size_t i) {
    uint32_t value;
    memcpy(&value, array + i * sizeof value, sizeof value);
    return value;
}

static bool goes_on(const struct place *last, const struct place *next) {
    return last->run == next->run && last->frame == next->frame && next->run != KLUIS_FILL_HOLE &&
           (uint64_t)last->offset + last->length == next->offset &&
           next->length <= UINT32_MAX - last->length;
}

static void write_merged(uint8_t *to, const struct place *place, uint32_t chunks) {
    kluis_store32(to, place->run);
    kluis_store32(to + 4, place->frame);
    kluis_store32(to + 8, place->offset);
    kluis_store32(to + 12, place->length);
    kluis_store32(to + 16, chunks);
}

size_t kluis_merge_places(const uint8_t *places, size_t count, uint8_t *merged, uint8_t *chunks) {
    size_t made = 0;
    uint32_t gathered = 0;
    struct place last = {0};
    for (size_t i = 0; i < count; i++) {
        struct place next = place_at(places, i);
        memcpy(chunks + i * KLUIS_PARTS_CHUNK_BYTES, places + i * KLUIS_FILL_PLACE_BYTES, HASH);
        kluis_store64(chunks + i * KLUIS_PARTS_CHUNK_BYTES + HASH, next.length);
        if (gathered && goes_on(&last, &next)) {
            last.length += next.length;
            gathered++;
            continue;
        }
        if (gathered)
            write_merged(merged + made++ * KLUIS_PARTS_MERGED_BYTES, &last, gathered);
        last = next;
        gathered = 1;
    }
    if (gathered)
        write_merged(merged + made++ * KLUIS_PARTS_MERGED_BYTES, &last, gathered);
    return made;
}

/* The record of a file with one name and nothing besides its content, as docs/format.md has it. */
static void write_record(uint8_t *to, const struct kluis_entry *entry, uint32_t length,
                         const uint8_t *hash) {
    memset(to, 0, KLUIS_PARTS_RECORD_BYTES);
    to[0] = TREE_FILE;
    to[2] = (uint8_t)entry->name_length;
    to[3] = (uint8_t)(entry->name_length >> 8);
    kluis_store32(to + 4, entry->mode & PERMISSIONS);
    kluis_store32(to + 8, entry->uid);
    kluis_store32(to + 12, entry->gid);
    kluis_store32(to + 16, hash ? 1 : 0); /* extents */
    kluis_store64(to + 24, length);
    kluis_store64(to + 32, (uint64_t)entry->mtime_s);
    kluis_store64(to + 40, (uint64_t)entry->btime_s);
    kluis_store32(to + 48, entry->mtime_ns);
    kluis_store32(to + 52, entry->btime_ns);
    if (hash)
        memcpy(to + 72, hash, HASH);
}

static void write_extent(uint8_t *to, const uint8_t *runs, const struct place *place) {
    memcpy(to, runs + (size_t)place->run * RUN, RUN);
    kluis_store32(to + 16, place->frame);
    kluis_store32(to + 20, place->offset);
    kluis_store32(to + 24, place->length);
}

static uint8_t state_of(const struct kluis_batch *batch, size_t i, size_t chunks,
                        const struct kluis_entry *entry) {
    struct kluis_read_result result;
    memcpy(&result, batch->results + i * sizeof result, sizeof result);
    if (result.length < 0 || result.flags & (KLUIS_READ_CHANGED | KLUIS_READ_GREW))
        return KLUIS_PARTS_AGAIN;
    if (result.flags & KLUIS_READ_XATTRS || result.inode_flags & batch->inode_flags)
        return KLUIS_PARTS_EXTRAS;
    if (entry->nlink > 1 || chunks > 1)
        return KLUIS_PARTS_MORE;
    return chunks ? KLUIS_PARTS_ONE : KLUIS_PARTS_NONE;
}

int kluis_small_records(const struct kluis_batch *batch, size_t *extent_count) {
    size_t made = 0, extents = 0, first = 0;
    for (size_t i = 0; i < batch->count; i++) {
        size_t number = native32(batch->wanted, i), end = native32(batch->bounds, i);
        struct kluis_entry entry;
        if (number >= batch->entry_count || end < first || end > batch->place_count)
            return -1;
        memcpy(&entry, batch->entries + number * sizeof entry, sizeof entry);
        uint8_t state = state_of(batch, i, end - first, &entry);
        struct place place = {0};
        const uint8_t *hash = NULL;
        if (state == KLUIS_PARTS_ONE) {
            place = place_at(batch->places, first);
            hash = batch->places + first * KLUIS_FILL_PLACE_BYTES;
            if (place.run == KLUIS_FILL_HOLE)
                state = KLUIS_PARTS_MORE;
            else if (place.run >= batch->run_count)
                return -1;
        }
        if (state == KLUIS_PARTS_ONE)
            write_extent(batch->extents + extents++ * KLUIS_PARTS_EXTENT_BYTES, batch->runs,
                         &place);
        if (state <= KLUIS_PARTS_NONE)
            write_record(batch->records + made++ * KLUIS_PARTS_RECORD_BYTES, &entry, place.length,
                         hash);
        batch->states[i] = state;
        first = end;
    }
    *extent_count = extents;
    return made > INT_MAX ? -1 : (int)made;
}
