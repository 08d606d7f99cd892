#!/usr/bin/env python3
"""Restores files from a kluis repository without kluis, by what format.md beside it says.

It needs Python 3.9 or newer with PyNaCl (1.6 or newer), zstandard and blake3. It only reads the
repository, and writes only below TARGET, a new or empty folder. Owners are set by number, by root;
devices, setuid, flags of chattr and birth times are not restored. Brackets name its sections.
Exit codes: 0 all is well, 1 failed, 2 wrong usage, 3 something could not be made or set (named),
4 damage (named; no damaged file is left behind), 10 no repository, 12 wrong passphrase, 13 no space.
"""

from __future__ import annotations

import argparse
import base64
import errno
import functools
import getpass
import itertools
import os
import re
import resource
import stat
import struct
import sys
import time
from types import SimpleNamespace
from typing import Any, NoReturn

import nacl.bindings as sodium
import zstandard
from blake3 import blake3
from nacl.exceptions import CryptoError

# Objects field by field: N bytes, numbers u1 to u8 and i8, text, blob, [row] a list of rows; other
# words are rows of this table, or known to `parse`. Then the events of the ledger, from 1 on.
TABLE = """store: 12 32 32 16 i8 text [document]; document: text u4 32; boxed: 32 80; parts: 32 u1 blob
keyring: 12 32 32 u4 16 u4 u4 [73] [boxed] blob u8; domain: 32 16 u4 32 u1 32 [parts] blob
certificate: 32 16 16 u4 80 32 u8 32 32 64; record: 32 16 u8 32 32 i8 blob; held: 16 text
mark: 16 u4 32 33 16 i8 17 32 u8 u1; since: mark 8; frames: 16 [8]; read: u1 i8 [24]
role: u1 text 32 32 [16] u8; snapshot: 316 blob blob; head: 8 32 16 u4 u2 2; tail: u4 u4 u4 u4 40 8
checkpoint: roles [mark] [since] [16] [held] [33] [frames] [read] 41 [16] u8 [32] u8
root: [blob] [28] 32 u8 u1 [problem]; problem: blob text text
facts: 16 16 53 u4 i8 i8 text text [text] text text text 17 88 u4 33 u1 16 [frames]
segment: u4 16 33 [older] [set]; older: 16 u4 33; set: 16 u4 shards [pack]; pack: u1 32 8 [group]
group: 16 u4 u1 blob blob; extras: u4 blob [xattr]; xattr: blob blob"""
ROWS = dict(row.split(": ") for row in re.split("; |\n", TABLE))
EVENTS = ",roles,mark,[16],[16] text,[16],held,16,[33] [16],mark,[frames],[frames],read,40,checkpoint"
ROLES, MADE, ENDED, FORGOTTEN, UNFORGOTTEN, _, _, DOOMED, COPIED = range(1, 10)
CHECKPOINT, AGENT, OPERATOR = 14, 2, 3
MAY_SIGN = {AGENT: (MADE, ENDED), OPERATOR: (*range(ENDED, 13), CHECKPOINT)}
ENTRY, RECORD = struct.Struct("<HHIBBHIII32s32s64s"), struct.Struct("<BBHIIIIIQqqIIQQ32s")
ZERO16, ZERO32, MIB, U4, U8 = bytes(16), bytes(32), 1 << 20, struct.Struct("<I"), struct.Struct("<Q")
DATA, TREES, FILE, DIRECTORY, SYMLINK, FIFO, SOCKET = 1, 2, 1, 2, 3, 4, 7
LINKED, LISTED, INCOMPLETE = 1, 2, 4
# Whatever is raised where bytes do not fit, do not open, or are not there.
BAD = (ValueError, KeyError, IndexError, struct.error, CryptoError, zstandard.ZstdError)


def stop(code: int, message: str) -> NoReturn:
    """Ends with an exit code and its reason."""
    sys.stderr.write(f"kluis-reader: {message}\n")
    sys.exit(code)


