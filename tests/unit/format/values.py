"""Hypothesis strategies for every stored kind: any value that a writer may hand in."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from kluis.format import (
    certificate,
    domain,
    frame,
    keyring,
    ledger,
    pack,
    parity,
    segment,
    snapshot,
    store,
    tree,
    usemap,
)
from tests.unit.format import samples

u8 = st.integers(0, (1 << 8) - 1)
u16 = st.integers(0, (1 << 16) - 1)
u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
id16 = st.binary(min_size=16, max_size=16)
run = id16.filter(any)
key = st.binary(min_size=32, max_size=32)
text = st.text(st.characters(codec="utf-8"), max_size=12)
blob = st.binary(max_size=20)
shelf = st.sampled_from("abcdefghijklmnopqrstuvwxyz234567")
positive = st.integers(1, (1 << 32) - 1)
features = st.builds(keyring.Features, u32, u32, st.just(0))


def few(items: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[Any]:
    """A tuple of a few of them."""
    return st.lists(items, min_size=least, max_size=4).map(tuple)


def ordered(items: st.SearchStrategy[Any], by: Any) -> st.SearchStrategy[Any]:
    """A tuple of a few of them, none twice, in the order in which they are written."""
    found = st.lists(items, max_size=4, unique_by=by)
    return found.map(lambda chosen: tuple(sorted(chosen, key=by)))


runs = ordered(id16, lambda item: item)
numbers = st.sets(st.integers(0, frame.NUMBER_LIMIT), min_size=1, max_size=6)
frame_sets = st.dictionaries(run, numbers.map(usemap.ranges_of), max_size=4)

certificates = st.builds(
    certificate.Certificate,
    vault=key,
    store=id16,
    domain=id16,
    domain_epoch=positive,
    sealed_run_key=st.binary(min_size=80, max_size=80),
    verify_key=key,
    head=u64,
    head_digest=key,
    maker=st.just(samples.OWNER_VERIFY),
)
vault_boxes = st.builds(keyring.VaultBox, key, st.binary(min_size=80, max_size=80))
keyrings = st.builds(
    keyring.Keyring,
    features=features,
    owner_verify=st.just(samples.OWNER_VERIFY),
    owner_box=key,
    epoch=positive,
    salt=id16,
    passes=st.integers(1, keyring.PASSES_LIMIT),
    memory_bytes=st.integers(8, 64 << 10).map(lambda kib: kib << 10),
    slots=few(st.binary(min_size=73, max_size=73)),
    vault_boxes=ordered(vault_boxes, lambda box: box.box_key),
    private=blob,
    roles_sequence=u64,
)


@st.composite
def chunk_sizes(draw: st.DrawFn) -> keyring.ChunkSizes:
    average = 1 << draw(st.integers(6, 23))
    return keyring.ChunkSizes(
        draw(st.integers(64, average)), average, draw(st.integers(average, 1 << 23))
    )


privates = st.builds(
    keyring.Private,
    few(text),
    ordered(st.tuples(text, chunk_sizes()), lambda item: item[0]),
)


@st.composite
def domain_boxes(draw: st.DrawFn) -> domain.DomainBox:
    parts = draw(st.integers(1, 7))
    size = 48 + 32 * parts.bit_count()
    return domain.DomainBox(draw(key), parts, draw(st.binary(min_size=size, max_size=size)))


domains = st.builds(
    domain.Domain,
    vault=st.just(samples.VAULT),
    domain=id16,
    epoch=st.integers(2, (1 << 32) - 1),
    public_key=key,
    algorithm=st.sampled_from([1, 2]),
    owner_verify=st.just(samples.OWNER_VERIFY),
    boxes=ordered(domain_boxes(), lambda box: box.box_key),
    name=blob,
)
document_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}", fullmatch=True)
stores = st.builds(
    store.Store,
    features=features,
    vault=st.just(samples.VAULT),
    store=id16,
    owner_verify=st.just(samples.OWNER_VERIFY),
    created_ns=i64,
    label=text,
    documents=ordered(
        st.builds(store.Document, document_names, u32, key), lambda document: document.name
    ),
)

roles = st.builds(ledger.Role, st.sampled_from(list(ledger.ROLES)), text, key, key, runs, u64)
role_blocks = st.builds(
    ledger.Roles,
    ordered(roles, lambda role: role.verify_key),
    u64,
    st.binary(min_size=64, max_size=64),
)


def marks(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[ledger.SnapshotMark]:
    parts: dict[str, st.SearchStrategy[Any]] = {
        "run": id16,
        "k": u32,
        "digest": key,
        "last_segment": st.none() | key,
        "client": id16,
        "time_ns": i64,
        "replaces": st.none() | id16,
        "maker": key,
        "counted": u64,
        "copied": st.booleans(),
    }
    return st.builds(ledger.SnapshotMark, **{**parts, **fixed})


made_marks = marks(maker=st.just(ledger.NO_KEY), counted=st.just(0), copied=st.just(False))
pack_names = ordered(st.builds(ledger.PackName, shelf, key), lambda name: (name.shelf, name.digest))
helds = st.builds(ledger.Held, id16, text)


@st.composite
def segment_ranges(draw: st.DrawFn) -> ledger.SegmentRange:
    first = draw(u32)
    return ledger.SegmentRange(draw(id16), first, draw(st.integers(first, (1 << 32) - 1)))


verifieds = st.builds(
    ledger.Verified,
    st.integers(0, 2),
    i64,
    ordered(segment_ranges(), lambda item: (item.run, item.first_k)),
)
loggeds = st.builds(ledger.Logged, u64, key)


@st.composite
def checkpoints(draw: st.DrawFn) -> ledger.Checkpoint:
    named = draw(st.lists(marks(), max_size=4, unique_by=lambda mark: mark.run))
    split = draw(st.integers(0, len(named)))
    granted = draw(role_blocks)
    return ledger.Checkpoint(
        roles=granted.roles,
        live=tuple(named[:split]),
        forgotten=tuple(ledger.ForgottenMark(mark, draw(i64)) for mark in named[split:]),
        copied_doomed=draw(runs),
        held=draw(ordered(helds, lambda held: held.snapshot)),
        doomed=draw(pack_names),
        lost=draw(frame_sets),
        verified=draw(few(verifieds)),
        logged=draw(st.none() | loggeds),
        open_runs=draw(runs),
        replaced_first=draw(u64),
        replaced=draw(few(key)),
        floor=draw(u64),
        roles_sequence=granted.sequence,
        roles_signature=granted.signature,
    )


plain_events = st.one_of(
    role_blocks,
    st.builds(ledger.Made, made_marks),
    st.builds(ledger.Ended, runs),
    st.builds(ledger.Forgotten, runs, text),
    st.builds(ledger.Unforgotten, runs),
    helds,
    st.builds(ledger.Released, id16),
    st.builds(ledger.Doomed, pack_names, runs),
    st.builds(ledger.Copied, marks(copied=st.just(True))),
    st.builds(ledger.Lost, frame_sets),
    st.builds(ledger.Found, frame_sets),
    verifieds,
    loggeds,
)
events = few(plain_events, least=1) | st.builds(
    lambda point, rest: (point, *rest), checkpoints(), few(plain_events)
)
records = st.builds(
    ledger.Record,
    vault=key,
    store=id16,
    n=u64,
    previous=key,
    author=st.just(samples.OWNER_VERIFY),
    time_ns=i64,
    sealed=blob,
)

frame_sizes = st.integers(1, 2000).flatmap(
    lambda plain: st.tuples(st.integers(42, plain + 65), st.just(plain))
)


@st.composite
def frame_groups(draw: st.DrawFn) -> segment.FrameGroup:
    sizes = draw(st.lists(frame_sizes, min_size=1, max_size=3))
    return segment.FrameGroup(
        draw(run),
        draw(u32.filter(lambda n: n + 3 <= frame.NUMBER_LIMIT)),
        draw(st.sampled_from(list(frame.KINDS))),
        samples.lengths(*(stored for stored, _ in sizes)),
        samples.lengths(*(plain for _, plain in sizes)),
    )


pack_places = st.builds(
    segment.PackPlace,
    shelf,
    key,
    st.integers(1, 4).map(lambda blocks: blocks * pack.PADDING_BYTES),
    st.integers(pack.HEADER_BYTES + certificate.CERTIFICATE_BYTES, 30_000),
    st.lists(frame_groups(), max_size=3, unique_by=lambda group: group.run).map(tuple),
)


@st.composite
def segments(draw: st.DrawFn) -> segment.Segment:
    places = draw(st.lists(pack_places, min_size=1, max_size=4, unique_by=lambda item: item.digest))
    sets = []
    while places:
        taken = draw(st.integers(1, len(places)))
        shard, size = draw(st.tuples(key, u32) | st.just((None, 0)))
        sets.append(segment.ParitySet(draw(id16), draw(u32), shard, size, tuple(places[:taken])))
        del places[:taken]
    replaced = st.builds(segment.Replaced, id16, u32, st.none() | key)
    return segment.Segment(
        samples.ENCODED_CERTIFICATE,
        draw(u32),
        draw(id16),
        draw(st.none() | key),
        draw(ordered(replaced, lambda item: (item.run, item.k))),
        tuple(sets),
    )


facts = st.builds(
    snapshot.Facts,
    store=id16,
    client=id16,
    previous=st.none() | st.builds(snapshot.Previous, id16, u32, key),
    keyring_epoch=u32,
    time_ns=i64,
    finished_ns=i64,
    host=text,
    user=text,
    tags=few(text),
    data_set=text,
    description=text,
    program=text,
    replaces=st.none() | id16,
    counts=st.lists(u64, min_size=11, max_size=11).map(lambda values: snapshot.Counts(*values)),
    segments=u32,
    last_segment=st.none() | key,
    incomplete=st.booleans(),
    uses=frame_sets,
    path_group=id16,
)


@st.composite
def stored_extents(draw: st.DrawFn) -> tree.Extent:
    length = draw(st.integers(1, 1 << 20))
    offset = draw(st.integers(0, frame.FRAME_LIMIT_BYTES - length))
    return tree.Extent(draw(run), draw(st.integers(0, frame.NUMBER_LIMIT)), offset, length)


holes = st.integers(1, 1 << 50).map(tree.hole)
extents = st.lists(stored_extents() | holes, max_size=3).map(tuple)
some_extents = st.lists(stored_extents() | holes, min_size=1, max_size=3).map(tuple)


@st.composite
def roots(draw: st.DrawFn) -> snapshot.Root:
    found, listed = draw(some_extents), draw(st.booleans())
    covered = sum(map(tree.extent_length, found))
    return snapshot.Root(
        paths=draw(few(blob)),
        tree=found,
        tree_digest=draw(key),
        tree_bytes=draw(u64) if listed else covered,
        tree_listed=listed,
        problems=draw(few(st.builds(snapshot.Problem, blob, text, text))),
    )


# Three runs have a certificate in these packs: an entry names its own by place.
PACK_CERTIFICATES = tuple(
    certificate.encode(
        certificate.Certificate(
            vault=samples.VAULT,
            store=samples.STORE,
            domain=samples.DOMAIN,
            domain_epoch=1,
            sealed_run_key=samples.pattern(f"key {number}", 80),
            verify_key=samples.RUN_VERIFY,
            head=number,
            head_digest=samples.pattern("head", 32),
            maker=samples.OWNER_VERIFY,
        ),
        samples.OWNER_SIGNING,
    )
    for number in range(3)
)


@st.composite
def frame_entries(draw: st.DrawFn) -> frame.FrameEntry:
    compression = draw(st.sampled_from([frame.PLAIN, frame.ZSTD]))
    stored, plain = draw(frame_sizes)
    if compression == frame.PLAIN:
        stored = plain + draw(st.sampled_from(pack.SEAL_BYTES))
    return frame.FrameEntry(
        certificate.run_of(draw(st.sampled_from(PACK_CERTIFICATES))),
        draw(st.integers(0, frame.NUMBER_LIMIT)),
        draw(st.sampled_from(list(frame.KINDS))),
        compression,
        stored,
        plain,
        draw(st.integers(1, pack.LIST_LIMIT_BYTES)),
        draw(key),
        draw(key),
        draw(st.binary(min_size=64, max_size=64)),
    )


directories = st.lists(
    frame_entries(), min_size=1, max_size=5, unique_by=lambda entry: (entry.run, entry.n)
)
heads = st.builds(
    pack.PackHead,
    key,
    id16,
    u32,
    st.permutations(PACK_CERTIFICATES).flatmap(
        lambda order: st.integers(1, 3).map(lambda count: tuple(order[:count]))
    ),
)


@st.composite
def shards(draw: st.DrawFn) -> parity.Shard:
    blocks = st.integers(1, 3).map(lambda count: count * parity.BLOCK_BYTES)
    found = st.lists(
        st.builds(parity.Member, shelf, key, blocks),
        min_size=1,
        max_size=4,
        unique_by=lambda member: member.digest,
    )
    members = tuple(draw(found))
    sizes = [member.size for member in members]
    checks = tuple(
        samples.pattern(f"{draw(u16)}", parity.CHECK_BYTES * (size // parity.BLOCK_BYTES))
        for size in [*sizes, max(sizes)]
    )
    return parity.Shard(draw(id16), draw(u32), members, checks, parity.head_bytes(members))


chunk_lists = st.lists(st.tuples(id16, st.integers(1, 1 << 20)), min_size=1, max_size=5)
entry_names = st.binary(min_size=1, max_size=255).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and 0 not in name
)
xattr_names = st.binary(min_size=1, max_size=8).filter(lambda name: 0 not in name)
links = st.binary(min_size=1, max_size=12).filter(lambda link: 0 not in link)


@st.composite
def entries(draw: st.DrawFn, name: bytes) -> tree.Entry:
    kind = draw(st.sampled_from(list(tree.KINDS)))
    content: dict[str, Any] = {}
    flags = 0
    if kind in (tree.FILE, tree.DIRECTORY):
        found = draw(extents)
        content = {"extents": found, "digest": draw(key) if found else tree.NO_DIGEST}
        size = sum(map(tree.extent_length, found))
        flags = draw(st.sampled_from([0, tree.INCOMPLETE]))
        if found and draw(st.booleans()):
            flags |= tree.LISTED
        free = flags & tree.LISTED or (flags & tree.INCOMPLETE and kind == tree.FILE)
        content["size"] = draw(u64) if free else size
    linked = kind not in (tree.DIRECTORY, *tree.DEVICES) and draw(st.booleans())
    birth = draw(st.just((0, tree.NO_BIRTH)) | st.tuples(i64, st.integers(0, 999_999_999)))
    attributes = ordered(st.tuples(xattr_names, blob), lambda item: item[0])
    return tree.Entry(
        name=name,
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(u32),
        gid=draw(u32),
        size=content.pop("size", 0),
        mtime_s=draw(i64),
        mtime_ns=draw(st.integers(0, 999_999_999)),
        birth_s=birth[0],
        birth_ns=birth[1],
        flags=flags | (tree.LINKED if linked else 0),
        inode=draw(u64) if linked else 0,
        device=draw(u64) if linked or kind in tree.DEVICES else 0,
        link=draw(links) if kind == tree.SYMLINK else b"",
        xattrs=draw(attributes),
        attributes=draw(u32),
        **content,
    )


owners = st.dictionaries(u32, text, max_size=3)
trees = st.builds(
    tree.Tree,
    st.sets(entry_names, max_size=5).flatmap(
        lambda names: st.tuples(*(entries(name) for name in sorted(names)))
    ),
    owners,
    owners,
)
extent_lists = st.lists(st.tuples(key, some_extents), max_size=3)

BY_KIND: dict[str, st.SearchStrategy[Any]] = {
    "certificate": certificates,
    "keyring": keyrings,
    "keyring private": privates,
    "domain": domains,
    "store": stores,
    "ledger record": records,
    "ledger events": events,
    "ledger checkpoint": checkpoints().map(lambda point: (point,)),
    "segment": st.tuples(st.just(samples.ENCODED_CERTIFICATE), blob),
    "segment inner": segments(),
    "snapshot": st.tuples(st.just(samples.ENCODED_CERTIFICATE), blob, blob),
    "snapshot facts": facts,
    "snapshot root": roots(),
    "pack head": heads,
    "pack directory": directories,
    "parity head": shards(),
    "chunk list": chunk_lists,
    "tree": trees,
    "extent list": extent_lists,
    "frame set": frame_sets,
}
