#include "table.h"
#include "table_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

_Static_assert(KLUIS_TABLE_RECORD_BYTES == ENTRY_BYTES, "records and entries are the same");
_Static_assert(KLUIS_TABLE_HASH_BYTES + KLUIS_TABLE_PLACE_BYTES == ENTRY_BYTES, "hash, place");

enum {
    NAME_BYTES = 32,
    PREFETCH_AHEAD = 8,
    MERGE_FACTOR = 3,     /* files of up to 3 times what is newer are merged into it */
    MERGE_ALWAYS = 16384, /* and all of up to 512 KiB: a few ms of work */
};

static const char LOCK_NAME[] = "lock";

struct kluis_table {
    pthread_mutex_t mutex;
    int folder;
    uint32_t serial;  /* the last one given to a file */
    uint64_t highest; /* generation seen in the folder */
    kluis_map pending, permanent;
    kluis_usable usable;
    kluis_block_cache cache;
    kluis_table_file *files; /* newest first */
    size_t file_count, file_capacity;
};

/* ---- the folder ---- */

/* An open descriptor that holds the folder's lock, or -1 where the file system has no locks. */
static int lock_folder(int folder) {
    int fd = openat(folder, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    while (flock(fd, LOCK_EX) < 0) {
        if (errno != EINTR) {
            close(fd);
            return -1;
        }
    }
    return fd;
}

static void unlock_folder(int lock) {
    if (lock >= 0)
        close(lock);
}

static void name_file(char name[NAME_BYTES], uint64_t generation, const char *suffix) {
    snprintf(name, NAME_BYTES, "%08llu%s", (unsigned long long)generation, suffix);
}

/* Whether this is exactly the name that we give to a file of that suffix. */
static bool parse_name(const char *name, const char *suffix, uint64_t *generation) {
    char *end;
    if (*name < '0' || *name > '9')
        return false;
    *generation = strtoull(name, &end, 10);
    char expected[NAME_BYTES];
    name_file(expected, *generation, suffix);
    return *generation < UINT64_MAX && strcmp(name, expected) == 0;
}

/* What is done with each of our files: a table's, or with table false one that was not finished. */
typedef int visit(kluis_table *t, const char *name, uint64_t generation, bool table);

static int for_each_file(kluis_table *t, visit *act) {
    int fd = openat(t->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        int status = -errno;
        close(fd);
        return status;
    }
    int status = 0;
    const struct dirent *entry;
    while (status == 0 && (entry = readdir(folder)) != NULL) {
        uint64_t generation;
        bool table = parse_name(entry->d_name, ".table", &generation);
        if (table || parse_name(entry->d_name, ".tmp", &generation))
            status = act(t, entry->d_name, generation, table);
    }
    closedir(folder);
    return status;
}

static int insert_file(kluis_table *t, kluis_table_file file) {
    if (t->file_count == t->file_capacity) {
        size_t capacity = t->file_capacity == 0 ? 16 : 2 * t->file_capacity;
        kluis_table_file *files = realloc(t->files, capacity * sizeof *files);
        if (files == NULL)
            return -ENOMEM;
        t->files = files;
        t->file_capacity = capacity;
    }
    file.serial = ++t->serial;
    size_t at = t->file_count++;
    for (; at > 0 && t->files[at - 1].generation < file.generation; at--)
        t->files[at] = t->files[at - 1];
    t->files[at] = file;
    return 0;
}

static int adopt(kluis_table *t, const char *name, uint64_t generation, bool table) {
    if (table) {
        kluis_table_file file;
        int fd = openat(t->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
            return 0; /* what cannot be opened is not known */
        int status = kluis_file_open(&file, fd, generation);
        if (status == 0)
            status = insert_file(t, file);
        if (status == 0)
            return 0;
        close(fd);
        if (status < 0)
            return status;
    }
    unlinkat(t->folder, name, 0); /* if it stays, it is only refused again */
    return 0;
}

static int remove_one(kluis_table *t, const char *name, uint64_t generation, bool table) {
    (void)generation, (void)table;
    return unlinkat(t->folder, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int note_highest(kluis_table *t, const char *name, uint64_t generation, bool table) {
    (void)name, (void)table;
    if (generation > t->highest)
        t->highest = generation;
    return 0;
}

static void forget_files(kluis_table *t) {
    for (size_t i = 0; i < t->file_count; i++)
        kluis_file_close(&t->files[i]);
    t->file_count = 0;
}

/* ---- opening and closing ---- */

int kluis_table_open(kluis_table **table, const char *folder, size_t memory_entries) {
    kluis_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    size_t limit = memory_entries < 1 ? 1 : memory_entries < 1 << 28 ? memory_entries : 1 << 28;
    kluis_map_init(&t->pending, 2 * limit);
    kluis_map_init(&t->permanent, limit);
    pthread_mutex_init(&t->mutex, NULL);
    t->cache.keys = calloc(TABLE_CACHED_BLOCKS, sizeof *t->cache.keys);
    t->cache.blocks = malloc((size_t)TABLE_CACHED_BLOCKS * TABLE_BLOCK_BYTES); /* paged in by use */
    t->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = t->folder < 0 ? -errno : 0;
    if (t->cache.keys == NULL || t->cache.blocks == NULL)
        status = -ENOMEM;
    if (status == 0) {
        int lock = lock_folder(t->folder);
        status = for_each_file(t, adopt);
        unlock_folder(lock);
    }
    if (status < 0) {
        kluis_table_close(t);
        return status;
    }
    *table = t;
    return 0;
}

void kluis_table_close(kluis_table *t) {
    if (t == NULL)
        return;
    forget_files(t);
    free(t->files);
    kluis_map_free(&t->pending);
    kluis_map_free(&t->permanent);
    kluis_usable_free(&t->usable);
    free(t->cache.keys);
    free(t->cache.blocks);
    if (t->folder >= 0)
        close(t->folder);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* ---- asking ---- */

int kluis_table_set_usable(kluis_table *t, uint32_t run, const uint8_t *bitmap, size_t bytes) {
    pthread_mutex_lock(&t->mutex);
    int status = kluis_usable_set(&t->usable, run, bitmap, bytes);
    pthread_mutex_unlock(&t->mutex);
    return status;
}

static const uint8_t *find(kluis_table *t, const uint8_t *hash) {
    const uint8_t *entry = kluis_map_find(&t->pending, hash, NULL);
    if (entry == NULL)
        entry = kluis_map_find(&t->permanent, hash, &t->usable);
    for (size_t i = 0; entry == NULL && i < t->file_count; i++)
        entry = kluis_file_find(&t->files[i], &t->cache, hash, &t->usable);
    return entry;
}

void kluis_table_lookup(kluis_table *t, const uint8_t *hashes, size_t count, uint8_t *places) {
    pthread_mutex_lock(&t->mutex);
    for (size_t i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count) {
            const uint8_t *later = hashes + ENTRY_HASH * (i + PREFETCH_AHEAD);
            kluis_map_prefetch(&t->pending, later);
            kluis_map_prefetch(&t->permanent, later);
        }
        const uint8_t *entry = find(t, hashes + ENTRY_HASH * i);
        uint8_t *place = places + KLUIS_TABLE_PLACE_BYTES * i;
        if (entry != NULL) {
            memcpy(place, entry + ENTRY_HASH, KLUIS_TABLE_PLACE_BYTES);
        } else {
            memset(place, 0, KLUIS_TABLE_PLACE_BYTES);
            kluis_store32(place, KLUIS_TABLE_NO_RUN);
        }
    }
    pthread_mutex_unlock(&t->mutex);
}

uint64_t kluis_table_count(kluis_table *t) {
    pthread_mutex_lock(&t->mutex);
    uint64_t count = t->permanent.count;
    for (size_t i = 0; i < t->file_count; i++)
        count += t->files[i].count;
    pthread_mutex_unlock(&t->mutex);
    return count;
}

/* ---- flushing ---- */

/* Moves the files that belong into the next merge behind the others, and returns how many stay. */
static size_t split_files(kluis_table *t, kluis_table_file *merged) {
    uint64_t newer = t->permanent.count;
    size_t stay = 0, taken = 0;
    for (size_t i = 0; i < t->file_count; i++) {
        kluis_table_file file = t->files[i];
        bool next = stay == 0 && file.count <= MERGE_FACTOR * newer;
        if (next || file.count <= MERGE_ALWAYS || file.state < 0) {
            newer += file.count;
            merged[taken++] = file;
        } else {
            t->files[stay++] = file;
        }
    }
    if (taken > 0)
        memcpy(t->files + stay, merged, taken * sizeof *merged);
    return stay;
}

/* Creates the new file with all entries under its final name. *fd is -1 if there were none. */
static int write_file(kluis_table *t, size_t stay, uint64_t generation, int *fd) {
    size_t merged = t->file_count - stay;
    const kluis_table_file **files = malloc((merged + 1) * sizeof *files);
    if (files == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < merged; i++)
        files[i] = &t->files[stay + i];
    char unfinished[NAME_BYTES], name[NAME_BYTES];
    name_file(unfinished, generation, ".tmp");
    name_file(name, generation, ".table");
    uint64_t written = 0;
    *fd = openat(t->folder, unfinished, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int status = *fd < 0 ? -errno : 0;
    if (status == 0)
        status =
            kluis_table_merge(*fd, generation, &t->permanent, files, merged, &t->usable, &written);
    if (status == 0 && written > 0 && renameat(t->folder, unfinished, t->folder, name) < 0)
        status = -errno;
    if (*fd >= 0 && (status < 0 || written == 0)) {
        unlinkat(t->folder, unfinished, 0);
        close(*fd);
        *fd = -1;
    }
    free(files);
    return status;
}

/* Closes and removes files from `stay` on, and puts the new one first. */
static void replace_files(kluis_table *t, size_t stay, uint64_t generation, int fd) {
    for (size_t i = stay; i < t->file_count; i++) {
        char name[NAME_BYTES];
        name_file(name, t->files[i].generation, ".table");
        unlinkat(t->folder, name, 0); /* if it stays, its entries are there twice */
        kluis_file_close(&t->files[i]);
    }
    t->file_count = stay;
    kluis_table_file file;
    if (fd >= 0 && (kluis_file_open(&file, fd, generation) != 0 || insert_file(t, file) < 0))
        close(fd);
}

static int flush(kluis_table *t) {
    if (t->permanent.count == 0)
        return 0;
    kluis_table_file *merged = malloc((t->file_count + 1) * sizeof *merged);
    if (merged == NULL)
        return -ENOMEM;
    int lock = lock_folder(t->folder), fd = -1;
    int status = for_each_file(t, note_highest);
    if (status == 0) {
        uint64_t generation = t->highest + 1;
        size_t stay = split_files(t, merged);
        status = write_file(t, stay, generation, &fd);
        if (status == 0) {
            replace_files(t, stay, generation, fd);
            kluis_map_keep(&t->permanent, 0);
        }
    }
    unlock_folder(lock);
    free(merged);
    return status;
}

int kluis_table_flush(kluis_table *t) {
    pthread_mutex_lock(&t->mutex);
    int status = flush(t);
    pthread_mutex_unlock(&t->mutex);
    return status;
}

/* ---- telling ---- */

int kluis_table_add_pending(kluis_table *t, const uint8_t *records, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (entry_run(records + ENTRY_BYTES * i) == KLUIS_TABLE_NO_RUN)
            return -EINVAL;
    pthread_mutex_lock(&t->mutex);
    int status = 0;
    for (size_t i = 0; status >= 0 && i < count; i++)
        status = kluis_map_add(&t->pending, records + ENTRY_BYTES * i); /* 0: forgotten */
    pthread_mutex_unlock(&t->mutex);
    return status < 0 ? status : 0;
}

static int make_permanent(kluis_table *t, const uint8_t *entry) {
    int status = kluis_map_add(&t->permanent, entry);
    if (status != 0)
        return status < 0 ? status : 0;
    if (flush(t) < 0)
        kluis_map_keep(&t->permanent, 0); /* no room anywhere: forgotten */
    return kluis_map_add(&t->permanent, entry) < 0 ? -ENOMEM : 0;
}

int kluis_table_settle(kluis_table *t, uint32_t run, uint32_t frame_limit) {
    pthread_mutex_lock(&t->mutex);
    int status = 0;
    size_t kept = 0, count = t->pending.count;
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = t->pending.entries + ENTRY_BYTES * i;
        if (entry_run(entry) == run && entry_frame(entry) < frame_limit) {
            if (make_permanent(t, entry) < 0)
                status = -ENOMEM;
        } else {
            memmove(t->pending.entries + ENTRY_BYTES * kept++, entry, ENTRY_BYTES);
        }
    }
    if (kept != count)
        kluis_map_keep(&t->pending, kept);
    pthread_mutex_unlock(&t->mutex);
    return status;
}

void kluis_table_discard_pending(kluis_table *t) {
    pthread_mutex_lock(&t->mutex);
    kluis_map_keep(&t->pending, 0);
    pthread_mutex_unlock(&t->mutex);
}

int kluis_table_clear(kluis_table *t) {
    pthread_mutex_lock(&t->mutex);
    kluis_map_free(&t->pending);
    kluis_map_free(&t->permanent);
    kluis_usable_free(&t->usable);
    forget_files(t);
    int lock = lock_folder(t->folder);
    int status = for_each_file(t, remove_one);
    unlock_folder(lock);
    pthread_mutex_unlock(&t->mutex);
    return status;
}
