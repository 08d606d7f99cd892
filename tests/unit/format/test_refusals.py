"""What each kind refuses besides damage: values that no writer writes, signed though they are."""

from __future__ import annotations

from typing import Any

import pytest

from kluis.errors import FormatError, NewerFormatError
from kluis.format import (
    codec,
    crypt,
    domain,
    envelope,
    frame,
    keyring,
    ledger,
    pack,
    parity,
    segment,
    snapshot,
    store,
)
from tests.unit.format import contents, samples
from tests.unit.format.kinds import BY_NAME, SHARD, decode_fields, fields_of, replace

BLOCK = parity.BLOCK_BYTES


def refuses(name: str, value: Any) -> None:
    kind = BY_NAME[name]
    assert kind.decode(kind.encode(kind.sample)) == kind.sample
    with pytest.raises(FormatError):
        kind.decode(kind.encode(value))


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": 0},
        {"passes": keyring.PASSES_LIMIT + 1},
        {"memory_bytes": (64 << 20) + 1024},
        {"memory_bytes": 7 << 10},
        {"memory_bytes": (8 << 10) + 1},
        {"slots": (bytes(73),) * 65},
        {"epoch": 0},
    ],
)
def test_a_keyring_that_could_exhaust_its_reader_is_refused(changes: dict[str, Any]) -> None:
    refuses("keyring", replace(samples.KEYRING, **changes))


@pytest.mark.parametrize(
    "sizes", [(63, 64, 64), (128, 64, 256), (64, 96, 128), (64, 1 << 24, 1 << 24), (64, 128, 64)]
)
def test_cut_constants_out_of_range_are_refused(sizes: tuple[int, int, int]) -> None:
    private = keyring.Private((), (("odd", keyring.ChunkSizes(*sizes)),))
    refuses("keyring private", private)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": 0},
        {"algorithm": 3},
        {"epoch": 0},
        {"domain": bytes(16)},
        {"vault": bytes(32)},
        {"boxes": (domain.DomainBox(bytes(32), 0, bytes(48)),)},
        {"boxes": (domain.DomainBox(bytes(32), 8, bytes(80)),)},
        {"boxes": (domain.DomainBox(bytes(32), 7, bytes(80)),)},
    ],
)
def test_a_domain_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    refuses("domain", replace(samples.DOMAIN_OBJECT, **changes))


@pytest.mark.parametrize("parts", range(1, 8))
def test_a_domains_secrets_come_back_as_they_were_given(parts: int) -> None:
    secrets = [samples.pattern(f"{i}", 32) if parts & 1 << i else None for i in range(3)]
    mask, packed = domain.pack_secrets(domain.DomainSecrets(*secrets))
    assert mask == parts
    assert domain.unpack_secrets(mask, packed) == domain.DomainSecrets(*secrets)
    with pytest.raises(FormatError):
        domain.unpack_secrets(mask, packed + b"\0")
    with pytest.raises(FormatError):
        domain.unpack_secrets(mask, packed[:-1])


@pytest.mark.parametrize("name", ["", "../README", "a/b", ".hidden", "a" * 65, "a\n", "caf\u00e9"])
def test_a_document_lies_beside_the_store_object(name: str) -> None:
    refuses("store", replace(samples.STORE_OBJECT, documents=(store.Document(name, 1, bytes(32)),)))


def test_a_store_of_another_vault_than_its_owners_is_refused() -> None:
    refuses("store", replace(samples.STORE_OBJECT, vault=bytes(32)))


def test_a_certificate_counts_epochs_from_one() -> None:
    refuses("certificate", replace(samples.CERTIFICATE, domain_epoch=0))


ENTRY = samples.ENTRIES[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": 0},
        {"kind": 3},
        {"compression": 2},
        {"compression": frame.PLAIN},
        {"stored_bytes": 41},
        {"stored_bytes": 1066},
        {"plain_bytes": 0, "stored_bytes": 60},
        {"plain_bytes": (1 << 24) + 1},
        {"list_bytes": 0},
        {"list_bytes": pack.LIST_LIMIT_BYTES + 1},
        {"n": 0xFFFFFFFF},
        {"n": samples.ENTRIES[0].n},
    ],
)
def test_a_directory_entry_that_no_frame_has_is_refused(changes: dict[str, Any]) -> None:
    refuses("pack directory", [samples.ENTRIES[0], replace(ENTRY, **changes)])


