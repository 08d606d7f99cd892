#include "digests.h"
#include "digests_lists.h"
#include "digests_tree.h"
#include "kluis.h"

enum { DATA_FRAME = 1, TREE_FRAME = 2 };

/* How far the looking at one entry has come. */
typedef enum { ENDED, STOPPED } progress;

static const uint8_t *record_of(const kluis_digests *walk) {
    return walk->data + HEADER + walk->record * RECORD;
}

static size_t extents_of(const kluis_digests *walk) {
    return kluis_load32(record_of(walk) + EXTENT_COUNT_AT);
}

int kluis_digests_open(kluis_digests *walk, const uint8_t *data, size_t size, const uint8_t *before,
                       size_t before_bytes) {
    tree_layout found;
    if (!tree_is_sound(&found, data, size, before, before_bytes))
        return -1;
    *walk = (kluis_digests){.data = data,
                            .records = found.records,
                            .owners_at = found.owners_at,
                            .extents_at = found.extents_at,
                            .name_at = found.names_at};
    return 0;
}

void kluis_digests_skip(kluis_digests *walk) {
    if (walk->record >= walk->records)
        return;
    walk->files += record_of(walk)[KIND_AT] == FILE_KIND;
    walk->extents_at += extents_of(walk) * EXTENT;
    walk->name_at += name_bytes_of(record_of(walk));
    walk->record++;
    walk->extent = walk->inside = walk->chunks = 0;
}

/* Tells `what` of the entry that is under way; there is room. */
static void tell(const kluis_digests *walk, kluis_told *told, uint32_t what, size_t begin,
                 size_t end) {
    size_t fields[7] = {
        HEADER + walk->record * RECORD,
        walk->name_at,
        walk->name_at + name_bytes_of(record_of(walk)),
        walk->extents_at,
        walk->extents_at + extents_of(walk) * EXTENT,
        begin,
        end,
    };
    uint8_t *item = told->items + told->item_count++ * KLUIS_DIGESTS_ITEM_BYTES;
    kluis_store32(item, what);
    for (size_t i = 0; i < 7; i++)
        kluis_store32(item + 4 + 4 * i, (uint32_t)fields[i]);
}

/* Stops inside the entry: what was gathered of it since `begin` is told. */
static progress stop(const kluis_digests *walk, kluis_told *told, size_t begin) {
    if (told->gathered_bytes > begin)
        tell(walk, told, KLUIS_DIGESTS_PART, begin, told->gathered_bytes);
    return STOPPED;
}

static bool has_room(const kluis_told *told) {
    return told->gathered_room - told->gathered_bytes >= KLUIS_DIGESTS_CHUNK_BYTES;
}

static void gather(kluis_digests *walk, kluis_told *told, const uint8_t *hash, uint64_t length) {
    uint8_t *to = told->gathered + told->gathered_bytes;
    memcpy(to, hash, HASH);
    kluis_store64(to + HASH, length);
    told->gathered_bytes += KLUIS_DIGESTS_CHUNK_BYTES;
    walk->chunks++;
}

/* The place in the list of the chunk that begins there; `count` for the frame's end. */
static bool find_start(const kluis_list *list, uint64_t offset, size_t *place) {
    size_t low = 0, high = list->count + 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (list->starts[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    *place = low;
    return low <= list->count && list->starts[low] == offset;
}

/* Gathers the chunks of an extent, of which `walk->inside` are done. 0 when done, -1 when there is
 * no more room, else what is wrong. */
static int gather_extent(kluis_digests *walk, kluis_told *told, const kluis_list *list,
                         const uint8_t *extent) {
    uint64_t offset = kluis_load32(extent + OFFSET_AT), length = kluis_load32(extent + LENGTH_AT);
    uint32_t kind = record_of(walk)[KIND_AT] == FILE_KIND ? DATA_FRAME : TREE_FRAME;
    size_t first, end;
    if (list->kind != kind)
        return KLUIS_DIGESTS_KIND;
    if (!find_start(list, offset, &first) || !find_start(list, offset + length, &end))
        return KLUIS_DIGESTS_SPLIT;
    for (first += walk->inside; first < end; first++, walk->inside++) {
        if (!has_room(told))
            return -1;
        gather(walk, told, list->hashes + first * HASH,
               list->starts[first + 1] - list->starts[first]);
    }
    walk->inside = 0;
    return 0;
}

/* What is told of an entry whose chunks are all gathered. */
static void finish(const kluis_digests *walk, kluis_told *told, size_t begin) {
    const uint8_t *record = record_of(walk), *digest = record + DIGEST_AT;
    const uint8_t *gathered = told->gathered + begin;
    bool is_right;
    if (walk->chunks == 0) {
        is_right = is_zero(digest, DIGEST);
    } else if (walk->chunks == 1 && !is_zero(gathered, HASH)) {
        is_right = memcmp(digest, gathered, HASH) == 0 && is_zero(digest + HASH, DIGEST - HASH);
        told->gathered_bytes = begin;
    } else {
        tell(walk, told, KLUIS_DIGESTS_LAST, begin, told->gathered_bytes);
        return;
    }
    if (!is_right)
        tell(walk, told, KLUIS_DIGESTS_WRONG, 0, 0);
    else if (record[KIND_AT] == DIRECTORY_KIND)
        tell(walk, told, KLUIS_DIGESTS_FOLDER, 0, 0);
}

/* Looks at a file or directory. */
static progress look(kluis_digests *walk, const kluis_lists *lists, kluis_told *told) {
    size_t count = extents_of(walk), begin = told->gathered_bytes;
    for (; walk->extent < count; walk->extent++) {
        size_t at = walk->extents_at + walk->extent * EXTENT;
        const uint8_t *extent = walk->data + at;
        if (!has_room(told))
            return stop(walk, told, begin);
        if (is_zero(extent, RUN)) {
            uint64_t high = kluis_load32(extent + OFFSET_AT);
            gather(walk, told, extent, high << 32 | kluis_load32(extent + LENGTH_AT));
            continue;
        }
        const kluis_list *list = kluis_lists_find(lists, extent, kluis_load32(extent + N_AT));
        if (list == NULL) {
            stop(walk, told, begin);
            tell(walk, told, KLUIS_DIGESTS_NEEDED, at, at + EXTENT);
            return STOPPED;
        }
        int state = gather_extent(walk, told, list, extent);
        if (state < 0)
            return stop(walk, told, begin);
        if (state > 0) {
            tell(walk, told, (uint32_t)state, 0, 0);
            return ENDED;
        }
    }
    finish(walk, told, begin);
    return ENDED;
}

int kluis_digests_run(kluis_digests *walk, const kluis_lists *lists, kluis_told *told) {
    while (walk->record < walk->records) {
        const uint8_t *record = record_of(walk);
        bool is_stream = record[KIND_AT] == FILE_KIND || record[KIND_AT] == DIRECTORY_KIND;
        if (told->item_room - told->item_count < 2)
            return 0;
        if (record[FLAGS_AT] & LISTED)
            tell(walk, told, KLUIS_DIGESTS_LISTED, 0, 0);
        else if (is_stream && look(walk, lists, told) == STOPPED)
            return 0;
        kluis_digests_skip(walk);
    }
    return 1;
}
