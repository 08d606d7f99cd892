"""What prune may delete: a plan made after reading the ledger and then listing packs.

Nothing here writes. The rules are those of the protocol in docs/format.md: used frames are
those of counting snapshots and, as a courtesy, all of open runs; whole parity sets go at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.errors import DamageError, FormatError
from kluis.format import names
from kluis.format.ledger import PackName
from kluis.format.pack import target_bytes
from kluis.format.segment import PackPlace, ParitySet
from kluis.format.usemap import FrameSet, contains, merge, merge_ranges
from kluis.frozen import frozen
from kluis.options import Limit
from kluis.repository.access import Repository
from kluis.repository.durable import reliable
from kluis.repository.index import Index
from kluis.repository.openruns import StoredRuns, find_runs, may_end
from kluis.repository.snapshots import VoidSnapshotError, load
from kluis.repository.state import forgotten_times, raised_times, subtract

# Packs below this are worth merging once there are many: each costs a read and a shard.
SMALL_PACK_BYTES = 4 << 20
SMALL_PACKS = 32
# The shard of a set of fewer packs than this takes more than it should.
FEW_PACKS = 4


@frozen
class Rules:
    """How far a collection may go."""

    max_unused: Limit
    max_repack_bytes: int | None
    delay_ns: int
    now: bool


@dataclass
class SetPlan:
    """A parity set and what of it is still needed from there."""

    parity_set: ParitySet
    packs: list[PackName]
    domain: bytes
    size: int = 0
    used: list[tuple[PackName, bytes, int]] = field(default_factory=list)  # pack, run, n
    used_bytes: int = 0
    dead_bytes: int = 0  # of frames that are not needed from here; padding is not counted
    shard_bytes: int = 0
    small: bool = False
    gaps: bool = False  # a member is gone, so the shard protects nothing
    missed: bool = False  # and a snapshot needs it: the set waits for repair
    stuck: bool = False  # holds frames that are lost: what is left of them stays where it is


@dataclass
class Plan:
    """All that a collection does, before it does it."""

    ended: list[bytes] = field(default_factory=list)
    still_open: list[bytes] = field(default_factory=list)
    doomed_snapshots: list[bytes] = field(default_factory=list)
    waiting_snapshots: list[bytes] = field(default_factory=list)
    dead: list[SetPlan] = field(default_factory=list)
    moved: list[SetPlan] = field(default_factory=list)
    kept: list[SetPlan] = field(default_factory=list)
    dead_strays: list[PackName] = field(default_factory=list)
    stray_bytes: int = 0
    used: FrameSet = field(default_factory=dict)

    def doomed_packs(self) -> list[PackName]:
        """Every pack that goes, sorted as a record wants them."""
        packs = {pack for plan in (*self.dead, *self.moved) for pack in plan.packs}
        packs.update(self.dead_strays)
        return sorted(packs, key=lambda pack: (pack.shelf, pack.digest))


def list_packs(repository: Repository) -> dict[PackName, int]:
    """Names and sizes of all packs there are; the ledger must have been read before."""
    listed = {}
    for name, size in repository.storage.list(names.PACKS):
        try:
            listed[PackName(*names.parse_pack(name))] = size
        except FormatError:
            continue
    return listed


def make_plan(repository: Repository, index: Index, rules: Rules) -> Plan:
    """The plan for the ledger as read. `DamageError` if it would be unsafe to collect."""
    state = repository.ledger.state
    listed = list_packs(repository)
    good = reliable(repository, index, listed)
    runs = find_runs(repository, index, listed)
    plan = Plan()
    plan.ended = may_end(repository, runs, len(index.segments), rules.now)
    plan.still_open = [run for run in runs.open if run not in plan.ended]
    now = repository.surroundings.now()
    for run, since in forgotten_times(state, now).items():
        due = rules.now or now - since >= rules.delay_ns
        (plan.doomed_snapshots if due else plan.waiting_snapshots).append(run)
    plan.doomed_snapshots.sort()
    plan.used = merge([*_use_maps(repository, plan), *_courtesy(index, plan.still_open, good)])
    sets = _weigh(index, state.doomed, (listed, good), plan.used)
    for weighed in sets:
        weighed.stuck = any(contains(state.lost.get(run, ()), n) for _, run, n in weighed.used)
    there = {pack: size for pack, size in good.items() if pack not in state.doomed}
    _require_all_used(index, there, state.lost, plan)
    _choose(sets, rules, plan)
    _strays(runs, plan, listed)
    return plan


def _use_maps(repository: Repository, plan: Plan) -> list[FrameSet]:
    """Use maps of every snapshot that counts; refuses while one cannot be opened."""
    state = repository.ledger.state
    times = raised_times(state, repository.surroundings.now())
    maps, doomed = [], set(plan.doomed_snapshots)
    for run, mark in state.counting().items():
        if run in doomed:
            continue
        try:
            maps.append(load(repository, mark, times[run]).facts.uses)
        except VoidSnapshotError:
            continue
        except (DamageError, FormatError) as error:
            raise DamageError(
                f"nothing was pruned: snapshot {names.base32(run)} cannot be opened, so what it "
                f"needs is not known ({error}). Next: kluis repair, or kluis forget "
                f"{names.base32(run)[:8]}"
            ) from error
    return maps


def _courtesy(index: Index, runs: list[bytes], good: dict[PackName, int]) -> list[FrameSet]:
    """All frames that open runs have stored and listed: their writers would store them again."""
    wanted = set(runs)
    found: dict[bytes, list[tuple[int, int]]] = {}
    for (run, _), item in index.segments.items():
        if run not in wanted:
            continue
        for parity_set in item.body.sets:
            for place in parity_set.packs:
                if good.get(PackName(place.shelf, place.digest)) != place.size:
                    continue
                for group in place.groups:
                    end = group.first_n + len(group.stored) // 4
                    found.setdefault(group.run, []).append((group.first_n, end))
    return [{run: merge_ranges(tuple(ranges)) for run, ranges in found.items()}]


def _weigh(
    index: Index,
    doomed: set[PackName],
    packs: tuple[dict[PackName, int], dict[PackName, int]],
    used: FrameSet,
) -> list[SetPlan]:
    """Each set that is still there, with the used frames that count as lying in it.

    `packs`: those listed, and those of them that may be relied on.
    """
    listed, reliable_ones = packs
    domains = {
        (parity_set.parity_run, parity_set.parity_k): item.certificate.domain
        for item in index.segments.values()
        for parity_set in item.body.sets
    }
    plans: dict[tuple[bytes, int], SetPlan] = {}
    counted: set[tuple[bytes, int]] = set()
    there = {pack: size for pack, size in listed.items() if pack not in doomed}
    good = {pack: size for pack, size in reliable_ones.items() if pack not in doomed}
    for number, place in enumerate(index.packs):
        pack = PackName(place.shelf, place.digest)
        if pack in doomed:
            continue
        parity_set = index.set_of_pack[pack]
        key = (parity_set.parity_run, parity_set.parity_k)
        plan = plans.setdefault(key, SetPlan(parity_set, [], domains[key]))
        plan.packs.append(pack)
        if pack not in there:  # it goes with its set once no snapshot misses it
            plan.gaps = True
            plan.missed = plan.missed or _is_missed(index, place, used, good)
            continue
        plan.size += place.size
        for run, n, stored in _frames(place):
            if contains(used.get(run, ()), n) and _is_home(index, (run, n), number, good):
                if (run, n) not in counted:
                    counted.add((run, n))
                    plan.used.append((pack, run, n))
                    plan.used_bytes += stored
                    continue
            plan.dead_bytes += stored
    for plan in plans.values():
        plan.small = plan.size < SMALL_PACK_BYTES
        if plan.parity_set.parity_digest is not None:
            plan.shard_bytes = max(place.size for place in plan.parity_set.packs)
    return list(plans.values())


def _is_missed(index: Index, place: PackPlace, used: FrameSet, good: dict[PackName, int]) -> bool:
    """True if a used frame of a pack that is gone lies nowhere else."""
    return any(
        contains(used.get(run, ()), n)
        and not any(
            good.get(PackName(other.shelf, other.digest)) == other.size
            for other in (index.packs[where.pack] for where in index.locate(run, n))
        )
        for run, n, _ in _frames(place)
    )


def _frames(place: PackPlace) -> list[tuple[bytes, int, int]]:
    return [
        (group.run, n, stored)
        for group in place.groups
        for n, stored in enumerate(group.lengths(), group.first_n)
    ]


def _is_home(
    index: Index, frame: tuple[bytes, int], number: int, there: dict[PackName, int]
) -> bool:
    """True if this pack is the first of the frame's places that stay."""
    for location in index.locate(*frame):
        place = index.packs[location.pack]
        if there.get(PackName(place.shelf, place.digest)) == place.size:
            return location.pack == number
    return False


