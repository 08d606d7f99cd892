"""A snapshot that somebody forged, or a target that somebody works in: nothing leads out."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kluis._native import scatter
from kluis.errors import KluisError
from kluis.format import tree
from kluis.format.tree import Entry, Part, Tree
from kluis.operations.archiving import directories
from kluis.operations.archiving.entries import encode_tree
from kluis.operations.restore import restore
from kluis.options import OverwriteRule, RestoreOptions
from kluis.results import RestoreResult
from kluis.source.setting import FINAL_FLAGS
from tests.repositories import Place, make_place
from tests.unit.source.test_target_hostile import HOSTILE_NAMES, Scene, lay_out, racing, there

MARK = b"forged"
SNAPSHOTS = 10
Trials = Callable[[int, int], int]

names = st.sampled_from([b"a", b"b", b"link", b"outside", b"d", *HOSTILE_NAMES])
links = st.sampled_from([b"../outside", b"../outside/file", b"/etc/passwd", b"b", b"../../outside"])


@st.composite
def forged_entries(draw: st.DrawFn) -> Entry:
    """An entry without content, of any kind, perhaps another name of a thing that is none."""
    kind = draw(st.sampled_from([*tree.KINDS, tree.DIRECTORY, tree.SYMLINK, tree.FILE]))
    linked = draw(st.booleans())
    return Entry(
        name=draw(names),
        kind=kind,
        mode=draw(st.sampled_from([0o644, 0o755, 0o4777, 0o2777, 0, 0o7777])),
        uid=draw(st.sampled_from([os.geteuid(), 0, 12345])),
        gid=draw(st.sampled_from([os.getegid(), 0, 12345])),
        size=0,
        mtime_s=draw(st.integers(-(2**33), 2**33)),
        mtime_ns=draw(st.integers(0, 10**9)),
        flags=tree.LINKED if linked else draw(st.sampled_from([0, 0, 0, tree.LISTED])),
        inode=draw(st.integers(1, 2)) if linked else 0,
        device=draw(st.integers(0, 2)),
        link=draw(links) if kind == tree.SYMLINK else b"",
        xattrs=draw(st.sampled_from([(), ((b"user.x", b"y"),), ((b"trusted.x", b"y"),)])),
        attributes=draw(st.sampled_from([0, 0, 0x10, 0x40])),
    )


def forge(place: Place, entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot whose tree of the source holds these entries beside those that are there."""
    honest = encode_tree

    def forged(parts: list[Part]) -> bytes:
        if MARK not in [part.name for part in parts]:
            return honest(parts)
        found = {entry.name: entry for entry in tree.decode(honest(parts)).entries}
        found.update({entry.name: entry for entry in entries})
        for entry in entries:  # a folder is the folder that is there, and so are its files
            if entry.kind == tree.DIRECTORY:
                real = found[MARK]
                found[entry.name] = Entry(
                    entry.name, tree.DIRECTORY, 0o755, 0, 0, real.size, 1, 1,
                    digest=real.digest, extents=real.extents,
                )  # fmt: skip
        return tree.encode(Tree(tuple(found[name] for name in sorted(found))))

    with monkeypatch.context() as patch:
        patch.setattr(directories, "encode_tree", forged)
        place.write("again", os.urandom(8))
        place.backup()


def try_restore(place: Place, target: Path, **options: object) -> RestoreResult | None:
    wanted = RestoreOptions(path=place.path(), target=bytes(target))
    wanted = replace(wanted, **options)  # type: ignore[arg-type]
    with place.open() as repository:
        try:
            return restore(repository, wanted, place.context())
        except KluisError:
            return None


def new_place(folder: Path) -> Place:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    place = make_place(folder)
    place.write(f"{MARK.decode()}/file", "bytes of the snapshot")
    place.write(f"{MARK.decode()}/sub/file", "more")
    return place


def clear_flags(folder: Path) -> None:
    """So that what a restore made immutable can be removed."""
    for path in folder.rglob("*"):
        if stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            scatter.set_flags(descriptor, scatter.get_flags(descriptor) & ~FINAL_FLAGS)
            os.close(descriptor)


