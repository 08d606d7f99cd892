"""What a client keeps of what it has read and checked, so that it need not read it again.

Sealed under keys that only who may read the originals has: nothing of it is clear to others,
and nobody else can have written it. It is never evidence: what no longer fits the store, does
not open, or was kept by another version, is read again from the store. Two things are kept:
the ledger as folded up to a record, and what each snapshot says of itself.
"""

from __future__ import annotations

import marshal
import sys
from operator import attrgetter
from typing import Any

from kluis.errors import FormatError
from kluis.format import crypt
from kluis.format.ledger import (
    ForgottenMark,
    Held,
    Logged,
    PackName,
    Role,
    Roles,
    SegmentRange,
    SnapshotMark,
    Verified,
)
from kluis.repository.cache import ClientCache
from kluis.repository.ledger import Ledger
from kluis.repository.state import LedgerState
from kluis.surroundings import Surroundings

LEDGER = "ledger"
# Reading so many records again takes as long as writing the state of a small store: 10 ms.
KEPT_FROM_RECORDS = 32
# A long list of snapshots is written anew only once this share of it is new.
KEPT_SHARE = 64
# Raised whenever what is kept means something else.
_MEANING = 1

# Fields of a state that are plain values as they are.
_PLAIN = (
    *("head", "head_digest", "forgotten_at", "times", "copied_doomed", "doomed_snapshots"),
    *("lost", "ended", "claimed", "open_at_floor", "floor", "checkpoint", "replaced_in_order"),
)
_MARK, _ROLE = attrgetter(*SnapshotMark.__match_args__), attrgetter(*Role.__match_args__)
# What `marshal` writes is read by the same version of Python alone.
_VERSION = f"{_MEANING} {sys.implementation.cache_tag} {marshal.version}".encode()


class Shelf:
    """Values in a client's cache, each sealed under one key and bound to its name and version."""

    def __init__(self, cache: ClientCache, key: bytes, machine: Surroundings) -> None:
        self._cache, self._key, self._machine = cache, key, machine

    def read(self, name: str) -> object:
        """What was kept under this name last; None if that cannot be had."""
        sealed = self._cache.read(name)
        if sealed is None:
            return None
        try:
            return marshal.loads(crypt.unseal(self._key, sealed, self._context(name), name))
        except (FormatError, EOFError, ValueError, TypeError):
            return None

    def write(self, name: str, value: Any) -> None:
        """Keeps plain values: numbers, texts, bytes, and tuples, lists, sets, dicts of them."""
        nonce = self._machine.random(crypt.NONCE_LIMIT_BYTES)
        plain = marshal.dumps(value)
        self._cache.write(
            name, crypt.seal(self._key, crypt.XCHACHA20, nonce, plain, self._context(name))
        )

    @staticmethod
    def _context(name: str) -> bytes:
        return b"kluis client cache\0" + _VERSION + b"\0" + name.encode()


def open_ledger(ledger: Ledger, cache: ClientCache, machine: Surroundings) -> None:
    """Reads the ledger, from where this client had come last time if that can be relied on."""
    shelf = Shelf(cache, crypt.derive(ledger.identity.vault_key, "client's ledger"), machine)
    kept = shelf.read(LEDGER)
    known = 0
    if isinstance(kept, dict):
        state, digests = _unpacked(kept)
        known = state.head
        if not ledger.resume(state, digests):
            known = 0
    if not known:
        ledger.read()
    state = ledger.state
    if ledger.gap is not None or ledger.broken or ledger.without_twin:
        return
    marks = len(state.live) // KEPT_SHARE
    fresh = sum(n > known for n in ledger.digests)
    if fresh >= max(KEPT_FROM_RECORDS, marks) or (not known and fresh + marks >= KEPT_FROM_RECORDS):
        shelf.write(LEDGER, _packed(state, ledger.digests))


def _packed(state: LedgerState, digests: dict[int, bytes]) -> dict[str, object]:
    """All of a state, and the digests since its checkpoint, as plain values."""
    granted, logged = state.granted, state.logged
    plain = {name: getattr(state, name) for name in _PLAIN}
    return {
        **plain,
        "digests": {n: digest for n, digest in digests.items() if n >= state.checkpoint},
        "roles": [_ROLE(role) for role in state.roles.values()],
        "granted": ([_ROLE(role) for role in granted.roles], granted.sequence, granted.signature),
        "live": [_MARK(mark) for mark in state.live.values()],
        "forgotten": [(_MARK(item.mark), item.forgotten_ns) for item in state.forgotten.values()],
        "held": [(held.snapshot, held.reason) for held in state.held.values()],
        "doomed": [(pack.shelf, pack.digest) for pack in state.doomed],
        "verified": [
            (item.level, item.time_ns, [(s.run, s.first_k, s.last_k) for s in item.segments])
            for item in state.verified
        ],
        "logged": None if logged is None else (logged.n, logged.digest),
    }


def _unpacked(kept: dict[str, Any]) -> tuple[LedgerState, dict[int, bytes]]:
    """What `_packed` was given."""
    roles, sequence, signature = kept["granted"]
    forgotten = [ForgottenMark(SnapshotMark(*mark), ns) for mark, ns in kept["forgotten"]]
    state = LedgerState(
        **{name: kept[name] for name in _PLAIN},
        roles={role.verify_key: role for role in (Role(*values) for values in kept["roles"])},
        granted=Roles(tuple(Role(*values) for values in roles), sequence, signature),
        live={values[0]: SnapshotMark(*values) for values in kept["live"]},
        forgotten={item.mark.run: item for item in forgotten},
        held={values[0]: Held(*values) for values in kept["held"]},
        doomed={PackName(*values) for values in kept["doomed"]},
        verified=[
            Verified(level, time_ns, tuple(SegmentRange(*values) for values in segments))
            for level, time_ns, segments in kept["verified"]
        ],
        logged=Logged(*kept["logged"]) if kept["logged"] is not None else None,
    )
    return state, kept["digests"]