def check(good: object, message: str) -> None:
    """Raises one of BAD unless something is so."""
    if not good:
        raise ValueError(message)


def shown(name: bytes) -> str:
    """A name for people: what is not UTF-8 or could steer a terminal is escaped."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def b32(data: bytes) -> str:
    """An id or a digest as it stands in names (3)."""
    return base64.b32encode(data).decode().lower().rstrip("=")


def derive(key: bytes, purpose: str) -> bytes:
    """A key for one purpose out of another key (2.2)."""
    return blake3(key, derive_key_context="kluis 2026 v1 " + purpose).digest()


def verify(key: bytes, context: bytes, data: bytes) -> None:
    """Raises one of BAD unless the last 64 bytes sign those before them (2.5)."""
    sodium.crypto_sign_open(data[-64:] + context + b"\0" + data[:-64], key)


def unbox(secret: bytes, box: bytes) -> bytes:
    """What was boxed for the holder of an X25519 secret (2.4)."""
    return sodium.crypto_box_seal_open(box, sodium.crypto_scalarmult_base(secret), secret)


def unseal(key: bytes, sealed: bytes, *context: bytes) -> bytes:
    """The plain bytes of a sealed part (2.3)."""
    name, start = {1: ("aegis256", 33), 2: ("xchacha20poly1305_ietf", 25)}[sealed[0]]
    decrypt: Any = getattr(sodium, f"crypto_aead_{name}_decrypt", None)
    if decrypt is None:
        stop(1, "this needs PyNaCl 1.6 or newer: pip install --upgrade pynacl")
    return bytes(decrypt(sealed[start:], b"".join(context) + sealed[:1], sealed[1:start], key))


def expand(data: bytes, limit: int) -> bytes:
    """The bytes inside Z, never more than the limit (2.7)."""
    about = zstandard.get_frame_parameters(data)
    check(0 < about.content_size <= limit and not about.dict_id, "a size that is not allowed")
    check(about.window_size <= max(about.content_size, 1024), "a window that is too large")
    return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)


def parse(data: bytes, row: str) -> Any:
    """The fields of a row of TABLE as a list; of a row of one field, that (2.1)."""
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        check(at <= len(data), "fields end early")
        return data[at - size : at]

    def one(word: str) -> Any:
        if word.isdigit():
            return take(int(word))
        if word[0] == "[":
            return [fields(word[1:-1]) for _ in range(one("u4"))]
        if word in ROWS:
            return fields(ROWS[word])
        if word[1:].isdigit():
            return int.from_bytes(take(int(word[1])), "little", signed=word[0] == "i")
        if word == "event":
            number = one("u1")
            return number, fields(EVENTS.split(",")[number])
        if word == "roles":
            start, sequence, rows = at, one("u8"), one("[role]")
            table = {key: (role, until) for role, _, key, _, _, until in rows}
            return sequence, table, data[start:at] + take(64)
        value = take({"blob": 1, "text": 1, "shards": 36}[word] * one({"blob": "u4", "text": "u2"}.get(word, "u1")))
        return value.decode() if word == "text" else value

    def fields(row: str) -> Any:
        values = [one(word) for word in row.split()]
        return values if len(values) > 1 else values[0]

    value = fields(row)
    check(at == len(data), "bytes are left over")
    return value


def envelope(data: bytes, kind: bytes, row: str, key: bytes) -> Any:
    """The fields of an object's body, its signature checked (4.0)."""
    check(data[:6] == b"KLUIS" + kind and data[6] ^ data[7] == 255, "not an object of its kind")
    if data[6] != 1 or (kind in b"MK" and any(data[20:24])):
        stop(1, "written by a newer kluis: take the reader that lies on that medium")
    check(data[8:12] == U4.pack(len(data) - 76), "cut off or grown")
    verify(key, b"kluis object", data)
    return parse(data[12:-64], row)


