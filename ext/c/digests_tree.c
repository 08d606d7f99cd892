#include "digests_tree.h"
#include "kluis.h"

enum {
    VERSION = 1,
    NAME_LIMIT = 255,
    LINK_LIMIT = 0xFFFF,
    EXTRAS_LIMIT = 1 << 24,
    EXTENTS_LIMIT = 1 << 20,
    INLINE_EXTENTS = 1024,
    FRAME_LIMIT = 1 << 24,
    MODE_LIMIT = 07777,
    SECOND_NS = 1000000000,
};

#define NO_BIRTH 0xffffffffu
#define NUMBER_LIMIT 0xfffffffeu

static const uint8_t MAGIC[8] = {'t', 'r', 'e', 'e', VERSION, 0, 0, 0};

/* What is left of a part, from its start. */
typedef struct {
    const uint8_t *at;
    size_t left;
} stretch;

/* The next `size` bytes; NULL if there are fewer. */
static const uint8_t *take(stretch *part, size_t size) {
    if (size > part->left)
        return NULL;
    const uint8_t *found = part->at;
    part->at += size;
    part->left -= size;
    return found;
}

/* Bytes with a 32-bit length before them. */
static bool take_blob(stretch *part, stretch *blob) {
    const uint8_t *size = take(part, 4);
    if (size == NULL)
        return false;
    blob->left = kluis_load32(size);
    blob->at = take(part, blob->left);
    return blob->at != NULL;
}

static bool comes_before(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes) {
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order < 0 || (order == 0 && a_bytes < b_bytes);
}

static bool has_zero(const stretch *text) {
    return text->left != 0 && memchr(text->at, 0, text->left) != NULL;
}

static bool read_layout(tree_layout *found, const uint8_t *data, size_t size) {
    if (size < HEADER || size > UINT32_MAX || memcmp(data, MAGIC, sizeof MAGIC) != 0)
        return false;
    size_t left = size - HEADER;
    uint64_t records = kluis_load32(data + 8), extents = kluis_load32(data + 12);
    uint64_t parts[4] = {records * RECORD, extents * EXTENT, kluis_load64(data + 16),
                         kluis_load64(data + 24)};
    size_t ends[4], at = HEADER;
    for (size_t i = 0; i < 4; i++) {
        if (parts[i] > left)
            return false;
        left -= (size_t)parts[i];
        at += (size_t)parts[i];
        ends[i] = at;
    }
    *found = (tree_layout){(size_t)records, ends[0], ends[1], ends[2], ends[3]};
    return true;
}

static bool name_is_sound(const uint8_t *name, size_t size) {
    if (size == 0 || size > NAME_LIMIT || memchr(name, 0, size) != NULL ||
        memchr(name, '/', size) != NULL)
        return false;
    return name[0] != '.' || size > 2 || (size == 2 && name[1] != '.');
}

/* True for what is recorded besides; `is_link` tells whether it has a symlink's text. */
static bool extras_are_sound(stretch extras, bool *is_link) {
    *is_link = false;
    if (extras.left == 0)
        return true;
    const uint8_t *attributes = take(&extras, 4);
    stretch link;
    if (attributes == NULL || !take_blob(&extras, &link))
        return false;
    *is_link = link.left != 0;
    const uint8_t *count_at = take(&extras, 4);
    if (link.left > LINK_LIMIT || has_zero(&link) || count_at == NULL)
        return false;
    uint32_t count = kluis_load32(count_at);
    if (count == 0 && link.left == 0 && kluis_load32(attributes) == 0)
        return false;
    stretch last = {NULL, 0};
    for (uint32_t i = 0; i < count; i++) {
        stretch name, value;
        if (!take_blob(&extras, &name) || !take_blob(&extras, &value))
            return false;
        if (name.left == 0 || has_zero(&name))
            return false;
        if (i != 0 && !comes_before(last.at, last.left, name.at, name.left))
            return false;
        last = name;
    }
    return extras.left == 0;
}

