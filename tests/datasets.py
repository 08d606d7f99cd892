"""Folders and files made from a seed: what tests, the demo and the benchmarks back up.

The same arguments give the same bytes, names, modes and times on every machine
(an SQLite file: with the same SQLite). Nothing here knows what kluis is.
"""

from __future__ import annotations

import os
import random
import sqlite3
import struct
from pathlib import Path

_EPOCH_NS = 1_700_000_000 * 10**9  # 14 November 2023; times lie before it, never in the future
_MIB = 1 << 20
_DAY = 1_000_003

_WORDS = (
    "account agreement amount annual appendix approve archive balance board budget building "
    "calendar capital carrier charge client close collect committee company complete contract "
    "copy cost credit customer daily deliver department deposit detail director discount "
    "document draft duty employee estimate exchange expense factory figure finance folder "
    "forward freight general goods hour import insurance interest inventory invoice item labour "
    "ledger letter list loan market material meeting minute monthly notice number office offer "
    "order owner package paid partner payment pension period plan policy price product profit "
    "project purchase quarter quote rate receipt record region report request reserve result "
    "return salary sale schedule section service share sheet shipment signed staff statement "
    "stock storage subject summary supplier table tax term total trade transfer unit update "
    "value vendor version warehouse week year"
).split()


def incompressible(path: Path, size_bytes: int, seed: int) -> None:
    """Bytes that no compressor makes smaller: what photos, films and archives look like."""
    source = random.Random(seed)
    with path.open("wb") as out:
        for start in range(0, size_bytes, _MIB):
            out.write(source.randbytes(min(_MIB, size_bytes - start)))


def prose(size_bytes: int, seed: int) -> str:
    """Sentences of everyday words: compresses about as well as an office letter."""
    source = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size_bytes:
        words = source.choices(_WORDS, k=source.randint(5, 18))
        sentence = " ".join(words).capitalize() + (".\n\n" if source.random() < 0.15 else ". ")
        parts.append(sentence)
        length += len(sentence)
    return "".join(parts)[:size_bytes]


def table_rows(count: int, seed: int, first: int = 1) -> list[tuple[int, str, str, str, int, str]]:
    """Rows of a ledger: number, date, customer, subject, cents, a note."""
    source = random.Random(seed)
    rows = []
    for number in range(first, first + count):
        date = f"20{source.randint(18, 25)}-{source.randint(1, 12):02}-{source.randint(1, 28):02}"
        customer = f"{source.choice(_WORDS)} {source.choice(_WORDS)} {source.randint(1, 900)}"
        note = " ".join(source.choices(_WORDS, k=source.randint(2, 12)))
        rows.append((number, date, customer, source.choice(_WORDS), source.randint(1, 10**7), note))
    return rows


def spreadsheet(path: Path, rows: int, seed: int) -> None:
    """A table as comma separated values."""
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write("number,date,customer,subject,cents,note\r\n")
        for row in table_rows(rows, seed):
            out.write(",".join(str(value) for value in row) + "\r\n")


def sql_dump(path: Path, rows: int, seed: int) -> None:
    """A database dump as text, one statement a line."""
    with path.open("w", encoding="utf-8") as out:
        out.write("CREATE TABLE entry (number INT, day DATE, customer TEXT, subject TEXT, ")
        out.write("cents INT, note TEXT);\n")
        for number, day, customer, subject, cents, note in table_rows(rows, seed):
            out.write(
                f"INSERT INTO entry VALUES ({number}, '{day}', '{customer}', '{subject}', "
                f"{cents}, '{note}');\n"
            )


def change_sql_dump(path: Path, edits: int, added_rows: int, seed: int) -> None:
    """The same dump a day later: scattered lines differ, and new ones stand at the end."""
    source = random.Random(seed)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for _ in range(edits):
        at = source.randrange(1, len(lines))
        lines[at] = lines[at].replace("VALUES (", f"VALUES ({source.randrange(10**6)}", 1)
    for number, day, customer, subject, cents, note in table_rows(added_rows, seed, len(lines)):
        values = f"{number}, '{day}', '{customer}', '{subject}', {cents}, '{note}'"
        lines.append(f"INSERT INTO entry VALUES ({values});\n")
    path.write_text("".join(lines), encoding="utf-8")


