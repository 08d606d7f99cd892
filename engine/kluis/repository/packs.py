"""Packs as read: their directories and chunk lists, and whole packs checked against their name."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from kluis.errors import DamageError, FormatError, NotFoundError
from kluis.format import crypt, frame, names, pack
from kluis.format.certificate import Certificate
from kluis.format.frame import FrameEntry
from kluis.format.pack import PackHead, Trailer
from kluis.repository.keys import DomainKeys, Session
from kluis.repository.run import open_run_key, read_certificate
from kluis.repository.state import LedgerState
from kluis.storage.base import Storage

# A directory of 8 MiB of 2 MiB frames is 1 KB, its chunk lists 10 KB: one read gets both.
TAIL_BYTES = 64 << 10
DIRECTORIES_KEPT = 64


@dataclass
class OpenPack:
    """A pack's head and directory; where each frame and chunk list lies in the file."""

    name: str
    size: int
    head: PackHead
    trailer: Trailer
    certificates: dict[bytes, tuple[bytes, Certificate]]  # run -> encoded, decoded
    entries: list[FrameEntry]
    offsets: list[int]
    list_offsets: list[int]
    domain: DomainKeys
    places: dict[tuple[bytes, int], int] = field(default_factory=dict)


class RunKeys(dict[bytes, bytes]):
    """The keys of runs' frames, each unsealed once."""

    def of(self, opened: OpenPack, run: bytes) -> bytes:
        """The key of a run that the pack has a certificate of."""
        key = self.get(run)
        if key is None:
            _, body = opened.certificates[run]
            key = self[run] = open_run_key(body, opened.domain)
        return key


def open_pack(name: str, data: bytes, session: Session, state: LedgerState) -> OpenPack:
    """The head and directory of a whole pack, every signature checked."""
    trailer = pack.decode_trailer(data[-pack.TRAILER_BYTES :], len(data))
    head = pack.decode_head(data[: trailer.lists_offset])
    end = trailer.directory_offset + trailer.directory_bytes
    opened = _open(name, head, trailer, (len(data), data[trailer.directory_offset : end]), session)
    _check_signatures(opened, session, state)
    return opened


def _open(
    name: str, head: PackHead, trailer: Trailer, sized: tuple[int, bytes], session: Session
) -> OpenPack:
    """The pack whose sealed directory this is; `sized`: the file's size and that directory."""
    size, directory = sized
    keys = session.domain(head.domain)
    if head.vault != session.vault:
        raise FormatError(f"{name} belongs to another vault")
    plain = crypt.unseal(
        crypt.derive(keys.meta(), "directories"),
        directory,
        pack.directory_context(head.vault, head.domain),
        f"directory of {name}",
    )
    entries = pack.decode_directory(plain, head.certificates)
    opened = OpenPack(name, size, head, trailer, {}, entries, [], [], keys)
    position, list_position = head.frames_offset(), trailer.lists_offset
    for i, entry in enumerate(entries):
        opened.offsets.append(position)
        opened.list_offsets.append(list_position)
        opened.places[entry.run, entry.n] = i
        position += entry.stored_bytes
        list_position += entry.list_bytes
    if position != trailer.lists_offset or list_position != trailer.directory_offset:
        raise FormatError(f"{name} is damaged: its frames do not fill it")
    return opened


def _check_signatures(opened: OpenPack, session: Session, state: LedgerState) -> None:
    for encoded in opened.head.certificates:
        body = read_certificate(encoded, session, state)
        opened.certificates[crypt.digest(encoded[: -crypt.SIGNATURE_BYTES])[:16]] = encoded, body
    for entry in opened.entries:
        _, body = opened.certificates[entry.run]
        if not crypt.signed_by(
            body.verify_key, frame.SIGN_CONTEXT, entry.message(), entry.signature
        ):
            raise FormatError(f"{opened.name} is forged: a frame's signature does not fit")


