"""Each piece of work runs with the secrets of its role alone, and is refused without them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.errors import RefusedError
from kluis.format import crypt, domain, ledger
from kluis.format.ledger import AGENT, OPERATOR, Forgotten, Role, Roles
from kluis.operations.backup import backup
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.operations.verify import verify
from kluis.options import (
    BackupOptions,
    ForgetOptions,
    Limit,
    PruneOptions,
    VerifyOptions,
)
from kluis.repository.access import Repository, open_with, read_store
from kluis.repository.keys import Session, restricted
from kluis.repository.ledger import Signer
from kluis.repository.snapshots import load_all
from kluis.repository.state import LedgerState
from kluis.repository.trees import open_trees, root_content
from kluis.storage.local import LocalStorage
from tests.repositories import DAY_NS, START_NS, Place, make_place, small_tree


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path)
    small_tree(made)
    return made


def granted(place: Place, role: int, parts: int) -> Session:
    """A session with a key of its own, which the owner entitled to a role."""
    signer = Signer(*crypt.signing_key(os.urandom(32)))
    box, _ = crypt.box_key(os.urandom(32))
    with place.open() as repository:
        owner = repository.session
        entry = Role(role, "other", signer.verify, box, (owner.home().id,))
        known = repository.ledger.state.granted
        roles = Roles((*known.roles, entry), known.sequence + 1)
        signed = ledger.sign_roles(
            replace(roles, roles=tuple(sorted(roles.roles, key=lambda item: item.verify_key))),
            owner.vault,
            owner.signer.signing,
        )
        repository.ledger.append((signed,), owner.signer, place.clock)
        return restricted(owner, parts, role, signer)


def opened(place: Place, session: Session, cache: str) -> Repository:
    storage = LocalStorage(place.location)
    return open_with(
        storage, read_store(storage), session, (str(place.folder / cache), place.clock)
    )


def as_agent(place: Place, session: Session) -> str:
    with opened(place, session, "agent") as repository:
        options = BackupOptions(paths=(os.fsencode(place.source),), host="agent")
        return backup(repository, options, place.context()).snapshot_id


def test_an_agent_backs_up_without_the_secret_that_reads(place: Place) -> None:
    session = granted(place, AGENT, domain.META | domain.DEDUP)
    first = as_agent(place, session)
    place.write("docs/new.txt", "more\n" * 2000)
    second = as_agent(place, session)
    assert first != second
    with opened(place, session, "agent") as repository:
        snapshots, problems = load_all(repository)
        assert not problems
        assert [snapshot.root for snapshot in snapshots] == [None, None]
        reader = open_trees(repository, session.home().id)
        extent = next(iter(repository.ledger.state.live.values())).run, 0
        with pytest.raises(RefusedError):
            reader.frames.open(*extent)
    with place.open() as repository:
        snapshots, _ = load_all(repository)
        reader = open_trees(repository, session.home().id)
        for snapshot in snapshots:
            assert snapshot.root is not None
            assert reader.tree(root_content(snapshot.root)).entries
        result = verify(repository, VerifyOptions(level=2), place.context())
        assert result.exit_status == 0
        assert result.files


def test_an_operator_verifies_forgets_and_moves_frames_with_the_list_key_alone(
    place: Place,
) -> None:
    for day in range(4):
        place.write("changing.bin", os.urandom(200_000))
        place.backup(START_NS + day * DAY_NS)
    session = granted(place, OPERATOR, domain.META)
    with opened(place, session, "operator") as repository:
        assert verify(repository, VerifyOptions(level=1), place.context()).exit_status == 0
        ids = [snapshot.id() for snapshot in load_all(repository)[0]]
        done = forget(repository, ForgetOptions(ids=tuple(ids[:-1])), place.context())
        assert len(done.forgotten) == 3
        options = PruneOptions(max_unused=Limit(size=0), delay_seconds=0)
        result = prune(repository, options, place.context())
        assert result.plan.packs_moved
        assert len(result.plan.snapshots_doomed) == 3
    with opened(place, session, "operator") as repository:
        with pytest.raises(RefusedError):
            verify(repository, VerifyOptions(level=2), place.context())
        with pytest.raises(RefusedError):
            backup(repository, BackupOptions(paths=(os.fsencode(place.source),)), place.context())
    with place.open() as repository:
        result2 = verify(repository, VerifyOptions(level=2), place.context())
        assert result2.exit_status == 0
        assert result2.snapshots == 1


def test_an_agents_deletion_is_not_believed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = place.backup().snapshot_id
    session = granted(place, AGENT, domain.META | domain.DEDUP)
    with opened(place, session, "agent") as repository:
        event = Forgotten(tuple(repository.ledger.state.live), "stolen")
        with pytest.raises(RefusedError):
            repository.ledger.append((event,), session.signer, place.clock)
        with monkeypatch.context() as thief:  # who stole the key has a program of his own
            thief.setattr(LedgerState, "entitled", lambda *_: True)
            repository.ledger.append((event,), session.signer, place.clock)
    with place.open() as repository:
        assert [snapshot.id() for snapshot in load_all(repository)[0]] == [kept]
        assert place.backup().snapshot_id != kept


def test_a_removed_key_signs_nothing_more_but_what_it_made_stays(place: Place) -> None:
    session = granted(place, AGENT, domain.META | domain.DEDUP)
    made = as_agent(place, session)
    with place.open() as repository:
        owner, known = repository.session, repository.ledger.state.granted
        gone = tuple(replace(role, until=repository.ledger.state.head + 1) for role in known.roles)
        signed = ledger.sign_roles(
            Roles(gone, known.sequence + 1), owner.vault, owner.signer.signing
        )
        repository.ledger.append((signed,), owner.signer, place.clock)
    with place.open() as repository:
        assert [snapshot.id() for snapshot in load_all(repository)[0]] == [made]
        assert verify(repository, VerifyOptions(level=2), place.context()).exit_status == 0
    place.write("later.txt", "x")
    with pytest.raises(RefusedError):
        as_agent(place, session)
    with place.open() as repository:
        assert [snapshot.id() for snapshot in load_all(repository)[0]] == [made]
