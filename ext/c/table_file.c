#include "table_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Multiply and rotate: one-to-one in the lane and in the word, so that a single wrong word never
 * cancels out. */
static inline uint64_t stir(uint64_t lane, uint64_t word) {
    uint64_t x = (lane ^ word) * UINT64_C(0x9fb21c651e98df25);
    return x << 29 | x >> 35;
}

uint64_t kluis_table_sum(const uint8_t *data, size_t size, uint64_t seed) {
    uint64_t a = seed + 1, b = ~seed, c = seed ^ UINT64_C(0x9e3779b97f4a7c15), d = size;
    size_t at = 0;
    for (; size - at >= 32; at += 32) { /* four lanes, as the multiplier takes four in turn */
        a = stir(a, kluis_load64(data + at));
        b = stir(b, kluis_load64(data + at + 8));
        c = stir(c, kluis_load64(data + at + 16));
        d = stir(d, kluis_load64(data + at + 24));
    }
    for (; at < size; at += 8)
        a = stir(a, kluis_load64(data + at));
    uint64_t sum = stir(stir(stir(stir(size, a), b), c), d);
    sum ^= sum >> 32;
    return stir(sum, seed) ^ sum >> 29;
}

uint64_t kluis_block_seed(uint64_t generation, uint64_t block) {
    return generation * UINT64_C(0x9e3779b97f4a7c15) + block;
}

uint64_t kluis_filter_bits(const uint8_t *hash, uint64_t words, uint64_t probes, size_t *word) {
    uint64_t mixed = hash_mix(hash) * UINT64_C(0xa0761d6478bd642f);
    *word = (size_t)((mixed >> 32) * words >> 32);
    uint64_t bits = 0;
    for (uint64_t k = 0; k < probes; k++)
        bits |= UINT64_C(1) << (mixed >> (6 * k) & 63);
    return bits;
}