def check_name(name: str, data: bytes) -> None:
    """Raises unless the bytes are those that the pack was named after. Needs no key."""
    _, digest = names.parse_pack(name)
    if crypt.digest(data) != digest:
        raise DamageError(f"{name} is damaged: its bytes are not those that it is named after")


def chunk_list(opened: OpenPack, place: int, sealed: bytes) -> list[tuple[bytes, int]]:
    """The chunks (hash16, length) of the frame at a place of the directory."""
    plain = plain_list(opened, place, sealed)
    return frame.decode_chunks(plain, opened.entries[place].plain_bytes)


def plain_list(opened: OpenPack, place: int, sealed: bytes) -> bytes:
    """The same as it was sealed and signed, not yet decoded."""
    entry = opened.entries[place]
    plain = crypt.unseal(
        crypt.derive(opened.domain.dedup(), "chunk lists"),
        sealed,
        frame.list_context(opened.head.vault, (entry.run, entry.n)),
        f"chunk list in {opened.name}",
    )
    if crypt.digest(plain) != entry.list_digest:
        raise FormatError(f"{opened.name} is forged: a chunk list is not the signed one")
    return plain


@dataclass
class PackDirectories:
    """Directories of packs, read by range and kept for the packs used last."""

    storage: Storage
    session: Session
    state: LedgerState
    _kept: OrderedDict[str, tuple[OpenPack, bytes]] = field(default_factory=OrderedDict)

    def get(self, name: str, size: int) -> OpenPack:
        """The directory of a pack of `size` bytes. Its signatures are checked too."""
        return self._get(name, size)[0]

    def chunks(self, name: str, size: int, number: tuple[bytes, int]) -> list[tuple[bytes, int]]:
        """The chunk list of one frame."""
        opened, lists = self._get(name, size)
        place = opened.places.get(number)
        if place is None:
            raise DamageError(f"{name} does not hold the frame that its segment lists")
        start = opened.list_offsets[place] - opened.trailer.lists_offset
        sealed = lists[start : start + opened.entries[place].list_bytes]
        return chunk_list(opened, place, sealed)

    def offer(self, name: str, data: bytes) -> OpenPack:
        """Keeps the directory of a whole pack that was rebuilt or read anyway."""
        opened = open_pack(name, data, self.session, self.state)
        trailer = opened.trailer
        return self._keep(opened, data[trailer.lists_offset : trailer.directory_offset])

    def _keep(self, opened: OpenPack, lists: bytes) -> OpenPack:
        self._kept[opened.name] = opened, bytes(lists)
        while len(self._kept) > DIRECTORIES_KEPT:
            self._kept.popitem(last=False)
        return opened

    def _get(self, name: str, size: int) -> tuple[OpenPack, bytes]:
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        opened, lists = self._read(name, size)
        _check_signatures(opened, self.session, self.state)
        self._keep(opened, lists)
        return self._kept[name]

    def _read(self, name: str, size: int) -> tuple[OpenPack, bytes]:
        try:
            tail_at = max(0, size - TAIL_BYTES)
            tail, start = self.storage.ranges(name, [(tail_at, TAIL_BYTES), (0, pack.HEADER_BYTES)])
        except NotFoundError:
            raise DamageError(f"{name} is missing") from None
        if tail_at + len(tail) != size:
            raise DamageError(f"{name} has not the {size} bytes that its segment lists")
        trailer = pack.decode_trailer(tail[-pack.TRAILER_BYTES :], size)
        head = pack.decode_head(self.storage.read(name, 0, pack.head_bytes(start)))
        if trailer.lists_offset < tail_at:
            tail_at = trailer.lists_offset
            tail = self.storage.read(name, tail_at, size - tail_at)
        cut = trailer.directory_offset - tail_at
        directory = tail[cut : cut + trailer.directory_bytes]
        opened = _open(name, head, trailer, (size, directory), self.session)
        return opened, tail[trailer.lists_offset - tail_at : cut]
