"""One fixed value of every stored kind: for golden digests, for damage, as seeds to mutate."""

from __future__ import annotations

from blake3 import blake3

from kluis.format import (
    certificate,
    crypt,
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
)
from kluis.format.usemap import FrameSet


def pattern(name: str, size: int) -> bytes:
    """`size` bytes that follow from `name` alone."""
    return blake3(name.encode()).digest(length=size)


OWNER_VERIFY, OWNER_SIGNING = crypt.signing_key(pattern("owner signing", 32))
OWNER_BOX, OWNER_BOX_SECRET = crypt.box_key(pattern("owner box", 32))
RUN_VERIFY, RUN_SIGNING = crypt.signing_key(pattern("run signing", 32))
AGENT_VERIFY, AGENT_SIGNING = crypt.signing_key(pattern("agent signing", 32))
DOMAIN_PUBLIC, DOMAIN_SECRET = crypt.box_key(pattern("domain box", 32))
VAULT = crypt.digest(OWNER_VERIFY)
STORE = pattern("store", 16)
DOMAIN = domain.id_of(DOMAIN_PUBLIC)
CLIENT = pattern("client", 16)
TIME_NS = 1_770_000_000_123_456_789

CERTIFICATE = certificate.Certificate(
    vault=VAULT,
    store=STORE,
    domain=DOMAIN,
    domain_epoch=1,
    sealed_run_key=pattern("sealed run key", 80),
    verify_key=RUN_VERIFY,
    head=41,
    head_digest=pattern("head", 32),
    maker=OWNER_VERIFY,
)
ENCODED_CERTIFICATE = certificate.encode(CERTIFICATE, OWNER_SIGNING)
RUN = certificate.run_of(ENCODED_CERTIFICATE)
OTHER_RUN = pattern("other run", 16)
FRAMES: FrameSet = {RUN: ((0, 3), (7, 8)), OTHER_RUN: ((2, 4),)}

KEYRING = keyring.Keyring(
    features=keyring.Features(compatible=5, read_compatible=0, incompatible=0),
    owner_verify=OWNER_VERIFY,
    owner_box=OWNER_BOX,
    epoch=3,
    salt=pattern("salt", 16),
    passes=1,
    memory_bytes=64 << 20,
    slots=(pattern("slot 0", 73), pattern("slot 1", 73)),
    vault_boxes=tuple(
        sorted(
            (
                keyring.VaultBox(OWNER_BOX, pattern("vault box", 80)),
                keyring.VaultBox(pattern("agent box", 32), pattern("vault box 2", 80)),
            ),
            key=lambda box: box.box_key,
        )
    ),
    private=pattern("private", 90),
    roles_sequence=2,
)
PRIVATE = keyring.Private(
    slot_names=("first", "kluis\u00e9"),
    chunk_sizes=(
        ("default", keyring.ChunkSizes(4 << 10, 16 << 10, 64 << 10)),
        ("large", keyring.ChunkSizes(64 << 10, 256 << 10, 1 << 20)),
    ),
)
DOMAIN_OBJECT = domain.Domain(
    vault=VAULT,
    domain=DOMAIN,
    epoch=1,
    public_key=DOMAIN_PUBLIC,
    algorithm=crypt.AEGIS256,
    owner_verify=OWNER_VERIFY,
    boxes=tuple(
        sorted(
            (
                domain.DomainBox(OWNER_BOX, 7, pattern("all parts", 144)),
                domain.DomainBox(pattern("operator box", 32), domain.META, pattern("meta", 80)),
            ),
            key=lambda box: box.box_key,
        )
    ),
    name=pattern("domain name", 60),
)
STORE_OBJECT = store.Store(
    features=keyring.Features(compatible=1),
    vault=VAULT,
    store=STORE,
    owner_verify=OWNER_VERIFY,
    created_ns=TIME_NS,
    label="stick 4",
    documents=(
        store.Document("README", 1234, pattern("readme", 32)),
        store.Document("format.md", 45678, pattern("format", 32)),
    ),
)

