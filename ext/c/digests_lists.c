#include "digests_lists.h"
#include "digests.h"
#include "kluis.h"

#include <errno.h>
#include <stdlib.h>

enum { HASH = 16, RUN = 16, BUCKETS = 1 << 12 };

struct kluis_lists {
    size_t limit, chunks;
    kluis_list *buckets[BUCKETS];
};

int kluis_lists_new(kluis_lists **lists, size_t limit) {
    *lists = calloc(1, sizeof **lists);
    if (*lists == NULL)
        return -ENOMEM;
    (*lists)->limit = limit;
    return 0;
}

static void let_go(kluis_lists *lists) {
    for (size_t i = 0; i < BUCKETS; i++) {
        while (lists->buckets[i] != NULL) {
            kluis_list *first = lists->buckets[i];
            lists->buckets[i] = first->next;
            free(first);
        }
    }
    lists->chunks = 0;
}

void kluis_lists_free(kluis_lists *lists) {
    if (lists != NULL)
        let_go(lists);
    free(lists);
}

size_t kluis_lists_chunks(const kluis_lists *lists) { return lists->chunks; }

/* A run's name is a hash already. */
static size_t bucket_of(const uint8_t *run, uint32_t n) {
    return (kluis_load32(run) + n) & (BUCKETS - 1);
}

const kluis_list *kluis_lists_find(const kluis_lists *lists, const uint8_t *run, uint32_t n) {
    const kluis_list *list = lists->buckets[bucket_of(run, n)];
    while (list != NULL && (list->n != n || memcmp(list->run, run, RUN) != 0))
        list = list->next;
    return list;
}

static void forget(kluis_lists *lists, const uint8_t *run, uint32_t n) {
    kluis_list **link = &lists->buckets[bucket_of(run, n)];
    while (*link != NULL) {
        kluis_list *list = *link;
        if (list->n == n && memcmp(list->run, run, RUN) == 0) {
            *link = list->next;
            lists->chunks -= list->count;
            free(list);
            return;
        }
        link = &list->next;
    }
}

int kluis_lists_add(kluis_lists *lists, const uint8_t *frame, uint32_t kind, const uint8_t *entries,
                    size_t count) {
    if (count == 0 || count > UINT32_MAX)
        return -EINVAL;
    size_t hashes_at = sizeof(kluis_list) + (count + 1) * sizeof(uint32_t);
    kluis_list *list = malloc(hashes_at + count * HASH);
    if (list == NULL)
        return -ENOMEM;
    uint8_t *hashes = (uint8_t *)list + hashes_at;
    uint32_t start = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t length = kluis_load32(entries + i * KLUIS_DIGESTS_ENTRY_BYTES + HASH);
        if (length == 0 || length > UINT32_MAX - start) {
            free(list);
            return -EINVAL;
        }
        memcpy(hashes + i * HASH, entries + i * KLUIS_DIGESTS_ENTRY_BYTES, HASH);
        list->starts[i] = start;
        start += length;
    }
    list->starts[count] = start;
    list->hashes = hashes;
    list->count = count;
    list->kind = kind;
    list->n = kluis_load32(frame + RUN);
    memcpy(list->run, frame, RUN);
    forget(lists, list->run, list->n);
    if (lists->chunks + count > lists->limit)
        let_go(lists);
    lists->chunks += count;
    kluis_list **bucket = &lists->buckets[bucket_of(list->run, list->n)];
    list->next = *bucket;
    *bucket = list;
    return 0;
}
