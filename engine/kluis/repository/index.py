"""Where each frame lies: dense arrays per run, from the segments. About 17 bytes a frame."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import accumulate

from kluis.errors import FormatError, NotFoundError, UnreadableError
from kluis.format import crypt, envelope, names, segment
from kluis.format.certificate import Certificate
from kluis.format.ledger import PackName
from kluis.format.segment import FrameGroup, PackPlace, ParitySet, Segment
from kluis.format.usemap import FrameSet
from kluis.frozen import frozen
from kluis.repository.keys import Session
from kluis.repository.run import read_certificate
from kluis.repository.small import SMALL_LIMIT_BYTES
from kluis.repository.state import LedgerState
from kluis.storage.base import Storage

NOWHERE = 0xFFFFFFFF
LISTINGS = 4


@frozen
class Location:
    """A frame's place: which pack, from which byte, how many, and how many expanded."""

    pack: int
    offset: int
    stored_bytes: int
    plain_bytes: int
    kind: int


@dataclass
class RunFrames:
    """The frames of one run, by number."""

    packs: array[int] = field(default_factory=lambda: array("I"))
    offsets: array[int] = field(default_factory=lambda: array("I"))
    stored: array[int] = field(default_factory=lambda: array("I"))
    plain: array[int] = field(default_factory=lambda: array("I"))
    kinds: bytearray = field(default_factory=bytearray)

    def reach(self, count: int) -> None:
        """Makes room for frame numbers below `count`."""
        missing = count - len(self.packs)
        if missing > 0:
            self.packs.extend(array("I", (NOWHERE,)) * missing)
            for numbers in (self.offsets, self.stored, self.plain):
                numbers.frombytes(bytes(numbers.itemsize * missing))
            self.kinds.extend(bytes(missing))

    def take(self, pack: int, offset: int, group: FrameGroup) -> bool:
        """Notes where all frames of a group lie, unless one of them has a place already."""
        stored = array("I", group.lengths())
        count = len(stored)
        where = slice(group.first_n, group.first_n + count)
        if self.packs[where] != array("I", (NOWHERE,)) * count:
            return False
        self.packs[where] = array("I", (pack,)) * count
        self.offsets[where] = array("I", accumulate(stored[:-1], initial=offset))
        self.stored[where] = stored
        self.plain[where] = array("I", group.plain_lengths())
        self.kinds[where] = bytes((group.kind,)) * count
        return True

    def set(self, n: int, place: tuple[int, int, int, int, int]) -> None:
        """Notes where one frame lies: pack, offset, lengths and kind."""
        self.packs[n], self.offsets[n], self.stored[n], self.plain[n], self.kinds[n] = place


@frozen
class ListedSegment:
    """A segment as read: its name, digest and content."""

    name: str
    run: bytes
    k: int
    digest: bytes
    size: int
    body: Segment
    certificate: Certificate

    def packs(self) -> Iterator[PackName]:
        """Every pack that it lists."""
        for parity_set in self.body.sets:
            for place in parity_set.packs:
                yield PackName(place.shelf, place.digest)

    def has_ended(self, state: LedgerState) -> bool:
        """True if its run signs nothing more."""
        return state.has_ended(self.run, self.certificate.head, self.certificate.maker)


