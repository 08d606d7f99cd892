#include "fill.h"
#include "kluis.h"
#include "sum.h"
#include "table_entry.h"

#include <stdbool.h>
#include <stdlib.h>

enum { HASH = 16, FOUND = 16 };

static size_t end_of(const struct kluis_fill *fill, size_t i) {
    uint32_t end;
    memcpy(&end, fill->ends + i * sizeof end, sizeof end);
    return end;
}

static const uint8_t *hash_of(const struct kluis_fill *fill, size_t i) {
    return fill->hashes + i * HASH;
}

static uint8_t *place_of(const struct kluis_fill *fill, size_t i) {
    return fill->places + i * KLUIS_FILL_PLACE_BYTES;
}

/* Twice as many slots as chunks: made when the first chunk is new, for most buffers of a later
 * backup have none. */
static bool make_slots(struct kluis_fill *fill) {
    size_t slots = 2;
    while (slots < 2 * fill->count)
        slots *= 2;
    fill->fresh = calloc(slots, sizeof *fill->fresh);
    fill->mask = slots - 1;
    return fill->fresh != NULL;
}

/* The slot of the new chunk with this hash, or the empty one that it would take. */
static uint32_t *slot_of(const struct kluis_fill *fill, const uint8_t *hash) {
    size_t slot = (size_t)hash_mix(hash) & fill->mask;
    while (fill->fresh[slot] && !same_hash(hash_of(fill, fill->fresh[slot] - 1), hash))
        slot = (slot + 1) & fill->mask;
    return &fill->fresh[slot];
}

static void write_place(uint8_t *place, const uint8_t *hash, const uint32_t fields[4]) {
    memcpy(place, hash, HASH);
    for (size_t i = 0; i < 4; i++)
        kluis_store32(place + HASH + 4 * i, fields[i]);
}

/* True if the chunk needs no room: it is stored, or new in this buffer and placed, or zeros. */
static bool is_placed(const struct kluis_fill *fill, size_t i, size_t length) {
    const uint8_t *hash = hash_of(fill, i), *found = fill->found + i * FOUND;
    uint32_t first = fill->fresh ? *slot_of(fill, hash) : 0;
    if (first) {
        memcpy(place_of(fill, i), place_of(fill, first - 1), KLUIS_FILL_PLACE_BYTES);
        return true;
    }
    if (kluis_load32(found) != KLUIS_FILL_UNKNOWN && kluis_load32(found + 12) == length) {
        memcpy(place_of(fill, i), hash, HASH);
        memcpy(place_of(fill, i) + HASH, found, FOUND);
        return true;
    }
    if (same_hash(hash, fill->zeros)) {
        write_place(place_of(fill, i), hash,
                    (uint32_t[4]){KLUIS_FILL_HOLE, 0, 0, (uint32_t)length});
        return true;
    }
    return false;
}

static void append(struct kluis_fill *fill, struct kluis_frame *frame, size_t start,
                   size_t length) {
    const uint8_t *hash = hash_of(fill, fill->next);
    memcpy(frame->buffer + frame->size, fill->data + start, length);
    write_place(place_of(fill, fill->next), hash,
                (uint32_t[4]){frame->run, frame->number, (uint32_t)frame->size, (uint32_t)length});
    uint64_t sum;
    memcpy(&sum, fill->sums + fill->next * KLUIS_SUM_BYTES, sizeof sum);
    sum = kluis_sum_bound(sum, hash);
    memcpy(frame->sums + frame->entry_count * KLUIS_SUM_BYTES, &sum, sizeof sum);
    uint8_t *entry = frame->entries + frame->entry_count++ * KLUIS_FILL_ENTRY_BYTES;
    memcpy(entry, hash, HASH);
    kluis_store32(entry + HASH, (uint32_t)length);
    frame->size += length;
    *slot_of(fill, hash) = (uint32_t)fill->next + 1;
}

int kluis_fill_check(const struct kluis_fill *fill, size_t size) {
    size_t start = 0;
    for (size_t i = 0; i < fill->count; i++) {
        if (end_of(fill, i) <= start)
            return -1;
        start = end_of(fill, i);
    }
    return start > size ? -1 : 0;
}

size_t kluis_fill_start(const struct kluis_fill *fill) {
    return fill->next ? end_of(fill, fill->next - 1) : 0;
}

int kluis_fill_run(struct kluis_fill *fill, struct kluis_frame *frame, size_t group_end) {
    frame->entry_count = 0;
    for (; fill->next < fill->count; fill->next++) {
        size_t start = kluis_fill_start(fill);
        size_t length = end_of(fill, fill->next) - start;
        if (is_placed(fill, fill->next, length))
            continue;
        if (start >= group_end)
            return KLUIS_FILL_GROUP;
        if (frame->size >= frame->target)
            return KLUIS_FILL_FRAME;
        if (length > frame->capacity - frame->size || (uint64_t)frame->size + length > UINT32_MAX)
            return KLUIS_FILL_NO_ROOM;
        if (!fill->fresh && !make_slots(fill))
            return KLUIS_FILL_NO_MEMORY;
        append(fill, frame, start, length);
    }
    return KLUIS_FILL_DONE;
}

size_t kluis_fill_fresh(const struct kluis_fill *fill, uint8_t *records) {
    size_t count = 0;
    for (size_t i = 0; fill->fresh && i < fill->next; i++) {
        if (*slot_of(fill, hash_of(fill, i)) == i + 1)
            memcpy(records + count++ * KLUIS_FILL_PLACE_BYTES, place_of(fill, i),
                   KLUIS_FILL_PLACE_BYTES);
    }
    return count;
}

void kluis_fill_finish(struct kluis_fill *fill) {
    free(fill->fresh);
    fill->fresh = NULL;
}