int kluis_table_read_at(int fd, uint8_t *to, size_t size, uint64_t offset) {
    while (size > 0) {
        ssize_t got = pread(fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int kluis_file_open(kluis_table_file *file, int fd, uint64_t generation) {
    uint8_t header[HEADER_END];
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size < TABLE_BLOCK_BYTES ||
        kluis_table_read_at(fd, header, sizeof header, 0) < 0)
        return 1;
    *file = (kluis_table_file){
        .generation = kluis_load64(header + HEADER_GENERATION_AT),
        .count = kluis_load64(header + HEADER_COUNT_AT),
        .blocks = kluis_load64(header + HEADER_BLOCKS_AT),
        .filter_words = kluis_load64(header + HEADER_FILTER_WORDS_AT),
        .filter_probes = kluis_load64(header + HEADER_FILTER_PROBES_AT),
        .index_sum = kluis_load64(header + HEADER_INDEX_SUM_AT),
        .filter_sum = kluis_load64(header + HEADER_FILTER_SUM_AT),
        .fd = fd,
    };
    uint64_t sum = kluis_table_sum(header, HEADER_SUM_AT, 0);
    if (memcmp(header, TABLE_MAGIC, 8) != 0 || kluis_load64(header + HEADER_SUM_AT) != sum ||
        file->generation != generation || file->blocks == 0 || file->blocks > UINT32_MAX ||
        file->count > file->blocks * TABLE_BLOCK_ENTRIES || file->filter_words == 0 ||
        file->filter_words > TABLE_FILTER_WORDS_MAX || file->filter_probes > 4)
        return 1;
    uint64_t size =
        (1 + file->blocks) * TABLE_BLOCK_BYTES + 8 * (file->blocks + file->filter_words);
    return (uint64_t)status.st_size == size ? 0 : 1;
}

void kluis_file_close(kluis_table_file *file) {
    close(file->fd);
    free(file->first);
    free(file->filter);
}

static uint64_t *read_words(const kluis_table_file *file, uint64_t count, uint64_t offset,
                            uint64_t sum) {
    uint64_t *words = malloc(8 * count);
    if (words == NULL)
        return NULL;
    uint8_t *bytes = (uint8_t *)words;
    if (kluis_table_read_at(file->fd, bytes, 8 * count, offset) < 0 ||
        kluis_table_sum(bytes, 8 * count, file->generation) != sum) {
        free(words);
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++)
        words[i] = kluis_load64(&words[i]);
    return words;
}

/* Index and filter are read when first asked: an unchanged run asks for nothing. */
static bool load(kluis_table_file *file) {
    if (file->state == 0) {
        uint64_t offset = (1 + file->blocks) * TABLE_BLOCK_BYTES;
        file->first = read_words(file, file->blocks, offset, file->index_sum);
        offset += 8 * file->blocks;
        file->filter = read_words(file, file->filter_words, offset, file->filter_sum);
        file->state = file->first != NULL && file->filter != NULL ? 1 : -1;
    }
    return file->state > 0;
}

size_t kluis_block_check(const kluis_table_file *file, const uint8_t *block, uint64_t number) {
    uint64_t sum =
        kluis_table_sum(block, TABLE_BLOCK_SUM_AT, kluis_block_seed(file->generation, number));
    size_t count = kluis_load32(block + TABLE_BLOCK_COUNT_AT);
    return kluis_load64(block + TABLE_BLOCK_SUM_AT) == sum && count <= TABLE_BLOCK_ENTRIES ? count
                                                                                           : 0;
}

/* The verified block, from the cache or the file; NULL if it cannot be trusted. */
static const uint8_t *get_block(const kluis_table_file *file, kluis_block_cache *cache,
                                uint64_t number) {
    uint64_t key = (uint64_t)file->serial << 32 | number;
    size_t place = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 53);
    _Static_assert(TABLE_CACHED_BLOCKS == 1 << (64 - 53), "the shift gives a place");
    uint8_t *block = cache->blocks + place * TABLE_BLOCK_BYTES;
    if (cache->keys[place] == key)
        return block;
    cache->keys[place] = 0;
    if (kluis_table_read_at(file->fd, block, TABLE_BLOCK_BYTES, (1 + number) * TABLE_BLOCK_BYTES) <
            0 ||
        kluis_block_check(file, block, number) == 0)
        return NULL;
    cache->keys[place] = key;
    return block;
}

/* Index of the first entry in the block that does not sort before the hash. */
static size_t search_block(const uint8_t *block, const uint8_t *hash) {
    size_t low = 0, high = kluis_load32(block + TABLE_BLOCK_COUNT_AT);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(block + ENTRY_BYTES * middle, hash, ENTRY_HASH) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Number of the first block whose first hash has this prefix or a higher one. */
static uint64_t search_index(const kluis_table_file *file, uint64_t prefix) {
    uint64_t low = 0, high = file->blocks;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (file->first[middle] < prefix)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool may_have(const kluis_table_file *file, const uint8_t *hash) {
    size_t word;
    uint64_t bits = kluis_filter_bits(hash, file->filter_words, file->filter_probes, &word);
    return (file->filter[word] & bits) == bits;
}

const uint8_t *kluis_file_find(kluis_table_file *file, kluis_block_cache *cache,
                               const uint8_t *hash, const kluis_usable *usable) {
    if (!load(file) || !may_have(file, hash))
        return NULL;
    uint64_t prefix = hash_prefix(hash);
    uint64_t number = search_index(file, prefix);
    if (number > 0) /* it may start within the block before */
        number--;
    for (; number < file->blocks && file->first[number] <= prefix; number++) {
        const uint8_t *block = get_block(file, cache, number);
        if (block == NULL)
            continue;
        size_t count = kluis_load32(block + TABLE_BLOCK_COUNT_AT);
        for (size_t i = search_block(block, hash); i < count; i++) {
            const uint8_t *entry = block + ENTRY_BYTES * i;
            if (!same_hash(entry, hash))
                return NULL;
            if (kluis_usable_entry(usable, entry))
                return entry;
        }
    }
    return NULL;
}
