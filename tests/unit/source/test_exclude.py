"""Exclusions leave out what they name, below and beside nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kluis._native import scatter
from kluis.errors import UsageError
from kluis.options import Excludes
from kluis.source.exclude import CACHE_SIGNATURE, Exclusions, parse_size
from kluis.source.metadata import FLAG_APPEND
from tests.unit.source.test_walk import Seen, make

NODUMP = 0x40
assert FLAG_APPEND != NODUMP


def kept(root: Path, rules: Excludes, *below: str) -> set[str]:
    """Paths of all that a walk keeps below `root`."""
    top = bytes(root)
    seen = Seen(*([top + b"/" + b.encode() for b in below] or [top]), rules=rules)
    assert not seen.problems
    found = [
        os.fsdecode(path.removeprefix(top) + b"/" + name)[1:]
        for path, names in seen.entries.items()
        if path.startswith(top)
        for name in names
    ]
    return set(found)


def test_patterns_leave_out_names_and_what_lies_below(tmp_path: Path) -> None:
    make(tmp_path, "a/x.tmp", "a/x", "a/node/b/c", "node/d", "b/deep/e", "b/deeper/e")
    rules = Excludes(patterns=(b"*.tmp", b"node", b"/**/deep"))
    assert kept(tmp_path, rules) == {"a", "a/x", "b", "b/deeper", "b/deeper/e"}


def test_a_rooted_pattern_means_one_place_only(tmp_path: Path) -> None:
    make(tmp_path, "a/f", "b/a/f")
    rules = Excludes(patterns=(bytes(tmp_path) + b"/a",))
    assert kept(tmp_path, rules) == {"b", "b/a", "b/a/f"}


def test_what_was_taken_back_stays(tmp_path: Path) -> None:
    make(tmp_path, "a/x.tmp", "a/keep.tmp", "a/y")
    rules = Excludes(patterns=(b"a/*", b"!a/keep.tmp"))
    assert kept(tmp_path, rules) == {"a", "a/keep.tmp"}


def test_any_case_patterns_stand_beside_the_others(tmp_path: Path) -> None:
    make(tmp_path, "X.TMP", "x.Bak", "y.bak")
    rules = Excludes(patterns=(b"*.bak",), patterns_any_case=(b"*.tmp",))
    assert kept(tmp_path, rules) == {"x.Bak"}


def test_a_path_that_was_asked_for_can_be_excluded_too(tmp_path: Path) -> None:
    make(tmp_path, "a/b/f", "c/f")
    assert kept(tmp_path, Excludes(patterns=(b"b",)), "a/b", "c") == {"c", "c/f"}
    assert kept(tmp_path, Excludes(patterns=(b"a",)), "a/b/f", "c") == {"c", "c/f"}
    assert Seen(bytes(tmp_path / "a/b"), rules=Excludes(patterns=(b"/**",))).order == []


def test_a_cache_keeps_its_tag_alone(tmp_path: Path) -> None:
    make(tmp_path, "cache/x/y", "cache/z", "fake/x", "linked/x", "late/x")
    (tmp_path / "cache/CACHEDIR.TAG").write_bytes(CACHE_SIGNATURE + b"\n# more")
    (tmp_path / "fake/CACHEDIR.TAG").write_bytes(CACHE_SIGNATURE[:-1] + b"x")
    (tmp_path / "linked/CACHEDIR.TAG").symlink_to("../cache/CACHEDIR.TAG")
    os.mkfifo(tmp_path / "late/CACHEDIR.TAG")
    assert kept(tmp_path, Excludes(caches=True)) == {
        *("cache", "cache/CACHEDIR.TAG", "fake", "fake/x", "fake/CACHEDIR.TAG"),
        *("linked", "linked/x", "linked/CACHEDIR.TAG", "late", "late/x", "late/CACHEDIR.TAG"),
    }


def test_a_marked_folder_keeps_the_marking_file_alone(tmp_path: Path) -> None:
    make(tmp_path, "a/.nobackup", "a/x", "a/d/e", "b/mark", "b/x", "c/mark", "c/x")
    (tmp_path / "b/mark").write_bytes(b"stop: here")
    (tmp_path / "c/mark").write_bytes(b"go")
    rules = Excludes(if_present=(b".nobackup", b"mark:stop:"))
    assert kept(tmp_path, rules) == {
        *("a", "a/.nobackup", "b", "b/mark", "c", "c/mark", "c/x"),
    }


@pytest.mark.parametrize("option", [b"", b":x", b"a/b"])
def test_a_marker_without_a_name_is_refused(option: bytes) -> None:
    with pytest.raises(UsageError, match="exclude-if-present"):
        Exclusions(Excludes(if_present=(option,)))


def test_large_files_are_left_out_and_large_folders_are_not(tmp_path: Path) -> None:
    make(tmp_path, "d/")
    for size in (1023, 1024, 1025):
        (tmp_path / "d" / str(size)).write_bytes(bytes(size))
    assert kept(tmp_path, Excludes(larger_than=1024)) == {"d", "d/1023", "d/1024"}
    assert "d" in kept(tmp_path, Excludes(larger_than=0))


def test_nodump_is_obeyed_on_request(tmp_path: Path) -> None:
    make(tmp_path, "f", "g", "d/f")
    for name in ("f", "d"):
        descriptor = os.open(tmp_path / name, os.O_RDONLY)
        scatter.set_flags(descriptor, scatter.get_flags(descriptor) | NODUMP)
        os.close(descriptor)
    assert kept(tmp_path, Excludes(nodump=True)) == {"g"}
    assert kept(tmp_path, Excludes()) == {"f", "g", "d", "d/f"}


def test_gitignore_files_rule_their_folders_as_git_would(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("a.o", "sub/b.o", "sub/keep.o", "build/x", "sub/build/y", "sub/deep/c.log", "doc/x"),
        *(".git/config", "sub/deep/only.txt", "other/deep/c.log"),
    )
    (tmp_path / ".gitignore").write_text("*.o\n/build/\n# no\n\n*.git\ndoc\n!doc/x\n.git\n")
    (tmp_path / "sub/.gitignore").write_text("!keep.o\ndeep/*.log\n")
    assert kept(tmp_path, Excludes(gitignore=True)) == {
        *(".gitignore", ".git", ".git/config", "sub", "sub/.gitignore", "sub/keep.o"),
        *("sub/build", "sub/build/y", "sub/deep", "sub/deep/only.txt"),
        *("other", "other/deep", "other/deep/c.log"),
    }


def test_names_that_are_no_text_can_be_excluded(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe")).touch()
    (tmp_path / os.fsdecode(b"\xff\xfd")).touch()
    assert kept(tmp_path, Excludes(patterns=(b"*\xfe",))) == {os.fsdecode(b"\xff\xfd")}
    assert kept(tmp_path, Excludes(patterns=(b"\xff?",))) == set()


def test_without_rules_nothing_is_asked() -> None:
    assert not Exclusions().active
    assert Exclusions(Excludes(gitignore=True)).active


@pytest.mark.parametrize(("text", "size"), [("1M", 1 << 20), ("2.5G", 5 << 29), ("17", 17)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