class Repository:
    """An opened repository: its keys, its snapshots, and the way to every frame."""

    def __init__(self, root: str, passphrase: Any) -> None:
        self.root, self.code, self.domains, self.places = root, 0, dict[Any, Any](), dict[Any, Any]()
        self.certificate = functools.lru_cache(None)(self.open_certificate)
        self.head = functools.lru_cache(16)(self.open_head)
        self.frame = functools.lru_cache(8)(self.open_frame)
        if not any(os.path.exists(os.path.join(root, name)) for name in ("store", "twins/store")):
            stop(10, f"no kluis repository at {root}: there is no file called store")
        opened = self.whole("store", lambda d: envelope(d, b"M", "store", d[24:56]))
        if not opened or blake3(opened[1]).digest() != opened[2]:
            stop(4, "without a whole store nothing can be opened")
        _, self.owner, self.vault, self.store, *_ = opened
        self.open_keyring(passphrase)
        for (name,) in self.names("domains", r"([a-z2-7]{26}-\d{8,})"):
            opened = self.whole(f"domains/{name}", lambda d: envelope(d, b"D", "domain", self.owner))
            for key, parts, box in opened[6] if opened else []:
                if key == self.box[0] and parts == 7:  # domain's secret, K_meta, K_dedup
                    self.domains[opened[1], opened[2]] = unbox(self.box[1], box)
        self.read_ledger()

    def tell(self, code: int, what: str, message: object) -> None:
        self.code = max(self.code, code)
        sys.stderr.write(f"{what}: {message}\n")

    def read(self, name: str, offset: int = 0, size: int = 1 << 31) -> bytes:
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
                return file.read(size)
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror}") from error

    def whole(self, name: str, decode: Any) -> Any:
        """What the first copy that is whole says: the twin, else the object (3). None: neither."""
        why: object = None
        for copy in (f"twins/{name}", name):
            try:
                return decode(self.read(copy))
            except BAD as error:
                why = error
        return self.tell(4, name, f"damaged or missing, and so is its twin ({why})")

    def names(self, folder: str, pattern: str) -> list[Any]:
        """The pattern's groups in the names of a folder and of its twin, from the highest on."""
        places = [os.path.join(self.root, place, folder) for place in ("", "twins")]
        found = {name for place in places if os.path.isdir(place) for name in os.listdir(place)}
        matches = [match for match in (re.fullmatch(pattern, name) for name in found) if match]
        return sorted((m.groups() for m in matches), key=lambda g: (len(g[0]), g), reverse=True)

    def open_keyring(self, passphrase: Any) -> None:
        found = None
        for (name,) in self.names("keyring", r"(\d{8,})"):
            decode = functools.partial(lambda d: envelope(d, b"K", "keyring", d[24:56]))
            found = found or self.whole(f"keyring/{name}", decode)
        if not found or found[1] != self.owner:
            stop(4, "no keyring is whole: without one nothing can be opened")
        _, _, box_key, _, salt, passes, memory, slots, boxes, _, self.sequence = found
        check(passes <= 64 and memory <= 64 * MIB, "a keyring that asks for too much")
        kdf = (salt, passes, memory, sodium.crypto_pwhash_ALG_ARGON2ID13)
        key = sodium.crypto_pwhash_alg(32, passphrase(), *kdf)
        for slot in slots:
            try:
                secret = unseal(key, slot, b"kluis owner secret\0", self.vault)
            except BAD:
                continue
            signer, _ = sodium.crypto_sign_seed_keypair(derive(secret, "owner signing"))
            self.box = sodium.crypto_box_seed_keypair(derive(secret, "owner box"))
            check(signer == self.owner and self.box[0] == box_key, "not the owner's secret")
            self.vault_key = unbox(self.box[1], dict(boxes)[box_key])
            return
        stop(12, "wrong passphrase")

    def record(self, n: int, data: bytes) -> Any:
        """(n, H of it, H of the one before, author, events) of a record of the ledger (6.1)."""
        body = envelope(data, b"L", "record", data[100:132])
        vault, store, number, previous, author, _, sealed = body
        check((vault, store, number) == (self.vault, self.store, n), "of another place")
        place = (b"kluis ledger\0", vault, store, U8.pack(n), previous)
        events = expand(unseal(derive(self.vault_key, "ledger"), sealed, *place), 256 * MIB)
        events = parse(events, "[event]")
        if events[0][0] == CHECKPOINT and author != self.owner:
            verify(self.owner, b"kluis roles", vault + events[0][1][0][2])
        return n, blake3(data).digest(), previous, author, events

    def read_ledger(self) -> None:
        """Finds the snapshots (6.2). What `ended` and `held` forbid, honest writers do not do."""
        self.marks, self.forgotten, records = dict[bytes, Any](), set[bytes](), list[Any]()
        before, self.roles = ZERO32, (0, {}, b"")
        for (name,) in self.names("ledger", r"(\d{8,})"):
            found = self.whole(f"ledger/{name}", functools.partial(self.record, int(name)))
            records += [found] if found else []
            if found and found[4][0][0] == CHECKPOINT:
                before, self.roles = found[2], found[4][0][1][0]  # judged by its own roles
                if self.roles[0] >= self.sequence and self.may_sign(found[3], CHECKPOINT):
                    break
                before, self.roles = ZERO32, (0, {}, b"")
        for n, digest, previous, author, events in reversed(records):
            if previous == before and all(self.may_sign(author, number) for number, _ in events):
                for number, value in events:
                    self.apply(author, number, value)
            else:
                self.tell(4, f"ledger/{n:08}", "does not follow what is before it: passed over")
            before = digest

    def may_sign(self, author: bytes, number: int) -> bool:
        role, until = self.roles[1].get(author, (0, 0))
        return author == self.owner or (until == 0 and number in MAY_SIGN.get(role, ()))

    def apply(self, author: bytes, number: int, value: Any) -> None:
        if number == CHECKPOINT:
            self.roles, live, since, doomed = value[:4]
            marks = sorted(live + [mark for mark, _ in since], key=lambda mark: mark[8])
            self.marks = {**dict.fromkeys(doomed), **{mark[0]: (mark, b"") for mark in marks}}
            self.forgotten = {mark[0] for mark, _ in since}
        elif number in (MADE, COPIED):
            self.marks.setdefault(value[0], (value, author if number == MADE else b""))
        elif number == FORGOTTEN:
            self.forgotten.update(value[0])
        elif number == UNFORGOTTEN:
            self.forgotten.difference_update(value)
        elif number == DOOMED:
            self.marks.update(dict.fromkeys(value[1]))
        elif number == ROLES and value[0] >= self.roles[0]:
            self.roles = value

    def open_certificate(self, data: bytes) -> Any:
        """A run: of this vault, made by one who may (5)."""
        vault, _, domain, epoch, box, key, head, _, maker, _ = parse(data, "certificate")
        role, until = self.roles[1].get(maker, (0, 0))
        good = maker == self.owner or (role in MAY_SIGN and (until == 0 or until > head))
        check(vault == self.vault and good, "made by one who may not")
        verify(maker, b"kluis certificate", data)
        secret, meta, dedup = (self.domains[domain, epoch][i : i + 32] for i in (0, 32, 64))
        run = SimpleNamespace(id=blake3(data[:-64]).digest()[:16], verify_key=key, maker=maker)
        run.meta, run.dedup, run.key = meta, dedup, unbox(secret, box)
        return run

    def snapshot(self, mark: Any, author: bytes) -> Any:
        """The root of a snapshot, as an entry, with facts and paths; None where damaged (8)."""
        name, k, digest = mark[:3]

        def decode(data: bytes) -> Any:
            check(blake3(data).digest() == digest, "not what the ledger names")
            run = self.certificate(data[12:328])
            _, facts, root = envelope(data, b"S", "snapshot", run.verify_key)
            check(run.id == name and author in (b"", self.owner, run.maker), "of another run")
            place = (self.vault, run.id, U4.pack(k))
            facts = unseal(derive(run.meta, "snapshots"), facts, b"kluis snapshot\0", *place)
            root = unseal(derive(run.key, "root"), root, b"kluis root\0", *place)
            e = SimpleNamespace(kind=DIRECTORY, name=b"", dedup=run.dedup, flags=0)
            e.facts, rows = parse(expand(facts, 256 * MIB), "facts"), expand(root, 32 * MIB)
            e.paths, extents, e.digest, e.size, e.listed, _ = parse(rows, "root")
            e.extents = b"".join(extents)
            return e

        return self.whole(f"snapshots/{b32(name)}-{k:08}", decode)

    def learn(self, pack: str, run: bytes, first: int, end: int) -> None:
        for block in range(first >> 4, (end + 15) >> 4):  # sixteen frames share an entry
            self.places.setdefault((run, block), {})[pack] = True

    def locate(self) -> None:
        """Learns from the segments which frames may lie in which packs (9)."""
        for name, k in self.names("index", r"([a-z2-7]{26})-(\d{8,})"):
            try:
                data = self.read(f"index/{name}-{k}")
                run = self.certificate(data[12:328])
                row = f"316 {len(data) - 392}"
                _, sealed = envelope(data, b"I", row, run.verify_key)
                place = (b"kluis segment\0", self.vault, run.id, U4.pack(int(k)))
                inside = expand(unseal(derive(run.meta, "segments"), sealed, *place), 64 * MIB)
                packs = [pack for one in parse(inside, "segment")[4] for pack in one[3]]
            except BAD as error:
                self.tell(0, f"index/{name}-{k}", f"{error}: the packs tell what it said")
                continue
            for shelf, digest, _, groups in packs:
                for run_id, first, _, stored, _ in groups:
                    end = first + len(stored) // 4
                    self.learn(f"packs/{chr(shelf)}/{b32(digest)}", run_id, first, end)

    @functools.cached_property
    def scanned(self) -> bool:
        """Learns the same from the directories of all packs."""
        for (shelf,) in self.names("packs", "([a-z2-7])"):
            for (name,) in self.names(f"packs/{shelf}", "([a-z2-7]{52})"):
                try:
                    for run, n in self.head(f"packs/{shelf}/{name}"):
                        self.learn(f"packs/{shelf}/{name}", run, n, n + 1)
                except BAD as error:
                    self.tell(0, f"packs/{shelf}/{name}", error)
        return True

    def open_head(self, pack: str) -> Any:
        """(run, entry, offset of the frame, of its chunk list) by (run, n) (10)."""
        magic, vault, domain, epoch, count, _ = parse(self.read(pack, 0, 64), "head")
        check(magic == b"KLUISP\1\xfe" and vault == self.vault, "not a pack of this vault")
        cut = struct.iter_unpack("316s", self.read(pack, 64, 316 * count))
        runs = [self.certificate(certificate) for (certificate,) in cut]
        lists, _, at, size, _, _ = parse(self.read(pack, -64), "tail")
        key, place = derive(self.domains[domain, epoch][32:64], "directories"), (vault, domain)
        entries = unseal(key, self.read(pack, at, size), b"kluis directory\0", *place)
        found, at = {}, 64 + 316 * count
        for entry in ENTRY.iter_unpack(entries):
            found[runs[entry[0]].id, entry[2]] = (runs[entry[0]], entry, at, lists)
            at, lists = at + entry[6], lists + entry[8]
        return found

    def open_frame(self, run: bytes, n: int) -> Any:
        """A frame, from whichever pack has it whole (7)."""
        why: object = "no pack has it"
        for _ in range(2):
            for pack in self.places.get((run, n >> 4), ()):
                try:
                    if (run, n) in self.head(pack):
                        return self.load(pack, *self.head(pack)[run, n])
                except BAD as error:
                    why = f"{pack}: {error}"
            check(self.scanned, "")
        raise ValueError(f"frame {n} of run {b32(run)}: {why}")

    def load(self, pack: str, run: Any, entry: Any, at: int, lists: int) -> Any:
        """A frame out of a pack: its bytes, where its chunks begin, their hashes."""
        _, _, n, kind, compression, _, stored, plain, size, digest, list_digest, _ = entry
        verify(run.verify_key, b"kluis frame", run.id + ENTRY.pack(*entry)[4:])
        sealed, place = self.read(pack, at, stored), (self.vault, run.id, U4.pack(n))
        check(blake3(sealed).digest() == digest, "a damaged frame")
        data = unseal(run.key, sealed, b"kluis frame\0", *place, bytes((kind, compression)))
        data = expand(data, 16 * MIB) if compression else data
        key, sealed = derive(run.dedup, "chunk lists"), self.read(pack, lists, size)
        listed = unseal(key, sealed, b"kluis chunks\0", *place, bytes(2))
        check(blake3(listed).digest() == list_digest, "a damaged chunk list")
        hashes, lengths = zip(*struct.iter_unpack("<16sI", listed))
        starts = [0, *itertools.accumulate(lengths)]
        check(starts[-1] == plain == len(data), "a frame that its chunks do not fill")
        key = derive(run.dedup, "data chunks" if kind == DATA else "tree chunks")
        return SimpleNamespace(kind=kind, data=data, starts=starts, hashes=hashes, key=key)

    def chunks(self, extents: bytes, kind: int) -> Any:
        """(hash16, bytes, length) of each chunk, checked; a hole has no bytes (11.1)."""
        for run, n, offset, length in struct.iter_unpack("<16sIII", extents):
            if run == ZERO16:
                yield ZERO16, b"", (offset << 32) + length
                continue
            frame = self.frame(run, n)
            i, end = frame.starts.index(offset), frame.starts.index(offset + length)
            check(frame.kind == kind and length, "a wrong extent")
            for start, stop_, hash16 in zip(frame.starts[i:end], frame.starts[i+1:end+1], frame.hashes[i:]):
                chunk = frame.data[start:stop_]
                check(blake3(chunk, key=frame.key).digest()[:16] == hash16, "a wrong chunk")
                yield hash16, chunk, len(chunk)

    def blocks(self, e: Any) -> Any:
        """(extents, digest) of an entry's stream, or of each block of its list (11.3)."""
        if not e.listed:
            yield e.extents, e.digest
            return
        rest, digests = b"", b""
        for _, chunk, _ in self.chunks(e.extents, TREES):
            rest += chunk
            while len(rest) > 4 and len(rest) >= (size := 40 + 28 * U4.unpack_from(rest)[0]):
                yield rest[40:size], rest[8:40]
                digests, rest = digests + rest[8:40], rest[size:]
        whole = blake3(digests, key=derive(e.dedup, "list digests")).digest()
        check(not rest and whole == e.digest, "a list that does not fit its digest")

    def content(self, e: Any) -> Any:
        """(bytes, length) of each chunk of an entry; one of BAD where anything does not fit (11.2)."""
        total, kind = 0, DATA if e.kind == FILE else TREES
        for extents, digest in self.blocks(e):
            state, seen = blake3(key=derive(e.dedup, "content digests")), []
            for hash16, chunk, length in self.chunks(extents, kind):
                state.update(hash16 + U8.pack(length))
                seen, total = [*seen, hash16][:2], total + length
                yield chunk, length
            plain = seen[0] if len(seen) == 1 else b"" if seen else ZERO16
            check(digest == (plain + ZERO16 if plain and (not seen or plain != ZERO16) else state.digest()), "a wrong digest")
        check(total == e.size or e.flags & INCOMPLETE, "a wrong size")

    def entries(self, folder: Any) -> Any:
        """The entries of a directory (11.4)."""
        data = b"".join(chunk for chunk, _ in self.content(folder))
        magic, count, extents, names, _ = struct.unpack_from("<8sIIQQ", data or b"tree\1" + bytes(27))
        check(magic == b"tree\1\0\0\0", "not a tree")
        extent, before = 32 + 104 * count, b""
        name, extra = extent + 28 * extents, extent + 28 * extents + names
        for i in range(count):
            kind, flags, length, mode, uid, gid, own, extras, size, *times, digest = RECORD.unpack_from(data, 32 + 104 * i)
            e = SimpleNamespace(kind=kind, flags=flags, mode=mode, owner=(uid, gid), size=size)
            e.name, e.dedup, e.digest, e.listed = data[name : name + length], folder.dedup, digest, flags & LISTED
            good = before < e.name not in (b".", b"..") and b"/" not in e.name and b"\0" not in e.name
            check(good and 1 <= kind <= 7, "an entry that is not allowed")
            e.mtime, e.number = times[0] * 10**9 + times[2], times[4:]
            e.extents, found = data[extent : extent + 28 * own], data[extra : extra + extras]
            _, e.link, e.xattrs = parse(found, "extras") if found else (0, b"", [])
            yield e
            before, name, extra, extent = e.name, name + length, extra + extras, extent + 28 * own


