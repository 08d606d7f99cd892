"""A reader that looks again where frames lie once a pack is gone: a collector may have moved it."""

from __future__ import annotations

from kluis.format import names
from kluis.repository.index import load_index
from kluis.repository.reader import FrameReader, OpenFrame


class RenewingReader(FrameReader):
    """Opens frames while others prune. Its `index` may be another one after each call."""

    _listed: frozenset[str] | None = None

    def open(self, run: bytes, n: int) -> OpenFrame:
        """The frame, wherever it lies by now; `DamageError` if it cannot be had."""
        if (run, n) not in self._kept:
            self._look_again(run, n)
        return super().open(run, n)

    def chunks(self, run: bytes, n: int) -> list[tuple[bytes, int]]:
        """The chunk list of a frame, wherever it lies by now."""
        if (run, n) not in self._kept:
            self._look_again(run, n)
        return super().chunks(run, n)

    def _look_again(self, run: bytes, n: int) -> None:
        """Reads the index anew if none of the frame's packs is there, and segments changed."""
        packs = (self.index.pack_name(place.pack) for place in self.places(run, n))
        if any(map(self.storage.exists, packs)):
            return
        listed = frozenset(name for name, _ in self.storage.list(names.INDEX))
        if listed == self._listed:
            return
        self._listed = listed
        self.index = load_index(self.storage, self.session, self.state)
