"""Entries of trees from stat records and stored contents, and what adds up over them."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import compress

from kluis._native import scan
from kluis.format import tree
from kluis.format.extent import Extent, pack_extent_fields
from kluis.format.tree import Entry, Part
from kluis.format.tree_entry import pack_fields
from kluis.format.usemap import FrameSet, ranges_of
from kluis.repository.content import Content
from kluis.repository.scancache import Tally
from kluis.source.metadata import Extras
from kluis.source.names import group_name, user_name
from kluis.source.records import Record

Frame = tuple[bytes, int]
# A digest of one chunk is its hash16 and zeros.
_DIGEST_REST = bytes(16)

# Without a call of Python code: there is one for each file.
_make_part: Callable[[tuple[bytes, bytes, bytes, bytes]], Part] = partial(tuple.__new__, Part)

_KINDS = {
    stat.S_IFREG: tree.FILE,
    stat.S_IFDIR: tree.DIRECTORY,
    stat.S_IFLNK: tree.SYMLINK,
    stat.S_IFIFO: tree.FIFO,
    stat.S_IFCHR: tree.CHARACTER_DEVICE,
    stat.S_IFBLK: tree.BLOCK_DEVICE,
    stat.S_IFSOCK: tree.SOCKET,
}


@dataclass
class Totals:
    """What a backup met so far."""

    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    directories_new: int = 0
    directories_changed: int = 0
    directories_unmodified: int = 0
    uses: dict[bytes, set[int]] = field(default_factory=dict)

    def use(self, frames: FrameSet) -> None:
        """Adds frames to the snapshot's use map."""
        for run, ranges in frames.items():
            known = self.uses.setdefault(run, set())
            for first, end in ranges:
                known.update(range(first, end))

    def use_frames(self, frames: Iterable[Frame]) -> None:
        """Adds single frames to the snapshot's use map."""
        for run, n in frames:
            self.uses.setdefault(run, set()).add(n)

    def use_map(self) -> FrameSet:
        """All frames that were used, as a snapshot lists them."""
        return {run: ranges_of(numbers) for run, numbers in self.uses.items()}


def kind_of(fields: Record) -> int | None:
    """The kind of entry; None for what no tree can hold."""
    return _KINDS.get(stat.S_IFMT(fields.mode))


def make_part(
    name: bytes, fields: Record, extras: Extras, stored: tuple[Content, int], link: bytes = b""
) -> Part:
    """The encoded entry of one name; `stored` is its content and its flags.

    The device of a file with other names is that of `fields`: any number for its file system.
    """
    content, flags = stored
    kind = _KINDS[stat.S_IFMT(fields.mode)]
    linked = fields.nlink > 1 and kind != tree.DIRECTORY
    device = fields.dev if linked else 0
    if kind in tree.DEVICES:
        device, linked = fields.rdev, False
    encoded = b""
    if link or extras.xattrs or extras.attributes:
        encoded = tree.extras_of(
            Entry(
                name, kind, 0, 0, 0, 0, 0, 0,
                link=link, xattrs=tuple(extras.xattrs.items()), attributes=extras.attributes,
            )
        )  # fmt: skip
    record = pack_fields(
        kind,
        flags | (tree.LINKED if linked else 0),
        len(name),
        stat.S_IMODE(fields.mode),
        fields.uid,
        fields.gid,
        len(content.extents),
        len(encoded),
        content.size,
        fields.mtime_s,
        fields.btime_s,
        fields.mtime_ns,
        fields.btime_ns,
        fields.ino if linked else 0,
        device,
        content.digest,
    )
    extents = b"".join([tree.pack_extent(extent) for extent in content.extents])
    return Part(record, extents, name, encoded)


_SCANNED = struct.Struct(scan.RECORD_FORMAT)
NLINK = 14
_SCANNED_BYTES = _SCANNED.size


def raw_fields(records: bytes, index: int) -> tuple[int, ...]:
    """The fields of a stat record, in the order of `scan.RECORD_FORMAT`."""
    return _SCANNED.unpack_from(records, index * _SCANNED_BYTES)


def small_part(name: bytes, fields: tuple[int, ...], place: tuple[bytes, Extent] | None) -> Part:
    """The entry of a regular file of one chunk or none, with one name and nothing besides."""
    _, _, _, _, _, mtime, _, birth, mtime_ns, _, birth_ns, mode, uid, gid, _, _, _ = fields
    count, size, digest, extents = 0, 0, tree.NO_DIGEST, b""
    if place is not None:
        hash16, extent = place
        count, size, digest = 1, extent.length, hash16 + _DIGEST_REST
        extents = pack_extent_fields(*extent)
    record = pack_fields(
        tree.FILE, 0, len(name), mode & 0o7777, uid, gid, count, 0, size,
        mtime, birth, mtime_ns, birth_ns, 0, 0, digest,
    )  # fmt: skip
    return _make_part((record, extents, name, b""))


# Where the fields of a record are that are gathered: uid and gid, the size.
_OWNERS, _OWNER = slice(8, 16), struct.Struct("<II")
_SIZE, _FILES = struct.Struct("<24xQ72x"), bytes(kind == tree.FILE for kind in range(256))


def encode_tree(parts: list[Part]) -> bytes:
    """The tree of these entries, with the names of their owners."""
    records = [part[0] for part in parts]
    owners = {record[_OWNERS] for record in records}
    users = {uid: user_name(uid) for uid in {uid for uid, _ in map(_OWNER.unpack, owners)}}
    groups = {gid: group_name(gid) for gid in {gid for _, gid in map(_OWNER.unpack, owners)}}
    return tree.encode_parts(
        records,
        [part[1] for part in parts],
        [part[2] for part in parts],
        [part[3] for part in parts],
    ) + tree.encode_owners(
        {uid: name for uid, name in users.items() if name},
        {gid: name for gid, name in groups.items() if name},
    )


def tally_of(parts: list[Part]) -> Tally:
    """How much the entries of one directory are."""
    records = b"".join([part[0] for part in parts])
    kinds = records[:: tree.RECORD_BYTES]
    files, directories = kinds.count(tree.FILE), kinds.count(tree.DIRECTORY)
    sizes = compress(_SIZE.iter_unpack(records), kinds.translate(_FILES))
    size = sum([size for (size,) in sizes])
    return Tally(files, len(parts) - files - directories, size)


def frame_set(frames: Iterable[Frame]) -> FrameSet:
    """Single frames as ranges."""
    numbers: dict[bytes, set[int]] = {}
    for run, n in frames:
        numbers.setdefault(run, set()).add(n)
    return {run: ranges_of(found) for run, found in numbers.items()}
