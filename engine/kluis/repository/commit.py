"""The end of a writing run: the snapshot and its twin, one barrier, and the ledger last."""

from __future__ import annotations

from kluis.format import crypt, names, snapshot
from kluis.format.ledger import Ended, Event, Made, SnapshotMark
from kluis.format.snapshot import Facts, Root
from kluis.repository.access import Repository
from kluis.repository.run import Run
from kluis.repository.small import put_with_twin


def store_snapshot(repository: Repository, run: Run, facts: Facts, root: Root) -> SnapshotMark:
    """Stores the run's next snapshot, durable with its twin; it does not count yet."""
    machine = repository.surroundings
    k = run.next_snapshot
    keys = run.domain
    sealed_facts = crypt.seal(
        crypt.derive(keys.meta(), "snapshots"),
        crypt.XCHACHA20,
        machine.random(crypt.NONCE_LIMIT_BYTES),
        snapshot.encode_facts(facts),
        snapshot.facts_context(run.vault, run.id, k),
    )
    sealed_root = crypt.seal(
        crypt.derive(run.key, "root"),
        crypt.XCHACHA20,
        machine.random(crypt.NONCE_LIMIT_BYTES),
        snapshot.encode_root(root),
        snapshot.root_context(run.vault, run.id, k),
    )
    data = snapshot.wrap(run.certificate, sealed_facts, sealed_root, run.signer.signing)
    put_with_twin(repository.storage, names.numbered(names.SNAPSHOTS, run.id, k), data)
    repository.storage.barrier()
    run.next_snapshot += 1
    return SnapshotMark(
        run=run.id,
        k=k,
        digest=crypt.digest(data),
        last_segment=facts.last_segment,
        client=facts.client,
        time_ns=facts.time_ns,
        replaces=facts.replaces,
    )


def record_made(repository: Repository, mark: SnapshotMark, ended: tuple[bytes, ...]) -> None:
    """Makes the snapshot count; with it, runs of this client that were interrupted end.

    Raises `LedgerMovedError` if somebody appended since the ledger was read.
    """
    events: tuple[Event, ...] = (Made(mark),)
    if ended:
        events += (Ended(tuple(sorted(ended))),)
    repository.ledger.append(events, repository.session.signer, repository.surroundings)
    repository.remember()
