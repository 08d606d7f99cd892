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
    store,
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
