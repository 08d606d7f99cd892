"""The main job of kluis on real files, told as a story; ends with 1 if anything is not as told.

Uses nothing of kluis but its command line, in a temporary folder that is gone at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from scripts.story import NotAsToldError, Story, folder_size, size, tell
from scripts.treecompare import ALL, compare
from tests import datasets

SEED = 7
COPY_LIMIT_BYTES = 130_000_000  # of each real folder, so that the whole stays within 3 minutes
ROOM_BYTES = 3_000_000_000  # the source, the repository, three restored copies at a time
PROJECT = Path(__file__).resolve().parent.parent
KLUIS = PROJECT / ".venv" / "bin" / "kluis"
PYTHON = PROJECT / ".venv" / "bin" / "python"


class Demo:
    """The places of the story and its chapters, in order."""

    def __init__(self, work: Path) -> None:
        self.home = work / "home"
        self.office = self.home / "office"
        self.repo = work / "disk" / "backup"
        self.restored = work / "restored"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KLUIS_")}
        environment |= {
            "PATH": f"{KLUIS.parent}:{environment.get('PATH', '/usr/bin:/bin')}",
            "KLUIS_REPOSITORY": str(self.repo),
            "KLUIS_PASSWORD": "correct horse battery staple",
            "KLUIS_CACHE_DIR": str(work / "cache"),
        }
        self.story = Story(environment)
        self.source_bytes = 0
        self.first_database = b""
        self.touched: list[str] = []

    def tell(self) -> None:
        """All chapters."""
        self.something_to_keep()
        self.first_backup()
        self.nothing_changed()
        self.a_day_later()
        self.look_around()
        self.read_every_byte()
        self.get_it_back()
        self.one_damaged_byte()
        self.repaired()
        self.without_kluis()
        self.the_end()

    def something_to_keep(self) -> None:
        """Real files of this machine and a generated office."""
        story = self.story
        story.chapter("Something worth keeping")
        library = Path(f"/usr/lib/python{sys.version_info.major}.{sys.version_info.minor}")
        if not library.is_dir():
            library = Path(sysconfig.get_paths()["stdlib"])
        self.office.mkdir(parents=True)
        datasets.office(self.office, SEED)
        datasets.odd_entries(self.office / "odd", privileged=False)
        copy_tree(library, self.home / "library")
        copy_tree(Path("/usr/share/doc"), self.home / "documentation")
        for folder, what in (
            ("office", "made for this: letters, tables, photos, a database, a sparse disk image"),
            ("library", f"this machine's Python library, {library}"),
            ("documentation", "this machine's documentation, /usr/share/doc"),
        ):
            files, total = folder_size(self.home / folder, holes=False)
            self.source_bytes += total
            story.say(f"{folder:<14}{size(total):>9} {files:>6} files   {what}")
        story.say("Among them: names that are not UTF-8, hard links, ACLs, holes, a fifo.")

    def first_backup(self) -> None:
        """An empty disk becomes a repository."""
        story = self.story
        story.chapter("A repository, and the first backup")
        self.repo.parent.mkdir()
        story.run("kluis", "init")
        done = story.run("kluis", "backup", str(self.home), "--tag", "monday", show=12)
        files, stored = folder_size(self.repo)
        story.say(
            f"{size(self.source_bytes)} in {done.seconds:.1f} s, "
            f"{size(self.source_bytes / done.seconds)}/s, peak memory {size(done.peak_bytes)}; "
            f"the repository takes {size(stored)} in {files} files, "
            f"{100 * stored / self.source_bytes:.0f} % of the source, parity included."
        )
        self.first_database = digest(self.office / "books" / "ledger.sqlite")

    def nothing_changed(self) -> None:
        """What a run costs that finds nothing new."""
        story = self.story
        story.chapter("Nothing has changed")
        before = set(listing(self.repo))
        done = story.run("kluis", "backup", str(self.home), "--tag", "monday evening", show=0)
        new = set(listing(self.repo)) - before
        added = sum(entry[1] for entry in new)
        story.say(f"{done.seconds:.1f} s, {len(new)} files with {size(added)} written.")
        story.check("at most 4 files and 100 kB", len(new) <= 4 and added <= 100_000, str(new))

    def a_day_later(self) -> None:
        """Real changes, and what they cost."""
        story = self.story
        story.chapter("A day later")
        self.touched = [f"office/{name}" for name in datasets.change_office(self.office, SEED)]
        module = next((self.home / "library").glob("*.py"))
        module.write_text(module.read_text() + "\n# a line more\n")
        self.touched.append(str(module.relative_to(self.home)))
        story.say(f"{len(self.touched)} paths touched: a letter edited, one renamed, one removed,")
        story.say("a new photo, 180 rows of the database written, a dump made anew, a module.")
        before = folder_size(self.repo)[1]
        done = story.run("kluis", "backup", str(self.home), "--tag", "tuesday", show=12)
        added = folder_size(self.repo)[1] - before
        changed = sum(
            path.lstat().st_size for name in self.touched if (path := self.home / name).exists()
        )
        story.say(
            f"{done.seconds:.1f} s. The changed files hold {size(changed)}; "
            f"the repository grew by {size(added)}."
        )
        story.check("less was added than the changed files hold", added < changed)

    def look_around(self) -> None:
        """Lists, searches and compares snapshots."""
        story = self.story
        story.chapter("What is in there?")
        story.run("kluis", "snapshots", show=9)
        first, _, last = self.snapshot_ids()
        renamed = next(name for name in self.touched if "renamed" in name)
        shown = story.run("kluis", "ls", "latest", show=3)
        story.check("ls shows the renamed letter", str(self.home / renamed) in shown.stdout)
        shown = story.run("kluis", "find", "ledger.sqlite", show=6)
        path = str(self.office / "books" / "ledger.sqlite")
        story.check("find names it in all three snapshots", shown.stdout.count(path) >= 3)
        shown = story.run("kluis", "diff", "--metadata", first[:12], last[:12], show=14)
        named = {
            line[line.index("/") :].rstrip("/ ")
            for line in shown.stdout.splitlines()
            if "/" in line
        }
        touched = {str(self.home / name) for name in self.touched}
        around = {str(folder) for path in touched for folder in Path(path).parents}
        story.check(
            f"diff names the {len(touched)} touched paths and no other",
            touched <= named
            and not {n for n in named - touched - around if n.startswith(str(self.home))},
            f"missing {touched - named}, besides {named - touched - around}",
        )

    def snapshot_ids(self) -> list[str]:
        """Whole ids, oldest first, as a script gets them."""
        done = self.story.run("kluis", "snapshots", "--json", show=0)
        found: list[str] = []
        for line in done.stdout.splitlines():
            found += ids_in(json.loads(line))
        self.story.check("three snapshots", len(found) == 3, done.stdout)
        return found

    def read_every_byte(self) -> None:
        """Opens every frame and recomputes every digest."""
        story = self.story
        story.chapter("Is all of it readable? Every frame opened, every digest recomputed")
        done = story.run("kluis", "verify", "--level", "2")
        stored = folder_size(self.repo)[1]
        story.say(f"{size(stored)} in {done.seconds:.1f} s.")

    def get_it_back(self) -> None:
        """Restores, compares bit by bit; and one old file straight to stdout."""
        story = self.story
        story.chapter("Everything back")
        self.restore_and_compare()
        first = self.snapshot_ids()[0]
        target = self.restored.parent / "monday.sqlite"
        command = f"kluis dump {first[:12]} {self.office}/books/ledger.sqlite > monday.sqlite"
        script = f"kluis dump {first[:12]} {self.office}/books/ledger.sqlite > {target}"
        story.run("sh", "-c", script, shown=command)
        story.check("Monday's database, bit by bit", digest(target) == self.first_database)

    def restore_and_compare(self) -> None:
        """The whole home of the last snapshot into an empty folder."""
        shutil.rmtree(self.restored, ignore_errors=True)
        place = f"latest:{self.home}"
        done = self.story.run("kluis", "restore", place, "--target", str(self.restored))
        self.story.say(
            f"{done.seconds:.1f} s, {size(self.source_bytes / done.seconds)}/s, "
            f"peak memory {size(done.peak_bytes)}."
        )
        self.compare_restored(ALL)

    def compare_restored(self, what: frozenset[str]) -> None:
        """The demo's own comparison, which shares no code with kluis."""
        result = compare(self.home, self.restored, what)
        self.story.check(
            f"bit by bit the same: {result.files} files with {size(result.content_bytes)}, "
            f"{result.folders} folders, {result.others} links and fifos; {', '.join(sorted(what))}"
            f" ({result.xattrs} attributes, {result.hard_links} sets of hard links)",
            result.same and result.files > 0,
            "\n".join(result.differences[:20]),
        )

    def one_damaged_byte(self) -> None:
        """Flips one byte of the largest pack."""
        story = self.story
        story.chapter("The disk goes bad: one byte of one pack")
        self.pack = max(
            (self.repo / "packs").rglob("*"), key=lambda p: (p.is_file(), p.stat().st_size)
        )
        self.pack_digest = digest(self.pack)
        at = self.pack.stat().st_size * 2 // 5
        self.pack.chmod(0o600)
        with self.pack.open("r+b") as raw:
            raw.seek(at)
            old = raw.read(1)
            raw.seek(at)
            raw.write(bytes([old[0] ^ 0x10]))
        story.say(f"byte {at} of {self.pack.relative_to(self.repo)}: one bit of it is now wrong")
        found = story.run("kluis", "verify", "--level", "1", code=4, show=8)
        story.check(
            "verify ends with 4 and names that pack", self.pack.name in found.text, found.text
        )

    def repaired(self) -> None:
        """Parity gives the byte back."""
        story = self.story
        story.chapter("Repaired from what the repository itself holds")
        done = story.run("kluis", "repair", show=8)
        story.say(f"{done.seconds:.1f} s.")
        story.check("the pack is what it was, to the bit", digest(self.pack) == self.pack_digest)
        story.run("kluis", "verify", "--level", "2")
        self.restore_and_compare()

    def without_kluis(self) -> None:
        """The single-file reader that lies beside the data."""
        story = self.story
        story.chapter("And if kluis is gone: the reader that lies on the disk")
        shutil.rmtree(self.restored, ignore_errors=True)
        reader = self.repo / "kluis-reader.py"
        lines = len(reader.read_text().splitlines())
        story.say(f"{reader.name}: {lines} lines; it imports nothing of kluis")
        words = (str(self.repo), "restore", "latest", str(self.restored), str(self.home))
        done = story.run(
            *(str(PYTHON), "-I", str(reader), *words),
            shown=f"python3 {reader.name} {' '.join(words)}",
        )
        story.say(f"{done.seconds:.1f} s.")
        self.compare_restored(ALL)

    def the_end(self) -> None:
        """How long the story took."""
        story = self.story
        seconds = time.monotonic() - story.began
        print(f"\nAll as told, in {seconds:.0f} seconds. Nothing is left behind.")


