"""From what was measured to what jobs would take, and whether a restore is in time."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kluis.operations.bench.measuring import span_of
from kluis.operations.bench.medium import Medium, Restoring, target_of
from kluis.operations.bench.model import (
    Kind,
    Machine,
    Model,
    exactly,
    plus,
    scaled,
)
from kluis.operations.bench.rehearsal import FOLDERS, Rehearsed, RehearsedKind, Step
from kluis.operations.bench.sample import MADE_SMALL_BYTES, Sample
from kluis.options import BenchOptions
from kluis.results import BenchResult, Estimate, Measurement, Span
from kluis.storage.trial import held_back_bytes
from kluis.units import format_size

# Without a source: which part of the bytes lies in small files, and how these lie.
SMALL_SHARE = Span(0.02, 0.10, 0.30)
# A walk without a source to walk, seconds an entry: warm, and from a disk that turns.
WALK_SECONDS = Span(2e-6, 5e-6, 50e-6)
LARGE_MEAN_BYTES = 4 << 20
FILES_A_FOLDER = 10


@dataclass
class Known:
    """What the parts of a bench have found out so far."""

    options: BenchOptions
    sample: Sample
    loaded_seconds: float
    start: Measurement | None = None
    rehearsed: Rehearsed | None = None
    medium: Medium | None = None
    target: Restoring | None = None

    @property
    def is_enough(self) -> bool:
        """Whether jobs can be estimated from it."""
        return self.rehearsed is not None and self.medium is not None

    @property
    def total(self) -> int:
        """Bytes to back up."""
        if self.options.total is not None:
            return self.options.total
        if self.options.source is not None:
            return self.sample.count.size
        assert self.medium is not None
        return self.medium.space.used


def estimate(known: Known, measurements: tuple[Measurement, ...]) -> BenchResult:
    """The jobs, the assumptions they rest on, and the verdict."""
    model = model_of(known)
    estimates = (model.first(), model.unchanged(), model.restore())
    verdict, advice = judged(estimates[-1], known.options.rto_seconds)
    return BenchResult(
        measurements,
        estimates,
        known.total,
        tuple(_assumptions(known, model)),
        known.options.rto_seconds,
        verdict,
        advice,
    )


def model_of(known: Known) -> Model:
    """The model, filled with what was measured."""
    medium, target, start = known.medium, known.target, known.start
    assert medium is not None
    assert target is not None
    assert start is not None
    rehearsed = known.rehearsed
    assert rehearsed is not None
    sample = known.sample
    entries = exactly(sample.count.entries * _factor(known))
    if sample.walk is None:
        mean = SMALL_SHARE.likely / MADE_SMALL_BYTES + 1 / LARGE_MEAN_BYTES
        entries = exactly(known.total * mean)
    machine = Machine(
        start=plus(_loading(known.loaded_seconds, start), span_of(start, 1)),
        backup=span_of(rehearsed.backup, 1),
        restore=span_of(rehearsed.restore, 1),
        write_first=medium.write_first,
        write=medium.write,
        read=medium.read,
        sync=medium.sync,
        walk=sample.walk or WALK_SECONDS,
        entries=entries,
        target_write=target.write,
        held_back=held_back_bytes(),
        same_device=target.device == medium.device,
    )
    return Model(
        machine, [_kind(known, rehearsed.kinds, name) for name in ("small", "large", FOLDERS)]
    )


def _loading(cpu_seconds: float, start: Measurement) -> Span:
    """A command's loading: as much longer than the CPU needs as the passphrase takes."""
    return scaled(span_of(start, max(start.cpu_seconds, 1e-3)), cpu_seconds)


def _factor(known: Known) -> float:
    """How many times what was walked the whole is."""
    size = known.sample.count.size
    return known.total / size if size else 1.0


def _sizes(known: Known, name: str) -> tuple[Span, Span]:
    """How many files of a kind there are, and how many bytes in them; or how many folders."""
    count, factor = known.sample.count, _factor(known)
    small = name == "small"
    if name == FOLDERS and known.options.source is not None:
        return exactly(count.folders * factor), exactly(0.0)
    if name == FOLDERS:
        return scaled(_sizes(known, "small")[0], 1 / FILES_A_FOLDER), exactly(0.0)
    if known.options.source is not None:
        files, size = (
            (count.small, count.small_bytes) if small else (count.large, count.large_bytes)
        )
        return exactly(files * factor), exactly(size * factor)
    share = SMALL_SHARE
    if small:
        size_span = scaled(share, known.total)
        return scaled(size_span, 1 / MADE_SMALL_BYTES), size_span
    rest = Span(1 - share.low, 1 - share.likely, 1 - share.high)
    size_span = scaled(rest, known.total)
    return scaled(size_span, 1 / LARGE_MEAN_BYTES), size_span


