"""Others who write while an operation decides, and wishes to stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kluis.errors import BusyError, CancelledError, KluisError
from kluis.events import Cancel, Context
from kluis.operations.forget import forget
from kluis.operations.hold import hold
from kluis.operations.ls import ls
from kluis.operations.rewrite import rewrite
from kluis.operations.snapshots import snapshots
from kluis.operations.tag import tag
from kluis.options import (
    Excludes,
    ForgetOptions,
    HoldOptions,
    KeepPolicy,
    LsOptions,
    RewriteOptions,
    SnapshotsOptions,
    TagOptions,
)
from kluis.repository.access import Repository
from kluis.repository.ledger import Ledger
from tests.repositories import Place, days_of_snapshots

Operation = Callable[[Repository, Context], object]


def forget_all_but_one(repository: Repository, context: Context) -> object:
    return forget(repository, ForgetOptions(policy=KeepPolicy(last=1)), context)


def hold_latest(repository: Repository, context: Context) -> object:
    return hold(repository, HoldOptions(("latest",)), context)


def tag_all(repository: Repository, context: Context) -> object:
    return tag(repository, TagOptions(add=("x",)), context)


def rewrite_all(repository: Repository, context: Context) -> object:
    rules = Excludes(patterns=(b"*.odt",))
    return rewrite(repository, RewriteOptions(excludes=rules, forget=True), context)


OPERATIONS = [forget_all_but_one, hold_latest, tag_all, rewrite_all]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_comes_through_however_often_others_are_first(
    place: Place, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    """Before each of the first three tries to append, somebody else holds a snapshot."""
    ids = days_of_snapshots(place, 3)
    append = Ledger.append
    left = [HoldOptions((ids[1],)), HoldOptions((ids[1],), release=True)] * 3

    def late(self: Ledger, *arguments: object) -> None:
        if self is repository.ledger and left:
            with place.open(cache="other") as other:
                hold(other, left.pop(0), place.context())
        append(self, *arguments)  # type: ignore[arg-type]

    with place.open() as repository:
        monkeypatch.setattr(Ledger, "append", late)
        operation(repository, place.context())
    assert left == []
    monkeypatch.setattr(Ledger, "append", append)
    with place.open() as again:
        [group] = snapshots(again, SnapshotsOptions(), place.context()).groups
        assert 1 <= len(group.snapshots) <= 3
        for snapshot in group.snapshots:
            assert list(ls(again, LsOptions(snapshot.id), place.context()).entries)
        assert place.backup().exit_status == 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_gives_up_with_words_where_others_never_stop(
    place: Place, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    ids = days_of_snapshots(place, 3)
    append = Ledger.append
    tries: list[int] = []

    def late(self: Ledger, *arguments: object) -> None:
        if self is repository.ledger:
            tries.append(1)
            with place.open(cache="other") as other:
                options = HoldOptions((ids[1],), release=len(tries) % 2 == 0)
                hold(other, options, place.context())
        append(self, *arguments)  # type: ignore[arg-type]

    with place.open() as repository:
        monkeypatch.setattr(Ledger, "append", late)
        with pytest.raises(KluisError, match=r"run it again") as caught:
            operation(repository, place.context())
    assert isinstance(caught.value, BusyError) == (operation is forget_all_but_one)
    assert len(tries) < 100
    monkeypatch.setattr(Ledger, "append", append)
    with place.open() as again:
        [group] = snapshots(again, SnapshotsOptions(), place.context()).groups
    assert [snapshot.id for snapshot in group.snapshots] == ids


@pytest.mark.parametrize("operation", [forget_all_but_one, tag_all, rewrite_all])
def test_a_wish_to_stop_leaves_all_as_it_was(place: Place, operation: Operation) -> None:
    ids = days_of_snapshots(place, 2)
    cancel = Cancel()
    cancel.set()
    with place.open() as repository:
        with pytest.raises(CancelledError):
            operation(repository, Context(cancel=cancel, surroundings=place.clock))
        [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
    assert [snapshot.id for snapshot in group.snapshots] == ids
