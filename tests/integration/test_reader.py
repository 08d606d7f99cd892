"""The single-file reader: restores what kluis wrote, names what is damaged, trusts nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import kluis
from tests.golden.make import ARCHIVE, EXPECTED, describe
from tests.lint.project import ROOT
from tests.repositories import PASSPHRASE, Place, make_place, small_tree

READER = ROOT / "engine/kluis/documents/kluis-reader.py"
GOLDEN = json.loads(EXPECTED.read_text())
LEVELS = 1100  # more than descriptors that a process has before it asks, and than Python's stack
NEVER_MADE = ("null", "socket")
LEFT_OUT = {"null": "a device", "socket": "a socket", "tool": "setuid"}  # code 3 for these alone


def read(
    repository: Path, *words: str | Path, secret: str = ""
) -> subprocess.CompletedProcess[str]:
    """The reader in a process of its own, which finds no kluis to import."""
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", READER, repository, *words],
        env={"KLUIS_PASSWORD": secret or GOLDEN["passphrases"][0], "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def load_reader() -> ModuleType:
    """The reader's functions."""
    spec = importlib.util.spec_from_file_location("kluis_reader", READER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def owed(entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What of a folder's description a restore without privileges gives back."""
    found = {path: dict(entry) for path, entry in entries.items() if path not in NEVER_MADE}
    for entry in found.values():
        if entry["kind"] == "file":
            entry["mode"] &= 0o1777
        if os.geteuid() != 0:
            entry["owner"] = [os.getuid(), os.getgid()]
    if os.geteuid() != 0:  # nor can such a folder be looked into
        found = {path: entry for path, entry in found.items() if not path.startswith("shut/")}
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def damage(path: Path) -> None:
    """One bit in the middle of a file is not what it was."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "repository"


@pytest.fixture
def golden(unpacked: Path, tmp_path: Path) -> Path:
    """A copy of the golden repository, to be damaged."""
    return Path(shutil.copytree(unpacked, tmp_path / "golden"))


@pytest.fixture(scope="module")
def reader() -> ModuleType:
    return load_reader()


@pytest.mark.parametrize("snapshot", GOLDEN["snapshots"], ids=lambda s: s["tags"][0])
def test_golden_snapshots_are_restored_by_the_reader(
    unpacked: Path, tmp_path: Path, snapshot: dict[str, Any]
) -> None:
    before = digests(unpacked)
    done = read(unpacked, "restore", snapshot["id"], tmp_path / "out", GOLDEN["top"])
    assert describe(tmp_path / "out") == owed(snapshot["entries"])
    told = dict(line.removeprefix("/").split(": ", 1) for line in done.stderr.splitlines())
    assert told.keys() == LEFT_OUT.keys()
    assert all(LEFT_OUT[path] in why for path, why in told.items())
    assert done.returncode == 3
    assert digests(unpacked) == before


@pytest.mark.parametrize("snapshot", GOLDEN["snapshots"], ids=lambda s: s["tags"][0])
def test_golden_snapshots_are_restored_by_kluis(
    unpacked: Path, tmp_path: Path, snapshot: dict[str, Any]
) -> None:
    secret = kluis.Credentials(passphrase=GOLDEN["passphrases"][1].encode())
    target, top = os.fsencode(tmp_path / "out"), os.fsencode(GOLDEN["top"])
    with kluis.open(unpacked, secret, cache_folder=tmp_path / "cache") as repository:
        options = kluis.RestoreOptions(snapshot["id"], path=top, target=target)
        kluis.restore(repository, options)
    assert describe(tmp_path / "out") == owed(snapshot["entries"])


def test_the_reader_lists_the_snapshots_that_kluis_lists(unpacked: Path) -> None:
    done = read(unpacked, "list", secret=GOLDEN["passphrases"][1])
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [snapshot["id"] for snapshot in GOLDEN["snapshots"]]
    for row, snapshot in zip(rows, GOLDEN["snapshots"], strict=True):
        assert row[3:5] == ["golden", GOLDEN["top"]]
        assert " ".join(row[5:]) == " ".join(snapshot["tags"])


def test_ls_shows_every_path_once_and_escapes_what_steers_terminals(unpacked: Path) -> None:
    done = read(unpacked, "ls", GOLDEN["snapshots"][0]["id"][:6], GOLDEN["top"])
    assert (done.returncode, done.stderr) == (0, "")
    paths = [line.split(None, 1)[1] for line in done.stdout.splitlines()]
    assert len(paths) == len(set(paths)) == len(GOLDEN["snapshots"][0]["entries"])
    assert GOLDEN["top"] + "/new\\nline \\x1b[31m" in paths
    assert GOLDEN["top"] + "/caf\\xe9" in paths


def test_one_file_and_one_folder_can_be_restored(unpacked: Path, tmp_path: Path) -> None:
    entries = GOLDEN["snapshots"][-1]["entries"]
    folder = read(unpacked, "restore", "latest", tmp_path / "a", GOLDEN["top"] + "/letters/2025")
    assert (folder.returncode, sorted(os.listdir(tmp_path / "a"))) == (
        0, ["again", "empty folder", "to ann.txt"],
    )  # fmt: skip
    file = read(unpacked, "restore", "latest", tmp_path / "b", GOLDEN["top"] + "/listed")
    assert (file.returncode, list(describe(tmp_path / "b"))) == (0, ["listed"])
    assert describe(tmp_path / "b")["listed"]["sha256"] == entries["listed"]["sha256"]


def test_one_damaged_copy_of_every_small_object_is_made_up_for_by_the_other(golden: Path) -> None:
    """Of each the object in its place or the twin, in turn."""
    names = [p.relative_to(golden / "twins") for p in (golden / "twins").rglob("*") if p.is_file()]
    small = [name for name in names if name.suffix == "" and name.name != "README"]
    assert len(small) > 8
    for number, name in enumerate(sorted(small)):
        damage(golden / name if number % 2 else golden / "twins" / name)
    done = read(golden, "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(GOLDEN["snapshots"])


@pytest.mark.parametrize("harm", [Path.unlink, damage], ids=["gone", "damaged"])
def test_without_segments_frames_are_found_in_the_packs(
    golden: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    for segment in (golden / "index").iterdir():
        harm(segment)
    read(golden, "restore", "latest", tmp_path / "out", GOLDEN["top"])
    assert describe(tmp_path / "out") == owed(GOLDEN["snapshots"][-1]["entries"])


def frame_bits(repository: Path) -> Iterator[tuple[Path, int]]:
    """A byte in the first frame of each pack."""
    for pack in sorted((repository / "packs").rglob("*/*")):
        certificates = int.from_bytes(pack.read_bytes()[60:62], "little")
        yield pack, 64 + 316 * certificates + 100


def test_files_of_damaged_frames_are_named_and_no_others_are_lost(
    golden: Path, tmp_path: Path
) -> None:
    """With each frame damaged in turn: what is written is right, what is not is named, code 4."""
    entries = owed(GOLDEN["snapshots"][-1]["entries"])
    lost_of_all: set[str] = set()
    for pack, offset in frame_bits(golden):
        data = bytearray(pack.read_bytes())
        data[offset] ^= 1
        pack.write_bytes(data)
        target = tmp_path / pack.name
        done = read(golden, "restore", "latest", target, GOLDEN["top"])
        data[offset] ^= 1
        pack.write_bytes(data)
        if not target.exists():  # the path to the folder itself was lost
            assert done.returncode == 4
            continue
        found = describe(target)
        named = {line.split(": ")[0].removeprefix("/") for line in done.stderr.splitlines()}
        for path, entry in found.items():
            if entry["kind"] == "file":
                assert entry["sha256"] == entries[path]["sha256"], path
        lost = set(entries) - set(found)
        assert all(path in named or str(Path(path).parent) in named for path in lost)
        assert done.returncode == (4 if lost else 3)
        lost_of_all |= lost
    assert "letters/report.txt" in lost_of_all


def test_a_pack_that_is_gone_loses_only_what_lies_in_it(golden: Path, tmp_path: Path) -> None:
    for pack in (golden / "packs").rglob("*/*"):
        pack.unlink()
    done = read(golden, "restore", "latest", tmp_path / "out")
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("/: ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("restore", "latest"), 2, "usage"),
        (("list", "latest"), 2, "usage"),
        (("sing",), 2, "usage"),
        (("restore", "zzzz", "TARGET"), 1, "0 snapshots are called zzzz"),
        (("restore", "", "TARGET"), 1, "5 snapshots"),
        (("restore", "latest", "TARGET", "/no/where"), 1, "/no/where"),
        (("restore", "latest", "FULL"), 1, "not empty"),
    ],
)
def test_what_cannot_be_done_gets_a_sentence_and_a_code(
    unpacked: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    places = {"TARGET": str(tmp_path / "out"), "FULL": str(tmp_path / "full")}
    done = read(unpacked, *(places.get(word, word) for word in words))
    assert done.returncode == code
    assert said in done.stderr
    assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path / "full") == ["mine"]


def test_a_wrong_or_replaced_passphrase_opens_nothing(unpacked: Path, tmp_path: Path) -> None:
    for secret in ("nobody's", GOLDEN["refused"]):
        done = read(unpacked, "restore", "latest", tmp_path / "out", secret=secret)
        assert (done.returncode, done.stdout) == (12, "")
        assert "passphrase" in done.stderr
        assert not (tmp_path / "out").exists()


def test_the_passphrase_may_lie_in_a_file(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(GOLDEN["passphrases"][1] + "\n")
    done = read(unpacked, "list", "--password-file", tmp_path / "secret", secret="wrong")
    assert done.returncode == 0


def test_an_empty_folder_is_no_repository(tmp_path: Path) -> None:
    done = read(tmp_path, "list")
    assert done.returncode == 10
    assert str(tmp_path) in done.stderr


def test_every_version_of_a_fresh_repository_is_restored(tmp_path: Path) -> None:
    place: Place = make_place(tmp_path)
    small_tree(place)
    ids, states = [], []
    for day in range(3):
        place.write("docs/diary.txt", f"day {day}\n" * 9000)
        place.write(f"docs/photo {day}", os.urandom(300_000))
        ids.append(place.backup().snapshot_id)
        states.append(describe(place.source))
    for snapshot, state in zip(ids, states, strict=True):
        out = tmp_path / snapshot
        words = ("restore", snapshot, out, str(place.source))
        done = read(place.location, *words, secret=PASSPHRASE.decode())
        assert (done.returncode, done.stderr) == (0, "")
        assert describe(out) == owed(state)


@pytest.fixture
def deep_place(tmp_path: Path) -> Iterator[Place]:
    """A place that is cleared away here: pytest cannot delete folders as deep as these."""
    yield make_place(tmp_path / "deep")
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


def test_deep_folders_are_restored(deep_place: Place) -> None:
    here = os.open(deep_place.source, os.O_DIRECTORY)
    for _ in range(LEVELS):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    deep_place.backup()
    out = deep_place.folder / "out"
    words = ("restore", "latest", out, str(deep_place.source))
    done = read(deep_place.location, *words, secret=PASSPHRASE.decode())
    assert (done.returncode, done.stderr) == (0, "")
    find = ["find", str(out), "-mindepth", "1", "-printf", "."]
    depth = subprocess.run(find, capture_output=True, check=True)
    assert len(depth.stdout) == LEVELS


# ---- What a hostile repository could hold


def tree_of(reader: ModuleType, names: list[bytes], kind: int = 1) -> bytes:
    """A listing of empty entries with these names."""
    rows = b"".join(
        reader.RECORD.pack(kind, 0, len(name), 0o644, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes(32))
        for name in names
    )
    sizes = (len(names), 0, sum(map(len, names)), 0)
    head = b"tree\1\0\0\0" + sizes[0].to_bytes(4, "little") + sizes[1].to_bytes(4, "little")
    head += sizes[2].to_bytes(8, "little") + sizes[3].to_bytes(8, "little")
    return head + rows + b"".join(names)


@pytest.mark.parametrize(
    "names",
    [
        [b".."], [b"."], [b""], [b"a/b"], [b"/etc"], [b"../x"], [b"a\0b"], [b"b", b"a"],
        [b"same", b"same"],
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(reader: ModuleType, names: list[bytes]) -> None:
    data = tree_of(reader, names)
    fake = SimpleNamespace(content=lambda _folder: iter([(data, len(data))]))
    with pytest.raises(ValueError, match="not allowed"):
        list(reader.Repository.entries(fake, SimpleNamespace(dedup=b"")))


@pytest.mark.parametrize("wrong", ["nothing", "digest", "size", "order"])
def test_content_counts_only_with_its_own_digest_and_size(reader: ModuleType, wrong: str) -> None:
    """Chunks that are each in order may still not be this file's."""
    chunks = [(bytes([n]) * 16, bytes([n]) * 9, 9) for n in (1, 2)]
    records = b"".join(hash16 + (9).to_bytes(8, "little") for hash16, _, _ in chunks)
    digest = reader.blake3(records, key=reader.derive(bytes(32), "content digests")).digest()
    given = bytes(32) if wrong == "digest" else digest
    found = reversed(chunks) if wrong == "order" else iter(chunks)
    fake = SimpleNamespace(blocks=lambda _: iter([(b"", given)]), chunks=lambda *_: found)
    size = 17 if wrong == "size" else 18
    entry = SimpleNamespace(kind=1, flags=0, size=size, dedup=bytes(32))
    content = reader.Repository.content(fake, entry)
    if wrong == "nothing":
        assert [length for _, length in content] == [9, 9]
    else:
        with pytest.raises(ValueError, match="wrong"):
            list(content)


def test_a_symlink_in_the_way_is_not_followed(reader: ModuleType, tmp_path: Path) -> None:
    """Somebody puts a link where a folder or file is about to be made."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "victim").write_text("mine")
    fake = SimpleNamespace(code=0, tell=lambda *_words: None, content=lambda _e: iter(()))
    target = reader.Target(fake, str(tmp_path / "target"))
    (tmp_path / "target/folder").symlink_to(tmp_path / "outside")
    (tmp_path / "target/file").symlink_to(tmp_path / "victim")
    for kind, name in ((2, b"folder"), (1, b"file")):
        with pytest.raises(FileExistsError):
            target.entry(SimpleNamespace(kind=kind, name=name, number=None, flags=0), b"")
    assert not os.listdir(tmp_path / "outside")
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("cut", [0, 1, 8, 75])
def test_rubbish_in_place_of_small_objects_is_named(golden: Path, cut: int) -> None:
    for name in ("ledger", "snapshots", "domains"):
        for path in [*(golden / name).iterdir(), *(golden / "twins" / name).iterdir()]:
            path.write_bytes(path.read_bytes()[:cut])
    done = read(golden, "list")
    assert done.returncode == 4
    assert "ledger/" in done.stderr
    assert "Traceback" not in done.stderr
