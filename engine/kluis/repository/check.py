"""What is wrong with the objects of a store, as far as names, sizes and small objects tell.

Whatever a crash can leave lying about is no damage: torn packs that no segment lists, snapshots
that never came to count, a newest ledger record without its twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from kluis.errors import DamageError, FormatError, NewerFormatError, NotFoundError
from kluis.format import crypt, domain, keyring, names, store
from kluis.format.ledger import PackName, SnapshotMark
from kluis.format.pack import PACK_LIMIT_BYTES, PACK_TARGET_BYTES
from kluis.format.segment import PackPlace, ParitySet
from kluis.frozen import frozen
from kluis.repository.access import Repository
from kluis.repository.foreign import foreign
from kluis.repository.index import Index
from kluis.repository.needed import Frame, Needs
from kluis.repository.packs import check_name
from kluis.repository.rebuild import SHARD_LIMIT_BYTES
from kluis.repository.room import make_room
from kluis.repository.small import Copies, listed, read_copies, read_or_none
from kluis.repository.wholepacks import InsideError
from kluis.repository.workers import side_by_side

SMALL = "small"  # healed from its other copy
SEGMENT = "segment"
PARITY = "parity"
PACK = "pack"
EXTRA = "extra"
INSIDE = "inside"  # a pack whose bytes fit its name, and are wrong all the same
GONE = "gone"  # nothing in this store can bring it back

# Most packs fit; what is not written to takes no memory.
ROOM_BYTES = PACK_TARGET_BYTES + (1 << 20)


# (name, bytes, what its segment says) of a whole pack -> frames opened
Look = Callable[[str, bytes, PackPlace], int]


@frozen
class Finding:
    """One object that is not as it should be."""

    object: str
    kind: str
    what: str
    pack: PackName | None = None
    frames: frozenset[Frame] = frozenset()  # that are listed nowhere
    files: tuple[bytes, ...] = ()  # that are damaged themselves, whatever holds them


Outcome = tuple[int, int, Finding | None]  # bytes read, frames opened, what is wrong


@dataclass
class Checker:
    """Looks at one opened repository."""

    repository: Repository
    index: Index
    checked: int = 0
    bytes_read: int = 0
    frames: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    needs: Needs = field(init=False)
    _rooms: list[memoryview] = field(default_factory=list)  # that nobody uses

    def __post_init__(self) -> None:
        self.needs = Needs(self.repository, self.index)

    def small_objects(self) -> Iterator[Finding]:
        """Store, documents, keyring, domains, ledger and snapshots, both copies of each."""
        repository = self.repository
        vault = repository.session.vault
        if not self._is_fresh():
            yield from self._pair(names.STORE, self._same(store.decode, repository.store))
        for document in repository.store.documents:
            yield from self._pair(document.name, _digest_check(document.digest))
        yield from self._keyrings(vault)
        for name in listed(repository.storage, names.DOMAINS):
            yield from self._pair(name, _vault_check(domain.decode, vault))
        yield from self._ledger()
        for mark in repository.ledger.state.counting().values():
            yield from self._snapshot(mark)

    def _is_fresh(self) -> bool:
        """True if `init` was interrupted just before its last step: nothing is missing yet."""
        repository = self.repository
        return repository.ledger.state.head == 1 and not read_or_none(
            repository.storage, names.STORE
        )

    def segments(self) -> Iterator[Finding]:
        """Segments that counting snapshots name and that are missing, damaged or others."""
        problems = dict(self.index.problems)
        for mark in self.repository.ledger.state.counting().values():
            if mark.last_segment is None:
                continue
            yield from self._segments_of(mark, problems)

    def unlisted(self) -> Iterator[Finding]:
        """Snapshots that use frames which lie in no pack that a segment lists."""
        for identity, count, frames in self.needs.unlisted():
            reason = f"{count} frames that snapshot {identity} uses are listed nowhere"
            yield Finding(f"{names.INDEX} of {identity}", SEGMENT, reason, frames=frames)

    def large_objects(self) -> Iterator[Finding]:
        """Packs and shards by name and size alone."""
        self.sizes = dict(self.repository.storage.list(names.PACKS))
        self.sizes.update(self.repository.storage.list(names.PARITY))
        doomed = self.repository.ledger.state.doomed
        for pack, number in self.index.pack_numbers.items():
            if pack in doomed or pack in self.needs.idle:
                continue
            self.checked += 1
            place = self.index.packs[number]
            yield from self._size(names.pack(place.shelf, place.digest), PACK, place.size, pack)
        for parity_set in self._sets():
            if parity_set.parity_digest is None or self._is_gone(parity_set.packs):
                continue
            self.checked += 1
            name = names.numbered(names.PARITY, parity_set.parity_run, parity_set.parity_k)
            yield from self._size(name, PARITY, parity_set.parity_bytes, None)

    def stored_bytes(
        self, look: Look | None = None, told: Callable[[], None] | None = None
    ) -> Iterator[Finding]:
        """Each pack against its name and each shard against its segment. Needs no read key.

        `look` gets every whole pack, in one of `WORKERS` threads, to look inside it; it says how
        many frames it opened, or raises `DamageError`. `told` is called after each object, from
        the thread of the caller, as is the storage. No more than `WORKERS` objects are held.
        """
        for size, frames, finding in side_by_side(self._reads(look)):
            self.bytes_read += size
            self.frames += frames
            if told is not None:
                told()
            if finding is not None:
                yield finding

    def _reads(self, look: Look | None) -> Iterator[Callable[[], Outcome]]:
        """One object read each time that another is asked for, with what is to be done to it."""
        doomed = self.repository.ledger.state.doomed
        for place in self.index.packs:
            pack = PackName(place.shelf, place.digest)
            name = names.pack(place.shelf, place.digest)
            if pack in doomed or pack in self.needs.idle or self.sizes.get(name) != place.size:
                continue
            found = Finding(name, PACK, "", pack)
            yield self._read(
                found, PACK_LIMIT_BYTES, partial(_look_at_pack, look, place), look is not None
            )
        for parity_set in self._sets():
            name = names.numbered(names.PARITY, parity_set.parity_run, parity_set.parity_k)
            digest = parity_set.parity_digest
            if digest is None or self._is_gone(parity_set.packs):
                continue
            if self.sizes.get(name) == parity_set.parity_bytes:
                found = Finding(name, PARITY, "")
                yield self._read(found, SHARD_LIMIT_BYTES, partial(_look_at_shard, digest), False)

    def _read(
        self, found: Finding, limit: int, look: Callable[[Finding, bytes], Outcome], apart: bool
    ) -> Callable[[], Outcome]:
        """A look at an object's bytes, which are read now and let go before it returns."""
        try:
            data = self.repository.storage.get(found.object, limit)
        except (DamageError, NotFoundError) as error:
            outcome = 0, 0, replace(found, what=str(error))
            return lambda: outcome
        if apart:
            return partial(self._look_apart, found, look, self._apart(data))
        held = [data]
        del data
        return lambda: look(found, held.pop())

    def _apart(self, data: bytes) -> tuple[memoryview, int]:
        """(room, size): a copy in pages that are used again, 50 MiB less at the peak.

        Beside frames that come and go, a heap keeps a hole for each size of pack.
        """
        room = self._rooms.pop() if self._rooms else make_room(ROOM_BYTES)
        if len(room) < len(data):
            room = make_room(len(data))
        room[: len(data)] = data
        return room, len(data)

    def _look_apart(
        self,
        found: Finding,
        look: Callable[[Finding, bytes], Outcome],
        held: tuple[memoryview, int],
    ) -> Outcome:
        room, size = held
        try:
            # Nobody does more than look at parts of it.
            return look(found, cast("bytes", room[:size]))
        finally:
            self._rooms.append(room)

    def strangers(self) -> Iterator[Finding]:
        """Files that neither kluis nor an operating system would write."""
        for name in foreign(self.repository.storage):
            yield Finding(name, EXTRA, "is no file that kluis makes")

    def _sets(self) -> Iterator[ParitySet]:
        seen = set()
        for parity_set in self.index.set_of_pack.values():
            key = (parity_set.parity_run, parity_set.parity_k)
            if key not in seen:
                seen.add(key)
                yield parity_set

    def _is_gone(self, packs: tuple[PackPlace, ...]) -> bool:
        gone = self.repository.ledger.state.doomed | self.needs.idle
        return all(PackName(p.shelf, p.digest) in gone for p in packs)

    def _size(self, name: str, kind: str, size: int, pack: PackName | None) -> Iterator[Finding]:
        actual = self.sizes.get(name)
        if actual is None:
            yield Finding(name, kind, "is missing", pack)
        elif actual != size:
            yield Finding(name, kind, f"has {actual} bytes instead of {size}", pack)

    def _pair(self, name: str, check: Callable[[bytes, str], None]) -> Iterator[Finding]:
        """Findings for both copies of a small object; GONE where neither is whole."""
        self.checked += 1
        copies = read_copies(self.repository.storage, name)
        reasons = {}
        for place, data in ((name, copies.first), (names.twin(name), copies.twin)):
            reason = _reason(data, place, check)
            if reason is not None:
                reasons[place] = reason
        kind = GONE if len(reasons) == 2 else SMALL
        for place, reason in reasons.items():
            yield Finding(place, kind, reason)
        if not reasons and copies.first != copies.twin:
            yield Finding(name, SMALL, "is not the same as its twin, and both are whole")

    def _same(
        self, decode: Callable[[bytes, str], object], expected: object
    ) -> Callable[[bytes, str], None]:
        def check(data: bytes, place: str) -> None:
            if decode(data, place) != expected:
                raise FormatError(f"{place} is not the one of this store")

        return check

    def _keyrings(self, vault: bytes) -> Iterator[Finding]:
        rings = listed(self.repository.storage, names.KEYRING)
        for name in reversed(rings):
            copies = read_copies(self.repository.storage, name)
            if name != rings[0] and copies.first is not None and not copies.twin:
                continue  # a change of keys that was interrupted: the older epoch is there too
            yield from self._pair(name, _vault_check(keyring.decode, vault))
            break  # what is older is on its way out

    def _ledger(self) -> Iterator[Finding]:
        book = self.repository.ledger
        first = book.state.checkpoint or 1
        for n in range(first, book.state.head + 1):
            copies = book.copies(n)
            if n == book.state.head and copies.first is not None and not copies.twin:
                continue  # its author was interrupted; the next writer completes it
            if n in book.digests:
                yield from self._pair(names.ledger(n), _digest_check(book.digests[n]))
            elif book.gap is not None:
                # Without a gap the records that are whole follow one another: this one never was.
                yield Finding(names.ledger(n), GONE, book.broken.get(n, "is missing"))
        for n, reason in book.broken.items():
            if n in book.digests and first <= n:
                yield Finding(names.ledger(n), GONE, reason)
            elif n > book.state.head and not _is_torn(book.copies(n)):
                yield Finding(names.ledger(n), GONE, reason)

    def _snapshot(self, mark: SnapshotMark) -> Iterator[Finding]:
        name = names.numbered(names.SNAPSHOTS, mark.run, mark.k)
        yield from self._pair(name, _digest_check(mark.digest))

    def _segments_of(self, mark: SnapshotMark, problems: dict[str, str]) -> Iterator[Finding]:
        """The chain of a run's segments, up to the last one that its snapshot names."""
        wanted, run = mark.last_segment, mark.run
        if wanted in self.index.stood_for:
            return
        replaced = self.index.replaced
        prefix = f"{names.INDEX}/{names.base32(run)}-"
        for name in [name for name in problems if name.startswith(prefix)]:
            self.checked += 1
            yield Finding(name, SEGMENT, problems.pop(name))
        k = 0
        while (
            (run, k) in self.index.segments
            or (run, k) in replaced
            or names.numbered(names.INDEX, run, k) in self.index.problems
        ):
            item = self.index.segments.get((run, k))
            self.checked += 1
            if item is not None and item.digest == wanted:
                return
            k += 1
        if names.numbered(names.INDEX, run, max(0, k - 1)) not in self.index.problems:
            yield Finding(names.numbered(names.INDEX, run, k), SEGMENT, "is missing")


