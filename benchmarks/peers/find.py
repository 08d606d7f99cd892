"""find -printf: the limit for a run that finds nothing changed, one stat an entry."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import Peer


class Find(Peer):
    """Stores nothing: only what looking at every entry costs."""

    name = "find"
    program = "find"
    limit = True
    jobs = frozenset({"unchanged"})

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        return self.command(str(source), "-printf", "%p %i %s %m %U %G %T@ %C@\\n")
