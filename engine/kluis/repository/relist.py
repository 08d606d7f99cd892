"""Where frames lie, found again from the packs and shards themselves, for lost segments."""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.errors import DamageError, FormatError, NotFoundError
from kluis.format import crypt, names, parity
from kluis.format.ledger import PackName
from kluis.format.pack import PACK_LIMIT_BYTES
from kluis.format.segment import PackPlace, ParitySet
from kluis.repository.access import Repository
from kluis.repository.index import Index
from kluis.repository.packer import groups_of
from kluis.repository.packs import check_name, open_pack
from kluis.repository.rebuild import SHARD_LIMIT_BYTES, rebuild_pack


@dataclass
class Found:
    """Packs that no segment lists, by domain, and the sets that shards tell of."""

    places: dict[bytes, dict[PackName, PackPlace]] = field(default_factory=dict)
    shards: dict[PackName, ParitySet] = field(default_factory=dict)  # by member, without packs
    members: dict[tuple[bytes, int], list[PackName]] = field(default_factory=dict)

    def sets(self, domain: bytes, run: bytes, k: int) -> tuple[ParitySet, ...]:
        """The domain's packs in their sets; those without a shard under (run, k), unprotected."""
        left = dict(self.places.get(domain, {}))
        result = []
        for members in self.members.values():
            if all(member in left for member in members):
                shard = self.shards[members[0]]
                packs = tuple(left.pop(member) for member in members)
                result.append(
                    ParitySet(
                        shard.parity_run,
                        shard.parity_k,
                        shard.parity_digest,
                        shard.parity_bytes,
                        packs,
                    )
                )
        if left:
            result.append(ParitySet(run, k, None, 0, tuple(left.values())))
        return tuple(result)


def find_unlisted(repository: Repository, index: Index) -> Found:
    """Every pack that is in no segment and not doomed, also one that only its shard still knows.

    Of a missing or damaged one the directory is read from what parity gives, so that the
    pack itself can be healed once it is listed again.
    """
    found = Found()
    known = index.pack_numbers.keys() | repository.ledger.state.doomed
    _read_shards(repository, found, known)
    names_there = set()
    for name, _ in sorted(repository.storage.list(names.PACKS)):
        try:
            names_there.add(PackName(*names.parse_pack(name)))
        except FormatError:
            continue
    for pack in sorted(names_there | found.shards.keys(), key=lambda item: item.digest):
        if pack not in known:
            _add(repository, found, pack)
    return found


def _read_shards(repository: Repository, found: Found, known: set[PackName]) -> None:
    for name, size in sorted(repository.storage.list(names.PARITY)):
        try:
            data = repository.storage.get(name, SHARD_LIMIT_BYTES)
            shard = parity.decode_shard(data)
            if (shard.run, shard.k) != names.parse_numbered(name):
                continue
        except (DamageError, NotFoundError):
            continue
        members = [PackName(member.shelf, member.digest) for member in shard.members]
        if any(member in known for member in members):
            continue
        found.members[shard.run, shard.k] = members
        listed = ParitySet(shard.run, shard.k, crypt.digest(data), size, ())
        found.shards.update((member, listed) for member in members)


def _add(repository: Repository, found: Found, pack: PackName) -> None:
    """Notes where the frames of one pack lie, if its bytes can be had."""
    session, state = repository.session, repository.ledger.state
    name = names.pack(pack.shelf, pack.digest)
    try:
        try:
            data = repository.storage.get(name, PACK_LIMIT_BYTES)
            check_name(name, data)
            repository.storage.sync(name)
        except (DamageError, NotFoundError):
            data = rebuild_pack(repository.storage, found.shards.get(pack), pack)
        opened = open_pack(name, data, session, state)
    except (DamageError, FormatError, NotFoundError):
        return  # torn by an interrupted run, or lost: then its frames stay missing
    place = PackPlace(
        pack.shelf, pack.digest, len(data), opened.head.frames_offset(), groups_of(opened.entries)
    )
    found.places.setdefault(opened.head.domain, {})[pack] = place
