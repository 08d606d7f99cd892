"""Snapshots, entries, problems and damages as JSON fields, and as text that is safe to print."""

from __future__ import annotations

import os
import stat
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import re

    from kluis.events import Damage, Problem
    from kluis.listing import ListedEntry, SnapshotInfo

WENT_BACK_NEXT = (
    "next: `kluis snapshots` shows what is left; if newer ones are missing, put the newest copy of "
    "the repository back, or run `kluis backup` again"
)
"""What to do with a store that is older than this client has seen."""

FILES_SHOWN = 20
"""Files of one damage that text names; JSON names all."""

# Beside the control characters: line and paragraph separators, what reverses the reading order,
# and bytes outside UTF-8 (as Python keeps them) that are control characters to an 8-bit terminal.
_CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\udc80-\udc9f]"
_KEPT_BYTE = 0xDC00
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_KIND_BITS = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "chardev": stat.S_IFCHR,
    "blockdev": stat.S_IFBLK,
}

Fields: TypeAlias = "dict[str, Any]"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    code -= _KEPT_BYTE if code > _KEPT_BYTE else 0
    return _ESCAPES.get(match[0]) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def printable(text: str) -> str:
    """`text` without anything that moves a cursor or ends a line."""
    if text.isprintable():  # as all is that `_CONTROL` does not name, and most text
        return text
    import re

    return re.sub(_CONTROL, _escape, text)


def shown(path: bytes) -> str:
    """A name as text prints it; bytes that are not UTF-8 stay what they are."""
    return printable(path.decode("utf-8", "surrogateescape"))