def database(path: Path, rows: int, seed: int) -> None:
    """An SQLite file with an index."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TABLE entry (number INTEGER PRIMARY KEY, day TEXT, customer TEXT, "
            "subject TEXT, cents INTEGER, note TEXT)"
        )
        connection.execute("CREATE INDEX by_customer ON entry (customer)")
        connection.executemany("INSERT INTO entry VALUES (?,?,?,?,?,?)", table_rows(rows, seed))
    connection.close()


def change_database(path: Path, updates: int, added_rows: int, seed: int) -> None:
    """A day's work in an SQLite file: scattered updates, some new rows."""
    source = random.Random(seed)
    connection = sqlite3.connect(path)
    with connection:
        (last,) = connection.execute("SELECT max(number) FROM entry").fetchone()
        connection.executemany(
            "UPDATE entry SET cents = ? WHERE number = ?",
            [(source.randint(1, 10**7), source.randint(1, last)) for _ in range(updates)],
        )
        rows = table_rows(added_rows, seed, last + 1)
        connection.executemany("INSERT INTO entry VALUES (?,?,?,?,?,?)", rows)
    connection.close()


def disk_image(path: Path, size_bytes: int, used_share: float, seed: int) -> None:
    """A sparse file with islands of data, as a virtual machine's disk has them."""
    source = random.Random(seed)
    blocks = size_bytes // _MIB
    with path.open("wb") as out:
        out.truncate(size_bytes)
        for block in sorted(source.sample(range(blocks), int(blocks * used_share))):
            out.seek(block * _MIB)
            half = source.randbytes(_MIB // 2)
            out.write(half + prose(_MIB - len(half), seed + block).encode())


def tiny_files(folder: Path, count: int, seed: int, per_folder: int = 500) -> None:
    """Many files of a few hundred bytes, like mail or a cache."""
    source = random.Random(seed)
    body = prose(64 << 10, seed).encode()
    for number in range(count):
        inside = folder / f"{number // per_folder:05}"
        if number % per_folder == 0:
            inside.mkdir(parents=True, exist_ok=True)
        start = source.randrange(len(body) - 2048)
        content = b"%d\n" % number + body[start : start + source.randint(20, 1500)]
        descriptor = os.open(inside / f"{number:07}.txt", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(descriptor, content)
        os.close(descriptor)


def odd_entries(folder: Path, privileged: bool) -> None:
    """One of each kind of entry that a careless tool loses; devices only if `privileged`.

    The file system below `folder` must know extended attributes and ACLs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty").touch()
    (folder / "empty folder").mkdir()
    (folder / "first name").write_bytes(b"one file, three names\n" * 4000)
    os.link(folder / "first name", folder / "second name")
    os.link(folder / "first name", folder / "empty folder" / "third name")
    os.symlink("first name", folder / "link")
    os.symlink("../nowhere/at all", folder / "broken link")
    os.mkfifo(folder / "fifo", 0o620)
    (folder / ("n" * 251 + ".txt")).write_bytes(b"a name of 255 bytes\n")
    odd_name = os.fsencode(folder) + b"/not utf-8 \xff\xfe \n newline"
    with open(odd_name, "wb") as out:
        out.write(b"named by bytes\n")
    (folder / "read only").write_bytes(b"0400\n")
    (folder / "read only").chmod(0o400)
    (folder / "attributes").write_bytes(b"with attributes\n")
    os.setxattr(folder / "attributes", "user.author", "zoë".encode())
    os.setxattr(folder / "attributes", "user.empty", b"")
    os.setxattr(folder / "attributes", "user.binary", bytes(range(256)))
    os.setxattr(folder / "attributes", "system.posix_acl_access", _acl(reader_uid=1))
    with (folder / "holes").open("wb") as out:
        out.truncate(8 * _MIB)
        out.seek(3 * _MIB)
        out.write(random.Random(1).randbytes(_MIB))
    (folder / "shared").mkdir()
    os.setxattr(folder / "shared", "system.posix_acl_default", _acl(reader_uid=2))
    (folder / "shared").chmod(0o2775)
    if privileged:
        os.mknod(folder / "null device", 0o020666, os.makedev(1, 3))
        (folder / "setuid").write_bytes(b"#!/bin/sh\n")
        (folder / "setuid").chmod(0o4755)


def _acl(reader_uid: int) -> bytes:
    """An access control list with one more reader, as the kernel takes it (acl(5), version 2)."""
    nobody = 0xFFFFFFFF  # these entries name no one in particular
    owner, user, group, mask, other = 0x01, 0x02, 0x04, 0x10, 0x20
    entries = [(owner, 6, nobody), (user, 4, reader_uid), (group, 4, nobody)]
    entries += [(mask, 4, nobody), (other, 4, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def office(folder: Path, seed: int, scale: float = 1.0) -> None:
    """The files of a small company, 60 MB and 900 files at scale 1.

    Letters in two versions that share most of their text, tables, photos, a sparse disk image,
    a dump and `books/ledger.sqlite`, which `change_office` works on.
    """
    source = random.Random(seed)
    for name in ("letters", "tables", "photos", "books", "projects"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(max(4, int(400 * scale))):
        body = prose(source.randint(800, 60_000), seed + number)
        (folder / "letters" / f"letter {number:04}.txt").write_text(body)
        if number % 5 == 0:  # a later version of the same letter
            later = body[: len(body) // 2] + prose(300, seed - number) + body[len(body) // 2 :]
            (folder / "letters" / f"letter {number:04} (2).txt").write_text(later)
    for number in range(max(2, int(40 * scale))):
        rows = source.randint(100, 3000)
        spreadsheet(folder / "tables" / f"table {number:03}.csv", rows, seed + number)
    for number in range(max(2, int(60 * scale))):
        size = source.randint(40_000, 900_000)
        incompressible(folder / "photos" / f"IMG_{number:04}.jpg", size, seed + number)
    for number in range(max(3, int(300 * scale))):
        inside = folder / "projects" / f"project {number % 12:02}" / f"part {number % 5}"
        inside.mkdir(parents=True, exist_ok=True)
        note = prose(source.randint(0, 6000), seed + 7 * number)
        (inside / f"note {number:04}.md").write_text(note)
    sql_dump(folder / "books" / "dump.sql", max(200, int(30_000 * scale)), seed)
    database(folder / "books" / "ledger.sqlite", max(200, int(60_000 * scale)), seed)
    disk_image(folder / "books" / "machine.img", max(4, int(48 * scale)) * _MIB, 0.1, seed)
    set_times(folder, seed)


def change_office(folder: Path, seed: int) -> list[str]:
    """A day's work in a folder that `office` made; the names that it touched, from `folder` on.

    Edited, added, removed, renamed and only re-moded files; rows changed in the database.
    """
    seed += _DAY  # or what is added would be what `office` made from the same seed
    source = random.Random(seed)
    letters = sorted((folder / "letters").iterdir())
    edited, moved, removed, remoded = source.sample(letters, 4)
    edited.write_text(edited.read_text() + prose(900, seed))
    new_name = moved.with_name("renamed " + moved.name)
    moved.rename(new_name)
    removed.unlink()
    remoded.chmod(0o600)
    added = folder / "photos" / f"IMG_{seed % 10**4:04}_new.jpg"
    incompressible(added, 300_000, seed)
    ledger = folder / "books" / "ledger.sqlite"
    change_database(ledger, 60, 120, seed)
    dump = folder / "books" / "dump.sql"
    change_sql_dump(dump, 30, 100, seed)
    touched = (edited, moved, new_name, removed, remoded, added, ledger, dump)
    return sorted(str(path.relative_to(folder)) for path in touched)


def set_times(folder: Path, seed: int) -> None:
    """Gives every entry below `folder` a time of its own, to the nanosecond."""
    source = random.Random(seed)
    for path, folders, names in os.walk(os.fsencode(folder), topdown=False):
        for name in sorted(folders + names):
            stamp = _EPOCH_NS - source.randrange(10**17)
            os.utime(os.path.join(path, name), ns=(stamp, stamp), follow_symlinks=False)
