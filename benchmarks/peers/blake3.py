"""Reading and hashing every byte: the floor for a first backup without compression."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import PROJECT, Peer

_READ_BYTES = 1 << 20


class Blake3(Peer):
    """Stores nothing: only what opening, reading and hashing costs in one thread."""

    name = "blake3"
    program = "python"
    jobs = frozenset({"first"})

    @classmethod
    def executable(cls) -> str | None:
        return sys.executable

    def backup(self, source: Path) -> Command | None:
        return self.command("-m", "benchmarks.peers.blake3", str(source), cwd=PROJECT)


def hash_folder(folder: str) -> str:
    """One digest over the content of all files, in walk order."""
    from blake3 import blake3

    digest = blake3()
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            entry = os.path.join(path, name)
            if os.path.islink(entry) or not os.path.isfile(entry):
                continue
            with open(entry, "rb", buffering=0) as content:
                while block := content.read(_READ_BYTES):
                    digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    print(hash_folder(sys.argv[1]))
