"""All tools that can be measured, by name."""

from __future__ import annotations

from benchmarks.peers.base import Peer
from benchmarks.peers.blake3 import Blake3, Seal
from benchmarks.peers.borg import Borg
from benchmarks.peers.borg2 import Borg2
from benchmarks.peers.cat import Cat
from benchmarks.peers.copy import Copy
from benchmarks.peers.cp import Cp
from benchmarks.peers.find import Find
from benchmarks.peers.kluis import Kluis
from benchmarks.peers.kopia import Kopia
from benchmarks.peers.restic import Restic
from benchmarks.peers.rustic import Rustic
from benchmarks.peers.tar import Tar

BACKUPS: tuple[type[Peer], ...] = (Kluis, Restic, Borg, Borg2, Kopia, Rustic)
LIMITS: tuple[type[Peer], ...] = (Tar, Cp, Find, Cat, Blake3, Seal, Copy)
ALL: dict[str, type[Peer]] = {peer.name: peer for peer in (*BACKUPS, *LIMITS)}


def chosen(names: str) -> list[type[Peer]]:
    """The tools of a comma separated list that are installed; unknown names are an error.

    Those that are no backup come last, whatever the list says.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ALL]
    if unknown:
        raise SystemExit(f"no such tool: {', '.join(unknown)}; there are {', '.join(ALL)}")
    for name in wanted:
        if ALL[name].executable() is None:
            print(f"{name} is not installed and left out; `make bench-peers` installs peers")
    there = [ALL[name] for name in wanted if ALL[name].executable() is not None]
    return sorted(there, key=lambda tool: tool.limit)
