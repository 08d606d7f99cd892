from __future__ import annotations

import pytest

from kluis.errors import NotFoundError, UsageError
from kluis.listing import SnapshotInfo
from kluis.operations.backup import backup
from kluis.operations.forget import forget
from kluis.operations.hold import hold
from kluis.operations.ls import ls
from kluis.operations.snapshots import snapshots
from kluis.operations.tag import tag
from kluis.options import (
    BackupOptions,
    ForgetOptions,
    HoldOptions,
    LsOptions,
    SnapshotsOptions,
    TagOptions,
)
from kluis.results import RewriteResult
from tests.repositories import DAY_NS, START_NS, Place, days_of_snapshots


def done(place: Place, options: TagOptions) -> RewriteResult:
    with place.open() as repository:
        return tag(repository, options, place.context())


def listed(place: Place) -> list[SnapshotInfo]:
    with place.open() as repository:
        [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
    return list(group.snapshots)


def test_the_new_snapshot_differs_in_its_tags_alone(place: Place) -> None:
    old = place.backup(START_NS, tags=("a", "b"), description="words").snapshot_id
    [before] = listed(place)
    place.clock.time_ns = START_NS + DAY_NS
    [rewritten] = done(place, TagOptions((old,), add=("c", "a"), remove=("b",))).snapshots
    [after] = listed(place)
    assert (rewritten.old, rewritten.new, rewritten.what) == (old, after.id, ("tags",))
    assert after.tags == ("a", "c")
    assert after.replaces == old
    for field in ("time_ns", "host", "paths", "description", "user", "files", "dirs", "size"):
        assert getattr(after, field) == getattr(before, field), field
    with place.open() as repository:
        entries = list(ls(repository, LsOptions(path=place.path()), place.context()).entries)
    assert len(entries) == 8


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        (TagOptions(replace=("x", "y", "x")), ("x", "y")),
        (TagOptions(replace=()), ()),
        (TagOptions(add=("b", "z")), ("a", "b", "z")),
        (TagOptions(remove=("a", "none")), ("b",)),
    ],
)
def test_tags_are_replaced_added_and_removed(
    place: Place, options: TagOptions, tags: tuple[str, ...]
) -> None:
    place.backup(tags=("a", "b"))
    done(place, options)
    assert [snapshot.tags for snapshot in listed(place)] == [tags]


def test_nothing_is_written_where_nothing_changes(place: Place) -> None:
    old = place.backup(tags=("a",)).snapshot_id
    before = sorted(path.name for path in place.location.rglob("*"))
    [same] = done(place, TagOptions((old,), add=("a",))).snapshots
    [would] = done(place, TagOptions((old,), add=("b",), dry_run=True)).snapshots
    assert (same.new, same.what) == ("", ())
    assert (would.new, would.what) == ("", ("tags",))
    assert sorted(path.name for path in place.location.rglob("*")) == before


def test_many_at_once_take_one_ledger_record_and_keep_their_order(place: Place) -> None:
    days_of_snapshots(place, 3)
    records = len(list((place.location / "ledger").iterdir()))
    before = [snapshot.time_ns for snapshot in listed(place)]
    done(place, TagOptions(add=("all",)))
    assert [snapshot.time_ns for snapshot in listed(place)] == before
    assert all(snapshot.tags == ("all",) for snapshot in listed(place))
    assert len(list((place.location / "ledger").iterdir())) == records + 1


def test_a_hold_goes_over_to_the_new_snapshot(place: Place) -> None:
    old = place.backup().snapshot_id
    with place.open() as repository:
        hold(repository, HoldOptions((old,), reason="audit"), place.context())
    done(place, TagOptions((old,), add=("a",)))
    assert [(snapshot.held, snapshot.tags) for snapshot in listed(place)] == [(True, ("a",))]


def test_the_next_backup_goes_on_from_the_new_snapshot(place: Place) -> None:
    old = place.backup(START_NS).snapshot_id
    [rewritten] = done(place, TagOptions((old,), add=("a",))).snapshots
    place.backup(START_NS + DAY_NS)
    assert listed(place)[1].parent == rewritten.new


def test_a_forgotten_one_and_a_contradiction_are_refused(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    with place.open() as repository:
        forget(repository, ForgetOptions(ids=(ids[0],)), place.context())
    with pytest.raises(NotFoundError, match="--undo"):
        done(place, TagOptions((ids[0],), add=("a",)))
    for options in (TagOptions(), TagOptions(replace=("a",), add=("b",))):
        with pytest.raises(UsageError):
            done(place, options)


def test_a_backup_in_between_is_no_hindrance(place: Place) -> None:
    place.backup(START_NS)
    with place.open() as late:
        place.backup(START_NS + DAY_NS)
        result = tag(late, TagOptions(("latest",), add=("a",)), place.context())
    assert len(result.snapshots) == 1
    assert [snapshot.tags for snapshot in listed(place)] == [("a",), ()]


def test_one_that_was_replaced_meanwhile_is_not_replaced_twice(place: Place) -> None:
    place.backup(START_NS)
    with place.open() as late, place.open() as early:
        tag(early, TagOptions(add=("first",)), place.context())
        result = tag(late, TagOptions(add=("second",)), place.context())
        wanted = BackupOptions(paths=(place.path(),), time_ns=START_NS + DAY_NS)
        backup(late, wanted, place.context())
    assert len(result.snapshots) == 1
    tags = [set(snapshot.tags) for snapshot in listed(place)]
    assert tags == [{"first", "second"}, set()]
