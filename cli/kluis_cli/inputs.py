"""What is read from files that flags name: patterns, lists of paths, passphrases."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kluis.errors import KluisError, UsageError

if TYPE_CHECKING:
    import re

# As Go's os.Expand: `${}` and a lone `${` are nothing, a dollar before anything else stays.
_VARIABLE = rb"\$(?:\{([^}]+)\}|(\{\}|\{)|([*#$@!?\-0-9])|([A-Za-z0-9_]+))"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_REMARK_BYTES = b"#"


def read(name: str) -> bytes:
    """The content of the file `name`, or of standard input for `-`."""
    try:
        if name == "-":
            return sys.stdin.buffer.read()
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise KluisError(
            f"cannot read {name}: {error.strerror}; nothing was done; check the name"
        ) from error


def _expand(line: bytes) -> bytes:
    import re

    def value(match: re.Match[bytes]) -> bytes:
        braced, broken, special, plain = match.groups()
        name = braced or special or plain
        if broken or not name:
            return b""
        return b"$" if name == b"$" else os.environb.get(name, b"")

    return re.sub(_VARIABLE, value, line)


def patterns(given: Iterable[str] | None, files: Iterable[str] | None) -> tuple[bytes, ...]:
    """Patterns of flags, then of files, in the order given."""
    found = [os.fsencode(pattern) for pattern in given or ()]
    for name in files or ():
        found.extend(pattern_lines(read(name)))
    return tuple(found)


def _glob(pattern: bytes) -> list[bytes]:
    """What matches; a pattern that matches nothing stays, so that the backup names it missing."""
    import glob

    if not glob.has_magic(pattern) or os.path.lexists(pattern):
        return [pattern]
    return sorted(glob.glob(pattern, include_hidden=True)) or [pattern]


def _plain_lines(content: bytes) -> list[bytes]:
    if content.startswith(_UTF16_MARKS):  # as some editors save
        content = content.decode("utf-16", "replace").encode()
    lines = (line.strip() for line in content.removeprefix(codecs.BOM_UTF8).split(b"\n"))
    return [line for line in lines if line and not line.startswith(_REMARK_BYTES)]


def pattern_lines(content: bytes) -> list[bytes]:
    """The patterns of an exclude file: no blank lines and remarks, `$NAME` filled in."""
    return [pattern for line in _plain_lines(content) if (pattern := _expand(line))]


def listed_paths(content: bytes, name: str) -> list[bytes]:
    """`--files-from`: a path or pattern a line; no blank lines and remarks."""
    lines = _without_zero(_plain_lines(content), name)
    return [path for line in lines for path in _glob(line)]


def verbatim_paths(content: bytes, name: str) -> list[bytes]:
    """`--files-from-verbatim`: a path a line, nothing in it means anything."""
    return _without_zero([line for line in content.split(b"\n") if line], name)


def _without_zero(lines: list[bytes], name: str) -> list[bytes]:
    if any(b"\0" in line for line in lines):
        raise UsageError(
            f"{name} holds zero bytes, as a list made by find -print0 does, but was read as a path "
            f"a line; nothing was backed up. Next: give it as --files-from0 {name}"
        )
    return lines


def raw_paths(content: bytes) -> list[bytes]:
    """`--files-from-raw`: each path ends with a NUL."""
    return [path for path in content.split(b"\0") if path]


def paths(
    words: Sequence[str],
    from_files: Iterable[str] | None,
    from_verbatim: Iterable[str] | None,
    from_raw: Iterable[str] | None,
) -> tuple[bytes, ...]:
    """Every path once, in the order given."""
    found = [os.fsencode(word) for word in words]
    for name in from_files or ():
        found.extend(listed_paths(read(name), name))
    for name in from_verbatim or ():
        found.extend(verbatim_paths(read(name), name))
    for name in from_raw or ():
        found.extend(raw_paths(read(name)))
    if b"" in found:
        raise UsageError("an empty name is no path; nothing was backed up")
    return tuple(dict.fromkeys(found))
