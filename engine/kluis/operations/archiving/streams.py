"""Standard input, or what a command prints, as the one file of a snapshot."""

from __future__ import annotations

import os

from kluis.errors import UsageError
from kluis.format import tree
from kluis.format.tree import Entry, Tree
from kluis.operations.archiving.directories import DirectoryArchiver
from kluis.operations.archiving.files import FileArchiver, StoredFile
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
    stored = _read(source, files)
    frames = set(stored.frames)
    entry = _entry(parts[-1], tree.FILE, stored.content, now_ns)
    for name in reversed(parts[:-1]):
        content, used = _store_tree(files, entry)
        frames |= used
        entry = _entry(name, tree.DIRECTORY, content, now_ns)
    content, used = _store_tree(files, entry)
    totals = directories.totals
    totals.files, totals.files_new, totals.size = 1, 1, stored.content.size
    totals.directories = len(parts)
    totals.use_frames(frames | used)
    if files.teller.context.each_file:
        path = b"/" + b"/".join(parts)
        files.teller.file(path, "new", stored.content.size, files.writer.bytes_new)
    return content


def _read(source: StdinSource, files: FileArchiver) -> StoredFile:
    if not source.command:
        stdin = StdinStream(files.cancel)
        try:
            return files.stream(stdin, source.filename)
        finally:
            stdin.close()
    command = CommandStream(source.command, files.cancel)
    try:
        stored = files.stream(command, source.filename)
        command.finish()
        return stored
    finally:
        command.close()


def _entry(name: bytes, kind: int, content: Content, now_ns: int) -> Entry:
    """An entry that belongs to us, made now."""
    return Entry(
        name=name,
        kind=kind,
        mode=0o600 if kind == tree.FILE else 0o700,
        size=content.size,
        digest=content.digest,
        extents=content.extents,
        flags=tree.LISTED if content.listed else 0,
        uid=os.geteuid(),
        gid=os.getegid(),
        mtime_s=now_ns // NS,
        mtime_ns=now_ns % NS,
    )


def _store_tree(files: FileArchiver, entry: Entry) -> tuple[Content, frozenset[tuple[bytes, int]]]:
    user, group = user_name(entry.uid), group_name(entry.gid)
    users = {entry.uid: user} if user else {}
    groups = {entry.gid: group} if group else {}
    return files.tree(tree.encode(Tree((entry,), users, groups)))
