"""File systems that take two names for one: which do, and which names those may be."""

from __future__ import annotations

import os
import unicodedata

from kluis._native import scan, scatter

FLAG_CASEFOLD = 0x40000000
"""FS_CASEFOLD_FL: a folder of ext4 or f2fs that folds, on a file system that does not."""


def folded(name: bytes) -> str:
    """The same for all names that some file system takes for one; rarely for others too.

    In case, in Unicode form (HFS+, ZFS), or in dots and spaces at the end (FAT).
    """
    text = unicodedata.normalize("NFD", name.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFC", text.casefold()).rstrip(". ")


def is_alias(folder: int, name: bytes) -> bool:
    """Whether what stands under the name is listed under another one only."""
    try:
        scan.stat_entry(folder, name)
        return name not in map(os.fsencode, os.listdir(folder))
    except OSError:
        return False


class Folding:
    """What is known of the file systems in a target; learned from what is there, by looking."""

    def __init__(self) -> None:
        self._folds: dict[int, bool] = {}

    def learn(self, folder: int, device: int, name: bytes) -> None:
        """Looks up an entry of the folder in the other case, if that can tell anything new."""
        other = name.swapcase()
        if device not in self._folds and other != name:
            self._folds[device] = is_alias(folder, other)

    def learn_from_path(self, path: bytes, device: int) -> None:
        """Learns from an absolute path, as far up as it is of that device."""
        while device not in self._folds and path != b"/":
            above, _, name = path.rpartition(b"/")
            try:
                descriptor = os.open(above or b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                return
            try:
                if os.fstat(descriptor).st_dev != device:
                    return
                self.learn(descriptor, device, name)
            finally:
                os.close(descriptor)
            path = above or b"/"

    def may_fold(self, folder: int, device: int) -> bool:
        """Whether the folder may; if that is not known yet, it may."""
        if self._folds.get(device, True):
            return True
        try:
            return bool(scatter.get_flags(folder) & FLAG_CASEFOLD)
        except OSError:
            return False
