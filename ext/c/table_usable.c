#include "table_usable.h"
#include "table_entry.h"

#include <errno.h>
#include <stdlib.h>

/* Index of the first run that is not smaller. */
static size_t position(const kluis_usable *usable, uint32_t run) {
    size_t low = 0, high = usable->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (usable->runs[middle].run < run)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const kluis_run_bitmap *kluis_usable_find(const kluis_usable *usable, uint32_t run) {
    size_t at = position(usable, run);
    return at < usable->count && usable->runs[at].run == run ? &usable->runs[at] : NULL;
}

int kluis_usable_set(kluis_usable *usable, uint32_t run, const uint8_t *bitmap, size_t bytes) {
    uint8_t *bits = malloc(bytes > 0 ? bytes : 1);
    if (bits == NULL)
        return -ENOMEM;
    if (bytes > 0)
        memcpy(bits, bitmap, bytes);
    size_t at = position(usable, run);
    if (at == usable->count || usable->runs[at].run != run) {
        if (usable->count == usable->capacity) {
            size_t capacity = usable->capacity == 0 ? 16 : 2 * usable->capacity;
            kluis_run_bitmap *runs = realloc(usable->runs, capacity * sizeof *runs);
            if (runs == NULL) {
                free(bits);
                return -ENOMEM;
            }
            usable->runs = runs;
            usable->capacity = capacity;
        }
        memmove(usable->runs + at + 1, usable->runs + at,
                (usable->count - at) * sizeof *usable->runs);
        usable->runs[at] = (kluis_run_bitmap){.run = run};
        usable->count++;
    }
    free(usable->runs[at].bits);
    usable->runs[at].bits = bits;
    usable->runs[at].bytes = bytes;
    return 0;
}

void kluis_usable_free(kluis_usable *usable) {
    for (size_t i = 0; i < usable->count; i++)
        free(usable->runs[i].bits);
    free(usable->runs);
    *usable = (kluis_usable){0};
}

bool kluis_usable_entry(const kluis_usable *usable, const uint8_t *entry) {
    const kluis_run_bitmap *bitmap = kluis_usable_find(usable, entry_run(entry));
    return bitmap != NULL && kluis_run_has(bitmap, entry_frame(entry));
}

bool kluis_usable_dead(const kluis_usable *usable, const uint8_t *entry) {
    const kluis_run_bitmap *bitmap = kluis_usable_find(usable, entry_run(entry));
    return bitmap != NULL && !kluis_run_has(bitmap, entry_frame(entry));
}