def ids_in(value: object) -> list[str]:
    """The ids of all snapshots in a JSON value: objects with `id` and `tags`."""
    if isinstance(value, list):
        return [found for item in value for found in ids_in(item)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("id"), str) and isinstance(value.get("tags"), list):
        return [value["id"]]
    return [found for item in value.values() for found in ids_in(item)]


def digest(path: Path) -> bytes:
    """What tells two contents apart."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """(path, size, mtime) of every file."""
    return [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    ]


def copy_tree(source: Path, target: Path) -> None:
    """Copies readable files with their times and modes, in sorted order, up to the limit."""
    left = COPY_LIMIT_BYTES
    target.mkdir(parents=True)
    if not source.is_dir():
        return
    for path, folders, names in os.walk(source):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "__pycache__"})
        inside = target / Path(path).relative_to(source)
        inside.mkdir(exist_ok=True)
        for name in sorted(names):
            entry = Path(path, name)
            if entry.is_symlink():
                (inside / name).symlink_to(entry.readlink())
            elif entry.is_file() and os.access(entry, os.R_OK):
                left -= entry.stat().st_size
                if left < 0:
                    return
                shutil.copy2(entry, inside / name)


def roomy_folder() -> Path:
    """A new folder on a file system with room and extended attributes."""
    tried = []
    for parent in (tempfile.gettempdir(), "/var/tmp", str(PROJECT / ".demo")):
        try:
            Path(parent).mkdir(exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="kluis-demo-", dir=parent))
        except OSError as error:
            tried.append(f"{parent}: {error.strerror}")
            continue
        try:
            os.setxattr(folder, "user.kluis.probe", b"1")
            os.removexattr(folder, "user.kluis.probe")
            if shutil.disk_usage(folder).free >= ROOM_BYTES:
                return folder
            tried.append(f"{parent}: less than {size(ROOM_BYTES)} free")
        except OSError:
            tried.append(f"{parent}: no extended attributes")
        folder.rmdir()
    raise NotAsToldError("no folder to play in: " + "; ".join(tried))


def main() -> None:
    """Plays the story in a temporary folder."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the folder and name it")
    options = parser.parse_args()
    print(
        f"kluis on {platform.freedesktop_os_release()['PRETTY_NAME']}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    work = roomy_folder()
    try:
        Demo(work).tell()
    finally:
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
            if work.parent == PROJECT / ".demo":
                shutil.rmtree(work.parent, ignore_errors=True)


if __name__ == "__main__":
    tell(main)
