"""What a walk leaves out: patterns, marked and cache folders, large files, nodump, gitignore."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from kluis.errors import UsageError
from kluis.frozen import frozen
from kluis.options import Excludes
from kluis.source import records as listing
from kluis.source.openat import read_file_at
from kluis.source.patterns import Patterns
from kluis.units import parse_size

if TYPE_CHECKING:
    import pathspec

__all__ = ["Exclusions", "Listing", "parse_size"]

CACHE_TAG = b"CACHEDIR.TAG"
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""https://bford.info/cachedir/: the first 43 bytes of the tag of a cache."""

GITIGNORE = b".gitignore"
GITIGNORE_LIMIT_BYTES = 1 << 20
"""A larger one is no list that somebody wrote; reading it would only cost memory."""


NOTHING = Excludes()


class Listing(NamedTuple):
    """A directory as it was scanned; `partial` if only some of its entries are listed."""

    path: bytes
    descriptor: int
    records: bytes
    names: bytes
    partial: bool = False


@frozen
class _IgnoreFile:
    """The rules of one .gitignore, for paths whose first `prefix` characters are its folder."""

    prefix: int
    spec: pathspec.GitIgnoreSpec


Inherited: TypeAlias = tuple[_IgnoreFile, ...]
"""What a directory hands on to those in it: the .gitignore files above, outermost first."""


@frozen
class _Marker:
    """A file whose presence excludes the rest of its folder; `header`: how it has to begin."""

    name: bytes
    header: bytes

    def found_in(self, descriptor: int) -> bool:
        if not os.access(self.name, os.F_OK, dir_fd=descriptor, follow_symlinks=False):
            return False
        if not self.header:
            return True
        try:
            return read_file_at(descriptor, self.name, len(self.header)) == self.header
        except OSError:
            return False


def _marker(option: bytes) -> _Marker:
    name, _, header = option.partition(b":")
    if not name or b"/" in name:
        raise UsageError(
            f"--exclude-if-present {os.fsdecode(option)!r} names no file; write NAME or NAME:HEADER"
        )
    return _Marker(name, header)


class Exclusions:
    """The rules of one walk, compiled once; UsageError if one of them is malformed."""

    def __init__(self, options: Excludes = NOTHING) -> None:
        lists = (Patterns(options.patterns), Patterns(options.patterns_any_case, any_case=True))
        self._patterns = [patterns for patterns in lists if patterns]
        self._markers = [_marker(option) for option in options.if_present]
        if options.caches:
            self._markers.append(_Marker(CACHE_TAG, CACHE_SIGNATURE))
        self._larger_than = options.larger_than
        self._nodump = options.nodump
        self._gitignore = options.gitignore
        self._needs_names = bool(self._patterns or self._markers or self._gitignore)
        self.active = self._needs_names or self._nodump or self._larger_than is not None

    def judge(
        self, directory: Listing, inherited: Inherited = ()
    ) -> tuple[bytes | None, Inherited]:
        """(keep, for the children): one byte an entry, 0 to leave it out; None to keep all.

        The second value has to be given as `inherited` for the directories in this one.
        """
        if not self.active or not directory.records:
            return None, inherited
        keep = bytearray(b"\x01") * listing.entry_count(directory.records)
        if self._nodump:
            marks = listing.attribute_marks(directory.records, listing.ATTRIBUTE_NODUMP)
            _clear(keep, marks)
        if self._larger_than is not None:
            self._judge_sizes(directory, keep, self._larger_than)
        if self._needs_names:
            inherited = self._judge_names(directory, keep, inherited)
        return (None if all(keep) else bytes(keep)), inherited

    def _judge_sizes(self, directory: Listing, keep: bytearray, limit: int) -> None:
        sizes = listing.sizes(directory.records)
        if max(sizes) > limit:
            files = listing.file_marks(directory.records)
            _clear(
                keep, [is_file and size > limit for is_file, size in zip(files, sizes, strict=True)]
            )

    def _judge_names(self, directory: Listing, keep: bytearray, inherited: Inherited) -> Inherited:
        names = listing.split_names(directory.records, directory.names)
        for marker in self._markers:
            if marker.found_in(directory.descriptor):
                _clear(keep, [name != marker.name for name in names])
        if not self._patterns and not self._gitignore:
            return inherited
        folder = os.fsdecode(directory.path)
        texts = [os.fsdecode(name) for name in names]
        prefix = folder if folder == "/" else folder + "/"
        for patterns in self._patterns:
            if directory.partial:
                _clear(keep, [patterns.matches(prefix + text) for text in texts])
            else:
                _clear(keep, patterns.match_names(folder, texts))
        if self._gitignore and directory.path.endswith(b"/.git"):
            return ()  # git never applies its rules to what is its own
        if self._gitignore:
            inherited = _with_ignore_file(directory, prefix, inherited)
            if inherited:
                folders = listing.directory_marks(directory.records)
                _clear(keep, _ignored(prefix, texts, folders, inherited))
        return inherited


def _clear(keep: bytearray, marks: Sequence[int]) -> None:
    """Leaves out what is marked."""
    for index, mark in enumerate(marks):
        if mark:
            keep[index] = 0


def _with_ignore_file(directory: Listing, prefix: str, inherited: Inherited) -> Inherited:
    if GITIGNORE not in directory.names:
        return inherited
    try:
        content = read_file_at(directory.descriptor, GITIGNORE, GITIGNORE_LIMIT_BYTES)
    except OSError:
        return inherited
    import pathspec  # takes 20 ms, and few backups meet such a file

    lines = os.fsdecode(content).splitlines()
    return (*inherited, _IgnoreFile(len(prefix), pathspec.GitIgnoreSpec.from_lines(lines)))


def _ignored(prefix: str, names: Sequence[str], folders: bytes, inherited: Inherited) -> list[bool]:
    """Of the .gitignore files above an entry the innermost that speaks of it decides."""
    found = []
    for name, is_folder in zip(names, folders, strict=True):
        verdict = None
        if name != ".git":
            path = prefix + name + ("/" if is_folder else "")
            for ignore in reversed(inherited):
                verdict = ignore.spec.check_file(path[ignore.prefix :]).include
                if verdict is not None:
                    break
        found.append(bool(verdict))
    return found