/* The length of an extent, 0 for one that no kluis writes. */
static uint64_t sound_length(const uint8_t *extent) {
    uint64_t n = kluis_load32(extent + N_AT), offset = kluis_load32(extent + OFFSET_AT);
    uint64_t length = kluis_load32(extent + LENGTH_AT);
    if (is_zero(extent, RUN)) {
        return n == 0 ? length | offset << 32 : 0;
    }
    return offset + length > FRAME_LIMIT || n > NUMBER_LIMIT ? 0 : length;
}

/* What no kluis writes of an entry besides its content. */
static bool record_is_sound(const uint8_t *record, bool is_link) {
    unsigned kind = record[KIND_AT], flags = record[FLAGS_AT];
    bool is_device = kind == CHARACTER_KIND || kind == BLOCK_KIND;
    uint32_t birth_ns = kluis_load32(record + BIRTH_NS_AT);
    if (kind == 0 || kind > LAST_KIND || flags & ~(unsigned)(LINKED | LISTED | INCOMPLETE))
        return false;
    if (kluis_load32(record + MODE_AT) > MODE_LIMIT)
        return false;
    if (kluis_load32(record + MTIME_NS_AT) >= SECOND_NS)
        return false;
    if (birth_ns >= SECOND_NS && (birth_ns != NO_BIRTH || kluis_load64(record + BIRTH_S_AT) != 0))
        return false;
    if (is_link != (kind == SYMLINK_KIND))
        return false;
    if (flags & LINKED)
        return kind != DIRECTORY_KIND && !is_device;
    return kluis_load64(record + INODE_AT) == 0 &&
           (is_device || kluis_load64(record + DEVICE_AT) == 0);
}

/* The same of its content. */
static bool content_is_sound(const uint8_t *record, const uint8_t *extents) {
    unsigned kind = record[KIND_AT], flags = record[FLAGS_AT];
    uint32_t count = kluis_load32(record + EXTENT_COUNT_AT);
    uint64_t size = kluis_load64(record + SIZE_AT), sum = 0;
    bool is_stream = kind == FILE_KIND || kind == DIRECTORY_KIND;
    bool may_differ = flags & LISTED || (kind == FILE_KIND && flags & INCOMPLETE);
    bool fits = true;
    if (count == 0) {
        if (flags & LISTED || !is_zero(record + DIGEST_AT, DIGEST) || (size != 0 && !is_stream))
            return false;
    } else if (!is_stream || (!(flags & LISTED) && count > INLINE_EXTENTS)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t length = sound_length(extents + (size_t)i * EXTENT);
        if (length == 0)
            return false;
        fits &= !__builtin_add_overflow(sum, length, &sum);
    }
    return may_differ || (fits && sum == size);
}

bool tree_is_sound(tree_layout *found, const uint8_t *data, size_t size, const uint8_t *before,
                   size_t before_bytes) {
    if (!read_layout(found, data, size))
        return false;
    stretch extents = {data + found->extents_at, found->names_at - found->extents_at};
    stretch names = {data + found->names_at, found->extras_at - found->names_at};
    stretch extras = {data + found->extras_at, found->owners_at - found->extras_at};
    for (size_t i = 0; i < found->records; i++) {
        const uint8_t *record = data + HEADER + i * RECORD;
        size_t name_bytes = name_bytes_of(record);
        uint32_t extent_count = kluis_load32(record + EXTENT_COUNT_AT);
        uint32_t extras_bytes = kluis_load32(record + EXTRAS_BYTES_AT);
        if (extent_count > EXTENTS_LIMIT || extras_bytes > EXTRAS_LIMIT)
            return false;
        const uint8_t *own = take(&extents, (size_t)extent_count * EXTENT);
        const uint8_t *name = take(&names, name_bytes);
        const uint8_t *extra = take(&extras, extras_bytes);
        bool is_link;
        if (own == NULL || name == NULL || extra == NULL || !name_is_sound(name, name_bytes))
            return false;
        if (!comes_before(before, before_bytes, name, name_bytes))
            return false;
        if (!extras_are_sound((stretch){extra, extras_bytes}, &is_link) ||
            !record_is_sound(record, is_link) || !content_is_sound(record, own))
            return false;
        before = name;
        before_bytes = name_bytes;
    }
    return extents.left == 0 && names.left == 0 && extras.left == 0;
}
