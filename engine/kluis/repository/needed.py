"""What counting snapshots need: frames that no segment lists, and packs that nobody misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from kluis.errors import DamageError, FormatError
from kluis.format import names
from kluis.format.ledger import PackName
from kluis.format.segment import PackPlace
from kluis.format.usemap import FrameSet, contains, merge
from kluis.repository.access import Repository
from kluis.repository.durable import unknown_packs
from kluis.repository.index import Index
from kluis.repository.snapshots import load

# A use map may claim numbers that no run has: so many of them are looked for in trees.
FRAMES_NAMED = 100_000

Frame = tuple[bytes, int]


@dataclass
class Needs:
    """The use maps of one opened repository against its index."""

    repository: Repository
    index: Index

    @cached_property
    def uses(self) -> dict[str, FrameSet]:
        """Use map by snapshot id; of one that cannot be opened nothing is known."""
        found = {}
        for run, mark in self.repository.ledger.state.counting().items():
            try:
                found[names.base32(run)] = load(self.repository, mark, 0).facts.uses
            except (DamageError, FormatError):
                continue  # it is reported as damaged
        return found

    def unlisted(self) -> Iterator[tuple[str, int, frozenset[Frame]]]:
        """(snapshot id, number of frames, those that the index has a number for, and a few more).

        For each snapshot that uses frames which lie in no pack that a segment lists.
        """
        doomed = self.repository.ledger.state.doomed
        good = [PackName(place.shelf, place.digest) not in doomed for place in self.index.packs]
        for identity, uses in self.uses.items():
            count = self.index.unlisted(uses, good)
            if count:
                yield identity, count, frozenset(self._missing(uses, good))

    def _missing(self, uses: FrameSet, good: Sequence[bool]) -> Iterator[Frame]:
        for run, ranges in uses.items():
            frames = self.index.runs.get(run)
            count = len(frames.packs) if frames is not None else 0
            for first, end in ranges:
                for n in range(first, min(end, count + FRAMES_NAMED)):
                    if not any(good[place.pack] for place in self.index.locate(run, n)):
                        yield run, n

    @cached_property
    def idle(self) -> set[PackName]:
        """Packs that a power cut may have taken and that no snapshot needs."""
        weak = unknown_packs(self.repository, self.index)
        if not weak:
            return weak
        uses = merge(list(self.uses.values()))
        unreliable = weak | self.repository.ledger.state.doomed
        return {pack for pack in weak if not self._is_needed(pack, uses, unreliable)}

    def _is_needed(self, pack: PackName, uses: FrameSet, others: set[PackName]) -> bool:
        """True if a used frame of the pack lies in no pack but these."""
        for group in self.index.packs[self.index.pack_numbers[pack]].groups:
            used = uses.get(group.run, ())
            for n in range(group.first_n, group.first_n + len(group.stored) // 4):
                if contains(used, n) and all(
                    _name(self.index.packs[place.pack]) in others
                    for place in self.index.locate(group.run, n)
                ):
                    return True
        return False


def _name(place: PackPlace) -> PackName:
    return PackName(place.shelf, place.digest)
