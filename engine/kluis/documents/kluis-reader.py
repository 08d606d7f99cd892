#!/usr/bin/env python3
"""Restores files from a kluis repository without kluis, by what format.md beside it says.

Needs Python 3.9 or newer with PyNaCl (1.6 or newer), zstandard and blake3. It only reads the
repository and writes nothing outside TARGET. Not restored: attributes of chattr, birth times.

Exit codes: 0 all is well, 1 failed, 2 wrong usage, 3 something could not be made or set (named),
4 damage (named; a damaged file is not left behind), 10 no repository, 12 wrong passphrase.
"""

from __future__ import annotations

import argparse
import base64
import bisect
import functools
import getpass
import grp
import os
import pwd
import re
import stat
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import nacl.bindings as sodium
import nacl.pwhash
import zstandard
from blake3 import blake3
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey, VerifyKey

T = TypeVar("T")
ZERO16, ZERO32, MIB = bytes(16), bytes(32), 1 << 20
DATA, TREES = 1, 2  # kinds of frames
FILE, DIRECTORY, SYMLINK, FIFO, CHARACTERS, BLOCKS, SOCKET = range(1, 8)  # kinds of entries
TYPES = (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK)
ROLES, MADE, ENDED, FORGOTTEN, UNFORGOTTEN, HELD, RELEASED, DOOMED, COPIED = range(1, 10)
LOST, FOUND, VERIFIED, LOGGED, CHECKPOINT = range(10, 15)
AGENT, OPERATOR = 2, 3  # roles that may write
MAY_SIGN = {AGENT: {MADE, ENDED}, OPERATOR: {ENDED, *range(4, 13), CHECKPOINT}}
CERTIFICATE, ENTRY = 316, struct.Struct("<HHIBBHIII32s32s64s")
EXTENT, TREE = struct.Struct("<16sIII"), struct.Struct("<4sHHIIQQ")
RECORD = struct.Struct("<BBHIIIIIQqqIIQQ32s")
FRAMES_KEPT, PACKS_KEPT = 8, 16


class Damage(Exception):
    """Bytes that are not there, or are not what the format says."""


class Stop(Exception):
    """Nothing can go on: the exit code and the reason."""


def check(good: object, message: str) -> None:
    """Raises Damage unless something is so."""
    if not good:
        raise Damage(message)


# ---- Section 2 of format.md: hashes, seals, fields


def hashed(data: bytes, key: bytes | None = None) -> bytes:
    """H, and with a key K."""
    return blake3(data, key=key).digest()


def derive(key: bytes, purpose: str) -> bytes:
    """A key for one purpose out of another key."""
    return blake3(key, derive_key_context="kluis 2026 v1 " + purpose).digest()


def le(value: int, size: int = 4) -> bytes:
    """A number as the format writes it."""
    return value.to_bytes(size, "little")


def b32(data: bytes) -> str:
    """An id or a digest as it stands in names."""
    return base64.b32encode(data).decode().lower().rstrip("=")


