"""Where each kind of object lies. Names tell neither content nor size of what is backed up."""

from __future__ import annotations

import base64
import binascii
import re

from kluis.errors import FormatError
from kluis.format.crypt import DIGEST_BYTES, RUN_BYTES

PACKS = "packs"
PARITY = "parity"
INDEX = "index"
SNAPSHOTS = "snapshots"
LEDGER = "ledger"
KEYRING = "keyring"
DOMAINS = "domains"
STORE = "store"
RESERVE = "reserve"
LOCK = "lock"
QUARANTINE = "quarantine"
LOG = "log"
TWINS = "twins"
DOCUMENTS = ("README", "format.md", "kluis-reader.py")
# What operating systems put at the top of any medium by themselves.
_OF_SYSTEMS = frozenset(
    ("lost+found", "System Volume Information", "$RECYCLE.BIN", ".Trashes", ".Spotlight-V100",
     ".fseventsd", ".TemporaryItems", ".DS_Store", "desktop.ini", "Thumbs.db")
)  # fmt: skip
_TRASH = ".Trash-"

SHELVES = "abcdefghijklmnopqrstuvwxyz234567"
K_LIMIT = (1 << 32) - 1
N_LIMIT = (1 << 64) - 1

SHELVES = "abcdefghijklmnopqrstuvwxyz234567"
# Made by `init`, so that a later run syncs no folder above the ones that it touches.
FOLDERS = (
    *(f"{PACKS}/{character}" for character in SHELVES),
    PARITY,
    INDEX,
    SNAPSHOTS,
    LEDGER,
    KEYRING,
    DOMAINS,
    *(f"{TWINS}/{folder}" for folder in (SNAPSHOTS, LEDGER, KEYRING, DOMAINS)),
)

RUN_CHARACTERS = 26
DIGEST_CHARACTERS = 52

_NUMBERED = re.compile(r"([a-z2-7]+)-([0-9]{8,10})")
_NUMBER = re.compile(r"[0-9]{8,20}")


def base32(data: bytes) -> str:
    """Lower-case base32 without padding."""
    return base64.b32encode(data).decode("ascii").lower().rstrip("=")


def from_base32(text: str, size: int) -> bytes:
    """The `size` bytes that `base32` was given; other spellings of them are refused."""
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise FormatError(f"{text!r} is not a name that kluis gives") from None
    if len(data) != size or base32(data) != text:
        raise FormatError(f"{text!r} is not a name that kluis gives")
    return data


def twin(name: str) -> str:
    """Where the second copy of a small object lies."""
    return f"{TWINS}/{name}"


def pack(shelf: str, pack_digest: bytes) -> str:
    """`shelf` is the first character of the name of the run that wrote the pack."""
    return f"{PACKS}/{shelf}/{base32(pack_digest)}"


def shelf(run: bytes) -> str:
    """The folder below `packs/` that a run writes to: one folder, so one fsync."""
    return base32(run)[0]


def is_shelf(text: str) -> bool:
    """True for one character that a run's name can begin with."""
    return len(text) == 1 and text in SHELVES


def parse_pack(name: str) -> tuple[str, bytes]:
    """(shelf, digest) of a pack's name."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != PACKS or not is_shelf(parts[1]):
        raise FormatError(f"{name!r} is not a pack's name")
    return parts[1], from_base32(parts[2], DIGEST_BYTES)


def numbered(folder: str, run: bytes, k: int) -> str:
    """The name of a run's k-th object in `index`, `parity` or `snapshots`."""
    return f"{folder}/{base32(run)}-{k:08d}"


def parse_numbered(name: str) -> tuple[bytes, int]:
    """(run, k) of a name that `numbered` gave."""
    match = _NUMBERED.fullmatch(name.rpartition("/")[2])
    if match is None or f"{int(match[2]):08d}" != match[2] or int(match[2]) > K_LIMIT:
        raise FormatError(f"{name!r} is not a name that kluis gives")
    return from_base32(match[1], RUN_BYTES), int(match[2])


def ledger(n: int) -> str:
    """The name of the n-th ledger record, counted from 1."""
    return f"{LEDGER}/{n:08d}"


def keyring(epoch: int) -> str:
    """The name of the keyring of an epoch, counted from 1."""
    return f"{KEYRING}/{epoch:08d}"


def parse_number(name: str) -> int:
    """n of a name that `ledger` or `keyring` gave."""
    last = name.rpartition("/")[2]
    if _NUMBER.fullmatch(last) is None or f"{int(last):08d}" != last or int(last) > N_LIMIT:
        raise FormatError(f"{name!r} is not a name that kluis gives")
    return int(last)


def domain(domain_id: bytes, epoch: int) -> str:
    """The name of a domain's secrets in an epoch."""
    return f"{DOMAINS}/{base32(domain_id)}-{epoch:08d}"


def is_of_system(name: str) -> bool:
    """True for what an operating system keeps at the top of a medium, whatever else is on it."""
    first = name.partition("/")[0]
    return first in _OF_SYSTEMS or first.startswith(_TRASH)
