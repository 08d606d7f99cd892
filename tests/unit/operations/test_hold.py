from __future__ import annotations

import pytest

from kluis.errors import NotFoundError, RefusedError, UsageError
from kluis.operations.forget import forget
from kluis.operations.hold import hold
from kluis.operations.snapshots import snapshots
from kluis.options import (
    ForgetOptions,
    HoldOptions,
    KeepPolicy,
    SnapshotFilter,
    SnapshotsOptions,
)
from kluis.results import HoldResult
from tests.repositories import Place, days_of_snapshots


def done(place: Place, options: HoldOptions) -> HoldResult:
    with place.open() as repository:
        return hold(repository, options, place.context())


def held(place: Place) -> list[bool]:
    with place.open() as repository:
        [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
    return [snapshot.held for snapshot in group.snapshots]


def test_a_held_snapshot_is_listed_as_such_until_it_is_released(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    assert done(place, HoldOptions((ids[0],), reason="audit")) == HoldResult((ids[0],))
    assert held(place) == [True, False]
    again = done(place, HoldOptions((ids[0], "latest")))
    assert again == HoldResult((ids[1],), (ids[0],))
    assert done(place, HoldOptions((ids[0],), release=True)) == HoldResult((ids[0],), (), True)
    assert held(place) == [False, True]


def test_no_policy_removes_it_and_nobody_by_name(place: Place) -> None:
    ids = days_of_snapshots(place, 3)
    done(place, HoldOptions((ids[0],)))
    with place.open() as repository:
        with pytest.raises(RefusedError, match="held"):
            forget(repository, ForgetOptions(ids=(ids[1], ids[0])), place.context())
        policy = ForgetOptions(policy=KeepPolicy(last=1))
        result = forget(repository, policy, place.context())
    assert result.forgotten == (ids[1],)
    assert result.warnings == ()
    keep = {choice.snapshot.id: choice.reasons for choice in result.groups[0].keep}
    assert keep == {ids[0]: ("held",), ids[2]: ("last snapshot",)}


def test_a_filter_chooses(place: Place) -> None:
    one = place.backup(tags=("yearly",)).snapshot_id
    place.backup()
    assert done(place, HoldOptions(filter=SnapshotFilter(tags=(("yearly",),)))).changed == (one,)


def test_one_that_is_gone_or_not_named_is_refused(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    with place.open() as repository:
        forget(repository, ForgetOptions(ids=(ids[0],)), place.context())
    for options, error in (
        (HoldOptions((ids[0],)), NotFoundError),
        (HoldOptions((ids[1], "zzzz")), NotFoundError),
        (HoldOptions(), UsageError),
    ):
        with pytest.raises(error):
            done(place, options)
    assert held(place) == [False]


def test_who_comes_second_reads_on_and_decides_again(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    with place.open() as late:
        done(place, HoldOptions((ids[0],)))
        result = hold(late, HoldOptions(tuple(ids)), place.context())
    assert result == HoldResult((ids[1],), (ids[0],))
