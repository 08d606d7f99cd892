"""Data sets: the same on each call, changed by a day, and the same again when that is undone."""

from __future__ import annotations

import random
import shutil
import tarfile
from pathlib import Path

import pytest

from benchmarks import datasets
from benchmarks.datasets import mail, real
from benchmarks.datasets.made import MADE

SIZE_BYTES = 3_000_000


def lines(folder: Path) -> list[str]:
    return list(datasets.manifest(folder))


@pytest.mark.parametrize("name", [dataset.name for dataset in MADE])
def test_two_calls_make_the_same_and_so_do_two_days(name: str, tmp_path: Path) -> None:
    first = datasets.prepare(name, SIZE_BYTES, tmp_path / "one")
    second = datasets.prepare(name, SIZE_BYTES, tmp_path / "two")
    before = lines(first.folder)
    assert before == lines(second.folder)
    assert first.digest == second.digest
    first.one_day(5, tmp_path / "aside one")
    second.one_day(5, tmp_path / "aside two")
    after = lines(first.folder)
    assert after == lines(second.folder)
    assert after != before
    first.back_again(tmp_path / "aside one")
    assert lines(first.folder) == before
    first.one_day(6, tmp_path / "aside one")
    assert lines(first.folder) != after  # another day is another change


@pytest.mark.parametrize("name", ["incompressible", "mailbox", "image", "churn", "sqldump"])
def test_a_data_set_has_about_the_size_asked_for(name: str, tmp_path: Path) -> None:
    made = datasets.prepare(name, 8_000_000, tmp_path)
    assert 0.6 < made.size_bytes / 8_000_000 < 1.4


def test_a_data_set_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    made = datasets.prepare("churn", SIZE_BYTES, tmp_path)
    largest = max(datasets.walk(made.folder), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as content:
        content.truncate(10)
    assert datasets.prepare("churn", SIZE_BYTES, tmp_path).digest == made.digest
    assert largest.stat().st_size > 10


def test_tiny_files_have_one_to_four_kilobytes_and_texts_of_their_own(tmp_path: Path) -> None:
    made = datasets.prepare("tiny", 1_000_000, tmp_path)
    files = list(datasets.walk(made.folder))
    assert len(files) == 300
    assert all(1024 <= path.stat().st_size <= 4096 for path in files)
    middles = {path.read_bytes()[400:600] for path in files}
    assert len(middles) == len(files)  # or a long compression window would find them all


def test_a_day_of_churn_replaces_two_files_in_a_hundred(tmp_path: Path) -> None:
    made = datasets.prepare("churn", 10_000_000, tmp_path)
    before = set(lines(made.folder))
    made.one_day(1, tmp_path / "aside")
    replaced = len(set(lines(made.folder)) - before)
    assert 0.01 <= replaced / made.files <= 0.03


def test_mail_grows_at_the_end_and_changes_flags_before(tmp_path: Path) -> None:
    made = datasets.prepare("mailbox", SIZE_BYTES, tmp_path)
    box = made.folder / "folder-00.mbox"
    before = box.read_bytes()
    made.one_day(3, tmp_path / "aside")
    after = box.read_bytes()
    assert after.count(b"\nStatus: RO\n") > before.count(b"\nStatus: RO\n")
    assert len(after) > len(before)
    assert any(path.name.endswith(":2,S") for path in datasets.walk(made.folder))


def test_a_message_is_the_same_for_the_same_source() -> None:
    assert mail.message(random.Random(1)) == mail.message(random.Random(1))


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Python files and one that is no text, as the only place to look."""
    place = tmp_path / "sources"
    place.mkdir()
    for number in range(60):
        text = "".join(f"def f{number}_{line}(): pass\n" for line in range(60))
        (place / f"module{number:02}.py").write_text(text)
    (place / "library.bin").write_bytes(b"\x7fELF\0\0")
    (place / "link.py").symlink_to("module00.py")
    monkeypatch.setattr(real, "_text_roots", lambda: iter([place]))
    return place


def test_texts_are_copied_in_order_and_others_left_out(sources: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "a", tmp_path / "b"):
        target.mkdir()
        real.texts(target, 40_000)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    names = [path.name for path in datasets.walk(tmp_path / "a")]
    assert names[:2] == ["module00.py", "module01.py"]
    assert "library.bin" not in names


def contents(archive: tarfile.TarFile) -> dict[str, bytes]:
    found = {}
    for entry in archive:
        stream = archive.extractfile(entry)
        assert stream is not None
        found[entry.name] = stream.read()
    return found


def test_the_next_release_s_tar_keeps_its_order(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tar"
    folder.mkdir()
    real.source_tar(folder, 1_000_000)
    tar = folder / "sources.tar"
    with tarfile.open(tar) as archive:
        before = contents(archive)
    copy = folder / "copy.tar"
    shutil.copy(tar, copy)
    real.new_versions([tar], 1)
    real.new_versions([copy], 1)
    assert tar.read_bytes() == copy.read_bytes()
    with tarfile.open(tar) as archive:
        after = contents(archive)
    assert list(after) == list(before)
    assert 1 <= sum(after[name] != before[name] for name in before) <= 12
