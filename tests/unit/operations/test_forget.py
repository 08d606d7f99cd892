from __future__ import annotations

from dataclasses import replace

import pytest

import kluis
from kluis.errors import KluisError, NotFoundError, UsageError
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.operations.snapshots import snapshots
from kluis.options import (
    UNLIMITED_COUNT,
    ForgetOptions,
    GroupKey,
    KeepPolicy,
    PruneOptions,
    SnapshotFilter,
    SnapshotsOptions,
)
from kluis.results import ForgetResult
from tests.repositories import DAY_NS, HOUR_NS, START_NS, Place, days_of_snapshots


def done(place: Place, options: ForgetOptions) -> ForgetResult:
    with place.open() as repository:
        return forget(repository, options, place.context())


def listed(place: Place) -> list[str]:
    with place.open() as repository:
        [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
    return [snapshot.id for snapshot in group.snapshots]


def test_a_policy_keeps_what_it_says_with_the_reasons(place: Place) -> None:
    ids = days_of_snapshots(place, 10)
    result = done(place, ForgetOptions(policy=KeepPolicy(last=2, daily=3, weekly=2)))
    [group] = result.groups
    kept = {choice.snapshot.id: choice.reasons for choice in group.keep}
    assert list(kept) == [ids[7], ids[8], ids[9]] == listed(place)
    assert kept[ids[9]] == ("last snapshot", "daily snapshot", "weekly snapshot")
    assert kept[ids[8]] == ("last snapshot", "daily snapshot")
    assert kept[ids[7]][0] == "daily snapshot"
    assert [choice.reasons for choice in group.remove] == [()] * 7
    assert list(result.forgotten) == ids[:7]
    assert result.can_undo


def test_a_dry_run_decides_the_same_and_changes_nothing(place: Place) -> None:
    ids = days_of_snapshots(place, 4)
    options = ForgetOptions(policy=KeepPolicy(last=1), dry_run=True)
    planned = done(place, options)
    assert listed(place) == ids
    assert planned.dry_run
    assert not planned.can_undo
    carried_out = done(place, replace(options, dry_run=False))
    assert carried_out.groups == planned.groups
    assert carried_out.forgotten == planned.forgotten
    assert listed(place) == ids[3:]


def test_each_group_has_its_own_rules(place: Place) -> None:
    a = [place.backup(START_NS + n, host="a").snapshot_id for n in range(2)]
    b = [place.backup(START_NS + 10 + n, host="b", tags=("t",)).snapshot_id for n in range(2)]
    one = KeepPolicy(last=1)
    by_host = done(place, ForgetOptions(policy=one, dry_run=True))
    assert [group.host for group in by_host.groups] == ["a", "b"]
    assert by_host.forgotten == (a[0], b[0])
    together = done(place, ForgetOptions(policy=one, group_by=(), dry_run=True))
    assert together.forgotten == (*a, b[0])
    by_tags = done(place, ForgetOptions(policy=one, group_by=("tags",), dry_run=True))
    assert [group.tags for group in by_tags.groups] == [(), ("t",)]
    tagged = SnapshotFilter(tags=(("t",),))
    assert done(place, ForgetOptions(policy=one, filter=tagged)).forgotten == (b[0],)


def test_tags_keep_too(place: Place) -> None:
    first = place.backup(START_NS, tags=("books", "2025")).snapshot_id
    place.backup(START_NS + DAY_NS, tags=("books",))
    policy = KeepPolicy(tags=(("books", "2025"),))
    result = done(place, ForgetOptions(policy=policy))
    assert listed(place) == [first]
    assert result.groups[0].keep[0].reasons == ("has tags [books, 2025]",)


def test_a_policy_that_would_keep_nothing_is_refused(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    policy = KeepPolicy(tags=(("none",),))
    with pytest.raises(KluisError, match="not keep any") as caught:
        done(place, ForgetOptions(policy=policy))
    assert caught.value.exit_status == 1
    assert listed(place) == ids
    assert done(place, ForgetOptions(policy=policy, allow_remove_all=True)).forgotten == tuple(ids)


@pytest.mark.parametrize(
    "options",
    [
        ForgetOptions(),
        ForgetOptions(ids=("latest",), policy=KeepPolicy(last=1)),
        ForgetOptions(undo=("abcd",), ids=("latest",)),
        ForgetOptions(policy=KeepPolicy(daily=-2)),
        ForgetOptions(allow_remove_all=True),
    ],
)
def test_no_clear_choice_is_refused(place: Place, options: ForgetOptions) -> None:
    place.backup()
    with pytest.raises(UsageError):
        done(place, options)
    assert len(listed(place)) == 1


def test_a_time_in_the_future_counts_in_no_rule_and_stays_with_a_warning(place: Place) -> None:
    ids = days_of_snapshots(place, 3)
    wrong = place.backup(time_ns=START_NS + 4000 * DAY_NS).snapshot_id
    result = done(place, ForgetOptions(policy=KeepPolicy(last=2)))
    assert result.forgotten == (ids[0],)
    assert listed(place) == [*ids[1:], wrong]
    assert wrong in result.warnings[0]
    with pytest.raises(KluisError, match="not keep any"):
        done(place, ForgetOptions(policy=KeepPolicy(tags=(("x",),))))


def test_a_clock_that_was_ten_years_back_pushes_nobody_out(place: Place) -> None:
    ids = days_of_snapshots(place, 3)
    place.clock.time_ns = START_NS - 3650 * DAY_NS
    late = place.backup().snapshot_id
    place.clock.time_ns = START_NS + 3 * DAY_NS
    result = done(place, ForgetOptions(policy=KeepPolicy(last=1)))
    assert listed(place) == [late]
    assert set(result.forgotten) == set(ids)


def test_by_name_also_where_a_snapshot_cannot_be_opened(place: Place) -> None:
    ids = days_of_snapshots(place, 3)
    for path in place.location.rglob(f"{ids[0]}-*"):
        if path.parent.name == "snapshots":
            path.unlink()
    by_policy = done(place, ForgetOptions(policy=KeepPolicy(last=1), dry_run=True))
    assert by_policy.forgotten == (ids[1],)
    assert ids[0] in by_policy.warnings[0]
    result = done(place, ForgetOptions(ids=(ids[0], "latest~1")))
    assert set(result.forgotten) == set(ids[:2])
    assert listed(place) == ids[2:]


def test_an_unknown_or_forgotten_name(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    for word in ("zzzz", "abc", "latest~9"):
        with pytest.raises(NotFoundError, match=word):
            done(place, ForgetOptions(ids=(ids[0], word)))
    assert listed(place) == ids
    done(place, ForgetOptions(ids=(ids[0],)))
    again = done(place, ForgetOptions(ids=(ids[0],)))
    assert again.forgotten == ()
    assert "before" in again.warnings[0]


def test_undo_brings_back_until_a_prune(place: Place) -> None:
    ids = days_of_snapshots(place, 3)
    done(place, ForgetOptions(policy=KeepPolicy(last=1)))
    result = done(place, ForgetOptions(undo=(ids[0][:8], ids[1])))
    assert set(result.undone) == set(ids[:2])
    assert listed(place) == ids
    again = done(place, ForgetOptions(undo=(ids[0],)))
    assert (again.undone, len(again.warnings)) == ((), 1)
    done(place, ForgetOptions(ids=(ids[0],)))
    with place.open() as repository:
        prune(repository, PruneOptions(now=True), place.context())
        with pytest.raises(NotFoundError, match="prune"):
            forget(repository, ForgetOptions(undo=(ids[0],)), place.context())
    assert listed(place) == ids[1:]


def test_undo_is_refused_where_a_pack_it_needs_is_gone(place: Place) -> None:
    place.write("only", bytes(range(256)) * 400)
    first = place.backup(START_NS).snapshot_id
    packs = set(place.location.rglob("packs/*/*"))
    (place.source / "only").unlink()
    place.backup(START_NS + DAY_NS)
    done(place, ForgetOptions(ids=(first,)))
    for path in packs:
        path.unlink()
    with pytest.raises(KluisError, match="cannot be brought back"):
        done(place, ForgetOptions(undo=(first,)))
    assert len(listed(place)) == 1


def test_a_snapshot_made_meanwhile_counts_in_the_decision(place: Place) -> None:
    ids = days_of_snapshots(place, 2)
    with place.open() as late:
        newest = place.backup(START_NS + 5 * DAY_NS).snapshot_id
        result = forget(late, ForgetOptions(policy=KeepPolicy(last=1)), place.context())
    assert set(result.forgotten) == set(ids)
    assert listed(place) == [newest]


def test_unlimited_keeps_all_of_a_period(place: Place) -> None:
    ids = [place.backup(START_NS + n * HOUR_NS).snapshot_id for n in range(4)]
    result = done(place, ForgetOptions(policy=KeepPolicy(hourly=UNLIMITED_COUNT)))
    assert result.forgotten == ()
    assert listed(place) == ids


def test_forget_and_prune_in_one_call(place: Place) -> None:
    place.write("large", bytes(range(256)) * 20_000)
    place.backup(START_NS)
    (place.source / "large").unlink()
    place.backup(START_NS + DAY_NS)
    options = ForgetOptions(policy=KeepPolicy(last=1), prune=PruneOptions(), dry_run=True)
    with place.open() as repository:
        planned = kluis.forget(repository, options, place.context())
        assert planned.prune is not None
        assert planned.prune.dry_run
        assert len(planned.prune.plan.snapshots_doomed) == 1
        assert len(listed(place)) == 2
        result = kluis.forget(repository, replace(options, dry_run=False), place.context())
    assert result.prune is not None
    assert result.prune.plan.snapshots_doomed == result.forgotten
    assert len(listed(place)) == 1


@pytest.mark.parametrize(
    ("group_by", "said"),
    [
        (("tags",), "any of the 2 snapshots without tags, so"),
        (("host", "tags"), "any of the 2 snapshots of host box without tags, so"),
        (("host",), "any of the 2 snapshots of host box, so"),
        ((), "any of the 2 snapshots of this repository, so"),
    ],
)
def test_a_refusal_names_the_group_also_by_what_it_lacks(
    place: Place, group_by: tuple[GroupKey, ...], said: str
) -> None:
    days_of_snapshots(place, 2)
    options = ForgetOptions(policy=KeepPolicy(tags=(("never",),)), group_by=group_by)
    with pytest.raises(KluisError, match=said):
        done(place, options)


def test_a_refusal_names_host_tags_and_paths(place: Place) -> None:
    place.backup(START_NS, tags=("a", "b"))
    options = ForgetOptions(
        policy=KeepPolicy(tags=(("never",),)), group_by=("host", "tags", "paths")
    )
    said = f"the only snapshot of host box, tags a, b, paths {place.source}, so"
    with pytest.raises(KluisError, match=said):
        done(place, options)