def test_forged_trees_write_nothing_outside(tmp_path: Path, trials: Trials) -> None:
    monkeypatch = pytest.MonkeyPatch()
    numbers = itertools.count()
    place = new_place(tmp_path / "place")
    outcomes = {"restored": 0, "refused": 0}

    @given(
        there,
        st.lists(forged_entries(), max_size=6),
        st.sampled_from(["always", "if-changed", "if-newer", "never"]),
        st.tuples(st.booleans(), st.booleans()),
    )
    @settings(max_examples=trials(60, 5000))
    def try_one(
        entries: list[tuple[bytes, str, str]],
        stored: list[Entry],
        overwrite: OverwriteRule,
        switches: tuple[bool, bool],
    ) -> None:
        nonlocal place
        if next(numbers) % SNAPSHOTS == 0:
            place = new_place(place.folder)
        forge(place, stored, monkeypatch)
        top = Path(tempfile.mkdtemp(prefix="kluis-hostile-", dir=tmp_path))
        scene = Scene(top)
        scene.target.close()
        lay_out(scene.inside, entries)
        scene.before = scene.state()  # to make a file through a link has touched what is there
        result = try_restore(
            place, scene.inside, overwrite=overwrite, delete=switches[0], verify=switches[1]
        )
        clear_flags(scene.inside)
        scene.assert_untouched()
        assert sorted(os.listdir(top)) == ["outside", "target"]
        assert not any(path.is_block_device() for path in scene.inside.rglob("*"))
        assert not any(path.is_char_device() for path in scene.inside.rglob("*"))
        outcomes["restored" if result is not None and not result.damages else "refused"] += 1
        shutil.rmtree(top)

    try_one()
    assert min(outcomes.values()) > 10, outcomes


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_tree_with_a_hostile_name_is_lost_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    place = new_place(tmp_path / "place")
    entry = Entry(name, tree.SYMLINK, 0o777, 0, 0, 0, 1, 1, link=b"/etc/passwd")
    forge(place, [entry], monkeypatch)
    result = try_restore(place, tmp_path / "out")
    assert result is not None
    assert result.exit_status == 4
    assert {path for damage in result.damages for path in damage.files} == {place.path() + b"/"}
    assert set(os.listdir(tmp_path / "out")) <= {"again", MARK.decode()}


def test_a_process_that_swaps_links_in_leads_no_restore_out(tmp_path: Path, trials: Trials) -> None:
    """Folders of the target change places with links to the outside while it is written."""
    place = make_place(tmp_path)
    for number in range(40):
        place.write(f"a/b/{number}", os.urandom(500))
    place.write("a/b/large", os.urandom(2_500_000))
    place.write("f", os.urandom(2_500_000))
    place.write("a/b/sub/deep", "x")
    place.backup()
    top = tmp_path / "scene"
    top.mkdir()
    scene = Scene(top)
    scene.target.close()
    inside = scene.inside
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "link").symlink_to(scene.outside)
    (inside / "link").symlink_to(scene.outside)
    (inside / "bait").symlink_to(scene.outside / "file")
    (inside / "f").write_text("x")
    at = os.open(inside, os.O_RDONLY)

    def swap() -> None:
        for one, other in ((b"a", b"link"), (b"f", b"bait")):
            scatter.exchange(at, one, at, other)
        middle = os.open(b"a", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        try:
            scatter.exchange(middle, b"b", middle, b"link")
        finally:
            os.close(middle)

    stop = racing(swap)
    rules = itertools.cycle(("always", "never", "if-newer", "if-changed"))
    deadline = time.monotonic() + trials(3, 600)
    results: list[RestoreResult | None] = []
    try:
        while time.monotonic() < deadline:
            results.append(
                try_restore(place, inside, overwrite=next(rules), delete=len(results) % 2 == 0)
            )
            for name in ("a", "link", "bait", "f"):
                if not os.path.lexists(inside / name):
                    (inside / name).symlink_to(scene.outside)
    finally:
        stop()
        os.close(at)
    scene.assert_untouched()
    assert len(results) > 10