ENTRIES = [
    frame.FrameEntry(
        RUN,
        n,
        frame.DATA if n < 2 else frame.TREE,
        frame.ZSTD if n else frame.PLAIN,
        1000 + 65 if n == 0 else 700 + n,
        1000,
        85,
        pattern(f"frame {n}", 32),
        pattern(f"list {n}", 32),
        pattern(f"signature {n}", 64),
    )
    for n in range(3)
]
HEAD = pack.PackHead(VAULT, DOMAIN, 1, (ENCODED_CERTIFICATE,))
MEMBERS = (
    parity.Member("a", pattern("member a", 32), 2 * parity.BLOCK_BYTES),
    parity.Member("7", pattern("member b", 32), parity.BLOCK_BYTES),
)
CHECKS = [pattern("check a", 32), pattern("check b", 16), pattern("check shard", 32)]


def lengths(*values: int) -> bytes:
    """Lengths as segments keep them."""
    return b"".join(value.to_bytes(4, "little") for value in values)


SEGMENT = segment.Segment(
    certificate=ENCODED_CERTIFICATE,
    k=2,
    client=CLIENT,
    previous=pattern("segment 1", 32),
    stands_for=tuple(
        sorted(
            (
                segment.Replaced(RUN, 0, pattern("segment 0", 32)),
                segment.Replaced(OTHER_RUN, 4, None),
            ),
            key=lambda item: (item.run, item.k),
        )
    ),
    sets=(
        segment.ParitySet(
            RUN,
            2,
            pattern("shard", 32),
            70_000,
            (
                segment.PackPlace(
                    "a",
                    pattern("pack 0", 32),
                    parity.BLOCK_BYTES,
                    pack.HEADER_BYTES + certificate.CERTIFICATE_BYTES,
                    (
                        segment.FrameGroup(
                            RUN, 0, frame.DATA, lengths(1065, 700), lengths(1000, 1000)
                        ),
                        segment.FrameGroup(RUN, 2, frame.TREE, lengths(500), lengths(9000)),
                    ),
                ),
            ),
        ),
        segment.ParitySet(
            OTHER_RUN,
            0,
            None,
            0,
            (
                segment.PackPlace(
                    "z", pattern("pack 1", 32), parity.BLOCK_BYTES, parity.BLOCK_BYTES // 2, ()
                ),
            ),
        ),
    ),
)
FACTS = snapshot.Facts(
    store=STORE,
    client=CLIENT,
    previous=snapshot.Previous(OTHER_RUN, 0, pattern("previous", 32)),
    keyring_epoch=3,
    time_ns=TIME_NS,
    finished_ns=TIME_NS + 5_000_000_000,
    host="desk",
    user="me",
    tags=("b", "a"),
    data_set="books",
    description="before the audit",
    program="kluis 0.1.0",
    replaces=None,
    counts=snapshot.Counts(*range(1, 12)),
    segments=3,
    last_segment=pattern("segment 2", 32),
    incomplete=True,
    uses=FRAMES,
    path_group=snapshot.path_group(pattern("dedup", 32), (b"/home", b"/etc")),
)
ROOT = snapshot.Root(
    paths=(b"/home", b"/etc"),
    tree=(tree.Extent(RUN, 2, 0, 4000), tree.Extent(OTHER_RUN, 3, 17, 23)),
    tree_digest=pattern("tree digest", 32),
    tree_bytes=4023,
    tree_listed=False,
    problems=(snapshot.Problem(b"/home/\xff", "open", "Permission denied"),),
)