def verify(key: bytes, context: bytes, message: bytes, signature: bytes) -> None:
    """Raises Damage unless the signature fits."""
    try:
        VerifyKey(key).verify(context + b"\0" + message, signature)
    except (CryptoError, ValueError) as error:
        raise Damage("a signature does not fit") from error


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plain bytes of a sealed part (2.3)."""
    algorithm = sealed[:1]
    check(algorithm in (b"\1", b"\2"), "sealed with an unknown algorithm")
    name, start = ("aegis256", 33) if algorithm == b"\1" else ("xchacha20poly1305_ietf", 25)
    decrypt = getattr(sodium, f"crypto_aead_{name}_decrypt", None)
    if decrypt is None:
        raise Stop(1, "this needs PyNaCl 1.6 or newer: pip install --upgrade pynacl")
    try:
        return bytes(decrypt(sealed[start:], context + algorithm, sealed[1:start], key))
    except (CryptoError, ValueError) as error:
        raise Damage("a sealed part does not open") from error


def unbox(secret: bytes, box: bytes) -> bytes:
    """What was boxed for the holder of an X25519 secret (2.4)."""
    try:
        return bytes(SealedBox(PrivateKey(secret)).decrypt(box))
    except (CryptoError, ValueError) as error:
        raise Damage("a box does not open") from error


def expand(data: bytes, limit: int) -> bytes:
    """The bytes inside Z (2.7), never more than the limit."""
    try:
        about = zstandard.get_frame_parameters(data)
        check(0 < about.content_size <= limit and not about.dict_id, "its size is not allowed")
        check(about.window_size <= max(about.content_size, 1024), "its window is too large")
        plain = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damage("a compressed part does not expand") from error
    check(len(plain) == about.content_size, "a compressed part has another size")
    return plain


class Fields:
    """Takes the fields off a value, one after the other (2.1)."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        check(len(part) == size, "fields end early")
        self.at += size
        return part

    def u(self, size: int = 4) -> int:
        return int.from_bytes(self.take(size), "little")

    def time(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def blob(self) -> bytes:
        return self.take(self.u())

    def text(self) -> str:
        return self.take(self.u(2)).decode("utf-8", "backslashreplace")

    def flag(self) -> bool:
        value = self.u(1)
        check(value < 2, "a flag is neither 0 nor 1")
        return value == 1

    def optional(self, size: int) -> bytes | None:
        given, value = self.flag(), self.take(size)
        return value if given else None

    def many(self, one: Callable[[], T]) -> list[T]:
        return [one() for _ in range(self.u())]

    def ids(self) -> list[bytes]:
        return self.many(lambda: self.take(16))

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        check(self.at == len(self.data), "bytes are left over")


def envelope(data: bytes, kind: bytes) -> Fields:
    """The body of an object of that kind (4.0); who signed it is still to be checked."""
    check(data[:6] == b"KLUIS" + kind and len(data) > 8, "not an object of its kind")
    check(data[6] ^ data[7] == 0xFF, "its version is damaged")
    if data[6] > 1:
        raise Stop(1, "written by a newer kluis: take the reader that lies on that medium")
    fields = Fields(data[8:-64] if kind != b"P" else data[8:])
    check(kind == b"P" or fields.u() == len(data) - 76, "its length does not fit")
    return fields


def signed(data: bytes, key: bytes) -> None:
    """Raises Damage unless the object was signed with that key."""
    verify(key, b"kluis object", data[:-64], data[-64:])


def owners(data: bytes, fields: Fields) -> tuple[bytes, bytes]:
    """(vault, owner's verify key) at the start of `store` and keyrings, signature checked."""
    masks, owner = fields.take(12), fields.take(32)
    signed(data, owner)
    if any(masks[8:]):
        raise Stop(1, "uses what this reader does not know: take the reader of a newer kluis")
    return hashed(owner), owner


# ---- What objects hold


class Mark(NamedTuple):
    """What the ledger says of a snapshot."""

    run: bytes
    k: int
    digest: bytes
    counted: int


class Roles(NamedTuple):
    """Who may sign: verify key to (role, until)."""

    sequence: int
    of: dict[bytes, tuple[int, int]]
    block: bytes
    signature: bytes


class Record(NamedTuple):
    """One record of the ledger."""

    n: int
    digest: bytes
    previous: bytes
    author: bytes
    events: list[tuple[int, Any]]


class Run(NamedTuple):
    """A certificate that was checked, with the secrets that go with it."""

    id: bytes
    verify_key: bytes
    maker: bytes
    head: int
    store: bytes
    meta: bytes
    dedup: bytes
    key: bytes


class Stream(NamedTuple):
    """The content of a file, or of a directory's listing (11)."""

    extents: bytes
    listed: bool
    digest: bytes
    size: int
    kind: int


class Snapshot(NamedTuple):
    """A snapshot that was opened."""

    run: Run
    line: str
    tree: Stream


class Entry(NamedTuple):
    """One entry of a directory."""

    kind: int
    flags: int
    name: bytes
    mode: int
    owner: tuple[int, int]
    mtime: int
    number: tuple[int, int]
    stream: Stream
    link: bytes
    xattrs: list[tuple[bytes, bytes]]


class Frame(NamedTuple):
    """An opened frame: its bytes, where its chunks begin (and the last ends), their hashes."""

    kind: int
    plain: bytes
    starts: list[int]
    hashes: list[bytes]
    chunk_key: bytes


def mark(f: Fields) -> Mark:
    """A mark; what only writers and collectors need is passed over."""
    run, k, digest = f.take(16), f.u(), f.take(32)
    f.optional(32), f.take(24), f.optional(16), f.take(32)
    counted, _ = f.u(8), f.flag()
    return Mark(run, k, digest, counted)


def roles(f: Fields) -> Roles:
    """A roles block and its signature."""
    start, sequence = f.at, f.u(8)

    def role() -> tuple[bytes, tuple[int, int]]:
        number, _, key = f.u(1), f.text(), f.take(32)
        f.take(32), f.ids()
        return key, (number, f.u(8))

    of = dict(f.many(role))
    return Roles(sequence, of, f.data[start : f.at], f.take(64))


def frame_set(f: Fields) -> list[bytes]:
    """The runs of a frame set."""
    return f.many(lambda: (f.take(16), f.many(lambda: f.take(8)))[0])


def verified(f: Fields) -> None:
    """A level, a time, and ranges of segments: of no use here."""
    f.take(9), f.many(lambda: f.take(24))


def checkpoint(f: Fields) -> tuple[Any, ...]:
    """(roles, live marks, forgotten ones, doomed runs, held, open runs, floor)."""
    block, live = roles(f), f.many(lambda: mark(f))
    forgotten = f.many(lambda: (mark(f), f.take(8))[0])
    doomed, held = f.ids(), f.many(lambda: (f.take(16), f.text())[0])
    f.many(lambda: f.take(33)), frame_set(f), f.many(lambda: verified(f)), f.take(41)
    open_runs, _, _ = f.ids(), f.take(8), f.many(lambda: f.take(32))
    return block, live, forgotten, doomed, held, open_runs, f.u(8)


def event(f: Fields) -> tuple[int, Any]:
    """An event's number and what a reader needs of it."""
    readers: dict[int, Callable[[], Any]] = {
        ROLES: lambda: roles(f),
        MADE: lambda: mark(f),
        ENDED: f.ids,
        FORGOTTEN: lambda: (f.ids(), f.text())[0],
        UNFORGOTTEN: f.ids,
        HELD: lambda: (f.take(16), f.text())[0],
        RELEASED: lambda: f.take(16),
        DOOMED: lambda: (f.many(lambda: f.take(33)), f.ids())[1],
        COPIED: lambda: mark(f),
        LOST: lambda: frame_set(f),
        FOUND: lambda: frame_set(f),
        VERIFIED: lambda: verified(f),
        LOGGED: lambda: f.take(40),
        CHECKPOINT: lambda: checkpoint(f),
    }
    number = f.u(1)
    check(number in readers, "an unknown event")
    return number, readers[number]()
