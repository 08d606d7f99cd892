"""Makes the golden repository: `sudo .venv/bin/python -m tests.golden.make`, as root.

To be run again only when the format changes; what it makes is committed and stays readable.
The folder that is backed up holds every kind of entry. Its history leaves in the repository what
a long life leaves: moved frames, merged segments, a checkpoint, a forgotten snapshot, a changed
passphrase and a second one. `expected.json` is written from the folder, never from the repository.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import stat
import struct
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import kluis
from tests import datasets

HERE = Path(__file__).resolve().parent / "repository"
ARCHIVE, EXPECTED = HERE / "repository.tar.xz", HERE / "expected.json"
FIRST, SECOND, OTHER = b"the first one", b"the changed one", "één andere".encode()
KDF_MEMORY_BYTES = 8 << 10
START_NS = 1_750_000_000 * 10**9
DAY_NS = 86400 * 10**9
FILLERS = 66  # more than the 64 segments and records from which prune merges
BLOCK_BYTES = 4096
SPARSE_FROM_BYTES = 1 << 20  # below, a file system may have reasons of its own for few blocks
LISTED_BLOCKS = 1100  # data blocks between holes: 2200 extents, so that they are listed

_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket", stat.S_IFCHR: "characters", stat.S_IFBLK: "blocks",
}  # fmt: skip


def describe(top: Path) -> dict[str, dict[str, Any]]:
    """All below a folder: path to what a restore owes, in plain values."""
    found: dict[str, dict[str, Any]] = {}
    first: dict[tuple[int, int], str] = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in sorted([*folders, *files]):
            path = os.path.join(folder, name)
            key = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
            found[key] = _entry(path, os.lstat(path))
    for key in sorted(found):
        status = os.lstat(os.path.join(top, key))
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            found[key]["same"] = first.setdefault((status.st_dev, status.st_ino), key)
    return dict(sorted(found.items()))


def _entry(path: bytes, status: os.stat_result) -> dict[str, Any]:
    kind = stat.S_IFMT(status.st_mode)
    entry: dict[str, Any] = {
        "kind": _KINDS[kind],
        "mode": stat.S_IMODE(status.st_mode),
        "owner": [status.st_uid, status.st_gid],
        "mtime_ns": status.st_mtime_ns,
        "xattrs": {
            name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        },
    }
    if kind == stat.S_IFREG:
        entry["size"] = status.st_size
        entry["sparse"] = status.st_blocks * 512 < status.st_size > SPARSE_FROM_BYTES
        with open(path, "rb") as content:
            entry["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    elif kind == stat.S_IFLNK:
        entry["link"] = os.fsdecode(os.readlink(path))
    return entry


def every_kind(top: Path) -> None:
    """Every kind of entry, and what is seldom."""
    (top / "letters/2025/empty folder").mkdir(parents=True)
    (top / "letters/2025/ann.txt").write_text(datasets.prose(3000, seed=1))
    (top / "letters/report.txt").write_text(datasets.prose(150_000, seed=2))
    (top / "letters/empty").touch()
    (top / "picture").write_bytes(random.Random(3).randbytes(12_000))
    for name in (b"caf\xe9", b"\xff\xfe", "één.txt".encode(), b"new\nline \x1b[31m", b"n" * 255):
        with open(os.path.join(os.fsencode(top), name), "wb") as file:
            file.write(name)
    os.symlink("letters/report.txt", top / "link")
    os.symlink(b"nowhere\xff", top / "dangling")
    os.link(top / "picture", top / "letters/same picture")
    os.link(top / "picture", top / "letters/2025/again")
    os.link(top / "link", top / "same link", follow_symlinks=False)
    os.mkfifo(top / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(top / "socket"))
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    _long_files(top)
    _metadata(top)


def _long_files(top: Path) -> None:
    with (top / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(40 << 20)
        file.write(b"in the middle of nothing")
    block = [random.Random(n).randbytes(64) * (BLOCK_BYTES // 64) for n in range(8)]
    with (top / "listed").open("wb") as file:
        for n in range(LISTED_BLOCKS):
            file.seek(2 * n * BLOCK_BYTES)
            file.write(block[n % 8])


def _metadata(top: Path) -> None:
    os.setxattr(top / "picture", "user.comment", b"a\0b")
    os.setxattr(top / "letters", "user.empty", b"")
    entries = ((1, 7, -1), (2, 6, 4242), (4, 4, -1), (16, 6, -1), (32, 0, -1))
    acl = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    (top / "shared").write_bytes(b"with an ACL")
    os.setxattr(top / "shared", "system.posix_acl_access", struct.pack("<I", 2) + acl)
    (top / "tool").write_bytes(b"#!/bin/sh\n")
    (top / "tool").chmod(0o4755)
    (top / "shut").mkdir(mode=0o700)
    (top / "shut/inside").write_bytes(b"?")
    (top / "shut").chmod(0)
    (top / "drop").mkdir()
    (top / "drop").chmod(0o3777)
    for name in ("letters/report.txt", "link", "fifo", "drop"):
        os.chown(top / name, 1234, 5678, follow_symlinks=False)
    times = {"picture": -(10**18) + 5, "link": 10**18 + 7, "letters": 123_456_789, "listed": 2**33}
    for name, ns in times.items():
        os.utime(top / name, ns=(ns, ns), follow_symlinks=False)


class History:
    """The life of the repository; what each snapshot has to hold is noted when it is made."""

    def __init__(self, folder: Path) -> None:
        self.place, self.cache, self.top = (
            folder / "repository",
            folder / "cache",
            folder / "source",
        )
        self.secret, self.day = kluis.Credentials(passphrase=FIRST), 0
        self.noted: list[dict[str, Any]] = []
        kluis.init(self.place, kluis.InitOptions(self.secret, "golden", KDF_MEMORY_BYTES))
        self.top.mkdir()

    def open(self) -> Any:
        return kluis.open(self.place, self.secret, cache_folder=self.cache)

    def backup(self, *tags: str, note: bool = True) -> str:
        self.day += 1
        time_ns = START_NS + self.day * DAY_NS
        options = kluis.BackupOptions(tags=tags, host="golden", time_ns=time_ns)
        with self.open() as repository:
            result = kluis.backup(repository, options, paths=[self.top])
        if result.problems:
            raise SystemExit(f"not all was read: {result.problems}")
        if note:
            facts = {"id": result.snapshot_id, "time_ns": time_ns, "tags": list(tags)}
            self.noted.append({**facts, "entries": describe(self.top)})
        return result.snapshot_id

    def early(self) -> None:
        """A first snapshot, then a run whose pack is half dead in the end, and many small ones."""
        every_kind(self.top)
        self.backup("first")
        (self.top / "letters/notes.txt").write_text(datasets.prose(60_000, seed=4))
        (self.top / "film").write_bytes(random.Random(5).randbytes(20_000))
        small = [self.backup(note=False)]
        (self.top / "film").unlink()
        for number in range(FILLERS):
            (self.top / "letters/diary").write_text(f"day {number}\n")
            small.append(self.backup(note=False))
        self.backup("second", "before the prune")
        with self.open() as repository:
            kluis.forget(repository, kluis.ForgetOptions(ids=tuple(small)))
            limit = kluis.Limit(share=0.0)
            plan = kluis.prune(repository, kluis.PruneOptions(max_unused=limit, now=True)).plan
        if not (plan.packs_moved and plan.segments_merged and plan.records_merged):
            raise SystemExit(f"the prune left out what this is made for: {plan}")

    def late(self) -> None:
        """What stands behind the checkpoint."""
        with self.open() as repository:
            changed = kluis.KeyPasswdOptions(SECOND, kdf_memory_bytes=KDF_MEMORY_BYTES)
            kluis.key_passwd(repository, changed)
        self.secret = kluis.Credentials(passphrase=SECOND)
        with self.open() as repository:
            added = kluis.KeyAddOptions(OTHER, "other", KDF_MEMORY_BYTES)
            kluis.key_add(repository, added)
        with (self.top / "letters/report.txt").open("r+b") as file:
            file.write(b"CHANGED")
        (self.top / "dangling").unlink()
        third = self.backup("third")
        (self.top / "letters/2025/ann.txt").rename(self.top / "letters/2025/to ann.txt")
        forgotten = self.backup(note=False)
        self.backup("fourth")
        with self.open() as repository:
            kluis.hold(repository, kluis.HoldOptions(ids=(third,), reason="golden"))
            kluis.forget(repository, kluis.ForgetOptions(ids=(forgotten,)))


def _pack(folder: Path) -> None:
    """The repository as an archive, without the reserve, which holds nothing."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return None if member.name == "repository/reserve" else member

    with tarfile.open(ARCHIVE, "w:xz") as archive:
        archive.add(folder / "repository", "repository", filter=plain)


def main() -> None:
    """Makes it in a temporary folder and puts archive and expectations beside this file."""
    with tempfile.TemporaryDirectory(prefix="golden-") as name:
        history = History(Path(name))
        history.early()
        history.late()
        _pack(Path(name))
        expected = {
            "passphrases": [SECOND.decode(), OTHER.decode()],
            "refused": FIRST.decode(),
            "top": os.fspath(history.top),
            "snapshots": history.noted,
        }
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
