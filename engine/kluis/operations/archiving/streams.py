"""Standard input, or what a command prints, as the one file of a snapshot."""

from __future__ import annotations

import os

from kluis.errors import UsageError
from kluis.format import tree
from kluis.format.tree import Entry, Tree
from kluis.operations.archiving.directories import DirectoryArchiver
from kluis.operations.archiving.files import FileArchiver
from kluis.options import StdinSource
from kluis.repository.content import Content
from kluis.source.names import group_name, user_name
from kluis.source.streams import CommandStream, StdinStream

NS = 1_000_000_000


def store_stream(
    source: StdinSource, files: FileArchiver, directories: DirectoryArchiver, now_ns: int
) -> Content:
    """Stores the stream under its name; a command that fails raises, and nothing counts."""
    parts = [part for part in source.filename.split(b"/") if part]
    if not parts or any(part in (b".", b"..") for part in parts):
        raise UsageError("the name for standard input must be a plain path, such as dump.sql")
    if source.command:
        command = CommandStream(source.command, files.cancel)
        try:
            stored = files.stream(command, source.filename)
            command.finish()
        finally:
            command.close()
    else:
        stdin = StdinStream(files.cancel)
        try:
            stored = files.stream(stdin, source.filename)
        finally:
            stdin.close()
    uid, gid = os.geteuid(), os.getegid()
    content = stored.content
    frames = set(stored.frames)
    entry = Entry(
        name=parts[-1],
        kind=tree.FILE,
        mode=0o600,
        size=content.size,
        digest=content.digest,
        extents=content.extents,
        flags=tree.LISTED if content.listed else 0,
        uid=uid,
        gid=gid,
        mtime_s=now_ns // NS,
        mtime_ns=now_ns % NS,
    )
    for name in reversed(parts[:-1]):
        content, used = _store_tree(files, entry, uid, gid)
        frames |= used
        entry = Entry(
            name=name,
            kind=tree.DIRECTORY,
            mode=0o700,
            size=content.size,
            digest=content.digest,
            extents=content.extents,
            flags=tree.LISTED if content.listed else 0,
            uid=uid,
            gid=gid,
            mtime_s=now_ns // NS,
            mtime_ns=now_ns % NS,
        )
    content, used = _store_tree(files, entry, uid, gid)
    totals = directories.totals
    totals.files, totals.files_new, totals.size = 1, 1, stored.content.size
    totals.directories = len(parts)
    totals.use_frames(frames | used)
    return content


def _store_tree(
    files: FileArchiver, entry: Entry, uid: int, gid: int
) -> tuple[Content, frozenset[tuple[bytes, int]]]:
    users = {uid: user_name(uid)} if user_name(uid) else {}
    groups = {gid: group_name(gid)} if group_name(gid) else {}
    return files.tree(tree.encode(Tree((entry,), users, groups)))
