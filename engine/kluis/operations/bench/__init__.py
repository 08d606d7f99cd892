"""Bench: how fast this machine and a medium are, and what a backup and a restore would take."""

from __future__ import annotations

from kluis.errors import UsageError
from kluis.events import Context, Stage
from kluis.operations.bench import cpu
from kluis.operations.bench.estimating import Known, estimate
from kluis.operations.bench.measuring import FRAME_BYTES, Measuring, loaded_seconds
from kluis.operations.bench.medium import measure, measure_target, target_of
from kluis.operations.bench.rehearsal import Backup, Rehearsal, Restore, opening_of
from kluis.operations.bench.sample import made_sample, sample_of
from kluis.options import BenchOptions
from kluis.results import BenchResult, Measurement
from kluis.storage.trial import TrialFolder

SIZE_LEAST_BYTES = FRAME_BYTES
# What it takes to load a verb with all below it: at this point one has been, this one.
LOADED_CPU_SECONDS = loaded_seconds()


def bench(options: BenchOptions, context: Context, backup: Backup, restore: Restore) -> BenchResult:
    """Each part measured over `size` bytes; the disk, and what follows, only with `folder`.

    `backup` and `restore` are the verbs, which are rehearsed. No file is left behind, whatever
    happens. Raises `UsageError`, `NotFoundError`,
    `NoSpaceError`, `MediumGoneError`, `StorageError`, `CancelledError`.
    """
    _check(options)
    sample = made_sample(context) if options.source is None else sample_of(options.source, context)
    frame = cpu.frame(context)
    measuring = Measuring(options.size, context)
    found: list[Measurement] = list(sample.measurements)
    known = Known(options, sample, LOADED_CPU_SECONDS)
    for part in options.parts:
        context.cancel.check()
        if part == "disk":
            found += _disk(options, context, known)
        elif part == "pool":
            found += _pool((backup, restore), context, known)
        else:
            context.events(Stage(f"measuring {part}"))
            found += cpu.PARTS[part](measuring, frame)
    if not known.is_enough:
        return BenchResult(tuple(found))
    return estimate(known, tuple(found))


def _check(options: BenchOptions) -> None:
    if options.size < SIZE_LEAST_BYTES:
        raise UsageError(f"--size must be at least {SIZE_LEAST_BYTES >> 20}M")
    if options.folder is None and (options.rto_seconds is not None or options.total is not None):
        raise UsageError(
            "an estimate needs the folder of a medium to measure; nothing was measured. "
            "Next: kluis bench /mnt/disk --total 500G --rto 8h"
        )
    if options.rto_seconds is not None and not {"pool", "disk"} <= set(options.parts):
        raise UsageError("an estimate needs the parts pool and disk; nothing was measured")


def _pool(verbs: tuple[Backup, Restore], context: Context, known: Known) -> list[Measurement]:
    """The verbs over a sample, where a restore would write."""
    context.events(Stage("rehearsing a backup and a restore in memory"))
    known.start = opening_of(context)
    found = [known.start]
    with TrialFolder(target_of(known.options), context.surroundings) as folder:
        known.rehearsed = Rehearsal(folder, known.sample, verbs, context).run()
    found += [known.rehearsed.backup, known.rehearsed.restore]
    for one in known.rehearsed.kinds.values():
        found += [one.store.measurement, one.again.measurement, one.bring.measurement]
    return found


def _disk(options: BenchOptions, context: Context, known: Known) -> list[Measurement]:
    if options.folder is None:
        return []
    machine = context.surroundings
    with TrialFolder(options.folder, machine) as folder:
        context.events(Stage(f"measuring the medium ({folder.system()})"))
        known.medium = measure(folder, options.size, context)
    with TrialFolder(target_of(options), machine) as folder:
        context.events(Stage("measuring where a restore would write"))
        known.target = measure_target(folder, options.size, context)
    return [*known.medium.measurements, known.target.measurement]
