"""cat: what opening and reading every file costs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import Peer


class Cat(Peer):
    """Stores nothing; what it reads goes to /dev/null."""

    name = "cat"
    program = "cat"
    limit = True
    jobs = frozenset({"first", "verify-1"})

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        script = 'find "$1" -type f -print0 | xargs -0 "$0" >/dev/null'
        return self.script(script, str(source))

    def check_stored(self, stored: Path) -> Command | None:
        return self.backup(stored)
