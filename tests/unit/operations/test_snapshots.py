from __future__ import annotations

import pytest

from kluis.errors import NotFoundError
from kluis.operations.forget import forget
from kluis.operations.snapshots import snapshots
from kluis.options import ForgetOptions, SnapshotFilter, SnapshotsOptions
from kluis.results import SnapshotsResult
from tests.repositories import DAY_NS, START_NS, Place, days_of_snapshots


def listed(place: Place, options: SnapshotsOptions) -> list[list[str]]:
    with place.open() as repository:
        result: SnapshotsResult = snapshots(repository, options, place.context())
    return [[snapshot.id for snapshot in group.snapshots] for group in result.groups]


def test_oldest_first_with_all_that_was_recorded(place: Place) -> None:
    first = place.backup(START_NS, tags=("a", "b"), description="first")
    second = place.backup(START_NS + DAY_NS)
    with place.open() as repository:
        [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
    assert [item.id for item in group.snapshots] == [first.snapshot_id, second.snapshot_id]
    info = group.snapshots[0]
    assert (info.time_ns, info.host, info.tags) == (START_NS, "box", ("a", "b"))
    assert (info.description, info.paths, info.files) == ("first", (place.path(),), 5)
    assert info.id.startswith(info.short_id)
    assert info.size == sum(path.stat().st_size for path in place.source.rglob("*.*"))


def test_no_snapshot_is_one_empty_group(place: Place) -> None:
    assert listed(place, SnapshotsOptions()) == [[]]


def test_filters_by_tag_and_host(place: Place) -> None:
    first = place.backup(tags=("daily", "books")).snapshot_id
    second = place.backup(host="other").snapshot_id
    for choice, wanted in (
        (SnapshotFilter(tags=(("daily", "books"),)), [first]),
        (SnapshotFilter(tags=(("daily", "x"), ("books",))), [first]),
        (SnapshotFilter(tags=(("",),)), [second]),
        (SnapshotFilter(hosts=("other",)), [second]),
        (SnapshotFilter(paths=(b"/nowhere",)), []),
    ):
        assert listed(place, SnapshotsOptions(filter=choice)) == [wanted]


def test_groups_and_the_newest_of_each(place: Place) -> None:
    a = [place.backup(START_NS + n, host="a").snapshot_id for n in range(3)]
    b = [place.backup(START_NS + 10 + n, host="b").snapshot_id for n in range(2)]
    assert listed(place, SnapshotsOptions(group_by=("host",))) == [a, b]
    assert listed(place, SnapshotsOptions(group_by=("host",), latest=1)) == [a[-1:], b[-1:]]
    assert listed(place, SnapshotsOptions(latest=1)) == [[a[-1], b[-1]]]


def test_ids_and_relative_words_choose(place: Place) -> None:
    ids = days_of_snapshots(place, 3)
    assert listed(place, SnapshotsOptions(ids=("latest~1", ids[0][:9]))) == [ids[:2]]
    for word in ("latest~3", "zzzz"):
        with pytest.raises(NotFoundError, match=word):
            listed(place, SnapshotsOptions(ids=(word,)))


def test_forgotten_ones_are_listed_only_when_asked_for(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    with place.open() as repository:
        forget(repository, ForgetOptions(ids=(ids[0],)), place.context())
    assert listed(place, SnapshotsOptions()) == [ids[1:]]
    assert listed(place, SnapshotsOptions(forgotten=True)) == [ids[:1]]


def test_a_snapshot_that_cannot_be_read_is_a_damage_and_hides_no_other(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    for path in place.location.rglob(f"{ids[0]}-*"):
        if path.parent.name == "snapshots":
            path.write_bytes(path.read_bytes()[:-1])
    with place.open() as repository:
        result = snapshots(repository, SnapshotsOptions(), place.context())
    assert [item.id for item in result.groups[0].snapshots] == ids[1:]
    assert ids[0] in result.damages[0].object
    assert result.exit_status == 4
