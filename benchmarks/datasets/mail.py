"""Mail as servers keep it: mbox files that grow, and maildirs whose names hold the flags."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.datasets.kept import SEED, walk
from tests.datasets import prose

_MBOX_SHARE = 0.7
_MBOX_BYTES = 100_000_000
_NEW_SHARE = 0.01
_FLAGGED_SHARE = 0.02


def message(source: random.Random) -> bytes:
    """Headers, a text, and for one in eight a file in base64."""
    number = source.randrange(10**12)
    lines = [
        f"From: sender{source.randrange(400)}@example.org",
        f"To: office@example.org\nMessage-ID: <{number:012}@example.org>",
        f"Date: Mon, {source.randint(1, 28)} Jan 2026 0{source.randrange(10)}:15:00 +0000",
        f"Subject: {prose(source.randint(20, 60), number).strip()}",
        "Status: O\n",
        prose(source.randint(300, 6000), number),
    ]
    if source.random() < 1 / 8:
        lines.append("\n--part\nContent-Transfer-Encoding: base64\n")
        lines.append(base64.encodebytes(source.randbytes(source.randint(8_000, 120_000))).decode())
    return "\n".join(lines).encode() + b"\n\n"


def _messages(size_bytes: int, seed: int) -> Iterator[bytes]:
    source, made = random.Random(seed), 0
    while made < size_bytes:
        body = message(source)
        made += len(body)
        yield body


def mailbox(folder: Path, size_bytes: int) -> None:
    """mbox files of up to 100 MB, and a maildir with a file a message."""
    left, number = int(size_bytes * _MBOX_SHARE), 0
    while left > 0:
        part = min(left, _MBOX_BYTES)
        with (folder / f"folder-{number:02}.mbox").open("wb") as out:
            for body in _messages(part, SEED + number):
                out.write(b"From sender@example.org Mon Jan 26 09:00:00 2026\n" + body)
        left, number = left - part, number + 1
    for count, body in enumerate(_messages(int(size_bytes * (1 - _MBOX_SHARE)), SEED - 1)):
        inside = folder / "Maildir" / f"folder {count // 5000}" / "cur"
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"17690000{count:07}.M{count}.host:2,").write_bytes(body)


def touched(folder: Path, seed: int) -> list[Path]:
    """Every mbox, and one maildir message in fifty."""
    files = list(walk(folder))
    single = [path for path in files if path.suffix != ".mbox"]
    count = max(1, int(len(single) * _FLAGGED_SHARE)) if single else 0
    flagged = random.Random(seed).sample(single, count)
    return sorted([*(path for path in files if path.suffix == ".mbox"), *flagged])


def next_day(paths: list[Path], seed: int) -> None:
    """Mail read (a header changes its length, a name its flags), and new mail at the ends."""
    source = random.Random(seed)
    for path in paths:
        if path.suffix == ".mbox":
            _grow(path, source)
            continue
        path.rename(path.with_name(path.name + "S"))
        if source.random() < _NEW_SHARE / _FLAGGED_SHARE:
            new = path.with_name(f"17691000{source.randrange(10**7):07}.M1.host:2,")
            new.write_bytes(message(source))


def _grow(path: Path, source: random.Random) -> None:
    whole = path.read_bytes()
    parts = whole.split(b"\nStatus: O\n")
    flagged = set(source.sample(range(1, len(parts)), int((len(parts) - 1) * _FLAGGED_SHARE)))
    with path.open("wb") as out:
        out.write(parts[0])
        for number, part in enumerate(parts[1:], 1):
            out.write(b"\nStatus: RO\n" if number in flagged else b"\nStatus: O\n")
            out.write(part)
        for body in _messages(int(len(whole) * _NEW_SHARE), source.randrange(1 << 60)):
            out.write(b"From sender@example.org Tue Jan 27 09:00:00 2026\n" + body)
