"""What damage costs: which files need what is damaged, and which of them nothing brings back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from kluis.errors import DamageError, NotFoundError
from kluis.format import names
from kluis.format.ledger import PackName
from kluis.format.segment import ParitySet
from kluis.frozen import frozen
from kluis.repository import check
from kluis.repository.affected import Affected, Frame
from kluis.repository.check import Checker, Finding
from kluis.repository.rebuild import rebuild_pack

_PACKS = (check.PACK, check.INSIDE)


@frozen
class Cost:
    """The files that need a damaged object: those that a repair saves, and those that are lost."""

    saved: tuple[bytes, ...] = ()
    lost: tuple[bytes, ...] = ()


@dataclass
class Outlook:
    """Weighs all findings of one verification, since one may stand in the way of another's cure."""

    checker: Checker
    findings: list[Finding]

    def cost(self, finding: Finding) -> Cost:
        """What the finding means for files."""
        if finding.files:
            return Cost(lost=finding.files)
        own = self.frames(finding)
        saved: list[bytes] = []
        lost: list[bytes] = []
        for path, hits in self._hits.items():
            if not own.isdisjoint(hits):
                (saved if self._lost.isdisjoint(own & hits) else lost).append(path)
        return Cost(tuple(saved), tuple(lost))

    def can_be_repaired(self, finding: Finding) -> bool:
        """True unless some of its frames are nowhere else and nothing rebuilds them."""
        return self._lost.isdisjoint(self.frames(finding))

    def frames(self, finding: Finding) -> frozenset[Frame]:
        """The frames that cannot be read because of it."""
        index = self.checker.index
        number = index.pack_numbers.get(finding.pack) if finding.pack is not None else None
        if number is None:
            return finding.frames
        return frozenset(
            (group.run, n)
            for group in index.packs[number].groups
            for n in range(group.first_n, group.first_n + len(group.stored) // 4)
        )

    @cached_property
    def _hits(self) -> dict[bytes, frozenset[Frame]]:
        frames: set[Frame] = set()
        for finding in self.findings:
            frames |= self.frames(finding)
        if not frames:
            return {}
        return Affected(self.checker.repository, self.checker.index, frames).hits()

    @cached_property
    def _lost(self) -> set[Frame]:
        """Frames that no pack holds any more, nor what parity gives."""
        gone = self.checker.repository.ledger.state.doomed | self._hopeless
        index, lost = self.checker.index, set()
        for finding in self.findings:
            if finding.kind == check.SEGMENT and self._has_unlisted():
                continue
            if finding.kind in _PACKS and finding.pack not in self._hopeless:
                continue
            for run, n in self.frames(finding):
                places = (index.packs[place.pack] for place in index.locate(run, n))
                if all(PackName(place.shelf, place.digest) in gone for place in places):
                    lost.add((run, n))
        return lost

    @cached_property
    def _hopeless(self) -> set[PackName]:
        """Damaged packs that parity does not give back."""
        found = set()
        for finding in self.findings:
            if finding.kind in _PACKS and finding.pack is not None:
                inside = finding.kind == check.INSIDE  # parity gives the same bytes again
                if inside or not self._can_rebuild(finding.pack):
                    found.add(finding.pack)
        return found

    def _can_rebuild(self, pack: PackName) -> bool:
        parity_set = self.checker.index.set_of_pack.get(pack)
        if parity_set is None or parity_set.parity_digest is None:
            return False
        sizes = self.checker.sizes
        shard = names.numbered(names.PARITY, parity_set.parity_run, parity_set.parity_k)
        missing = sum(name not in sizes for name in (shard, *_members(parity_set)))
        bad = {finding.object for finding in self.findings}.intersection(_members(parity_set))
        if missing > 1 or shard not in sizes:
            return False
        if len(bad) <= 1 and shard not in {finding.object for finding in self.findings}:
            return True
        try:  # it may still be had, block by block
            rebuild_pack(self.checker.repository.storage, parity_set, pack)
        except (DamageError, NotFoundError):
            return False
        return True

    def _has_unlisted(self) -> bool:
        """True if there are packs that no segment lists: a repair looks into them."""
        listed = {names.pack(pack.shelf, pack.digest) for pack in self.checker.index.pack_numbers}
        listed |= {names.numbered(names.PARITY, *key) for key in self._shards()}
        return any(name not in listed for name in self.checker.sizes)

    def _shards(self) -> Iterable[tuple[bytes, int]]:
        sets = self.checker.index.set_of_pack.values()
        return ((item.parity_run, item.parity_k) for item in sets)


def _members(parity_set: ParitySet) -> list[str]:
    return [names.pack(place.shelf, place.digest) for place in parity_set.packs]
