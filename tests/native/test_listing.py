"""A directory listing survives answers that no file system at hand can be made to give."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

C_FOLDER = Path(__file__).parents[2] / "ext" / "c"

# Lists a directory whose kernel answers with BATCHES, and prints the sorted names.
PROGRAM = r"""
#define _GNU_SOURCE
#include "scan.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

static const char *const batches[][5] = {BATCHES};
static size_t batch;

ssize_t getdents64(int fd, void *to, size_t size) {
    (void)fd;
    size_t used = 0;
    if (batch == sizeof batches / sizeof *batches)
        return 0;
    for (const char *const *name = batches[batch++]; *name; name++) {
        size_t length = strlen(*name) + 1;
        size_t taken = (offsetof(struct dirent64, d_name) + length + 7) / 8 * 8;
        struct dirent64 *entry = (struct dirent64 *)((char *)to + used);
        if (used + taken > size || strcmp(*name, "<interrupted>") == 0) {
            errno = used + taken > size ? EINVAL : EINTR;
            return -1;
        }
        memset(entry, 0x55, taken);
        entry->d_reclen = (unsigned short)taken;
        memcpy(entry->d_name, *name, length);
        used += taken;
    }
    return (ssize_t)used;
}

int main(void) {
    struct kluis_listing listing = {0};
    int fd = open("/", O_RDONLY | O_DIRECTORY);
    int failed = kluis_listing_read(fd, &listing);
    printf("%d %d %zu", failed, listing.error, listing.bytes);
    for (size_t i = 0; i < listing.count; i++)
        printf(" %s", listing.names + listing.entries[i].offset);
    kluis_listing_free(&listing);
    return 0;
}
"""


@pytest.mark.parametrize(
    ("batches", "printed"),
    [
        ([["b", "a"], ["a", "c"]], "0 0 3 a b c"),
        ([["a", "a", "a", "a"], ["a"]], "0 0 1 a"),
        (
            [["longer-than-8", "longer-than-9"], ["longer-than-8"]],
            "0 0 26 longer-than-8 longer-than-9",
        ),
        ([["ab", "a"], ["abc", "ab"]], "0 0 6 a ab abc"),
        ([[".", ".."], ["...", ".a"]], "0 0 5 ... .a"),
        ([["a"], ["<interrupted>"], ["b"]], "0 0 2 a b"),
        ([["<interrupted>"], ["a"]], "0 0 1 a"),
    ],
)
def test_no_name_comes_twice_and_interruptions_lose_none(
    tmp_path: Path, batches: list[list[str]], printed: str
) -> None:
    source, program = tmp_path / "listing.c", tmp_path / "listing"
    rows = ("".join(f'"{name}", ' for name in batch) for batch in batches)
    source.write_text(PROGRAM.replace("BATCHES", ", ".join(f"{{{row}NULL}}" for row in rows)))
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{C_FOLDER}"]
    subprocess.run(["cc", *flags, source, C_FOLDER / "scan.c", "-o", program], check=True)
    found = subprocess.run([program], check=True, capture_output=True, text=True)
    assert found.stdout == printed