def test_a_directory_names_at_least_one_frame_and_only_known_runs() -> None:
    with pytest.raises(FormatError):
        pack.decode_directory(b"", (samples.ENCODED_CERTIFICATE,))
    encoded = pack.encode_directory([ENTRY], (samples.ENCODED_CERTIFICATE,))
    with pytest.raises(FormatError):
        pack.decode_directory(encoded, ())
    with pytest.raises(FormatError):
        pack.decode_directory(encoded + b"\0", (samples.ENCODED_CERTIFICATE,))


def test_a_pack_has_one_certificate_for_each_run_and_at_least_one() -> None:
    certificates = contents.PACK_CERTIFICATES
    head = pack.PackHead(samples.VAULT, samples.DOMAIN, 1, certificates)
    assert pack.decode_head(pack.encode_head(head) + b"frames") == head
    assert head.frames_offset() == pack.head_bytes(pack.encode_head(head))
    for wrong in ((), (certificates[0], certificates[0])):
        with pytest.raises(FormatError):
            pack.decode_head(pack.encode_head(replace(head, certificates=wrong)))


def test_the_parts_of_a_pack_fill_it() -> None:
    stored = sum(entry.stored_bytes for entry in samples.ENTRIES)
    lists = sum(entry.list_bytes for entry in samples.ENTRIES)
    start = samples.HEAD.frames_offset() + stored
    trailer = pack.Trailer(start, lists, start + lists, 500)
    pack.check_layout(samples.HEAD, trailer, samples.ENTRIES)
    for wrong in (
        replace(trailer, lists_offset=start + 1),
        replace(trailer, lists_bytes=lists - 1),
    ):
        with pytest.raises(FormatError):
            pack.check_layout(samples.HEAD, wrong, samples.ENTRIES)
    pack.check_padding(bytes(pack.PADDING_BYTES - 1))
    for padding in (b"\0\0\1", bytes(pack.PADDING_BYTES)):
        with pytest.raises(FormatError):
            pack.check_padding(padding)


@pytest.mark.parametrize(
    ("numbers", "size"),
    [
        ((500, 10, 510, 100), BLOCK + 1),
        ((500, 10, 510, 100), 2 * BLOCK),
        ((500, 10, 511, 100), BLOCK),
        ((100, 10, 110, 100), BLOCK),
        ((500, 10, 510, BLOCK), BLOCK),
        ((500, 10, 510, 100), 0),
    ],
)
def test_a_trailer_whose_parts_do_not_meet_is_refused(
    numbers: tuple[int, int, int, int], size: int
) -> None:
    tail = pack.encode_tail(500, 10, 100)[-pack.TRAILER_BYTES :]
    assert pack.decode_trailer(tail, BLOCK) == pack.Trailer(500, 10, 510, 100)
    changed = b"".join(number.to_bytes(4, "little") for number in numbers) + tail[16:]
    with pytest.raises(FormatError):
        pack.decode_trailer(changed, size)


@pytest.mark.parametrize(("count", "plain"), [(0, 0), (1, 399), (1, 401)])
def test_a_chunk_list_fills_its_frame(count: int, plain: int) -> None:
    data = frame.encode_chunks(samples.CHUNKS[:count])
    with pytest.raises(FormatError):
        frame.decode_chunks(data, plain)
    with pytest.raises(FormatError):
        frame.decode_chunks(frame.encode_chunks([(bytes(16), 0), (bytes(16), 5)]), 5)


def test_a_frame_holds_just_what_its_entry_says() -> None:
    plain = bytes(range(200)) * 5
    squeezed = codec.compress_small(plain)
    assert frame.expand_frame(plain, frame.PLAIN, 1000) == plain
    assert frame.expand_frame(squeezed, frame.ZSTD, 1000) == plain
    for payload, compression, size in (
        (plain, frame.PLAIN, 999),
        (squeezed, frame.ZSTD, 1001),
        (squeezed, frame.ZSTD, 999),
        (plain, 2, 1000),
        (b"", frame.PLAIN, 0),
        (bytes((1 << 24) + 1), frame.PLAIN, (1 << 24) + 1),
    ):
        with pytest.raises(FormatError):
            frame.expand_frame(payload, compression, size)


MEMBER = samples.MEMBERS[0]


