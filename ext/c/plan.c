#include "plan.h"
#include "kluis.h"
#include "scatter.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum { TREE_FILE = 1, HASH = 16, RUN = 16, NAME_MAX_BYTES = 255, MODE_MAX = 07777 };
#define NS_PER_S 1000000000u
#define NO_BIRTH 0xFFFFFFFFu
#define FRAME_NUMBER_MAX 0xFFFFFFFEu

static const uint8_t zeros[KLUIS_PLAN_DIGEST_BYTES];

/* The fields of a record that tell how much of the other parts is its. */
static uint32_t name_size(const uint8_t *record) {
    return (uint32_t)record[2] | (uint32_t)record[3] << 8;
}

static uint32_t extent_count(const uint8_t *record) { return kluis_load32(record + 16); }

static uint32_t extras_size(const uint8_t *record) { return kluis_load32(record + 20); }

static uint64_t content_size(const uint8_t *record) { return kluis_load64(record + 24); }

static const uint8_t *digest_of(const uint8_t *record) { return record + 72; }

static uint32_t native32(const uint8_t *array, size_t i) {
    uint32_t value;
    memcpy(&value, array + i * sizeof value, sizeof value);
    return value;
}

size_t kluis_plan_fitting(const uint8_t *records, size_t count, uint64_t limit,
                          struct kluis_plan_sizes *sizes) {
    uint64_t total = 0;
    *sizes = (struct kluis_plan_sizes){0};
    for (size_t i = 0; i < count; i++) {
        const uint8_t *record = records + i * KLUIS_PLAN_RECORD_BYTES;
        if (extras_size(record) > KLUIS_PLAN_EXTRAS_MAX ||
            extent_count(record) > KLUIS_PLAN_EXTENTS_MAX)
            return i;
        uint64_t extents = (uint64_t)extent_count(record) * KLUIS_PLAN_EXTENT_BYTES;
        total += KLUIS_PLAN_RECORD_BYTES + extents + name_size(record) + extras_size(record);
        if (i && total > limit)
            return i;
        sizes->extents += extents;
        sizes->names += name_size(record);
        sizes->extras += extras_size(record);
    }
    return count;
}

/* A record with where its parts begin. */
struct item {
    const uint8_t *record;
    const uint8_t *name;
    const uint8_t *extent;
};

static bool is_plain_name(const uint8_t *name, size_t size) {
    if (!size || size > NAME_MAX_BYTES || (size == 1 && name[0] == '.') ||
        (size == 2 && name[0] == '.' && name[1] == '.'))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!name[i] || name[i] == '/' || name[i] > 127)
            return false;
    return true;
}

/* Whether the stat record says nothing that no kluis writes. */
static bool is_plain_stat(const uint8_t *record, const struct kluis_plan *plan) {
    uint32_t mode = kluis_load32(record + 4), birth_ns = kluis_load32(record + 52);
    if (mode > MODE_MAX || mode & ~plan->modes || kluis_load32(record + 48) >= NS_PER_S)
        return false;
    if (birth_ns >= NS_PER_S && (birth_ns != NO_BIRTH || kluis_load64(record + 40)))
        return false;
    return !kluis_load64(record + 56) && !kluis_load64(record + 64); /* inode, device */
}

static bool is_plain_content(const struct item *item) {
    uint64_t size = content_size(item->record);
    if (!extent_count(item->record))
        return !size && !memcmp(digest_of(item->record), zeros, KLUIS_PLAN_DIGEST_BYTES);
    uint32_t start = kluis_load32(item->extent + RUN + 4);
    uint32_t length = kluis_load32(item->extent + RUN + 8);
    return memcmp(item->extent, zeros, RUN) && length && length == size &&
           (uint64_t)start + length <= KLUIS_PLAN_FRAME_MAX &&
           kluis_load32(item->extent + RUN) <= FRAME_NUMBER_MAX;
}

static bool is_small(const struct item *item, const struct kluis_plan *plan) {
    const uint8_t *record = item->record;
    return record[0] == TREE_FILE && !record[1] && extent_count(record) <= 1 &&
           !extras_size(record) && content_size(record) <= plan->size_limit &&
           is_plain_name(item->name, name_size(record)) && is_plain_stat(record, plan) &&
           is_plain_content(item);
}

