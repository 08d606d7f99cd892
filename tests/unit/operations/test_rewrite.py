from __future__ import annotations

import io

import pytest

from kluis.errors import RefusedError, UsageError
from kluis.listing import SnapshotInfo
from kluis.operations.dump import dump
from kluis.operations.forget import forget
from kluis.operations.hold import hold
from kluis.operations.ls import ls
from kluis.operations.prune import prune
from kluis.operations.rewrite import rewrite
from kluis.operations.snapshots import snapshots
from kluis.options import (
    DumpOptions,
    Excludes,
    ForgetOptions,
    HoldOptions,
    LsOptions,
    PruneOptions,
    RewriteOptions,
    SnapshotFilter,
    SnapshotsOptions,
)
from kluis.repository.listing import locate, root_of
from kluis.repository.selection import choose
from kluis.repository.snapshots import resolve
from kluis.repository.trees import open_trees
from kluis.results import RewriteResult
from tests.repositories import DAY_NS, START_NS, Place

NO_ODT = Excludes(patterns=(b"*.odt", b"tuesday.txt"))


def done(place: Place, options: RewriteOptions) -> RewriteResult:
    with place.open() as repository:
        return rewrite(repository, options, place.context())


def listed(place: Place) -> list[SnapshotInfo]:
    with place.open() as repository:
        [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
    return list(group.snapshots)


def names(place: Place, snapshot: str) -> list[str]:
    prefix = len(place.path()) + 1
    with place.open() as repository:
        options = LsOptions(snapshot, path=place.path())
        return [
            entry.path[prefix:].decode()
            for entry in ls(repository, options, place.context()).entries
        ]


def test_left_out_paths_are_gone_and_all_others_are_as_before(place: Place) -> None:
    old = place.backup().snapshot_id
    [rewritten] = done(place, RewriteOptions((old,), excludes=NO_ODT)).snapshots
    assert rewritten.what == ("2 paths left out",)
    assert names(place, rewritten.new) == [
        "docs", "docs/notes", "docs/notes/monday.txt", "empty", "letter.txt", "link",
    ]  # fmt: skip
    assert "docs/report.odt" in names(place, old)
    sink = io.BytesIO()
    with place.open() as repository:
        dump(
            repository,
            DumpOptions(sink, rewritten.new, place.path("docs/notes/monday.txt")),
            place.context(),
        )
    assert sink.getvalue() == b"call the accountant\n"
    after = {snapshot.id: snapshot for snapshot in listed(place)}
    new = after[rewritten.new]
    assert (new.files, new.size) == (3, 520)
    assert new.dirs == after[old].dirs
    assert new.replaces == old
    assert new.time_ns == after[old].time_ns


def test_the_use_map_holds_all_frames_of_the_new_snapshot_and_no_more(place: Place) -> None:
    place.write("docs/noise.odt", bytes(range(256)) * 8000)
    old = place.backup().snapshot_id
    [rewritten] = done(place, RewriteOptions((old,), excludes=NO_ODT, forget=True)).snapshots
    with place.open() as repository:
        prune(repository, PruneOptions(now=True), place.context())
    assert [snapshot.id for snapshot in listed(place)] == [rewritten.new]
    assert "docs/notes/monday.txt" in names(place, rewritten.new)
    with place.open() as repository:
        sink = io.BytesIO()
        dump(repository, DumpOptions(sink, path=b"/"), place.context())
    assert b"call the accountant\n" in sink.getvalue()


def test_host_time_tags_and_remark_are_changed_without_a_new_tree(place: Place) -> None:
    old = place.backup(START_NS, tags=("a",)).snapshot_id
    packs = sorted(place.location.rglob("packs/*/*"))
    options = RewriteOptions(
        (old,), host="new", time_ns=START_NS - DAY_NS, tags=("b",), description="words", forget=True
    )
    [rewritten] = done(place, options).snapshots
    assert rewritten.what == ("host", "time", "tags", "description")
    [new] = listed(place)
    assert (new.host, new.time_ns, new.tags, new.description) == (
        "new", START_NS - DAY_NS, ("b",), "words",
    )  # fmt: skip
    assert sorted(place.location.rglob("packs/*/*")) == packs


def test_a_snapshot_in_which_nothing_matches_stays_the_one_it_is(place: Place) -> None:
    old = place.backup().snapshot_id
    options = RewriteOptions((old,), excludes=Excludes(patterns=(b"*.mp3",)), forget=True)
    [rewritten] = done(place, options).snapshots
    assert (rewritten.new, rewritten.what) == ("", ())
    assert [snapshot.id for snapshot in listed(place)] == [old]


@pytest.mark.parametrize("time_ns", [-(1 << 63) - 1, 1 << 63])
def test_a_time_that_no_snapshot_can_hold_is_refused(place: Place, time_ns: int) -> None:
    old = place.backup().snapshot_id
    before = sorted(path.name for path in place.location.rglob("*"))
    with pytest.raises(UsageError, match="1678 to 2261"):
        done(place, RewriteOptions((old,), time_ns=time_ns))
    assert sorted(path.name for path in place.location.rglob("*")) == before
    [rewritten] = done(place, RewriteOptions((old,), time_ns=(1 << 63) - 1)).snapshots
    assert rewritten.what == ("time",)


def test_one_path_is_told_as_one(place: Place) -> None:
    place.write("only.mp3", b"song")
    old = place.backup().snapshot_id
    options = RewriteOptions((old,), excludes=Excludes(patterns=(b"*.mp3",)), dry_run=True)
    [would] = done(place, options).snapshots
    assert would.what == ("1 path left out",)


def test_a_dry_run_tells_the_same_and_writes_nothing(place: Place) -> None:
    old = place.backup().snapshot_id
    before = sorted(path.name for path in place.location.rglob("*"))
    options = RewriteOptions((old,), excludes=NO_ODT, host="new", dry_run=True)
    [would] = done(place, options).snapshots
    assert (would.old, would.new) == (old, "")
    assert would.what == ("2 paths left out", "host")
    assert sorted(path.name for path in place.location.rglob("*")) == before


def test_many_snapshots_share_the_trees_that_are_stored_anew(place: Place) -> None:
    for day in range(3):
        place.backup(START_NS + day * DAY_NS)
    result = done(place, RewriteOptions(excludes=NO_ODT, forget=True))
    assert all(item.new for item in result.snapshots)
    kept = listed(place)
    assert [snapshot.files for snapshot in kept] == [3, 3, 3]
    places = set()
    with place.open() as repository:
        for item in result.snapshots:
            snapshot = resolve(repository, item.new)
            trees = open_trees(repository, snapshot.certificate.domain)
            docs = locate(trees, root_of(snapshot), place.path("docs"))
            assert docs is not None
            places.add(docs.entry.extents)
    assert len(places) == 1
    place.backup(START_NS + 4 * DAY_NS)
    assert [snapshot.files for snapshot in listed(place)] == [3, 3, 3, 5]


def test_sizes_and_the_nodump_flag_leave_out_too(place: Place) -> None:
    old = place.backup().snapshot_id
    options = RewriteOptions((old,), excludes=Excludes(larger_than=1000))
    [rewritten] = done(place, options).snapshots
    assert "docs/report.odt" not in names(place, rewritten.new)
    assert "letter.txt" in names(place, rewritten.new)
    for rules in (Excludes(caches=True), Excludes(gitignore=True), Excludes(if_present=(b"x",))):
        with pytest.raises(UsageError, match="rewrite"):
            done(place, RewriteOptions((old,), excludes=rules))


def test_what_is_held_is_not_forgotten_by_rewriting_it(place: Place) -> None:
    old = place.backup().snapshot_id
    with place.open() as repository:
        hold(repository, HoldOptions((old,)), place.context())
    before = sorted(path.name for path in place.location.rglob("*"))
    with pytest.raises(RefusedError, match="held"):
        done(place, RewriteOptions((old,), excludes=NO_ODT, forget=True))
    assert sorted(path.name for path in place.location.rglob("*")) == before
    done(place, RewriteOptions((old,), excludes=NO_ODT))
    assert len(listed(place)) == 2


def test_leaving_out_everything_is_refused(place: Place) -> None:
    old = place.backup().snapshot_id
    with pytest.raises(UsageError, match="nothing would be left"):
        done(place, RewriteOptions((old,), excludes=Excludes(patterns=(b"*",))))
    assert [snapshot.id for snapshot in listed(place)] == [old]


def test_an_old_snapshot_that_goes_meanwhile_is_not_brought_back(place: Place) -> None:
    first = place.backup(START_NS).snapshot_id
    second = place.backup(START_NS + DAY_NS).snapshot_id
    with place.open() as late:
        with place.open() as early:
            forget(early, ForgetOptions(ids=(first,)), place.context())
            prune(early, PruneOptions(now=True), place.context())
        result = rewrite(late, RewriteOptions(excludes=NO_ODT, forget=True), place.context())
    assert [item.old for item in result.snapshots] == [second]
    assert [snapshot.id for snapshot in listed(place)] == [result.snapshots[0].new]
    with place.open() as repository:
        chosen, problems = choose(repository, (), SnapshotFilter())
    assert (len(chosen), problems) == (1, {})
