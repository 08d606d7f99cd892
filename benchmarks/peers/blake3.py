"""Reading and hashing every byte, and sealing it: limits of a first backup and of verify."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import PROJECT, Peer

_READ_BYTES = 1 << 20


class Blake3(Peer):
    """Stores nothing: only what opening, reading and hashing costs in one thread."""

    name = "blake3"
    program = "python"
    limit = True
    jobs = frozenset({"first", "verify-1"})
    words: tuple[str, ...] = ()

    @classmethod
    def executable(cls) -> str | None:
        return sys.executable

    @classmethod
    def version(cls) -> str:
        return f"{super().version()}, blake3 package, one thread"

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        script = ("-m", "benchmarks.peers.blake3", *self.words)
        return self.command(*script, str(source), cwd=PROJECT)

    def check_stored(self, stored: Path) -> Command | None:
        return self.backup(stored)


class Seal(Blake3):
    """What `blake3` does, and seals each mebibyte; nothing is written."""

    name = "seal"
    jobs = frozenset({"first"})
    words = ("--seal",)

    @classmethod
    def version(cls) -> str:
        return f"{super().version()}, AEGIS-256 of libsodium"


def blocks(folder: str) -> Iterator[memoryview]:
    """The content of all files, in walk order; each block is valid until the next is asked for."""
    buffer = bytearray(_READ_BYTES)
    view = memoryview(buffer)
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            entry = os.path.join(path, name)
            if os.path.islink(entry) or not os.path.isfile(entry):
                continue
            with open(entry, "rb", buffering=0) as content:
                while count := content.readinto(buffer):
                    yield view[:count]


def hash_folder(folder: str) -> str:
    """One digest over the content of all files."""
    from blake3 import blake3

    digest = blake3()
    for block in blocks(folder):
        digest.update(block)
    return digest.hexdigest()


def hash_and_seal_folder(folder: str) -> str:
    """The same digest; every block is sealed too, as the engine seals a frame."""
    from blake3 import blake3

    from kluis.format import crypt

    digest = blake3()
    key = hashlib.sha256(b"a key for measuring").digest()
    for number, block in enumerate(blocks(folder)):
        digest.update(block)
        crypt.seal_large(key, crypt.AEGIS256, number.to_bytes(32, "little"), block, b"")
    return digest.hexdigest()


def main() -> None:
    """Prints the digest of one folder."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers.blake3")
    parser.add_argument("--seal", action="store_true")
    parser.add_argument("folder")
    options = parser.parse_args()
    print((hash_and_seal_folder if options.seal else hash_folder)(options.folder))


if __name__ == "__main__":
    main()