@pytest.mark.parametrize(
    "members",
    [
        (MEMBER, MEMBER),
        (replace(MEMBER, size=BLOCK + 1),),
        (replace(MEMBER, size=pack.PACK_LIMIT_BYTES + BLOCK),),
        (replace(MEMBER, shelf="1"),),
    ],
)
def test_a_shard_over_what_is_no_set_of_packs_is_refused(
    members: tuple[parity.Member, ...],
) -> None:
    sizes = [member.size for member in members]
    checks = [bytes(parity.CHECK_BYTES * (size // BLOCK)) for size in [*sizes, max(sizes)]]
    with pytest.raises(FormatError):
        parity.decode_shard(parity.encode_shard_head(samples.RUN, 0, members, checks))


@pytest.mark.parametrize("place", [28, 34, 35, 36, 37])
def test_a_shard_of_another_scheme_is_refused_whole_though_it_is(place: int) -> None:
    """Block size, number of shards, which of them, scheme, reserved: behind a fitting digest."""
    head = bytearray(BY_NAME["parity head"].encode(SHARD)[: -crypt.DIGEST_BYTES])
    head[place] ^= 2
    with pytest.raises(FormatError, match="numbers"):
        parity.decode_shard(bytes(head) + crypt.digest(head))


def test_a_shard_knows_its_length_and_checks_each_block() -> None:
    assert SHARD.data_bytes() == 2 * BLOCK
    assert SHARD.file_bytes() == SHARD.data_offset + 2 * BLOCK
    data = samples.pattern("blocks", 2 * BLOCK)
    checks = parity.block_checks(data)
    assert checks == crypt.digest(data[:BLOCK])[:16] + crypt.digest(data[BLOCK:])[:16]


PLACE = samples.SEGMENT.sets[0].packs[0]


def with_place(**changes: Any) -> segment.Segment:
    changed = replace(samples.SEGMENT.sets[0], packs=(replace(PLACE, **changes),))
    return replace(samples.SEGMENT, sets=(changed,))


def group(first_n: int, count: int = 1, **changes: Any) -> segment.FrameGroup:
    stored, plain = samples.lengths(*[100] * count), samples.lengths(*[90] * count)
    return replace(segment.FrameGroup(samples.RUN, first_n, frame.DATA, stored, plain), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"shelf": "0"},
        {"size": BLOCK + 1},
        {"size": pack.PACK_LIMIT_BYTES + BLOCK},
        {"frames_offset": 100},
        {"frames_offset": BLOCK - 99, "groups": (group(0),)},
        {"groups": (group(0), group(1))},
        {"groups": (group(0, 2), group(2, 3))},
        {"groups": (group(0, kind=0),)},
        {"groups": (group(0, count=0),)},
        {"groups": (group(0, stored=b"12345"),)},
        {"groups": (group(0, 2, plain=samples.lengths(5)),)},
        {"groups": (group(0, plain=samples.lengths(0)),)},
        {"groups": (group(0, stored=samples.lengths(41)),)},
        {"groups": (group(0xFFFFFFFF),)},
    ],
)
def test_a_pack_that_cannot_be_is_not_listed(changes: dict[str, Any]) -> None:
    refuses("segment inner", with_place(**changes))


def test_a_segment_lists_a_pack_once_and_no_empty_set() -> None:
    parity_set = samples.SEGMENT.sets[0]
    refuses("segment inner", replace(samples.SEGMENT, sets=(parity_set, parity_set)))
    refuses("segment inner", replace(samples.SEGMENT, sets=(replace(parity_set, packs=()),)))


def test_a_set_with_more_shards_than_this_version_knows_is_newer() -> None:
    fields = bytearray(fields_of(BY_NAME["segment inner"]))
    place = fields.index(samples.pattern("shard", 32)) - 1
    assert fields[place] == 1
    fields[place] = 2
    with pytest.raises(NewerFormatError):
        decode_fields(BY_NAME["segment inner"], bytes(fields))


def test_the_root_of_a_snapshot_covers_its_tree() -> None:
    refuses("snapshot root", replace(samples.ROOT, tree_bytes=4024))
    refuses("snapshot root", replace(samples.ROOT, tree=(), tree_bytes=0))
    refuses("snapshot root", replace(samples.ROOT, tree=(), tree_digest=bytes(32), tree_bytes=1))
    refuses("snapshot root", replace(samples.ROOT, tree=(), tree_listed=True))
    empty = replace(samples.ROOT, tree=(), tree_digest=bytes(32), tree_bytes=0)
    assert snapshot.decode_root(snapshot.encode_root(empty)) == empty
    listed = replace(samples.ROOT, tree_bytes=1 << 40, tree_listed=True)
    assert snapshot.decode_root(snapshot.encode_root(listed)) == listed


def test_of_very_many_problems_the_first_are_kept() -> None:
    problems = [snapshot.Problem(b"%06d" % i + bytes(900), "open", "denied") for i in range(9999)]
    kept = snapshot.problems_kept(problems)
    assert 0 < len(kept) < len(problems)
    assert list(kept) == problems[: len(kept)]
    assert snapshot.problems_kept(problems[:50]) == tuple(problems[:50])
    full = replace(samples.ROOT, problems=kept)
    assert snapshot.decode_root(snapshot.encode_root(full)) == full


def test_a_path_group_tells_equal_paths_and_needs_the_dedup_key() -> None:
    dedup = samples.pattern("dedup", 32)
    group_of = snapshot.path_group(dedup, (b"/a", b"/b"))
    assert group_of == snapshot.path_group(dedup, (b"/b", b"/a", b"/b"))
    assert group_of != snapshot.path_group(dedup, (b"/a/b",))
    assert group_of != snapshot.path_group(samples.pattern("meta", 32), (b"/a", b"/b"))


def test_roles_are_vouched_for_by_the_owner_of_their_vault_alone() -> None:
    arguments = samples.VAULT, samples.OWNER_VERIFY
    assert ledger.vouched(samples.ROLES, *arguments)
    assert ledger.vouched(samples.CHECKPOINT.granted(), *arguments)
    forged = ledger.sign_roles(samples.ROLES, samples.VAULT, samples.AGENT_SIGNING)
    assert not ledger.vouched(forged, *arguments)
    assert not ledger.vouched(samples.ROLES, bytes(32), samples.OWNER_VERIFY)
    raised = replace(samples.ROLES.roles[0], role=ledger.OPERATOR)
    assert not ledger.vouched(replace(samples.ROLES, roles=(raised,)), *arguments)
    assert not ledger.vouched(replace(samples.ROLES, sequence=3), *arguments)
    assert not ledger.vouched(ledger.Roles(()), *arguments)


def events_of(*events: ledger.Event) -> bytes:
    return ledger.encode_events(events)


@pytest.mark.parametrize(
    "data",
    [
        codec.compress_small(bytes(4)),
        codec.compress_small(b"\1\0\0\0\0"),
        codec.compress_small(b"\1\0\0\0\x0f"),
        events_of(ledger.Verified(3, 0, ())),
        events_of(ledger.Verified(1, 0, (ledger.SegmentRange(samples.RUN, 2, 1),))),
        events_of(ledger.Made(replace(samples.MARK, maker=samples.AGENT_VERIFY))),
        events_of(ledger.Made(replace(samples.MARK, counted=1))),
        events_of(replace(samples.CHECKPOINT, live=(samples.MARK, samples.MARK))),
        events_of(
            replace(
                samples.CHECKPOINT,
                live=(samples.MARK,),
                forgotten=(ledger.ForgottenMark(samples.MARK, 0),),
            )
        ),
        codec.compress_small(b"\1\0\0\0\x08\1\0\0\0" + b"1" + bytes(36)),
    ],
)
def test_events_that_no_kluis_writes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        ledger.decode_events(data)


def test_a_checkpoint_begins_its_record() -> None:
    made = ledger.Made(samples.MARK)
    assert ledger.decode_events(events_of(samples.CHECKPOINT, made))[1] == made
    for wrong in ((made, samples.CHECKPOINT), (samples.CHECKPOINT, samples.CHECKPOINT)):
        with pytest.raises(ValueError):
            ledger.encode_events(wrong)


def test_a_snapshot_is_either_made_here_or_copied() -> None:
    for wrong in (ledger.Made(samples.COUNTED), ledger.Copied(samples.MARK)):
        with pytest.raises(ValueError):
            ledger.encode_events((wrong,))


def test_sets_are_written_in_order_whatever_the_order_given() -> None:
    pair = (samples.pattern("x", 16), samples.pattern("y", 16))
    shuffled = tuple(sorted(pair, reverse=True))
    (event,) = ledger.decode_events(events_of(ledger.Ended(shuffled)))
    assert event == ledger.Ended(tuple(sorted(pair)))
    with pytest.raises(ValueError):
        ledger.encode_events((ledger.Ended((pair[0], pair[0])),))


def test_an_envelope_tells_its_length() -> None:
    data = envelope.wrap(envelope.STORE, b"body", samples.OWNER_SIGNING)
    assert envelope.unwrap(envelope.STORE, data, "store") == b"body"
    assert len(data) == envelope.OVERHEAD_BYTES + 4
