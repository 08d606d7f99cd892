"""Whole packs looked into: every frame opened, and every digest of every chunk computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from kluis.errors import DamageError, FormatError
from kluis.events import Cancel
from kluis.format import crypt, frame, pack
from kluis.format.frame import FrameEntry
from kluis.format.segment import PackPlace
from kluis.repository.content import ChunkKeys, check_chunks, chunk_keys
from kluis.repository.packer import groups_of
from kluis.repository.packs import OpenPack, PackDirectories, RunKeys, plain_list


class InsideError(FormatError):
    """A pack has the bytes that it is named after, and they are not what they should hold."""


@dataclass
class PackOpener:
    """Opens whole packs, from several threads at once; their directories are kept for later."""

    directories: PackDirectories
    cancel: Cancel
    # Told of each frame that is whole: its pack's domain, its entry, its chunk list.
    whole: Callable[[bytes, FrameEntry, bytes], None]
    # Two threads may both miss a key: each then computes the same one.
    _run_keys: RunKeys = field(default_factory=RunKeys)
    _chunk_keys: dict[bytes, ChunkKeys] = field(default_factory=dict)
    # Hashing a chunk lets go of the interpreter for some microseconds. Two threads at that hand
    # it to and fro, which takes four times as long; one beside another that expands does not.
    _hashing: Lock = field(default_factory=Lock)

    def check(self, name: str, data: bytes, place: PackPlace) -> int:
        """How many frames the pack holds, all of them whole; `InsideError` if one is not.

        `place` is what the segment says of the pack.
        """
        try:
            opened = self.directories.offer(name, data)
            _check_place(opened, place)
            tail = opened.trailer.directory_offset + opened.trailer.directory_bytes
            view = memoryview(data)
            pack.check_padding(bytes(view[tail : -pack.TRAILER_BYTES]))
            for number, entry in enumerate(opened.entries):
                self.cancel.check()
                start, at = opened.offsets[number], opened.list_offsets[number]
                sealed = bytes(view[at : at + entry.list_bytes])
                listed = plain_list(opened, number, sealed)
                self._frame(opened, entry, view[start : start + entry.stored_bytes], listed)
                self.whole(opened.head.domain, entry, listed)
        except DamageError as error:
            raise InsideError(f"{name} holds what kluis did not store there: {error}") from error
        return len(opened.entries)

    def _frame(
        self, opened: OpenPack, entry: FrameEntry, stored: memoryview, listed: bytes
    ) -> None:
        if crypt.digest(stored) != entry.digest:
            raise FormatError("a frame is not the one that was signed")
        number = (entry.run, entry.n)
        place = frame.context(opened.head.vault, number, (entry.kind, entry.compression))
        key = self._run_keys.of(opened, entry.run)
        payload = crypt.unseal_large(key, stored, place, "a frame")
        plain = frame.expand_frame(payload, entry.compression, entry.plain_bytes)
        chunks = frame.decode_chunks(listed, entry.plain_bytes)
        with self._hashing:
            check_chunks(plain, chunks, self._keys(opened).hash_key(entry.kind))

    def _keys(self, opened: OpenPack) -> ChunkKeys:
        keys = self._chunk_keys.get(opened.head.domain)
        if keys is None:
            keys = self._chunk_keys[opened.head.domain] = chunk_keys(opened.domain.dedup())
        return keys


def _check_place(opened: OpenPack, place: PackPlace) -> None:
    """Raises unless the segment has each frame where the pack's directory has it."""
    same = opened.head.frames_offset() == place.frames_offset
    if not same or groups_of(opened.entries) != place.groups:
        raise FormatError("its segment lists other frames, or has them elsewhere")