/* By frame; empty files first. */
static int compare_frames(const struct item *one, const struct item *other) {
    bool empty = !extent_count(one->record), other_empty = !extent_count(other->record);
    if (empty || other_empty)
        return (int)other_empty - (int)empty;
    int order = memcmp(one->extent, other->extent, RUN);
    if (order)
        return order;
    uint32_t frame = kluis_load32(one->extent + RUN), next = kluis_load32(other->extent + RUN);
    return (frame > next) - (frame < next);
}

static int compare_items(const void *one, const void *other) {
    const struct item *a = one, *b = other;
    int order = compare_frames(a, b);
    if (order)
        return order;
    return (a->record > b->record) - (a->record < b->record);
}

static void sort_items(struct item *items, size_t count) {
    for (size_t i = 1; i < count; i++)
        if (compare_frames(&items[i - 1], &items[i]) > 0) {
            qsort(items, count, sizeof *items, compare_items);
            return;
        }
}

static uint32_t owner_here(const struct kluis_plan_owners *owners, uint32_t number) {
    size_t low = 0, high = owners->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (native32(owners->pairs, middle * 2) < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < owners->count && native32(owners->pairs, low * 2) == number)
        return native32(owners->pairs, low * 2 + 1);
    return number;
}

static void write_file(struct kluis_plan *plan, const struct item *item) {
    const uint8_t *record = item->record;
    bool empty = !extent_count(record);
    struct kluis_small small = {
        .name_length = (uint16_t)name_size(record),
        .mode = kluis_load32(record + 4),
        .start = empty ? 0 : kluis_load32(item->extent + RUN + 4),
        .length = empty ? 0 : kluis_load32(item->extent + RUN + 8),
        .mtime_s = (int64_t)kluis_load64(record + 32),
        .mtime_ns = kluis_load32(record + 48),
        .uid = owner_here(&plan->users, kluis_load32(record + 8)),
        .gid = owner_here(&plan->groups, kluis_load32(record + 12)),
        .flags = plan->flags,
    };
    memcpy(plan->files + plan->file_count * sizeof small, &small, sizeof small);
    memcpy(plan->digests + plan->file_count * KLUIS_PLAN_DIGEST_BYTES, digest_of(record),
           KLUIS_PLAN_DIGEST_BYTES);
    memcpy(plan->file_names + plan->file_names_size, item->name, small.name_length);
    plan->file_names_size += small.name_length;
    plan->file_count++;
}

static void write_spans(struct kluis_plan *plan, const struct item *items, size_t count) {
    for (size_t first = 0, end; first < count; first = end) {
        struct kluis_plan_span span = {.first = (uint32_t)plan->file_count,
                                       .names_start = (uint32_t)plan->file_names_size};
        if (extent_count(items[first].record)) {
            memcpy(span.run, items[first].extent, RUN);
            span.frame = kluis_load32(items[first].extent + RUN);
        }
        for (end = first; end < count && !compare_frames(&items[first], &items[end]); end++) {
            write_file(plan, &items[end]);
            span.bytes += content_size(items[end].record);
        }
        span.count = (uint32_t)(end - first);
        span.names_size = (uint32_t)plan->file_names_size - span.names_start;
        memcpy(plan->spans + plan->span_count++ * sizeof span, &span, sizeof span);
    }
}

static bool ascends(const struct item *last, const struct item *next) {
    size_t size = name_size(last->record), next_size = name_size(next->record);
    int order = memcmp(last->name, next->name, size < next_size ? size : next_size);
    return order < 0 || (!order && size < next_size);
}

