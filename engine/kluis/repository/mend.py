"""Damaged objects made whole again: small ones from twins, packs from parity, lists from packs.

What is replaced is kept in `quarantine/` until the store verifies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis._native.xor import xor_into
from kluis.errors import DamageError, FormatError, KluisError, NotFoundError
from kluis.format import crypt, names, parity
from kluis.format.ledger import PackName
from kluis.format.parity import Member
from kluis.format.segment import PackPlace, ParitySet, Replaced
from kluis.repository.access import Repository
from kluis.repository.check import Finding
from kluis.repository.create import read_document
from kluis.repository.index import Index
from kluis.repository.mover import Movers, carry, read_whole
from kluis.repository.packer import BuiltPack
from kluis.repository.packs import open_pack
from kluis.repository.rebuild import SHARD_LIMIT_BYTES, rebuild_pack
from kluis.repository.relist import find_unlisted
from kluis.repository.small import read_or_none
from kluis.repository.uploader import ShardBuilder

_SEGMENTS = f"{names.INDEX}/"


@dataclass
class Mender:
    """Heals one finding at a time; runs that it had to begin end with one record."""

    repository: Repository
    index: Index
    movers: Movers
    doomed: set[PackName] = field(default_factory=set)  # packs whose frames were carried over
    _healed: set[str] = field(default_factory=set)

    def small(self, finding: Finding) -> str:
        """Writes the whole copy over the damaged or missing one; says where it came from."""
        storage = self.repository.storage
        name = finding.object
        source = (
            name.removeprefix(f"{names.TWINS}/")
            if name.startswith(f"{names.TWINS}/")
            else names.twin(name)
        )
        data = read_or_none(storage, source)
        if data is None:
            raise DamageError(f"{source} is missing too")
        self._replace(name, data)
        return f"its other copy {source}"

    def document(self, name: str) -> str:
        """Writes a document anew from this program, where it is the one of this store."""
        plain = name.removeprefix(f"{names.TWINS}/")
        for document in self.repository.store.documents:
            if document.name == plain and crypt.digest(read_document(plain)) == document.digest:
                self._replace(name, read_document(plain))
                return "this program's own copy"
        raise DamageError(f"{name} and its twin are damaged, and this program has another version")

    def pack(self, pack: PackName, name: str) -> str:
        """Rebuilds a pack from the parity of its set, in place; a lost one under a new name."""
        parity_set = self.index.set_of_pack.get(pack)
        data = rebuild_pack(self.repository.storage, parity_set, pack)
        if self.repository.storage.exists(name):
            self._replace(name, data, present=True)
            return "parity"
        self._carry_over(pack, name, data)
        return "parity, in a new pack"

    def _carry_over(self, pack: PackName, name: str, data: bytes) -> None:
        """Stores the frames of a lost pack in a pack of this repair, and protects its set anew.

        The old name may have been doomed before a checkpoint, so it never comes back.
        """
        carry(self.movers, name, data, None)
        domain = open_pack(
            name, data, self.repository.session, self.repository.ledger.state
        ).head.domain
        self.movers.flush()
        self.doomed.add(pack)
        old = self.index.set_of_pack[pack]
        rest = tuple(p for p in old.packs if (p.shelf, p.digest) != (pack.shelf, pack.digest))
        if rest:
            self._protect_rest(old, rest, data, domain)

    def _protect_rest(
        self, old: ParitySet, rest: tuple[PackPlace, ...], lost: bytes, domain: bytes
    ) -> None:
        """A shard over the members that are left: the old one with the lost pack taken out."""
        storage = self.repository.storage
        run, uploader = self.movers.writer(domain)
        builder = self._shard_without(old, rest, lost)
        k = run.next_segment
        parts = builder.finish(run.id, k)
        storage.put(names.numbered(names.PARITY, run.id, k), parts)
        whole = b"".join(parts)
        uploader.write_segment((ParitySet(run.id, k, crypt.digest(whole), len(whole), rest),))

    def _shard_without(
        self, old: ParitySet, rest: tuple[PackPlace, ...], lost: bytes
    ) -> ShardBuilder:
        """The old shard with the lost pack taken out; from the packs where it is damaged."""
        name = names.numbered(names.PARITY, old.parity_run, old.parity_k)
        whole = read_or_none(self.repository.storage, name)
        if whole is None or crypt.digest(whole) != old.parity_digest:
            builder = ShardBuilder()
            for place in rest:
                pack = PackName(place.shelf, place.digest)
                builder.add(BuiltPack([read_whole(self.repository, self.index, pack)], place))
            return builder
        shard = parity.decode_shard(whole)
        data = bytearray(whole[shard.data_offset :])
        xor_into(data, lost)
        checks = {
            (member.shelf, member.digest): check
            for member, check in zip(shard.members, shard.checks, strict=False)
        }
        return ShardBuilder(
            data[: max(place.size for place in rest)],
            [Member(place.shelf, place.digest, place.size) for place in rest],
            [checks[place.shelf, place.digest] for place in rest],
        )

    def shard(self, name: str) -> str:
        """Computes a shard again from the packs of its set: the same bytes as before."""
        run, k = names.parse_numbered(name)
        for parity_set in self.index.set_of_pack.values():
            if (parity_set.parity_run, parity_set.parity_k) == (run, k):
                break
        else:
            raise DamageError("no segment lists a set for it")
        builder = ShardBuilder()
        for place in parity_set.packs:
            data = read_whole(self.repository, self.index, PackName(place.shelf, place.digest))
            builder.add(BuiltPack([data], place))
        whole = b"".join(builder.finish(run, k))
        if crypt.digest(whole) != parity_set.parity_digest:
            raise DamageError("what its packs give is not the shard that was listed")
        self._replace(name, whole)
        return "the packs of its set"

    def segments(self, findings: list[Finding]) -> str:
        """Lists again, in segments of this repair, every pack that no segment lists any more."""
        found = find_unlisted(self.repository, self.index)
        objects = [item.object for item in findings if item.object.startswith(_SEGMENTS)]
        if not objects and not found.places:
            raise DamageError("no pack that is there holds them, and no shard gives one back")
        stands_for = _stands_for(self.repository, findings)
        for domain in found.places or [self.repository.session.home().id]:
            run, uploader = self.movers.writer(domain)
            uploader.stands_for = stands_for
            listed = uploader.write_segment(found.sets(domain, run.id, run.next_segment))
            self.index.learn(listed)
            stands_for = ()
        for name in objects:
            self._quarantine(name)
            self.repository.storage.delete(name)
        return "the directories of the packs"

    def _replace(self, name: str, data: bytes, present: bool = False) -> None:
        """Puts the whole object in place; with `present` only while there is one.

        A pack that vanishes meanwhile was doomed and deleted: it must not come back.
        """
        self._quarantine(name)
        self.repository.storage.replace(name, data, present=present)

    def _quarantine(self, name: str) -> None:
        """Keeps what is about to be replaced; a full medium must not stop the repair."""
        storage = self.repository.storage
        try:
            old = storage.get(name, SHARD_LIMIT_BYTES)
            place = f"{names.QUARANTINE}/{names.base32(crypt.digest(old)[:10])}"
            if not storage.exists(place):
                storage.put(place, [old])
        except (NotFoundError, KluisError):
            return


def _stands_for(repository: Repository, findings: list[Finding]) -> tuple[Replaced, ...]:
    """The segments that are replaced; of the last one of a run the snapshot tells the digest."""
    last: dict[bytes, list[bytes]] = {}
    for mark in repository.ledger.state.counting().values():
        if mark.last_segment is not None:
            last.setdefault(mark.run, []).append(mark.last_segment)
    found = {}
    for finding in findings:
        try:
            run, k = names.parse_numbered(finding.object)
        except FormatError:
            continue
        digests = last.get(run, [None])
        found[run, k] = Replaced(run, k, digests[0])
    return tuple(found[key] for key in sorted(found))


def empty_quarantine(repository: Repository) -> None:
    """Deletes what repairs replaced, once the store verifies."""
    storage = repository.storage
    old = [name for name, _ in storage.list(names.QUARANTINE)]
    for name in old:
        storage.delete(name)
    if old:
        storage.barrier()