def _kind(known: Known, kinds: dict[str, RehearsedKind], name: str) -> Kind:
    files, size = _sizes(known, name)
    found = kinds.get(name) or next(iter(kinds.values()))
    read = exactly(0.0)
    if name == "small" and known.sample.read_small is not None:
        read = known.sample.read_small
    elif name == "large" and known.sample.read_large is not None and files.likely:
        read = scaled(known.sample.read_large, size.likely / files.likely)
    share = exactly(found.share)
    if known.options.source is None:  # nothing is known of it: at worst it does not shrink
        share = Span(found.share, found.share, 1.0)
    # Of the sample's files only stretches were taken, so what a file costs goes by its bytes.
    each = float(found.count)
    if name == "large" and files.likely:
        each = found.size * files.likely / size.likely

    def of(step: Step) -> Span:
        return span_of(step.measurement, each)

    again = span_of(found.again.measurement, found.count)

    return Kind(
        files,
        size,
        read,
        store=of(found.store),
        own=found.store.own_seconds / each,
        bring=of(found.bring),
        again=again,
        share=share,
    )


def judged(restore: Estimate, rto_seconds: int | None) -> tuple[str, tuple[str, ...]]:
    """The verdict on a restore, and what would change it."""
    if rto_seconds is None:
        return "", ()
    seconds = restore.seconds
    if seconds.high <= rto_seconds:
        return "met", ()
    verdict = "missed" if seconds.likely > rto_seconds else "unsure"
    fixed = max(0.0, seconds.likely - max(stage.seconds.likely for stage in restore.stages))
    room = rto_seconds - fixed
    if room <= 0:
        return verdict, ("no medium and no machine restores in that time",)
    advice = []
    for stage in restore.stages:
        took = stage.seconds.likely if verdict == "missed" else stage.seconds.high
        if took > room:
            now, needed = stage.size / took / 1e6, stage.size / room / 1e6
            advice.append(
                f"{stage.name}: {now:.0f} MB/s here, {needed:.0f} MB/s or more would be in time"
            )
    if not advice:
        advice.append(
            "each stage alone would be in time, if none waited for another: a target on another "
            "disk than the backup, or more cores, let them run beside one another"
        )
    return verdict, tuple(advice)


def _assumptions(known: Known, model: Model) -> list[str]:
    medium, target, sample = known.medium, known.target, known.sample
    assert medium is not None
    assert target is not None
    stored = model.stored
    found = [f"{format_size(known.total)} to back up: {_whence(known)}"]
    if known.options.source is not None:
        share = stored.likely / max(1.0, model.size.likely)
        found.append(
            f"{sample.count.small + sample.count.large} files were counted; a sample of them "
            f"shrinks to {share * 100:.0f} %, parity included; less where files resemble one "
            "another, of which a sample knows little"
        )
        if not sample.whole:
            found.append("the walk was broken off after some time: there is more than was counted")
        found.append("files are read from the medium they lie on, not from memory")
    else:
        found.append(
            f"no --source was given: between {SMALL_SHARE.low:.0%} and {SMALL_SHARE.high:.0%} of "
            f"the bytes in files of {format_size(MADE_SMALL_BYTES)}; they shrink as text does, or "
            "at worst not at all; reading them is not counted"
        )
    place = os.path.abspath(os.fsdecode(target_of(known.options)))
    found.append(
        f"a restore writes to {place}, and ends when all is on that disk"
        + (", the same as the backup's" if model.machine.same_device else "")
    )
    if medium.from_memory:
        found.append("what was read of the medium may have come from memory: it may be slower")
    if stored.likely > medium.space.free:
        found.append(
            f"the backup takes {format_size(int(stored.likely))} and does not fit: "
            f"{format_size(medium.space.free)} are free"
        )
    return found


def _whence(known: Known) -> str:
    if known.options.total is not None:
        return "as asked"
    return "the source" if known.options.source is not None else "what the medium holds now"
