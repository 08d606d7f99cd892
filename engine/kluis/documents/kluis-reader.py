#!/usr/bin/env python3
# fmt: off
# ruff: noqa: D103, E701, RET502, RET503 - it lies on every medium and has to stay short
"""Restores files from a kluis repository without kluis, by what format.md beside it says.

    kluis-reader.py REPOSITORY list
    kluis-reader.py REPOSITORY ls SNAPSHOT [PATH]
    kluis-reader.py REPOSITORY restore SNAPSHOT TARGET [PATH]

SNAPSHOT is the beginning of an id, or `latest`, made last. The passphrase: in --password-file FILE,
in KLUIS_PASSWORD, or typed. Needs Python 3.9 with PyNaCl 1.6, zstandard, blake3, or newer ones.
It only reads the repository, and writes only below TARGET, a new or empty folder. Owners are set by
number, by root; devices, sockets, setuid, capabilities, chattr's flags, birth times are left out.
Exit codes: 0 all is well, 1 failed, 2 wrong usage, 3 something could not be made or set (named),
4 damage (named; no damaged file is left behind), 10 no repository, 12 wrong passphrase.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import io
import os
import re
import struct
import sys
import time
from contextlib import suppress
from functools import lru_cache, partial
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from types import SimpleNamespace
from typing import Any, NoReturn

import nacl.bindings as sodium
import zstandard
from blake3 import blake3
from nacl.bindings import crypto_aead_aegis256_decrypt as aegis256
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as xchacha20
from nacl.exceptions import CryptoError

# Objects field by field: N bytes, numbers u1 to u8 and i8, text, blob, [row] a list of rows; other
# words are rows of this table, or known to `parse`. Then the events of the ledger, from 1 on.
TABLE = """store: 12 32 32 16 i8 text [document]; document: text u4 32; boxed: 32 80
keyring: 12 32 32 u4 16 u4 u4 [73] [boxed] blob u8; domain: 32 16 u4 32 u1 32 [parts] blob
parts: 32 u1 blob; record: 32 16 u8 32 32 i8 blob; certificate: 32 16 16 u4 80 32 u8 32 32 64
mark: 16 u4 32 33 16 i8 17 32 u8 u1; since: mark 8; uses: 16 [8]; read: u1 i8 [24]
role: u1 text 32 32 [16] u8; snapshot: 316 blob blob; head: 8 32 16 u4 u2 2
tail: u4 u4 u4 u4 40 8
checkpoint: roles [mark] [since] [16] [held] [33] [uses] [read] 41 [16] u8 [32] u8; held: 16 text
root: [blob] [28] 32 u8 u1 [problem]; problem: blob text text
facts: 16 16 53 u4 i8 i8 text text [text] text text text 17 88 u4 33 u1 16 [uses]
segment: u4 16 33 [older] [set]; older: 16 u4 33; set: 16 u4 shards [pack]; pack: u1 32 8 [group]
group: 16 u4 u1 blob blob; extras: u4 blob [xattr]; xattr: blob blob"""
ROWS = dict(row.split(": ") for row in re.split("; |\n", TABLE))
EVENTS = ",roles,mark,[16],[16] text,[16],held,16,[33] [16],mark,[uses],[uses],read,40,checkpoint"
ROLES, MADE, ENDED, FORGOTTEN, UNFORGOTTEN, HELD, RELEASED, DOOMED, COPIED = range(1, 10)
CHECKPOINT, OWNER, AGENT, OPERATOR = 14, 1, 2, 3
MAY_SIGN = {OWNER: range(15), AGENT: (MADE, ENDED), OPERATOR: (*range(ENDED, 13), CHECKPOINT)}
ENTRY, RECORD = struct.Struct("<HHIBBHIII32s32s64s"), struct.Struct("<BBHIIIIIQq8xI4xQQ32s")
U4, U8, ZERO16, ZERO32 = struct.Struct("<I"), struct.Struct("<Q"), bytes(16), bytes(32)
DATA, TREES, FILE, DIRECTORY, SYMLINK, FIFO, MIB = 1, 2, 1, 2, 3, 4, 1 << 20
LINKED, LISTED, INCOMPLETE = 1, 2, 4
# Whatever is raised where bytes do not fit, do not open, or are not there.
BAD = (OSError, ValueError, KeyError, IndexError, struct.error, CryptoError, zstandard.ZstdError)

# Names, keys, signatures, sealed parts, compression, fields: sections 2 to 4 of format.md
def stop(code: int, message: str) -> NoReturn:
    sys.stderr.write(f"kluis-reader: {message}\n")
    sys.exit(code)
def check(good: object, message: str) -> None:
    if not good: raise ValueError(message)
def shown(name: bytes) -> str:  # for people: what is no text or could steer a terminal is escaped
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
def b32(data: bytes) -> str: return base64.b32encode(data).decode().lower().rstrip("=")
def derive(key: bytes, purpose: str) -> bytes:
    return blake3(key, derive_key_context="kluis 2026 v1 " + purpose).digest()
def verify(key: bytes, context: bytes, data: bytes) -> None:  # its last 64 bytes sign the others
    sodium.crypto_sign_open(data[-64:] + context + b"\0" + data[:-64], key)
def unseal(key: bytes, sealed: bytes, *context: bytes) -> bytes:
    decrypt, start = {1: (aegis256, 33), 2: (xchacha20, 25)}[sealed[0]]
    return bytes(decrypt(sealed[start:], b"".join(context) + sealed[:1], sealed[1:start], key))
def expand(data: bytes, limit: int) -> bytes:  # what is inside Z, never more than the limit (2.7)
    about = zstandard.get_frame_parameters(data)
    check(0 < about.content_size <= limit and not about.dict_id, "a size that is not allowed")
    check(about.window_size <= max(about.content_size, 1024), "a window that is too large")
    return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)

def parse(data: bytes, row: str) -> Any:
    """The fields of a row of TABLE as a list; of a row of one field, that (2.1)."""
    stream = io.BytesIO(data)
    def take(size: int) -> bytes:
        check(stream.tell() + size <= len(data), "fields end early")
        return stream.read(size)
    def roles() -> Any:  # (sequence, (role, until) by verify key, the block with its signature)
        start, sequence, rows = stream.tell(), one("u8"), one("[role]")
        table = {key: (role, until) for role, _, key, _, _, until in rows}
        return sequence, table, data[start:stream.tell()] + take(64)
    def one(word: str) -> Any:
        return (take(int(word)) if word.isdigit()
                else [fields(word[1:-1]) for _ in range(one("u4"))] if word[0] == "["
                else int.from_bytes(take(8), "little", signed=True) if word == "i8"
                else int.from_bytes(take(int(word[1])), "little") if word[1:].isdigit()
                else take(one("u4" if word == "blob" else "u2")) if word in ("blob", "text")
                else take(36 * one("u1")) if word == "shards"
                else roles() if word == "roles" else fields(word))
    def fields(row: str) -> Any:
        if row == "event": return (number := one("u1")), fields(EVENTS.split(",")[number])
        values = [one(word) for word in ROWS.get(row, row).split()]
        return values if len(values) > 1 else values[0]
    value = fields(row)
    check(not stream.read(1), "bytes are left over")
    return value

def envelope(kind: bytes, row: str, data: bytes, key: bytes | None = None) -> Any:
    """The fields of an object's body, signed by the key, or by the one inside (4.0)."""
    check(data[:6] == b"KLUIS" + kind and data[6] ^ data[7] == 255, "not an object of its kind")
    if data[6] != 1 or (kind in b"MK" and any(data[20:24])):
        stop(1, "written by a newer kluis: take the reader that lies on that medium")
    check(data[8:12] == U4.pack(len(data) - 76), "cut off or grown")
    verify(key or data[24:56], b"kluis object", data)
    return parse(data[12:-64], row)

