"""Hypothesis strategies for what holds content: segments, packs, snapshots, trees."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from kluis.format import certificate, frame, pack, parity, segment, snapshot, tree
from tests.unit.format import samples
from tests.unit.format.values import (
    blob,
    few,
    frame_sets,
    i64,
    id16,
    key,
    ordered,
    run,
    shelf,
    text,
    u16,
    u32,
    u64,
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
        listed = bool(found) and draw(st.integers(0, 1))
        flags |= tree.LISTED if listed else 0
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
