"""Snapshots of a store: read, listed with their times, chosen by id."""

from __future__ import annotations

from typing import TypeVar

from kluis.errors import DamageError, FormatError, NotFoundError, UsageError
from kluis.format import crypt, envelope, names, snapshot
from kluis.format.certificate import Certificate
from kluis.format.ledger import SnapshotMark
from kluis.format.snapshot import Facts, Root
from kluis.frozen import frozen
from kluis.repository.access import Repository
from kluis.repository.keys import Session
from kluis.repository.run import open_run_key, read_certificate
from kluis.repository.small import read_or_none
from kluis.repository.state import LedgerState, raised_times

T = TypeVar("T")

PREFIX_CHARACTERS = 4


class VoidSnapshotError(DamageError):
    """A snapshot that a key made count which did not make it: nobody owes it anything."""


@frozen
class Snapshot:
    """A snapshot that counts, opened as far as this key opens it."""

    mark: SnapshotMark
    time_ns: int  # claimed, raised to its client's one before it
    facts: Facts
    root: Root | None  # None for keys that do not read content
    certificate: Certificate

    def id(self) -> str:
        """The whole id: the name of its run."""
        return names.base32(self.mark.run)


def decode(
    data: bytes, name: str, session: Session, state: LedgerState
) -> tuple[Certificate, Facts, Root | None]:
    """A stored snapshot, every signature checked."""
    run, k = names.parse_numbered(name)
    encoded, sealed_facts, sealed_root = snapshot.unwrap(data, name)
    certificate = read_certificate(encoded, session, state)
    envelope.check_signature(data, certificate.verify_key, name)
    keys = session.domain(certificate.domain)
    facts = snapshot.decode_facts(
        crypt.unseal(
            crypt.derive(keys.meta(), "snapshots"),
            sealed_facts,
            snapshot.facts_context(session.vault, run, k),
            name,
        )
    )
    root = None
    if keys.secrets.secret is not None:
        key = crypt.derive(open_run_key(certificate, keys), "root")
        plain = crypt.unseal(key, sealed_root, snapshot.root_context(session.vault, run, k), name)
        root = snapshot.decode_root(plain)
    return certificate, facts, root


def load(repository: Repository, mark: SnapshotMark, time_ns: int) -> Snapshot:
    """The snapshot that the ledger means: whichever copy has the digest that it names."""
    name = names.numbered(names.SNAPSHOTS, mark.run, mark.k)
    missing = True
    for place in (name, names.twin(name)):
        data = read_or_none(repository.storage, place)
        missing = missing and data is None
        if data is not None and crypt.digest(data) == mark.digest:
            opened = decode(data, name, repository.session, repository.ledger.state)
            if opened[0].maker != mark.maker and not mark.copied:
                raise VoidSnapshotError(
                    f"{name} is forged: another key than the run's own made it count"
                )
            return Snapshot(mark, time_ns, opened[1], opened[2], opened[0])
    raise DamageError(
        f"{name} is {'missing' if missing else 'damaged'}, and so is its twin: snapshot "
        f"{names.base32(mark.run)} cannot be opened. Next: kluis repair --from another copy"
    )


def in_time(item: Snapshot) -> tuple[int, int, int, bytes]:
    """Sorts oldest first; of equal times (clocks go back) the one that counted first."""
    return item.time_ns, item.mark.counted, item.facts.finished_ns, item.mark.run


def load_all(repository: Repository) -> tuple[list[Snapshot], dict[str, str]]:
    """All live snapshots, oldest first, and why some cannot be opened (by id)."""
    state = repository.ledger.state
    times = raised_times(state, repository.surroundings.now())
    found, problems = [], {}
    for run, mark in state.live.items():
        try:
            found.append(load(repository, mark, times[run]))
        except VoidSnapshotError:
            continue
        except (DamageError, FormatError) as error:
            problems[names.base32(run)] = str(error)
    found.sort(key=in_time)
    return found, problems


def short_ids(ids: list[str]) -> dict[str, str]:
    """For each id the shortest prefix, of 8 characters or more, that no other has."""
    ordered = sorted(ids)
    heads = [whole[:8] for whole in ordered]
    if len(set(heads)) == len(heads):  # as of any few thousand
        return dict(zip(ordered, heads, strict=True))
    result = {}
    for i, whole in enumerate(ordered):
        length = 8
        for other in ordered[max(0, i - 1) : i + 2]:
            while other != whole and other[:length] == whole[:length]:
                length += 1
        result[whole] = whole[:length]
    return result


def resolve(repository: Repository, word: str, choice: list[Snapshot] | None = None) -> Snapshot:
    """The snapshot that `latest`, `latest~2`, an id or a unique prefix of one names.

    `choice` narrows `latest` to some snapshots, oldest first.
    """
    if is_latest(word):
        return nth_latest(word, load_all(repository)[0] if choice is None else choice)
    state = repository.ledger.state
    run = find_run(state, word)
    times = raised_times(state, repository.surroundings.now())
    return load(repository, repository.ledger.require(run), times[run])


def is_latest(word: str) -> bool:
    """True for `latest` and `latest~1`, which name by time; all else is an id."""
    return word == "latest" or word.startswith("latest~")


def find_run(state: LedgerState, word: str) -> bytes:
    """The run of the counting snapshot that an id or a unique prefix names; it is not opened."""
    matches = [run for run in state.counting() if names.base32(run).startswith(word.lower())]
    if len(word) < PREFIX_CHARACTERS and matches:
        raise NotFoundError(
            f"the id {word!r} is too short: give at least {PREFIX_CHARACTERS} characters"
        )
    if len(matches) > 1:
        raise NotFoundError(
            f"the id {word!r} is ambiguous: {len(matches)} snapshots begin with it. "
            "Next: give more of its characters"
        )
    if not matches:
        raise NotFoundError(
            f"there is no snapshot {word!r} in this repository. Next: kluis snapshots"
        )
    return matches[0]


def nth_latest(word: str, choice: list[T]) -> T:
    """What `latest~2` means of some snapshots, oldest first."""
    number = word.removeprefix("latest").removeprefix("~") or "0"
    if not number.isdecimal():
        raise UsageError(f"{word!r} names no snapshot: write latest, latest~1, latest~2, ...")
    if int(number) >= len(choice):
        raise NotFoundError(
            f"there is no snapshot {word}: "
            + (f"only {len(choice)} of them fit" if choice else "no snapshot fits")
            + ". Next: kluis snapshots"
        )
    return choice[-1 - int(number)]
