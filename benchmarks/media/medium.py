"""Mounts a modelled medium: a stick, a slow stick, a disk or an SSD, in real time.

Chain: mediasim.c in nbdkit, nbdfuse, a loop device, a real file system driver. Needs root and
the Debian packages nbdkit nbdkit-plugin-dev libnbd-bin exfat-fuse exfatprogs ntfs-3g.

    python -m benchmarks.media.medium usb exfat -- COMMAND ...   (with $MEDIUM as its place)

Figures to compare are the device's busy seconds: they do not depend on the machine's load.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

MODELS = ("usb", "usb-slow", "hdd", "ssd")
SYSTEMS = ("ext4", "exfat", "ntfs")

_FORMAT = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "exfat": ("mkfs.exfat",),
    "ntfs": ("mkntfs", "-Q", "-F", "-q"),
}
_MOUNT = {
    "ext4": ("mount", "-o", "noatime"),
    "exfat": ("mount.exfat-fuse", "-o", "noatime"),
    "ntfs": ("ntfs-3g",),
}
_SIZE_BYTES = 4 << 30
_PATIENCE_SECONDS = 20.0
_PROGRAMS = ("nbdkit", "nbdfuse", "mkfs.exfat", "mount.exfat-fuse", "ntfs-3g", "losetup", "gcc")
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "/usr/bin:/bin")


class NotHereError(Exception):
    """This machine cannot model media, and why."""


@dataclass(frozen=True)
class Statistics:
    """What a device has done since it was started."""

    reads: int
    writes: int
    flushes: int
    read_bytes: int
    written_bytes: int
    busy_seconds: float

    def since(self, earlier: Statistics) -> Statistics:
        """The difference of two moments."""
        return Statistics(
            self.reads - earlier.reads,
            self.writes - earlier.writes,
            self.flushes - earlier.flushes,
            self.read_bytes - earlier.read_bytes,
            self.written_bytes - earlier.written_bytes,
            self.busy_seconds - earlier.busy_seconds,
        )


@dataclass(frozen=True)
class Medium:
    """A mounted medium; a file `gone` or the like in `fault` makes it fail."""

    folder: Path
    fault: Path
    _stats: Path
    _loop: str

    def statistics(self) -> Statistics:
        """Counters once all that was written has reached the device."""
        _run("sync", "-f", str(self.folder))
        _run("blockdev", "--flushbufs", self._loop)
        *counts, busy = self._stats.read_text().split()
        reads, writes, flushes, read_bytes, written_bytes = (int(count) for count in counts)
        return Statistics(reads, writes, flushes, read_bytes, written_bytes, float(busy))


@contextmanager
def mounted(model: str, system: str, work: Path) -> Iterator[Medium]:
    """A freshly formatted medium, unmounted at the end; its files lie below `work`."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if os.geteuid() != 0 or missing:
        raise NotHereError(f"needs root and these programs: {', '.join(missing) or 'all there'}")
    with ExitStack() as undo:
        place = Path(tempfile.mkdtemp(prefix="medium-", dir=work))
        undo.callback(shutil.rmtree, place, ignore_errors=True)
        image, fuse, folder = place / "image", place / "fuse", place / "mounted"
        fuse.mkdir()
        folder.mkdir()
        with image.open("wb") as out:
            out.truncate(_SIZE_BYTES)
        loop = _run("losetup", "-f", "--show", str(image))
        _run(*_FORMAT[system], loop)  # on the raw file: formatting is not what we measure
        _run("losetup", "-d", loop)
        _serve(model, place, undo)
        loop = _run("losetup", "-f", "--show", str(fuse / "nbd"))
        undo.callback(_run, "losetup", "-d", loop)
        _run(*_MOUNT[system], loop, str(folder))
        undo.callback(_run, "umount", str(folder))
        yield Medium(folder, place / "fault", place / "stats", loop)


def _serve(model: str, place: Path, undo: ExitStack) -> None:
    """Starts the simulated device as `place`/fuse/nbd."""
    source = Path(__file__).with_name("mediasim.c")
    plugin = place / "mediasim.so"
    _run("gcc", "-O2", "-fPIC", "-shared", "-o", str(plugin), str(source), "-lm")
    parameters = [f"file={place}/image", f"stats={place}/stats", f"fault={place}/fault"]
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            ["nbdfuse", str(place / "fuse"), "--command", "nbdkit", "-s", "--exit-with-parent"]
            + [str(plugin), f"model={model}", *parameters],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"PATH": _PATH},
        )
    undo.callback(_stop, server, place / "fuse")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (place / "fuse" / "nbd").exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise NotHereError("the device did not start: " + (place / "log").read_text())
        time.sleep(0.05)


def _stop(server: subprocess.Popen[bytes], fuse: Path) -> None:
    _run("umount", str(fuse))
    server.wait(timeout=_PATIENCE_SECONDS)


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": _PATH},
    )
    if done.returncode != 0:
        raise NotHereError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def main() -> None:
    """Runs a command with a medium at $MEDIUM and says what the device did."""
    before, _, command = " ".join(sys.argv[1:]).partition(" -- ")
    words = before.split()
    if len(words) != 2 or words[0] not in MODELS or words[1] not in SYSTEMS or not command:
        raise SystemExit(__doc__)
    argv = sys.argv[sys.argv.index("--") + 1 :]
    with mounted(words[0], words[1], Path(tempfile.gettempdir())) as medium:
        start = medium.statistics()
        environment = os.environ | {"MEDIUM": str(medium.folder)}
        status = subprocess.run(argv, env=environment, check=False).returncode
        print(medium.statistics().since(start), file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
