"""What can happen to stored files, decided by a seed: on the files as a dict."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

Files = dict[str, bytes]

UNHARMED = ("reserve", "lock")
"""What holds nothing: no damage to it is one."""

KINDS = {
    "pack": ("packs/",),
    "shard": ("parity/",),
    "segment": ("index/",),
    "snapshot": ("snapshots/", "twins/snapshots/"),
    "ledger record": ("ledger/", "twins/ledger/"),
    "keyring": ("keyring/", "twins/keyring/"),
    "domain": ("domains/", "twins/domains/"),
    "store": ("store", "twins/store"),
    "document": (
        *("README", "format.md", "kluis-reader.py"),
        *("twins/README", "twins/format.md", "twins/kluis-reader.py"),
    ),
}


def of_kind(files: Mapping[str, bytes], kind: str) -> list[str]:
    """The files of a kind, in an order that does not depend on random names."""
    found = [name for name in files if name.startswith(KINDS[kind]) and files[name]]
    return sorted(found, key=lambda name: (name.startswith("twins/"), len(files[name]), name))


def all_kinds(files: Mapping[str, bytes]) -> list[str]:
    """Every file that holds something, kind by kind."""
    return [name for kind in KINDS for name in of_kind(files, kind)]


def flipped(files: Mapping[str, bytes], name: str, bit: int) -> Files:
    """One bit of a file is another."""
    data = bytearray(files[name])
    data[bit // 8] ^= 1 << bit % 8
    return {**files, name: bytes(data)}


def without(files: Mapping[str, bytes], *names: str) -> Files:
    """The files but these."""
    return {name: data for name, data in files.items() if name not in names}


def flip(files: Mapping[str, bytes], name: str, chance: random.Random) -> Files:
    """A bit anywhere, or one among the first 200 bytes."""
    limit = len(files[name]) * 8
    return flipped(
        files, name, chance.randrange(limit if chance.random() < 0.6 else min(limit, 1600))
    )


def change_byte(files: Mapping[str, bytes], name: str, chance: random.Random) -> Files:
    """Another byte somewhere."""
    data = bytearray(files[name])
    at = chance.randrange(len(data))
    data[at] = (data[at] + chance.randrange(1, 256)) % 256
    return {**files, name: bytes(data)}


def zero(files: Mapping[str, bytes], name: str, chance: random.Random) -> Files:
    """A run of zeros over bytes of which one at least was none."""
    data = bytearray(files[name])
    if not any(data):
        return change_byte(files, name, chance)
    at = chance.randrange(len(data))
    while not data[at]:
        at = (at + 1) % len(data)
    end = min(len(data), at + chance.choice((1, 16, 512, 4096)))
    data[at:end] = bytes(end - at)
    return {**files, name: bytes(data)}


def truncate(files: Mapping[str, bytes], name: str, chance: random.Random) -> Files:
    """The end is missing; something is left."""
    size = len(files[name])
    length = chance.choice((size - 1, size // 2, chance.randrange(1, size)))
    return {**files, name: files[name][:length]}


def grow(files: Mapping[str, bytes], name: str, chance: random.Random) -> Files:
    """Something more at the end."""
    more = chance.choice((b"\0", b"x", files[name][:100] or b"?", chance.randbytes(600)))
    return {**files, name: files[name] + more}


def delete(files: Mapping[str, bytes], name: str, chance: random.Random) -> Files:
    """The file is gone."""
    return without(files, name)


def swap(files: Mapping[str, bytes], name: str, chance: random.Random) -> Files:
    """Two files have one another's bytes."""
    others = [other for other in all_kinds(files) if files[other] != files[name]]
    other = chance.choice(others)
    return {**files, name: files[other], other: files[name]}


DAMAGES: dict[str, Callable[[Mapping[str, bytes], str, random.Random], Files]] = {
    "flip": flip,
    "byte": change_byte,
    "zero": zero,
    "truncate": truncate,
    "grow": grow,
    "delete": delete,
    "swap": swap,
}