class Repository:
    """An opened repository: its keys, its snapshots, and the way to every frame."""

    def __init__(self, root: str, passphrase: Any) -> None:
        self.root, self.code = root, 0
        self.roles: Any = (0, {}, b"")  # their sequence, (role, until) by verify key, the block
        self.head, self.frame = lru_cache(16)(self.open_head), lru_cache(8)(self.open_frame)
        self.certificate = lru_cache(None)(self.open_certificate)
        self.places = lru_cache(None)(self.open_places)
        opened = self.whole("store", partial(envelope, b"M", "store"))
        if not opened or blake3(opened[1]).digest() != opened[2]:
            stop(10, f"{root} is no kluis repository, or its file `store` is lost with its twin")
        _, self.owner, self.vault, self.store, *_ = opened
        self.open_keyring(passphrase)
        self.domains: dict[Any, bytes] = {}  # domain's secret, K_meta, K_dedup by id and epoch
        decode = partial(envelope, b"D", "domain", key=self.owner)
        for (name,) in self.names("domains", r"([a-z2-7]{26}-\d{8,})"):
            opened = self.whole(f"domains/{name}", decode)
            for key, parts, box in opened[6] if opened else []:
                if (key, parts) == (self.box[0], 7):
                    self.domains[tuple(opened[1:3])] = sodium.crypto_box_seal_open(box, *self.box)
        self.read_ledger()

    def tell(self, code: int, what: str, message: object) -> None:
        self.code = max(self.code, code)
        sys.stderr.write(f"{what}: {message}\n")

    def read(self, name: str, offset: int = 0, size: int = 1 << 31) -> bytes:
        with open(os.path.join(self.root, name), "rb") as file:
            file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
            return file.read(size)

    def whole(self, name: str, decode: Any) -> Any:
        """What the first copy that is whole says: the twin, else the object (3). None: neither."""
        for copy in (f"twins/{name}", name):
            with suppress(*BAD): return decode(self.read(copy))
        return self.tell(4, name, "damaged or missing, and so is its twin")

    def names(self, folder: str, pattern: str) -> list[Any]:
        """The pattern's groups in the names of a folder and of its twin, from the last on."""
        places = [os.path.join(self.root, place, folder) for place in ("", "twins")]
        found = {name for place in places if os.path.isdir(place) for name in os.listdir(place)}
        return [m.groups() for n in sorted(found, reverse=True) if (m := re.fullmatch(pattern, n))]

    def open_keyring(self, passphrase: Any) -> None:
        """Opens K_vault and the owner's box pair with the newest keyring that is whole (4.2)."""
        names, decode = self.names("keyring", r"(\d{8,})"), partial(envelope, b"K", "keyring")
        opened = next(filter(None, (self.whole(f"keyring/{n}", decode) for (n,) in names)), None)
        if not opened or opened[1] != self.owner: stop(4, "no keyring is whole: nothing opens")
        _, _, box_key, _, salt, passes, memory, slots, boxes, _, self.sequence = opened
        check(passes <= 64 and memory <= 64 * MIB, "a keyring that asks for too much")
        kdf = (salt, passes, memory, sodium.crypto_pwhash_ALG_ARGON2ID13)
        key = sodium.crypto_pwhash_alg(32, passphrase(), *kdf)
        for slot in slots:
            with suppress(*BAD):
                secret = unseal(key, slot, b"kluis owner secret\0", self.vault)
                signer, _ = sodium.crypto_sign_seed_keypair(derive(secret, "owner signing"))
                check(signer == self.owner, "not the owner's secret")
                self.box = sodium.crypto_box_seed_keypair(derive(secret, "owner box"))
                self.vault_key = sodium.crypto_box_seal_open(dict(boxes)[box_key], *self.box)
                return
        stop(12, "wrong passphrase")

    def record(self, n: int, data: bytes) -> Any:
        """(n, H of it, H of the one before, author, events) of a record of the ledger (6.1)."""
        body = envelope(b"L", "record", data, data[100:132])
        vault, store, number, previous, author, _, sealed = body
        check((vault, store, number) == (self.vault, self.store, n), "of another place")
        place = (b"kluis ledger\0", vault, store, U8.pack(n), previous)
        events = expand(unseal(derive(self.vault_key, "ledger"), sealed, *place), 256 * MIB)
        events = parse(events, "[event]")
        if events[0][0] == CHECKPOINT:  # is judged by its own roles, which the owner granted
            if author != self.owner:
                verify(self.owner, b"kluis roles", vault + events[0][1][0][2])
            check(events[0][1][0][0] >= self.sequence, "roles that were replaced")
            self.roles = events[0][1][0]
        return n, blake3(data).digest(), previous, author, events

    def read_ledger(self) -> None:
        """Finds the snapshots (6.2): run to (mark, maker), or to None where none may count."""
        records, forgotten, held, self.marks = list[Any](), set[bytes](), set(), dict[bytes, Any]()
        for (name,) in self.names("ledger", r"(\d{8,})"):
            found = self.whole(f"ledger/{name}", partial(self.record, int(name)))
            records += [found] if found else []
            if found and found[4][0][0] == CHECKPOINT: break
        before = records[-1][2] if records and records[-1][4][0][0] == CHECKPOINT else ZERO32
        for n, digest, previous, author, events in reversed(records):
            role = self.role(author, 1 << 64)
            good = all(number in MAY_SIGN.get(role, ()) for number, _ in events)
            if not good: self.tell(4, f"ledger/{n:08}", "signed by one who may not: passed over")
            elif previous != before: self.tell(4, f"ledger/{n:08}", "what came before is missing")
            before = digest if good else before
            for kind, value in events if good else []:
                if kind == CHECKPOINT:
                    self.roles, live, since, doomed, holds = value[:5]
                    marks = sorted(live + [mark for mark, _ in since], key=lambda mark: mark[8])
                    self.marks = {**dict.fromkeys(doomed), **{m[0]: (m, b"") for m in marks}}
                    forgotten, held = {mark[0] for mark, _ in since}, {run for run, _ in holds}
                elif kind in (MADE, COPIED):
                    self.marks.setdefault(value[0], (value, author if kind == MADE else b""))
                elif kind == ENDED and role != AGENT: self.marks = dict.fromkeys(value) | self.marks
                elif kind == HELD: held.add(value[0])
                elif kind == RELEASED: held.discard(value)
                elif kind == FORGOTTEN: forgotten.update({*value[0]} - held)
                elif kind == UNFORGOTTEN: forgotten.difference_update(value)
                elif kind == DOOMED: self.marks.update(dict.fromkeys(forgotten & {*value[1]}))
                elif kind == ROLES and value[0] >= self.roles[0]: self.roles = value
        self.live = [mark for run, mark in self.marks.items() if mark and run not in forgotten]

    def role(self, key: bytes, at: int) -> int:  # when the ledger had so many records; 0: none
        role, until = self.roles[1].get(key, (0, 0))
        return OWNER if key == self.owner else role if until == 0 or until > at else 0

    def open_certificate(self, data: bytes) -> Any:
        """A run: of this vault, made by one who may (5)."""
        vault, _, domain, epoch, box, key, head, _, maker, _ = parse(data, "certificate")
        check(vault == self.vault and self.role(maker, head) in MAY_SIGN, "made by a stranger")
        verify(maker, b"kluis certificate", data)
        secret, meta, dedup = (self.domains[domain, epoch][i:i + 32] for i in (0, 32, 64))
        frames = sodium.crypto_box_seal_open(box, sodium.crypto_scalarmult_base(secret), secret)
        return SimpleNamespace(id=blake3(data[:-64]).digest()[:16], verify_key=key, maker=maker,
                               key=frames, meta=meta, dedup=dedup)

    def snapshot(self, mark: Any, author: bytes) -> Any:
        """The root of a snapshot, as an entry, with a line about it; None where damaged (8)."""
        name, k, digest = mark[:3]
        def decode(data: bytes) -> Any:
            check(blake3(data).digest() == digest, "not what the ledger names")
            run = self.certificate(data[12:328])
            check(run.id == name and author in (b"", self.owner, run.maker), "of another run")
            _, facts, root = envelope(b"S", "snapshot", data, run.verify_key)
            place = (self.vault, run.id, U4.pack(k))
            facts = unseal(derive(run.meta, "snapshots"), facts, b"kluis snapshot\0", *place)
            root = unseal(derive(run.key, "root"), root, b"kluis root\0", *place)
            facts = parse(expand(facts, 256 * MIB), "facts")
            date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts[4] // 10**9))
            e = SimpleNamespace(kind=DIRECTORY, flags=0, name=b"", dedup=run.dedup)
            paths, rows, e.digest, e.size, e.listed, _ = parse(expand(root, 32 * MIB), "root")
            e.line = " ".join([b32(name), date, *map(shown, [facts[6], *paths, *facts[8]])])
            e.extents = b"".join(rows)
            return e
        return self.whole(f"snapshots/{b32(name)}-{k:08}", decode)

    def segment(self, name: str, k: str) -> Any:
        """(run, n, pack) of what a segment lists (9); of sixteen frames that go on, the first."""
        data = self.read(f"index/{name}-{k}")
        run = self.certificate(data[12:328])
        _, sealed = envelope(b"I", f"316 {len(data) - 392}", data, run.verify_key)
        place = (b"kluis segment\0", self.vault, run.id, U4.pack(int(k)))
        inside = expand(unseal(derive(run.meta, "segments"), sealed, *place), 64 * MIB)
        packs = [pack for one in parse(inside, "segment")[4] for pack in one[3]]
        for shelf, digest, _, groups in packs:
            for run_id, first, _, stored, _ in groups:
                for n in range(first & ~15, first + len(stored) // 4, 16):
                    yield run_id, n, f"packs/{chr(shelf)}/{b32(digest)}"

    def open_places(self, deep: bool) -> Any:
        """Packs that may hold a frame, by (run, n >> 4): as segments say; deep: as packs say."""
        shelves, places = self.names("packs", "(.)") if deep else [], dict[Any, set[str]]()
        packs = [(f"packs/{s}/{n}",) for (s,) in shelves for n, in self.names(f"packs/{s}", "(.*)")]
        for name in packs if deep else self.names("index", r"([a-z2-7]{26})-(\d{8,})"):
            with suppress(*BAD):
                found = ((*key, *name) for key in self.head(*name)) if deep else self.segment(*name)
                for run, n, pack in found: places.setdefault((run, n >> 4), set()).add(pack)
        return places

    def open_head(self, pack: str) -> Any:
        """(pack, run, entry, offset of the frame, of its chunk list) by (run, n) (10)."""
        magic, vault, domain, epoch, count, _ = parse(self.read(pack, 0, 64), "head")
        check(magic == b"KLUISP\1\xfe" and vault == self.vault, "not a pack of this vault")
        cut = struct.iter_unpack("316s", self.read(pack, 64, 316 * count))
        runs = [self.certificate(certificate) for (certificate,) in cut]
        lists, _, at, size, _, _ = parse(self.read(pack, -64), "tail")
        key, place = derive(self.domains[domain, epoch][32:64], "directories"), vault + domain
        entries = unseal(key, self.read(pack, at, size), b"kluis directory\0", place)
        found, at = {}, 64 + 316 * count
        for entry in ENTRY.iter_unpack(entries):
            found[runs[entry[0]].id, entry[2]] = (pack, runs[entry[0]], entry, at, lists)
            at, lists = at + entry[6], lists + entry[8]
        return found

    def open_frame(self, run: bytes, n: int) -> Any:  # from whichever pack has it whole
        for deep in (False, True):
            for pack in self.places(deep).get((run, n >> 4), ()):
                with suppress(*BAD): return self.load(*self.head(pack)[run, n])
        raise ValueError(f"frame {n} of run {b32(run)} is damaged or gone")

    def load(self, pack: str, run: Any, entry: Any, at: int, lists: int) -> Any:
        """A frame out of a pack; `chunks` has (hash16, end) for each beginning of a chunk (7)."""
        _, _, n, kind, compression, _, stored, plain, size, digest, list_digest, _ = entry
        verify(run.verify_key, b"kluis frame", run.id + ENTRY.pack(*entry)[4:])
        sealed, place = self.read(pack, at, stored), self.vault + run.id + U4.pack(n)
        check(blake3(sealed).digest() == digest, "a damaged frame")
        data = unseal(run.key, sealed, b"kluis frame\0", place, bytes((kind, compression)))
        data = expand(data, 16 * MIB) if compression else data
        key, sealed = derive(run.dedup, "chunk lists"), self.read(pack, lists, size)
        listed = unseal(key, sealed, b"kluis chunks\0", place, bytes(2))
        check(blake3(listed).digest() == list_digest, "a damaged chunk list")
        chunks, end = {}, 0
        for hash16, length in struct.iter_unpack("<16sI", listed):
            chunks[end], end = (hash16, end + length), end + length
        check(end == plain == len(data), "a frame that its chunks do not fill")
        key = derive(run.dedup, "data chunks" if kind == DATA else "tree chunks")
        return SimpleNamespace(kind=kind, data=data, chunks=chunks, key=key)

    def chunks(self, extents: bytes, kind: int) -> Any:
        """(hash16, bytes, length) of each chunk, checked; a hole has no bytes (11.1)."""
        for run, n, offset, length in struct.iter_unpack("<16sIII", extents):
            if run == ZERO16:
                yield ZERO16, b"", (offset << 32) + length
                continue
            frame, end = self.frame(run, n), offset + length
            check(frame.kind == kind and length, "a wrong extent")
            while offset < end:
                hash16, after = frame.chunks[offset]
                chunk, offset = frame.data[offset:after], after
                check(blake3(chunk, key=frame.key).digest()[:16] == hash16, "a wrong chunk")
                yield hash16, chunk, len(chunk)
            check(offset == end, "an extent that ends inside of a chunk")

    def blocks(self, e: Any) -> Any:
        """(extents, digest) of an entry's stream, or of each block of its list (11.3)."""
        if not e.listed: return (yield e.extents, e.digest)
        rest, digests = b"", b""
        for _, chunk, _ in self.chunks(e.extents, TREES):
            rest += chunk
            while len(rest) > 4 and len(rest) >= (size := 40 + 28 * U4.unpack_from(rest)[0]):
                yield rest[40:size], rest[8:40]
                digests, rest = digests + rest[8:40], rest[size:]
        whole = blake3(digests, key=derive(e.dedup, "list digests")).digest()
        check(not rest and whole == e.digest, "a list that does not fit its digest")

    def content(self, e: Any) -> Any:
        """(bytes, length) of each chunk of an entry; BAD where anything does not fit (11.2)."""
        total, kind = 0, DATA if e.kind == FILE else TREES
        for extents, digest in self.blocks(e):
            records = []
            for hash16, chunk, length in self.chunks(extents, kind):
                records.append(hash16 + U8.pack(length))
                total += length
                yield chunk, length
            found = (records[0][:16] if records else ZERO16) + ZERO16
            if len(records) > 1 or (records and found == ZERO32):
                found = blake3(b"".join(records), key=derive(e.dedup, "content digests")).digest()
            check(found == digest, "a wrong digest")
        check(total == e.size or e.flags & INCOMPLETE, "a wrong size")

    def entries(self, folder: Any) -> Any:
        """The entries of a directory (11.4)."""
        data = b"".join(chunk for chunk, _ in self.content(folder)) or b"tree\1" + bytes(27)
        magic, count, extents, names, _ = struct.unpack_from("<8sIIQQ", data)
        check(magic == b"tree\1\0\0\0", "not a tree")
        extent, before = 32 + 104 * count, b""
        name, extra = extent + 28 * extents, extent + 28 * extents + names
        for row in RECORD.iter_unpack(data[32:extent]):
            e = SimpleNamespace(kind=row[0], flags=row[1], mode=row[3], owner=row[4:6], size=row[8])
            e.name, e.extents = data[name:name + row[2]], data[extent:extent + 28 * row[6]]
            bad = e.name in (b".", b"..") or b"/" in e.name or b"\0" in e.name or e.name <= before
            check(not bad and 1 <= e.kind <= 7, "an entry that is not allowed")
            e.listed, e.digest, e.dedup = e.flags & LISTED, row[13], folder.dedup
            e.mtime, e.number = row[9] * 10**9 + row[10], row[11:13] if e.flags & LINKED else None
            found = data[extra:extra + row[7]]
            _, e.link, e.xattrs = parse(found, "extras") if found else (0, b"", [])
            yield e
            before, name, extra = e.name, name + row[2], extra + row[7]
            extent += 28 * row[6]

class Target:
    """Writes entries into a folder and below, through no link; without a folder, prints them."""

    def __init__(self, repository: Repository, folder: str | None) -> None:
        self.repository, self.links, self.here = repository, dict[Any, bytes](), -1
        if folder is None: return
        os.makedirs(folder, exist_ok=True)
        self.top = self.here = os.open(folder, os.O_DIRECTORY)
        if os.listdir(self.top): stop(1, f"{folder} is not empty: give a new or an empty folder")

    def attempt(self, path: bytes, what: str, change: Any, *words: Any, **how: Any) -> bool:
        """Whether it was done; if not, path and reason are told."""
        try: return change(*words, **how) is None
        except BAD as error:
            code = 3 if isinstance(error, OSError) else 4
            self.repository.tell(code, shown(path) or "/", f"{what}: {error}")
            return False

    def folder(self, e: Any, path: bytes) -> None:
        for entry in self.repository.entries(e):
            self.attempt(path + b"/" + entry.name, "not restored", self.entry, entry, path)

    def entry(self, e: Any, path: bytes) -> None:
        fd, here, path = None, self.here, path + b"/" + e.name
        if here < 0:
            sys.stdout.write(f"{e.size:>12} {shown(path)}\n")
            if e.kind == DIRECTORY: self.folder(e, path)
            return
        if e.number in self.links:
            how: Any = {"src_dir_fd": self.top, "dst_dir_fd": here, "follow_symlinks": False}
            if self.attempt(path, "no link", os.link, self.links[e.number], e.name, **how): return
        if e.kind == DIRECTORY:
            os.mkdir(e.name, 0o700, dir_fd=here)
            fd = self.here = os.open(e.name, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            self.attempt(path, "all or part of its content is lost", self.folder, e, path)
            self.here = here
        elif e.kind == FILE:
            fd = os.open(e.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=here)
            if not self.attempt(path, "not restored", self.write, e, fd):
                os.unlink(e.name, dir_fd=here)
                return os.close(fd)
        elif e.kind == SYMLINK: os.symlink(e.link, e.name, dir_fd=here)
        elif e.kind == FIFO: os.mkfifo(e.name, e.mode & 0o777, dir_fd=here)
        else: raise OSError("it is a device or a socket")
        self.metadata(e, path, fd)
        if fd is not None: os.close(fd)
        if e.number: self.links[e.number] = path[1:]

    def write(self, e: Any, fd: int) -> None:
        with open(fd, "wb", closefd=False) as file:
            for chunk, length in self.repository.content(e):
                file.write(chunk) if chunk else file.seek(length, os.SEEK_CUR)
            file.truncate()

    def metadata(self, e: Any, path: bytes, fd: int | None) -> None:
        """Owner, attributes, mode, time: by descriptor, or where that is None by name."""
        where: Any = e.name if fd is None else fd
        how: Any = {"dir_fd": self.here, "follow_symlinks": False} if fd is None else {}
        inside: Any = b"/proc/self/fd/%d/%b" % (self.here, e.name) if fd is None else fd
        if os.geteuid() == 0: self.attempt(path, "owner", os.chown, where, *e.owner, **how)
        follow: Any = {"follow_symlinks": fd is not None}
        for name, value in e.xattrs:
            if name == b"security.capability": e.mode |= 0o4000  # is left out as setuid is
            else: self.attempt(path, shown(name), os.setxattr, inside, name, value, **follow)
        barred = 0o6000 if e.kind == FILE else 0
        if e.mode & barred: self.repository.tell(3, shown(path), "setuid or setgid is left out")
        if fd is not None: self.attempt(path, "mode", os.fchmod, fd, e.mode & ~barred)
        self.attempt(path, "time", os.utime, where, ns=(e.mtime, e.mtime), **how)

def passphrase(file: str | None) -> bytes:
    if file:
        with open(file, "rb") as f: return f.read().removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    if "KLUIS_PASSWORD" not in os.environ and not sys.stdin.isatty():
        stop(12, "no passphrase: set KLUIS_PASSWORD or give --password-file")
    return os.environb.get(b"KLUIS_PASSWORD") or getpass.getpass("passphrase: ").encode()

def main() -> int:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").partition("\n\n")[2].rstrip())
    for word in ("--password-file", "repository"): parser.add_argument(word)
    parser.add_argument("verb", choices=("list", "ls", "restore"))
    parser.add_argument("words", nargs="*")
    asked = parser.parse_args()
    needed = {"list": 0, "ls": 1, "restore": 2}[asked.verb]
    if not needed <= len(asked.words) <= needed + (needed > 0): parser.error("see the usage")
    repository = Repository(asked.repository, partial(passphrase, asked.password_file))
    if asked.verb == "list":
        for mark in repository.live:
            if e := repository.snapshot(*mark): sys.stdout.write(f"{e.line}\n")
        return repository.code
    prefix, path = asked.words[0], os.fsencode("/".join(asked.words[needed:])).strip(b"/")
    named = [m for run, m in repository.marks.items() if m and b32(run).startswith(prefix)]
    named = repository.live[-1:] if prefix == "latest" else named
    if len(named) != 1: stop(1, f"{len(named)} snapshots are called {prefix}")
    e = repository.snapshot(*named[0]) or stop(4, "this snapshot cannot be opened")
    for part in [part for part in path.split(b"/") if part]:
        inside = (one for one in repository.entries(e) if one.name == part)
        e = (e.kind == DIRECTORY and next(inside, None)) or stop(1, f"no /{shown(path)} in it")
    target = Target(repository, asked.words[1] if asked.verb == "restore" else None)
    top = b"/" + path if path and asked.verb == "ls" else b""
    if e.kind == DIRECTORY: target.attempt(top, "all or part of it is lost", target.folder, e, top)
    else: target.attempt(b"/" + path, "not restored", target.entry, e, b"")
    return repository.code

if __name__ == "__main__":
    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)  # folders on the way are open
    sys.setrecursionlimit(1 << 18)
    os.umask(0)
    try: sys.exit(main())
    except BAD as error: stop(1 if isinstance(error, OSError) else 4, str(error))
