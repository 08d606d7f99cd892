"""All tools that can be measured, by name."""

from __future__ import annotations

from benchmarks.peers.base import Peer
from benchmarks.peers.blake3 import Blake3
from benchmarks.peers.borg import Borg
from benchmarks.peers.cp import Cp
from benchmarks.peers.find import Find
from benchmarks.peers.kluis import Kluis
from benchmarks.peers.restic import Restic
from benchmarks.peers.tar import Tar

ALL: dict[str, type[Peer]] = {
    peer.name: peer for peer in (Kluis, Restic, Borg, Tar, Cp, Find, Blake3)
}


def chosen(names: str) -> list[type[Peer]]:
    """The peers of a comma separated list that are installed; unknown names are an error."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ALL]
    if unknown:
        raise SystemExit(f"no such tool: {', '.join(unknown)}; there are {', '.join(ALL)}")
    for name in wanted:
        if ALL[name].executable() is None:
            print(f"{name} is not installed and left out; `make bench-peers` installs peers")
    return [ALL[name] for name in wanted if ALL[name].executable() is not None]