def _look_at_pack(look: Look | None, place: PackPlace, found: Finding, data: bytes) -> Outcome:
    try:
        check_name(found.object, data)
        return len(data), look(found.object, data, place) if look is not None else 0, None
    except InsideError as error:
        return len(data), 0, replace(found, kind=INSIDE, what=str(error))
    except DamageError as error:
        return len(data), 0, replace(found, what=str(error))


def _look_at_shard(digest: bytes, found: Finding, data: bytes) -> Outcome:
    if crypt.digest(data) == digest:
        return len(data), 0, None
    what = f"{found.object} is damaged: it is not the shard that was listed"
    return len(data), 0, replace(found, what=what)


def _reason(data: bytes | None, place: str, check: Callable[[bytes, str], None]) -> str | None:
    if data is None:
        return "is missing"
    try:
        check(data, place)
    except (FormatError, NewerFormatError) as error:
        return str(error)
    return None


def _digest_check(digest: bytes) -> Callable[[bytes, str], None]:
    def check(data: bytes, place: str) -> None:
        if crypt.digest(data) != digest:
            raise FormatError(f"{place} is damaged: its digest is not the recorded one")

    return check


def _vault_check(
    decode: Callable[[bytes, str], keyring.Keyring | domain.Domain], vault: bytes
) -> Callable[[bytes, str], None]:
    def check(data: bytes, place: str) -> None:
        item = decode(data, place)
        known = item.vault() if isinstance(item, keyring.Keyring) else item.vault
        expected = (
            names.keyring(item.epoch)
            if isinstance(item, keyring.Keyring)
            else names.domain(item.domain, item.epoch)
        )
        if known != vault or not place.endswith(expected):
            raise FormatError(f"{place} belongs to another vault or place")

    return check


def _is_torn(copies: Copies) -> bool:
    """True for what an interrupted append can leave: one copy that was never whole.

    On FAT a power cut can leave a new file empty.
    """
    return not copies.twin
