"""The arithmetic of the estimates, on machines whose speeds are round numbers."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from kluis.operations.bench.estimating import judged
from kluis.operations.bench.model import NOTHING, Kind, Machine, Model, exactly, parity_of
from kluis.results import Span

MB = 1_000_000
FIELDS: tuple[Field[Any], ...] = fields(Machine)
FIELDS_OF_KIND: tuple[Field[Any], ...] = fields(Kind)

MACHINE = Machine(
    start=exactly(1.0),
    backup=exactly(0.0),
    restore=exactly(0.0),
    write_first=exactly(1 / (10 * MB)),
    write=exactly(1 / (10 * MB)),
    read=exactly(1 / (20 * MB)),
    sync=NOTHING,
    walk=exactly(1e-6),
    entries=exactly(1000),
    target_write=exactly(1 / (100 * MB)),
    held_back=0,
    same_device=False,
)
# 1,000 files of 1 MB, which shrink to half.
FILES = Kind(
    files=exactly(1000),
    size=exactly(1000 * MB),
    read=exactly(0.002),
    store=exactly(0.010),
    own=0.001,
    bring=exactly(0.005),
    again=exactly(1e-5),
    share=exactly(0.5),
)


def close(value: float, wanted: float) -> bool:
    return abs(value - wanted) < 0.01 * wanted


def test_the_slowest_stage_counts() -> None:
    model = Model(MACHINE, [FILES])
    first = model.first()
    assert close(first.seconds.likely, 1 + 50 + 0.84)  # 500 MB and a shard of 8 MiB at 10 MB/s
    assert first.bottleneck == "writing to the medium"
    assert first.seconds.high > first.seconds.likely
    restore = model.restore()
    assert close(restore.seconds.likely, 1 + 25)
    assert restore.bottleneck == "reading from the medium"
    fast = exactly(1 / (1000 * MB))
    faster = replace_machine(write=fast, write_first=fast)
    assert close(Model(faster, [FILES]).first().seconds.likely, 1 + 10)


def test_the_first_packs_are_small_and_cost_more() -> None:
    slow = Model(replace_machine(write_first=exactly(3 / (10 * MB))), [FILES]).first()
    # 64 MiB at half of 30 and 10 seconds for 100 MB.
    assert close(slow.seconds.likely, 1 + 50 + 0.84 + 6.7)


def replace_machine(**changed: object) -> Machine:
    return Machine(**({item.name: getattr(MACHINE, item.name) for item in FIELDS} | changed))


def test_each_set_of_packs_has_a_shard() -> None:
    assert parity_of(0) == 0
    assert parity_of(4 * MB) == 2 << 20
    assert parity_of(100 * MB) == 8 << 20
    assert parity_of(1 << 40) == 2048 * (8 << 20)


def test_one_disk_for_both_takes_both_times() -> None:
    same = Model(replace_machine(same_device=True), [FILES]).restore()
    assert close(same.seconds.likely, 1 + 25 + 10)


def test_what_the_system_holds_back_is_written_at_the_end() -> None:
    restore = Model(replace_machine(held_back=2000 * MB), [FILES]).restore()
    assert close(restore.seconds.likely, 1 + 25 + 10)


def test_ten_times_the_files_take_ten_times_as_long() -> None:
    tenfold = {name: exactly(getattr(FILES, name).likely * 10) for name in ("files", "size")}
    known = {item.name: getattr(FILES, item.name) for item in FIELDS_OF_KIND}
    one, ten = Model(MACHINE, [FILES]), Model(MACHINE, [Kind(**(known | tenfold))])
    assert close(ten.first().seconds.likely - 1, 10 * (one.first().seconds.likely - 1))
    assert close(ten.restore().seconds.likely - 1, 10 * (one.restore().seconds.likely - 1))


def test_an_unchanged_run_does_not_depend_on_bytes() -> None:
    known = {item.name: getattr(FILES, item.name) for item in FIELDS_OF_KIND}
    larger = Kind(**(known | {"size": exactly(1e12)}))
    one, two = (Model(MACHINE, [kind]).unchanged().seconds for kind in (FILES, larger))
    assert one == two


def test_the_whole_range_has_to_be_in_time() -> None:
    restore = Model(MACHINE, [FILES]).restore()
    wide = type(restore)(restore.job, Span(20, 26, 50), restore.stages, restore.bottleneck)
    assert judged(wide, None) == ("", ())
    assert judged(wide, 60) == ("met", ())
    assert judged(wide, 40)[0] == "unsure"
    verdict, advice = judged(wide, 11)
    assert verdict == "missed"
    # 10 s are left for 500 MB.
    assert advice == ("reading from the medium: 20 MB/s here, 50 MB/s or more would be in time",)
    assert judged(wide, 1) == ("missed", ("no medium and no machine restores in that time",))