MARK = ledger.SnapshotMark(
    run=RUN,
    k=0,
    digest=pattern("snapshot", 32),
    last_segment=pattern("segment 2", 32),
    client=CLIENT,
    time_ns=TIME_NS,
    replaces=OTHER_RUN,
)
COUNTED = ledger.SnapshotMark(
    OTHER_RUN, 1, pattern("old", 32), None, CLIENT, -5, None, AGENT_VERIFY, 7, True
)
ROLES = ledger.sign_roles(
    ledger.Roles(
        (
            ledger.Role(
                ledger.AGENT, "desk", AGENT_VERIFY, pattern("agent box", 32), (DOMAIN,), until=9
            ),
        ),
        sequence=2,
    ),
    VAULT,
    OWNER_SIGNING,
)
PACK_NAMES = (
    ledger.PackName("a", pattern("pack 0", 32)),
    ledger.PackName("z", pattern("pack 1", 32)),
)
EVENTS: tuple[ledger.Event, ...] = (
    ROLES,
    ledger.Made(MARK),
    ledger.Ended((OTHER_RUN,)),
    ledger.Forgotten((RUN,), "keep-last 2"),
    ledger.Unforgotten((RUN,)),
    ledger.Held(RUN, "audit"),
    ledger.Released(RUN),
    ledger.Doomed(PACK_NAMES, (OTHER_RUN,)),
    ledger.Copied(COUNTED),
    ledger.Lost(FRAMES),
    ledger.Found({OTHER_RUN: ((2, 3),)}),
    ledger.Verified(2, TIME_NS, (ledger.SegmentRange(RUN, 0, 2),)),
    ledger.Logged(12, pattern("log head", 32)),
)
CHECKPOINT = ledger.Checkpoint(
    roles=ROLES.roles,
    live=(MARK,),
    forgotten=(ledger.ForgottenMark(COUNTED, TIME_NS),),
    copied_doomed=(pattern("gone", 16),),
    held=(ledger.Held(RUN, "audit"),),
    doomed=PACK_NAMES,
    lost=FRAMES,
    verified=(ledger.Verified(1, TIME_NS, ()),),
    logged=ledger.Logged(12, pattern("log head", 32)),
    open_runs=(OTHER_RUN,),
    replaced_first=30,
    replaced=(pattern("record 30", 32), pattern("record 31", 32)),
    floor=32,
    roles_sequence=ROLES.sequence,
    roles_signature=ROLES.signature,
)
RECORD = ledger.Record(
    vault=VAULT,
    store=STORE,
    n=42,
    previous=pattern("record 41", 32),
    author=OWNER_VERIFY,
    time_ns=TIME_NS,
    sealed=pattern("sealed events", 120),
)

TREE = tree.Tree(
    (
        tree.Entry(
            b"a file",
            tree.FILE,
            0o644,
            1000,
            100,
            1065,
            1_700_000_000,
            999_999_999,
            birth_s=1_600_000_000,
            birth_ns=1,
            digest=pattern("a file", 32),
            extents=(tree.Extent(RUN, 0, 5, 1000), tree.hole(65)),
            xattrs=((b"user.a", b""), (b"user.b", b"\0value")),
            attributes=0x40,
        ),
        tree.Entry(
            b"big",
            tree.FILE,
            0o600,
            1000,
            100,
            1 << 40,
            -1,
            0,
            flags=tree.LISTED,
            digest=pattern("big", 32),
            extents=(tree.Extent(OTHER_RUN, 2, 0, 100_000),),
        ),
        tree.Entry(
            b"folder",
            tree.DIRECTORY,
            0o1777,
            0,
            0,
            4023,
            0,
            0,
            digest=pattern("folder", 32),
            extents=(tree.Extent(RUN, 2, 0, 4023),),
        ),
        tree.Entry(b"half", tree.FILE, 0o644, 0, 0, 77, 0, 0, flags=tree.INCOMPLETE),
        tree.Entry(b"link", tree.SYMLINK, 0o777, 0, 0, 0, 0, 0, link=b"../\xff"),
        tree.Entry(
            b"names", tree.FILE, 0o644, 0, 0, 0, 0, 0, flags=tree.LINKED, inode=1234, device=1
        ),
        tree.Entry(b"null", tree.CHARACTER_DEVICE, 0o666, 0, 0, 0, 0, 0, device=0x0103),
        tree.Entry(b"pipe\xff\n", tree.FIFO, 0o644, 0, 0, 0, 0, 0),
    ),
    users={0: "root", 1000: "me"},
    groups={100: "users"},
)
EXTENT_LIST = [
    (pattern("block 0", 32), (tree.Extent(RUN, 0, 0, 1000), tree.hole(5 << 32))),
    (pattern("block 1", 32), (tree.Extent(OTHER_RUN, 2, 8, 1),)),
]
CHUNKS = [(pattern("chunk 0", 16), 400), (pattern("chunk 1", 16), 600)]