def _require_all_used(index: Index, there: dict[PackName, int], lost: FrameSet, plan: Plan) -> None:
    """Refuses while a used frame lies nowhere whole: repair comes first. Known losses apart."""
    good = [there.get(PackName(place.shelf, place.digest)) == place.size for place in index.packs]
    missing = index.unlisted(subtract(plan.used, lost), good)
    if missing:
        raise DamageError(
            f"nothing was pruned: {missing} frames that snapshots use are in no pack that is "
            "there and whole. Next: kluis repair"
        )


def _choose(sets: list[SetPlan], rules: Rules, plan: Plan) -> None:
    """Dead sets go; of the others the emptiest are emptied until little is unused."""
    living: list[SetPlan] = []
    for item in sets:
        (living if item.used or item.missed else plan.dead).append(item)
    small = [item for item in living if item.small]
    merge_small = sum(len(item.packs) for item in small) >= SMALL_PACKS
    living.sort(key=lambda item: item.used_bytes / max(1, item.size))
    total = sum(item.size for item in living)
    unused = sum(item.dead_bytes for item in living)
    allowed = _allowed(rules.max_unused, total)
    budget = rules.max_repack_bytes
    for item in living:
        worth = item.gaps or (unused > allowed and item.dead_bytes > 0)
        fits = budget is None or item.used_bytes <= budget
        if fits and not (item.stuck or item.missed) and (worth or (merge_small and item.small)):
            plan.moved.append(item)
            unused -= item.dead_bytes
            if budget is not None:
                budget -= item.used_bytes
        else:
            plan.kept.append(item)
    if budget is None:
        for domain in sorted({item.domain for item in plan.kept}):
            _merge_shards(plan, domain, unused, allowed)