@dataclass
class Index:
    """All packs and frames that the segments of readable domains list."""

    packs: list[PackPlace] = field(default_factory=list)
    pack_numbers: dict[PackName, int] = field(default_factory=dict)
    set_of_pack: dict[PackName, ParitySet] = field(default_factory=dict)
    runs: dict[bytes, RunFrames] = field(default_factory=dict)
    # (run, n) -> further places, for frames that were moved and whose old pack is still there
    copies: dict[tuple[bytes, int], list[Location]] = field(default_factory=dict)
    segments: dict[tuple[bytes, int], ListedSegment] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # segment name -> why it is useless
    # Digests of segments that a merged or rebuilt one stands for.
    stood_for: set[bytes] = field(default_factory=set)
    replaced: set[tuple[bytes, int]] = field(default_factory=set)  # (run, k) of the same
    # Of segments that nobody knows to be durable (`durable` says which): those that were looked
    # at, and the packs of those that a power cut left torn.
    looked_at: set[tuple[bytes, int]] = field(default_factory=set)
    unsafe: set[PackName] = field(default_factory=set)

    def learn(
        self, listed: Segment, doomed: set[PackName] | frozenset[PackName] = frozenset()
    ) -> None:
        """Takes in what one segment lists.

        A pack may be in several sets, after a repair: the one without doomed members counts.
        """
        for parity_set in listed.sets:
            for place in parity_set.packs:
                name = PackName(place.shelf, place.digest)
                known = self.set_of_pack.get(name)
                if known is None or _is_broken(known, doomed):
                    self.set_of_pack[name] = parity_set
                if name not in self.pack_numbers:
                    self._learn_pack(name, place)

    def _learn_pack(self, name: PackName, place: PackPlace) -> None:
        number = len(self.packs)
        self.packs.append(place)
        self.pack_numbers[name] = number
        offset = place.frames_offset
        for group in place.groups:
            frames = self.runs.get(group.run)
            if frames is None:
                frames = self.runs[group.run] = RunFrames()
            frames.reach(group.first_n + len(group.stored) // 4)
            if frames.take(number, offset, group):
                offset += sum(group.lengths())
                continue
            lengths = zip(group.lengths(), group.plain_lengths(), strict=True)
            for n, (stored, plain) in enumerate(lengths, group.first_n):
                if frames.packs[n] == NOWHERE:
                    frames.set(n, (number, offset, stored, plain, group.kind))
                else:
                    place_again = Location(number, offset, stored, plain, group.kind)
                    self.copies.setdefault((group.run, n), []).append(place_again)
                offset += stored

    def locate(self, run: bytes, n: int) -> list[Location]:
        """Every known place of a frame; empty if no segment lists it."""
        frames = self.runs.get(run)
        if frames is None or n >= len(frames.packs) or frames.packs[n] == NOWHERE:
            return []
        first = Location(
            frames.packs[n],
            frames.offsets[n],
            frames.stored[n],
            frames.plain[n],
            frames.kinds[n],
        )
        return [first, *self.copies.get((run, n), [])]

    def unlisted(self, frames: FrameSet, good: Sequence[bool]) -> int:
        """How many of these frames lie in no good pack (by number); no range is too long."""
        missing = 0
        for run, ranges in frames.items():
            known = self.runs.get(run)
            count = len(known.packs) if known is not None else 0
            for first, end in ranges:
                missing += max(0, end - max(first, count))
                for n in range(first, min(end, count)):
                    missing += not any(good[place.pack] for place in self.locate(run, n))
        return missing

    def pack_name(self, number: int) -> str:
        """The object name of a pack by its number here."""
        place = self.packs[number]
        return names.pack(place.shelf, place.digest)


def _is_broken(parity_set: ParitySet, doomed: AbstractSet[PackName]) -> bool:
    """True if a member of the set has been doomed: its shard then rebuilds nothing."""
    return any(PackName(place.shelf, place.digest) in doomed for place in parity_set.packs)


def decode_segment(
    data: bytes, name: str, session: Session, state: LedgerState
) -> tuple[Segment, Certificate] | None:
    """The segment, all its signatures checked; None where its domain cannot be read."""
    run, k = names.parse_numbered(name)
    encoded, sealed = segment.unwrap(data, name)
    certificate = read_certificate(encoded, session, state)
    envelope.check_signature(data, certificate.verify_key, name)
    keys = session.domains.get(certificate.domain)
    if keys is None or keys.secrets.meta is None:
        return None
    plain = crypt.unseal(
        segment.meta_key(keys.meta()), sealed, segment.context(session.vault, run, k), name
    )
    listed = segment.decode_inner(encoded, plain)
    if (listed.run(), listed.k) != (run, k):
        raise FormatError(f"{name} is damaged: it is another run's segment")
    return listed, certificate


def load_index(storage: Storage, session: Session, state: LedgerState) -> Index:
    """The index from all segments; those that another stands for are left out.

    A segment that cannot be read is named in `problems`; the others count. What vanishes
    between listing and reading was merged meanwhile: then everything is read again.
    """
    index, complete = _load_once(storage, session, state)
    for _ in range(LISTINGS):
        if complete:
            break
        index, complete = _load_once(storage, session, state)
    return index


def _load_once(storage: Storage, session: Session, state: LedgerState) -> tuple[Index, bool]:
    index, complete = Index(), True
    found: list[ListedSegment] = []
    for name, size in sorted(storage.list(names.INDEX)):
        try:
            run, k = names.parse_numbered(name)
            data = storage.get(name, SMALL_LIMIT_BYTES)
            decoded = decode_segment(data, name, session, state)
        except NotFoundError:
            complete = False
            continue
        except (FormatError, UnreadableError) as error:
            index.problems[name] = str(error)
            continue
        if decoded is not None:
            listed, certificate = decoded
            digest = crypt.digest(data)
            found.append(ListedSegment(name, run, k, digest, size, listed, certificate))
    owner = session.owner_verify
    trusted = [item for item in found if state.may_carry(item.certificate.maker, owner)]
    # One whose run has not ended may still go again: it says nothing against the others.
    ended = [item for item in trusted if item.has_ended(state)]
    hidden = _replaced(ended, found)
    replaced = _replaced(trusted, found)
    index.stood_for.update(
        old.digest for item in trusted for old in item.body.stands_for if old.digest is not None
    )
    index.replaced |= replaced
    for item in sorted(found, key=lambda item: item not in trusted):
        if (item.run, item.k) in hidden:
            continue
        if item not in trusted and not _is_own(item):
            index.problems[item.name] = f"{item.name} lists frames of runs that are not its own"
            continue
        index.segments[item.run, item.k] = item
        index.learn(item.body, state.doomed)
    for run, k in replaced:
        index.problems.pop(names.numbered(names.INDEX, run, k), None)
    return index, complete


def _replaced(trusted: list[ListedSegment], found: list[ListedSegment]) -> set[tuple[bytes, int]]:
    """Segments that one of the owner's or an operator's stands for, of the same domain."""
    there = {(item.run, item.k): item for item in found}
    replaced = set()
    for item in trusted:
        for old in item.body.stands_for:
            actual = there.get((old.run, old.k))
            if actual is not None and (
                actual.certificate.domain != item.certificate.domain
                or old.digest not in (None, actual.digest)
            ):
                continue
            replaced.add((old.run, old.k))
    return replaced


def _is_own(item: ListedSegment) -> bool:
    """True if the segment lists nothing but frames of its own run, as a writer's does."""
    return not item.body.stands_for and all(
        group.run == item.run
        for parity_set in item.body.sets
        for place in parity_set.packs
        for group in place.groups
    )
