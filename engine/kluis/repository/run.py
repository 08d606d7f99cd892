"""A run: one process writing under one certificate, with keys that it forgets when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.errors import FormatError
from kluis.format import certificate, crypt, names
from kluis.format.certificate import Certificate
from kluis.repository.keys import DomainKeys, Session
from kluis.repository.ledger import Signer
from kluis.repository.state import LedgerState
from kluis.surroundings import Surroundings


@dataclass
class Run:
    """A run that this process has begun and nobody else can continue."""

    id: bytes
    certificate: bytes
    domain: DomainKeys
    vault: bytes
    key: bytes = field(repr=False)
    signer: Signer = field(repr=False)
    next_frame: int = 0
    next_segment: int = 0
    next_snapshot: int = 0
    previous_segment: bytes | None = None

    def take_frame(self) -> int:
        """A frame number that is given once."""
        self.next_frame += 1
        return self.next_frame - 1

    def shelf(self) -> str:
        return names.shelf(self.id)


def begin(
    session: Session, store: bytes, domain: DomainKeys, state: LedgerState, machine: Surroundings
) -> Run:
    """A new run at the ledger's head. Nothing is written yet."""
    key = machine.random(crypt.KEY_BYTES)
    verify, signing = crypt.signing_key(machine.random(crypt.KEY_BYTES))
    body = Certificate(
        vault=session.vault,
        store=store,
        domain=domain.id,
        domain_epoch=domain.epoch,
        sealed_run_key=crypt.seal_to(domain.public_key, key),
        verify_key=verify,
        head=state.head,
        head_digest=state.head_digest,
        maker=session.signer.verify,
    )
    encoded = certificate.encode(body, session.signer.signing)
    return Run(
        id=certificate.run_of(encoded),
        certificate=encoded,
        domain=domain,
        vault=session.vault,
        key=key,
        signer=Signer(verify, signing),
    )


def read_certificate(encoded: bytes, session: Session, state: LedgerState) -> Certificate:
    """The certificate, if its maker may write in this vault; `FormatError` otherwise."""
    body = certificate.decode(encoded)
    if body.vault != session.vault:
        raise FormatError("a run certificate belongs to another vault")
    if not state.may_write(body.maker, session.owner_verify, body.head):
        raise FormatError("a run certificate was made by a key that may not write here")
    return body


def open_run_key(body: Certificate, domain: DomainKeys) -> bytes:
    """The key of a run's frames, for who has the domain's secret."""
    return crypt.open_box(
        domain.public_key, domain.secret(), body.sealed_run_key, "run certificate"
    )
