"""Arithmetic of the estimates: what a job consists of, and how long that takes beside itself.

A backup reads, cuts and hashes in one thread; two compress and seal; one writes packs, each made
durable. A restore reads and opens in two threads and writes in one. So a job takes as long as the
longest of its stages, and at least as long as all cores need for what all of them compute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from kluis.format import pack, parity
from kluis.frozen import frozen
from kluis.results import BenchStage, Estimate, Span

# What a run syncs besides packs; docs/format.md has the order: an unchanged one, and any other.
SYNCS_UNCHANGED = 10
SYNCS_CHANGED = 17
# What a run stores until its packs are as long as they get.
GROWING_BYTES = float(pack.PACK_TARGET_BYTES * pack.PACKS_TO_A_SHARD)
NOTHING = Span(0.0, 0.0, 0.0)


def plus(*spans: Span) -> Span:
    """One after the other."""
    return Span(
        sum(one.low for one in spans),
        sum(one.likely for one in spans),
        sum(one.high for one in spans),
    )


def times(first: Span, second: Span) -> Span:
    """So many of what takes so long."""
    return Span(first.low * second.low, first.likely * second.likely, first.high * second.high)


def scaled(span: Span, factor: float) -> Span:
    """The span, so many times."""
    return Span(span.low * factor, span.likely * factor, span.high * factor)


def exactly(value: float) -> Span:
    """A span without width."""
    return Span(value, value, value)


def beside(spans: Iterable[Span]) -> Span:
    """All at the same time: the longest counts; at worst the next is not hidden behind it."""
    found = list(spans)
    highs = sorted((one.high for one in found), reverse=True)
    return Span(
        max(one.low for one in found),
        max(one.likely for one in found),
        highs[0] + (highs[1] if len(highs) > 1 else 0.0),
    )


def parity_of(packed: float) -> float:
    """Bytes of parity: for each set a shard as long as its longest pack."""
    return math.ceil(packed / parity.SET_BYTES) * float(pack.target_bytes(int(packed)))


@frozen
class Kind:
    """Files that are alike: how many, their bytes, and what each file costs, in seconds.

    `own` is the part of `store` that one thread alone can do; `share` is stored bytes to plain
    ones, without parity.
    """

    files: Span
    size: Span
    read: Span
    store: Span
    own: float
    bring: Span
    again: Span
    share: Span


@frozen
class Machine:
    """What does not depend on the files; seconds for a byte, a sync, an entry."""

    start: Span
    """Of a command, until it has opened a repository."""
    backup: Span
    restore: Span
    """What the verb takes by itself, whatever there is to do."""
    write_first: Span
    """While packs grow, halfway between the smallest and the largest."""
    write: Span
    read: Span
    sync: Span
    walk: Span
    entries: Span
    target_write: Span
    held_back: int
    """Bytes that the system keeps before it begins to write any: they are left at the end."""
    same_device: bool


@dataclass
class Model:
    """A machine and what it backs up."""

    machine: Machine
    kinds: list[Kind]

    @property
    def size(self) -> Span:
        """Plain bytes."""
        return plus(*(kind.size for kind in self.kinds))

    @property
    def stored(self) -> Span:
        """Bytes on the medium, parity included."""
        packed = self.packed
        return plus(
            packed, Span(parity_of(packed.low), parity_of(packed.likely), parity_of(packed.high))
        )

    @property
    def packed(self) -> Span:
        """Bytes in packs."""
        return plus(*(times(kind.size, kind.share) for kind in self.kinds))

    def first(self) -> Estimate:
        """A first full backup."""
        machine = self.machine
        walking = times(machine.entries, machine.walk)
        reading = plus(walking, *(times(kind.files, kind.read) for kind in self.kinds))
        storing = plus(*(times(kind.files, kind.store) for kind in self.kinds))
        own = plus(*(scaled(kind.files, kind.own) for kind in self.kinds))
        writing = self._writing()
        stages = [
            self._stage("reading the source", reading, self.size),
            self._stage("cutting, hashing, compressing, sealing", storing, self.size),
            self._stage("writing to the medium", writing, self.stored),
        ]
        # One thread reads and decides.
        work = beside((plus(reading, own), storing, writing))
        start = plus(machine.start, machine.backup)
        seconds = plus(start, scaled(machine.sync, SYNCS_CHANGED), work)
        return _estimate("first backup", seconds, stages)

    def unchanged(self) -> Estimate:
        """A run that finds nothing new."""
        machine = self.machine
        walking = times(machine.entries, machine.walk)
        comparing = plus(*(times(kind.files, kind.again) for kind in self.kinds))
        looking = Span(
            comparing.low,
            max(comparing.likely, walking.low),
            comparing.high + walking.high,
        )
        syncing = scaled(machine.sync, SYNCS_UNCHANGED)
        opening = plus(machine.start, machine.backup)
        stages = [
            self._stage("opening the repository", opening, NOTHING),
            self._stage("walking the source and comparing", looking, NOTHING),
            self._stage("making the snapshot durable", syncing, NOTHING),
        ]
        return _estimate("unchanged run", plus(opening, looking, syncing), stages)

    def restore(self) -> Estimate:
        """Everything back."""
        machine = self.machine
        reading = times(self.packed, machine.read)
        bringing = plus(*(times(kind.files, kind.bring) for kind in self.kinds))
        flushing = times(self.size, machine.target_write)
        stages = [
            self._stage("reading from the medium", reading, self.packed),
            self._stage("opening, checking, creating files", bringing, self.size),
            self._stage("writing to the target's disk", flushing, self.size),
        ]
        last = min(1.0, machine.held_back / max(1.0, self.size.likely))
        meanwhile = scaled(flushing, 1 - last)
        disks = [plus(reading, meanwhile)] if machine.same_device else [reading, meanwhile]
        work = beside((*disks, bringing))
        seconds = plus(machine.start, machine.restore, work, scaled(flushing, last))
        return _estimate("full restore", seconds, stages)

    def _writing(self) -> Span:
        """Packs grow up to a size; then all are as long."""
        stored, machine = self.stored, self.machine
        first = Span(*(min(GROWING_BYTES, one) for one in (stored.low, stored.likely, stored.high)))
        rest = plus(stored, scaled(first, -1.0))
        growing = scaled(plus(machine.write_first, machine.write), 0.5)
        return plus(times(first, growing), times(rest, machine.write))

    def _stage(self, name: str, seconds: Span, size: Span) -> BenchStage:
        return BenchStage(name, seconds, int(size.likely))


def _estimate(job: str, seconds: Span, stages: list[BenchStage]) -> Estimate:
    longest = max(stages, key=lambda stage: stage.seconds.likely)
    return Estimate(job, seconds, tuple(stages), longest.name)