class Target:
    """Writes entries into a folder and below, through no link; without a folder, prints them."""

    def __init__(self, repository: Repository, folder: str | None) -> None:
        self.repository, self.tell, self.here, self.links = repository, repository.tell, -1, dict[Any, Any]()
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
            self.here = self.top = os.open(folder, os.O_DIRECTORY)
            if os.listdir(self.top):
                stop(1, f"{folder} is not empty: give a new or an empty folder")

    def folder(self, e: Any, path: bytes) -> None:
        try:
            for entry in self.repository.entries(e):
                self.entry(entry, path + b"/" + entry.name)
        except BAD as error:
            self.tell(4, shown(path) or "/", f"its listing is damaged, what it held is lost: {error}")

    def entry(self, e: Any, path: bytes) -> None:
        try:
            if self.here < 0:
                sys.stdout.write(f"{e.size:>12} {shown(path)}\n")
                return self.folder(e, path) if e.kind == DIRECTORY else None
            if e.flags & LINKED and tuple(e.number) in self.links:
                os.link(self.links[tuple(e.number)], e.name, src_dir_fd=self.top, dst_dir_fd=self.here)
                return
            if e.kind == DIRECTORY:
                return self.directory(e, path)
            if e.kind == FILE:
                return self.file(e, path)
            if e.kind == SYMLINK:
                os.symlink(e.link, e.name, dir_fd=self.here)
            elif e.kind in (FIFO, SOCKET):
                kind = stat.S_IFIFO if e.kind == FIFO else stat.S_IFSOCK
                os.mknod(e.name, kind | e.mode & 0o777, dir_fd=self.here)
            else:
                return self.tell(3, shown(path), "a device, which is not restored")
            self.metadata(e, path, None)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                stop(13, f"no space for {shown(path)}")
            self.tell(3, shown(path), error.strerror)

    def directory(self, e: Any, path: bytes) -> None:
        above = self.here
        os.mkdir(e.name, 0o700, dir_fd=above)
        self.here = os.open(e.name, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        self.folder(e, path)
        self.metadata(e, path, self.here)
        os.close(self.here)
        self.here = above

    def file(self, e: Any, path: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(e.name, flags, 0o600, dir_fd=self.here), "wb") as file:
            try:
                for chunk, length in self.repository.content(e):
                    file.write(chunk) if chunk else file.seek(length, os.SEEK_CUR)
                file.truncate()
            except BAD as error:
                os.unlink(e.name, dir_fd=self.here)
                return self.tell(4, shown(path), f"damaged, not restored: {error}")
            self.metadata(e, path, file.fileno())
        if e.flags & LINKED:
            self.links[tuple(e.number)] = path.lstrip(b"/")

    def metadata(self, e: Any, path: bytes, fd: int | None) -> None:
        """Owner, attributes, mode, time: of a descriptor, or of the name where that is None."""
        how: Any = {"dir_fd": self.here, "follow_symlinks": False} if fd is None else {}
        where: Any = e.name if fd is None else fd
        inside: Any = b"/proc/self/fd/%d/%b" % (self.here, e.name) if fd is None else fd
        steps = [lambda: os.chown(where, *e.owner, **how)] if os.geteuid() == 0 else []
        follow = fd is not None
        steps += [functools.partial(os.setxattr, inside, n, v, follow_symlinks=follow) for n, v in e.xattrs]
        if fd is not None:
            steps.append(lambda: os.fchmod(fd, e.mode & (0o1777 if e.kind == FILE else 0o7777)))
        steps.append(lambda: os.utime(where, ns=(e.mtime, e.mtime), **how))
        for step in steps:
            try:
                step()
            except (OSError, OverflowError) as error:
                self.tell(3, shown(path), f"not all of its metadata could be set: {error}")
        if e.kind == FILE and e.mode & 0o6000:
            self.tell(3, shown(path), "its setuid and setgid bits are left out")


def passphrase(file: str | None) -> bytes:
    """From a file, the environment, or the terminal."""
    if file:
        with open(file, "rb") as opened:
            return opened.read().rstrip(b"\r\n")
    if "KLUIS_PASSWORD" in os.environ:
        return os.environb[b"KLUIS_PASSWORD"]
    if not sys.stdin.isatty():
        stop(12, "no passphrase: set KLUIS_PASSWORD or give --password-file")
    return getpass.getpass("passphrase: ").encode()


def main() -> int:
    """Does what the command line asks; the exit code."""
    parser = argparse.ArgumentParser(description="Restores a kluis repository without kluis.")
    parser.add_argument("repository")
    parser.add_argument("--password-file")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    for verb, words in (("ls", ("snapshot",)), ("restore", ("snapshot", "target"))):
        sub = verbs.add_parser(verb)
        for word in words:
            sub.add_argument(word)
        sub.add_argument("path", nargs="?", default="")
    asked = parser.parse_args()
    repository = Repository(asked.repository, lambda: passphrase(asked.password_file))
    marks = [mark for mark in repository.marks.values() if mark]
    live = [mark for mark in marks if mark[0][0] not in repository.forgotten]
    if asked.verb == "list":
        for mark in live:
            e = repository.snapshot(*mark)
            if e:
                date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(e.facts[4] // 10**9))
                words = [b32(mark[0][0])[:12], date, e.facts[6], *map(shown, e.paths), *e.facts[8]]
                sys.stdout.write(" ".join(words) + "\n")
        return repository.code
    found = live[-1:] if asked.snapshot == "latest" else [m for m in marks if b32(m[0][0]).startswith(asked.snapshot)]
    if len(found) != 1:
        stop(1, f"{len(found)} snapshots are called {asked.snapshot}")
    e, path = repository.snapshot(*found[0]), b""
    if not e:
        return repository.code
    repository.locate()
    for part in os.fsencode(asked.path).strip(b"/").split(b"/") if asked.path.strip("/") else []:
        e = next((one for one in (repository.entries(e) if e.kind == DIRECTORY else ()) if one.name == part), None)
        path += b"/" + part
        if not e:
            stop(1, f"{shown(path)} is not in this snapshot")
    target = Target(repository, getattr(asked, "target", None))
    if e.kind == DIRECTORY:
        target.folder(e, path if asked.verb == "ls" else b"")
    else:
        target.entry(e, b"/" + e.name)
    return repository.code


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a folder is a descriptor
    sys.setrecursionlimit(1 << 18)
    os.umask(0)
    try:
        sys.exit(main())
    except BAD as error:
        stop(4, f"damaged: {error}")
    except BrokenPipeError:
        sys.exit(1)
