/* Writing a sorted file of cache entries, and merging several sources into one. */
#ifndef KLUIS_TABLE_WRITE_H
#define KLUIS_TABLE_WRITE_H

#include "table_file.h"
#include "table_map.h"

/* Writes into fd all entries of the map (newest) and the files (newest first) that are not known to
 * be dead, each once and at most eight of one hash. *written is their number; with 0 nothing was
 * written. 0 or -errno. */
int kluis_table_merge(int fd, uint64_t generation, const kluis_map *map,
                      const kluis_table_file *const *files, size_t file_count,
                      const kluis_usable *usable, uint64_t *written);

#endif
