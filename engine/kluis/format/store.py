"""The identity and label of one physical copy of a vault, and the documents that lie on it."""

from __future__ import annotations

import re

from kluis.errors import FormatError
from kluis.format import envelope
from kluis.format.codec import Reader, Writer, in_order, read_list, sorted_strictly, write_list
from kluis.format.crypt import DIGEST_BYTES, KEY_BYTES, RUN_BYTES, digest
from kluis.format.keyring import Features, read_signed_features, write_features
from kluis.frozen import frozen

# A document lies beside `store`, nowhere else.
_DOCUMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")


@frozen
class Document:
    """A file for people that lies on every medium: its name, size and digest."""

    name: str
    size: int
    digest: bytes


@frozen
class Store:
    """One physical copy: its own ledger, rollback memory and caches."""

    features: Features
    vault: bytes
    store: bytes
    owner_verify: bytes
    created_ns: int
    label: str
    documents: tuple[Document, ...]


def _write_document(writer: Writer, document: Document) -> None:
    writer.text(document.name)
    writer.u32(document.size)
    writer.raw(document.digest, DIGEST_BYTES)


def _read_document(reader: Reader) -> Document:
    document = Document(reader.text(), reader.u32(), reader.raw(DIGEST_BYTES))
    if _DOCUMENT_NAME.fullmatch(document.name) is None:
        raise reader.fail("a document with a name that none has")
    return document


def encode(store: Store, signing: bytes) -> bytes:
    """The object as stored; `signing` is the owner's."""
    writer = Writer()
    write_features(writer, store.features)
    writer.raw(store.owner_verify, KEY_BYTES)
    writer.raw(store.vault, DIGEST_BYTES)
    writer.raw(store.store, RUN_BYTES)
    writer.i64(store.created_ns)
    writer.text(store.label)
    write_list(writer, in_order(store.documents, lambda item: item.name), _write_document)
    return envelope.wrap(envelope.STORE, writer.bytes(), signing)


def decode(data: bytes, what: str) -> Store:
    """The store's identity, its signature checked against the owner's key inside it."""
    reader = Reader(envelope.unwrap(envelope.STORE, data, what), what)
    features, owner_verify = read_signed_features(reader, data, what)
    store = Store(
        features=features,
        owner_verify=owner_verify,
        vault=reader.raw(DIGEST_BYTES),
        store=reader.raw(RUN_BYTES),
        created_ns=reader.i64(),
        label=reader.text(),
        documents=read_list(reader, 38, _read_document),
    )
    reader.finish()
    if not sorted_strictly(store.documents, lambda item: item.name):
        raise FormatError(f"{what} is damaged: its documents are out of order")
    if digest(store.owner_verify) != store.vault:
        raise FormatError(f"{what} is damaged: not a store of its own vault")
    return store