/* Whether records, extents and names account for each other, and the names ascend. */
static bool fits_together(const struct kluis_plan *plan) {
    struct kluis_plan_sizes sizes;
    if (plan->extents_size > UINT32_MAX || plan->names_size > UINT32_MAX ||
        plan->count > UINT32_MAX ||
        kluis_plan_fitting(plan->records, plan->count, UINT64_MAX, &sizes) != plan->count ||
        sizes.extents != plan->extents_size || sizes.names != plan->names_size ||
        sizes.extras > UINT32_MAX)
        return false;
    struct item last = {0};
    const uint8_t *name = plan->names;
    for (size_t i = 0; i < plan->count; i++) {
        struct item next = {.record = plan->records + i * KLUIS_PLAN_RECORD_BYTES, .name = name};
        if (i && !ascends(&last, &next))
            return false;
        name += name_size(next.record);
        last = next;
    }
    return true;
}

int kluis_plan_window(struct kluis_plan *plan) {
    plan->file_count = plan->file_names_size = plan->span_count = plan->other_count = 0;
    if (!fits_together(plan))
        return -EINVAL;
    struct item *items = calloc(plan->count + 1, sizeof *items);
    if (!items)
        return -ENOMEM;
    size_t found = 0;
    struct kluis_plan_other next = {0};
    for (size_t i = 0; i < plan->count; i++) {
        const uint8_t *record = plan->records + i * KLUIS_PLAN_RECORD_BYTES;
        struct item item = {record, plan->names + next.name_start,
                            plan->extents + (size_t)next.extent * KLUIS_PLAN_EXTENT_BYTES};
        next.record = (uint32_t)i;
        if (is_small(&item, plan))
            items[found++] = item;
        else
            memcpy(plan->others + plan->other_count++ * sizeof next, &next, sizeof next);
        next.name_start += name_size(record);
        next.extent += extent_count(record);
        next.extras_start += extras_size(record);
    }
    sort_items(items, found);
    write_spans(plan, items, found);
    free(items);
    return 0;
}

/* The number of the start, chunk_count for the end of the frame; more if there is none there. */
static size_t find_start(const struct kluis_plan_frame *frame, uint64_t offset) {
    size_t low = 0, high = frame->chunk_count + 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (native32(frame->starts, middle) < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low <= frame->chunk_count && native32(frame->starts, low) == offset)
        return low;
    return SIZE_MAX;
}

void kluis_plan_locate(const struct kluis_plan_frame *frame, const uint8_t *stretches, size_t step,
                       size_t count, uint8_t *bounds, uint8_t *marks) {
    memset(marks, 0, frame->chunk_count);
    for (size_t i = 0; i < count; i++) {
        uint32_t start = native32(stretches + i * step, 0);
        uint32_t length = native32(stretches + i * step, 1);
        size_t first = find_start(frame, start);
        size_t end = find_start(frame, (uint64_t)start + length);
        uint32_t bound[2] = {0};
        if (first < end && end <= frame->chunk_count) {
            bound[0] = (uint32_t)first;
            bound[1] = (uint32_t)end;
            memset(marks + first, 1, end - first);
        }
        memcpy(bounds + i * sizeof bound, bound, sizeof bound);
    }
}

static uint8_t state_of(const struct kluis_plan_checked *check, size_t i, size_t first,
                        size_t end) {
    const uint8_t *digest = check->digests + i * KLUIS_PLAN_DIGEST_BYTES;
    const uint8_t *hash = check->chunks + first * KLUIS_PLAN_CHUNK_BYTES;
    if (first == end)
        return KLUIS_PLAN_UNALIGNED;
    if (memchr(check->right + first, 0, end - first))
        return KLUIS_PLAN_WRONG;
    if (end - first > 1 || !memcmp(hash, zeros, HASH))
        return KLUIS_PLAN_SEVERAL; /* a digest that is a hash is never all zeros */
    if (memcmp(digest, hash, HASH) || memcmp(digest + HASH, zeros, KLUIS_PLAN_DIGEST_BYTES - HASH))
        return KLUIS_PLAN_DIFFERENT;
    return KLUIS_PLAN_RIGHT;
}

int kluis_plan_check(const struct kluis_plan_checked *check, uint8_t *states) {
    for (size_t i = 0; i < check->count; i++) {
        size_t first = native32(check->bounds, i * 2), end = native32(check->bounds, i * 2 + 1);
        if (first > end || end > check->chunk_count)
            return -EINVAL;
        states[i] = state_of(check, i, first, end);
    }
    return 0;
}
