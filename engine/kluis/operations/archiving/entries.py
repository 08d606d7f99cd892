"""Entries of trees from stat records and stored contents, and what adds up over them."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import compress

from kluis._native.parts import NONE, ONE
from kluis.format import tree
from kluis.format.tree import Entry, Part
from kluis.format.tree_entry import pack_fields
from kluis.format.usemap import FrameSet, ranges_of
from kluis.operations.archiving.files import Batch
from kluis.repository.content import Content
from kluis.repository.scancache import Tally
from kluis.source.metadata import Extras
from kluis.source.names import group_name, user_name
from kluis.source.records import Record

Frame = tuple[bytes, int]
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


def take_made(
    found: Batch, indexes: list[int], names: list[bytes], into: list[Part | None]
) -> list[int]:
    """Puts the entries that are made already where they belong; returns the others' positions.

    `indexes` are the numbers of the batch's files in `names` and `into`.
    """
    records, extents = found.records, found.extents
    others = []
    at = extents_at = 0
    for position, (index, state) in enumerate(zip(indexes, found.states, strict=True)):
        if state > NONE:
            others.append(position)
            continue
        end, extents_end = at + tree.RECORD_BYTES, extents_at
        if state == ONE:
            extents_end += tree.EXTENT_BYTES
        fields = (records[at:end], extents[extents_at:extents_end], names[index], b"")
        into[index] = _make_part(fields)
        at, extents_at = end, extents_end
    return others


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