def counted(number: int, thing: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _base64(name: bytes) -> str:
    return b2a_base64(name, newline=False).decode()


def name_fields(key: str, name: bytes) -> Fields:
    """`name` as JSON, and as base64 too where it is not UTF-8."""
    fields = {key: name.decode("utf-8", "replace")}
    if not _is_text(name):
        fields[f"{key}_base64"] = _base64(name)
    return fields


def names_fields(key: str, names: Sequence[bytes]) -> Fields:
    """The same for a list; the base64 list, if any, has all of them."""
    fields: Fields = {key: [name.decode("utf-8", "replace") for name in names]}
    if not all(map(_is_text, names)):
        fields[f"{key}_base64"] = list(map(_base64, names))
    return fields


def snapshot_fields(snapshot: SnapshotInfo) -> Fields:
    """A snapshot as JSON shows it everywhere."""
    from kluis.units import format_rfc3339

    fields: Fields = {
        "id": snapshot.id,
        "short_id": snapshot.short_id,
        "time": format_rfc3339(snapshot.time_ns),
        "hostname": snapshot.host,
        "username": snapshot.user,
        "tags": list(snapshot.tags),
        **names_fields("paths", snapshot.paths),
        "description": snapshot.description,
        "dataset": snapshot.dataset,
        "held": snapshot.held,
        "incomplete": snapshot.incomplete,
        "parent": snapshot.parent,
        "original": snapshot.replaces,
        "summary": {
            "total_files_processed": snapshot.files,
            "total_dirs_processed": snapshot.dirs,
            "total_bytes_processed": snapshot.size,
            "data_added_packed": snapshot.bytes_added,
        },
    }
    if snapshot.forgotten_ns is not None:
        fields["forgotten"] = format_rfc3339(snapshot.forgotten_ns)
    if snapshot.counted_ns is not None:
        fields["counted_time"] = format_rfc3339(snapshot.counted_ns)
    return fields


def entry_fields(entry: ListedEntry) -> Fields:
    """An entry of a snapshot as JSON shows it everywhere."""
    from kluis.units import format_rfc3339

    fields: Fields = {
        **name_fields("path", entry.path),
        **name_fields("name", os.path.basename(entry.path)),
        "type": entry.kind,
        "mode": entry.mode,
        "permissions": permissions(entry),
        "uid": entry.uid,
        "gid": entry.gid,
        "user": entry.user,
        "group": entry.group,
        "mtime": format_rfc3339(entry.mtime_ns),
        "links": entry.links,
    }
    if entry.ctime_ns:
        fields["ctime"] = format_rfc3339(entry.ctime_ns)
    if entry.inode:
        fields["inode"] = entry.inode
    if entry.kind == "file":
        fields["size"] = entry.size
    if entry.kind == "symlink":
        fields |= name_fields("target", entry.target)
    if entry.kind in ("chardev", "blockdev"):
        fields["device"] = entry.device
    if entry.atime_ns is not None:
        fields["atime"] = format_rfc3339(entry.atime_ns)
    if entry.birth_ns is not None:
        fields["btime"] = format_rfc3339(entry.birth_ns)
    return fields


def damage_fields(damage: Damage) -> Fields:
    """A damage as JSON shows it."""
    return {
        "object": damage.object,
        "what": damage.what,
        "means": damage.means,
        **names_fields("files", damage.files),
        "next_command": damage.next_command,
    }


def permissions(entry: ListedEntry) -> str:
    """`-rw-r--r--`, as `ls -l` writes it."""
    return stat.filemode(_KIND_BITS[entry.kind] | stat.S_IMODE(entry.mode))


def long_row(entry: ListedEntry, human: bool = False) -> str:
    """An entry in the manner of `ls -l`."""
    from kluis.units import format_size, format_time

    size = format_size(entry.size) if human else str(entry.size)
    target = f" -> {shown(entry.target)}" if entry.kind == "symlink" else ""
    owner = f"{entry.user or entry.uid:>8} {entry.group or entry.gid:>8}"
    return (
        f"{permissions(entry)} {printable(owner)} {size:>10} {format_time(entry.mtime_ns)} "
        f"{shown(entry.path)}{target}"
    )


# Extended attributes and flags fail in a backup as in a restore; other operations are verbs.
_NOT_DONE = {
    "stat": "look up",
    "owner": "set the owner of",
    "mode": "set the permissions of",
    "times": "set the times of",
    "xattr": "keep the extended attributes of",
    "flags": "keep the flags of",
    "setuid": "set setuid or capabilities of",
    "metadata": "set owner, permissions and times of",
    "device": "make",
}


CHANGED_WORDS = "It changed while it was read"
"""How the reason begins for a file that is stored, though it changed meanwhile."""


def is_changed(problem: Problem) -> bool:
    """True for a file that is in the snapshot, but perhaps mixed of two moments."""
    return problem.operation == "read" and problem.reason.startswith(CHANGED_WORDS)


def is_incomplete(problem: Problem) -> bool:
    """True for what is in the snapshot without something that belongs to it."""
    return problem.operation in _NOT_DONE and problem.operation != "stat"


def problem_text(problem: Problem) -> str:
    """What could not be read, written or kept, in a line."""
    if is_changed(problem):
        return (
            f"{shown(problem.path)} changed while it was read: it is in the snapshot, perhaps with "
            "a part from before and a part from after"
        )
    what = _NOT_DONE.get(problem.operation, problem.operation)
    return f"cannot {what} {shown(problem.path)}: {printable(problem.reason)}"


def damage_lines(damage: Damage) -> list[str]:
    """What is damaged, what it means, which files, what next."""
    lines = [f"damaged: {damage.object}: {damage.what}"]
    lines += [f"  {damage.means}"] if damage.means else []
    lines += [f"  lost: {shown(path)}" for path in damage.files[:FILES_SHOWN]]
    if len(damage.files) > FILES_SHOWN:
        lines.append(
            f"  and {counted(len(damage.files) - FILES_SHOWN, 'more file')}; --json names all"
        )
    if damage.next_command:
        lines.append(f"  next: {damage.next_command}")
    return [printable(line) for line in lines]


def listed(names: Sequence[str], width: int, between: str = ",") -> str:
    """The names as far as they fit, the first in any case, and how many more there are."""
    shown_names = 1
    room = width - len("".join(names[:1]))
    for name in names[1:]:
        room -= len(between) + len(name)
        if room < 0:
            break
        shown_names += 1
    text = between.join(names[:shown_names])
    more = len(names) - shown_names
    return f"{text} and {more} more" if more > 0 else text


def table_rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows below a head, in columns as wide as they have to be."""
    cells = [
        tuple(head),
        *([cell if cell.isprintable() else printable(cell) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded_row = "  ".join(f"{{:<{width}}}" for width in widths).format
    padded = [padded_row(*row).rstrip() for row in cells]
    return [padded[0], "-" * max(map(len, padded)), *padded[1:]]
