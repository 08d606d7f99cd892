"""Makes a repository of many snapshots in seconds, by the engine's own functions.

    python -m benchmarks.manysnapshots REPOSITORY --count 20000 [--hosts 20] [--prune]

The first is a real backup of a small folder. Each further one is what an unchanged run of
another day leaves: a run with its certificate, the snapshot and its twin, the ledger record
and its twin, all signed and sealed, naming the frames of the first. Two things make it fast:
nothing is synced, and nobody looks for a checkpoint by someone else, as nobody else writes.

With `--prune` a real `prune` then merges the ledger into one checkpoint, as it is where
somebody prunes; without, a record of each snapshot is read at every start.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import kluis
from benchmarks.peers.base import PASSWORD
from kluis.format import names
from kluis.format.ledger import Made
from kluis.format.snapshot import Facts, Previous
from kluis.repository.access import Repository, open_repository
from kluis.repository.commit import store_snapshot
from kluis.repository.run import begin
from kluis.repository.snapshots import load_all
from kluis.storage.local import LocalStorage
from kluis.surroundings import Machine
from tests.datasets import prose

SEED = 20260131
HOUR_NS = 3600 * 10**9
_LEDGER = (names.LEDGER, names.twin(names.LEDGER))


class AloneStorage(LocalStorage):
    """A folder that only this process writes: its ledger holds nothing that it did not read.

    Appending looks for a later checkpoint by someone else, which is a listing of the whole
    ledger: the square of the number of snapshots.
    """

    unlisted: tuple[str, ...] = ()

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        return iter(()) if prefix in self.unlisted else super().list(prefix)


def make(place: Path, count: int, *, hosts: int = 20, prune: bool = False) -> None:
    """A repository of `count` snapshots by `hosts` clients, an hour between any two.

    It opens with the passphrase of the benchmarks, `PASSWORD`.
    """
    secret = kluis.Credentials(passphrase=PASSWORD.encode())
    kluis.init(place, kluis.InitOptions(secret))
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        cache = os.path.join(scratch, "cache")
        began = time.time_ns() - count * HOUR_NS
        _first(place, secret, Path(scratch), began)
        storage = AloneStorage(place, durable=False)
        with open_repository(storage, secret, cache, Machine()) as repository:
            storage.unlisted = _LEDGER
            _further(repository, count - 1, hosts, began)
        if prune:
            with kluis.open(place, secret, cache_folder=cache) as repository:
                kluis.prune(repository)


def _first(place: Path, secret: kluis.Credentials, scratch: Path, time_ns: int) -> None:
    source = scratch / "documents"
    source.mkdir()
    for number in range(20):
        (source / f"letter {number:02}.txt").write_text(prose(2000, SEED + number))
    with kluis.open(place, secret, cache_folder=scratch / "cache") as repository:
        kluis.backup(repository, kluis.BackupOptions(time_ns=time_ns), paths=[source])


def _further(repository: Repository, count: int, hosts: int, began_ns: int) -> None:
    """Runs that found nothing changed, of one client after the other."""
    [first], _ = load_all(repository)
    assert first.root is not None
    machine, session = repository.surroundings, repository.session
    clients = [machine.random(len(first.facts.client)) for _ in range(hosts)]
    previous: dict[bytes, Previous] = {}
    for number in range(1, count + 1):
        at = number % hosts
        run = begin(
            session, repository.store.store, session.home(), repository.ledger.state, machine
        )
        time_ns = began_ns + number * HOUR_NS
        facts: Facts = replace(
            first.facts,
            client=clients[at],
            previous=previous.get(clients[at]),
            time_ns=time_ns,
            finished_ns=time_ns + 10**9,
            host=f"host-{at:02}",
            tags=("weekly",) if number % 7 == 0 else (),
            segments=0,
            last_segment=None,
        )
        mark = store_snapshot(repository, run, facts, first.root)
        repository.ledger.append((Made(mark),), session.signer, machine)
        previous[clients[at]] = Previous(mark.run, mark.k, mark.digest)


def main() -> None:
    """Makes the repository and says how long it took."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.manysnapshots",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repository", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--prune", action="store_true", help="merge the ledger into a checkpoint")
    options = parser.parse_args()
    began = time.monotonic()
    make(options.repository.resolve(), options.count, hosts=options.hosts, prune=options.prune)
    print(
        f"{options.repository}: {options.count} snapshots of {options.hosts} hosts in "
        f"{time.monotonic() - began:.1f} s; opens with KLUIS_PASSWORD={PASSWORD}"
    )


if __name__ == "__main__":
    main()