def _merge_shards(plan: Plan, domain: bytes, unused: int, allowed: float) -> None:
    """Moves a domain's sets of few packs too, if their shards take more than may be unused.

    The shard of a run that stored one pack is as long as that pack. In one set they share one.
    """
    own = [item for item in plan.kept if item.domain == domain]
    free = [item for item in own if not (item.stuck or item.missed or item.gaps)]
    few = [item for item in free if item.shard_bytes > item.size // FEW_PACKS]
    shards = sum(item.shard_bytes for item in few)
    moved = [item for item in plan.moved if item.domain == domain]
    together = sum(item.used_bytes for item in (*moved, *few))
    gain = shards - min(target_bytes(together), together)
    if len(few) > 1 and unused + gain > allowed and gain * FEW_PACKS > shards:
        plan.moved.extend(few)
        plan.kept[:] = [item for item in plan.kept if item not in few]


def _allowed(limit: Limit, total: int) -> float:
    if limit.size is not None:
        return limit.size
    if limit.share is not None:
        return total * limit.share
    return float("inf")


def _strays(runs: StoredRuns, plan: Plan, listed: dict[PackName, int]) -> None:
    """Packs that no segment lists, of runs that have ended, or torn while nobody writes."""
    for pack, run in runs.strays.items():
        owner_open = run in plan.still_open if run is not None else bool(plan.still_open)
        if not owner_open:
            plan.dead_strays.append(pack)
            plan.stray_bytes += listed[pack]
