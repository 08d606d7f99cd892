from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from kluis.errors import NotFoundError
from kluis.operations.dump import dump
from kluis.options import DumpOptions
from kluis.results import DumpResult
from tests.repositories import Place


def dumped(place: Place, name: str, archive: str = "tar") -> tuple[bytes, DumpResult]:
    sink = io.BytesIO()
    with place.open() as repository:
        path = place.path(name) if name else place.path()
        options = DumpOptions(sink, path=path, archive=archive)  # type: ignore[arg-type]
        result = dump(repository, options, place.context())
    return sink.getvalue(), result


def test_a_file_is_dumped_bit_by_bit(place: Place) -> None:
    content = os.urandom(3_000_000)
    place.write("large", content)
    place.backup()
    assert dumped(place, "large") == (content, DumpResult(1, len(content)))
    assert dumped(place, "empty") == (b"", DumpResult(1, 0))


def test_what_is_no_file_and_no_folder_is_refused(place: Place) -> None:
    place.backup()
    for name in ("nothing", "link"):
        with pytest.raises(NotFoundError, match=name):
            dumped(place, name)


def awkward(place: Place) -> None:
    """Names, times and kinds that archives find hard."""
    (place.source / os.fsdecode(b"caf\xe9 \n")).write_bytes(b"latin")
    place.write("é" * 100, "long name")
    os.link(place.source / "letter.txt", place.source / "twin.txt")
    os.mkfifo(place.source / "pipe")
    os.utime(place.source / "letter.txt", ns=(1, 1_600_000_000_123_456_789))
    os.utime(place.source / "empty", ns=(1, -5_000_000_001))


def test_a_tar_unpacks_to_the_same_folder(place: Place, tmp_path: Path) -> None:
    awkward(place)
    place.backup()
    data, result = dumped(place, "")
    target = tmp_path / "out"
    target.mkdir()
    subprocess.run(["tar", "-x", "-f", "-", "-C", target], input=data, check=True)
    unpacked = Path(f"{target}{place.source}")
    names = sorted(path.relative_to(place.source) for path in place.source.rglob("*"))
    assert sorted(path.relative_to(unpacked) for path in unpacked.rglob("*")) == names
    for name in names:
        ours, theirs = unpacked / name, place.source / name
        one, other = ours.lstat(), theirs.lstat()
        assert (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)
        if stat.S_ISREG(one.st_mode):
            assert ours.read_bytes() == theirs.read_bytes()
            assert one.st_mtime_ns == other.st_mtime_ns, name
        if stat.S_ISLNK(one.st_mode):
            assert ours.readlink() == theirs.readlink()
    assert (unpacked / "twin.txt").samefile(unpacked / "letter.txt")
    assert (result.files, result.problems, result.exit_status) == (8, (), 0)


def test_a_tar_holds_extended_attributes(place: Place) -> None:
    os.setxattr(place.source / "empty", "user.note", b"\xff\x00 bytes")
    place.backup()
    data, _ = dumped(place, "")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        member = tar.getmember(f"{place.source}/empty".lstrip("/"))
    value = member.pax_headers["SCHILY.xattr.user.note"]
    assert value.encode("utf-8", "surrogateescape") == b"\xff\x00 bytes"


def test_a_zip_holds_files_folders_and_links_and_names_what_it_cannot(place: Place) -> None:
    awkward(place)
    place.backup()
    data, result = dumped(place, "", "zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        prefix = f"{place.source}/".lstrip("/")
        assert archive.read(prefix + "docs/notes/monday.txt") == b"call the accountant\n"
        assert archive.read(prefix + "link") == b"letter.txt"
        assert archive.getinfo(prefix + "docs/").is_dir()
        mode = archive.getinfo(prefix + "letter.txt").external_attr >> 16
        assert mode == (place.source / "letter.txt").stat().st_mode
    refused = {problem.path.rpartition(b"/")[2]: problem.reason for problem in result.problems}
    assert set(refused) == {b"caf\xe9 \n", b"pipe"}
    assert result.exit_status == 3


def test_the_root_of_a_snapshot_can_be_dumped(place: Place) -> None:
    place.backup()
    sink = io.BytesIO()
    with place.open() as repository:
        dump(repository, DumpOptions(sink, path=b"/"), place.context())
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        assert f"{place.source}/letter.txt".lstrip("/") in tar.getnames()


def test_damage_is_named_and_leaves_an_archive_that_can_be_read(place: Place) -> None:
    place.write("photo", os.urandom(1_000_000))
    place.backup()
    _damage_some_data(place)
    data, result = dumped(place, "")
    lost = {path for damage in result.damages for path in damage.files}
    assert lost
    assert result.exit_status == 4
    prefix = str(place.source).lstrip("/")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            path = b"/" + os.fsencode(member.name)
            if member.isreg() and path not in lost and member.name.startswith(prefix):
                content = tar.extractfile(member)
                assert content is not None
                assert content.read() == Path(os.fsdecode(path)).read_bytes()


def test_damage_leaves_a_zip_that_can_be_read(place: Place) -> None:
    place.write("photo", os.urandom(1_000_000))
    place.backup()
    _damage_some_data(place)
    data, result = dumped(place, "", "zip")
    assert result.exit_status == 4
    lost = {os.fsdecode(path) for damage in result.damages for path in damage.files}
    assert f"{place.source}/photo" in lost
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            if f"/{name}" not in lost and name.endswith(".txt"):
                assert archive.read(name) == Path(f"/{name}").read_bytes()


def test_a_damaged_file_ends_before_its_first_wrong_byte(place: Place) -> None:
    content = os.urandom(1_000_000)
    place.write("photo", content)
    place.backup()
    _damage_some_data(place)
    data, result = dumped(place, "photo")
    assert content.startswith(data)
    assert len(data) < len(content)
    assert result.damages[0].files == (place.path("photo"),)


def _damage_some_data(place: Place) -> None:
    """A flipped byte in the middle of the largest pack, and no parity to heal it with."""
    for path in (place.location / "parity").iterdir():
        path.unlink()
    packs = [path for path in place.location.rglob("packs/*/*") if path.is_file()]
    largest = max(packs, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
