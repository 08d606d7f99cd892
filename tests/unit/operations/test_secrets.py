"""Which secret each operation needs: with K_vault, K_meta and a signing key alone, no content."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest

from kluis.errors import RefusedError
from kluis.format.crypt import signing_key
from kluis.format.domain import META
from kluis.format.ledger import OPERATOR, Role, Roles
from kluis.operations.diff import diff
from kluis.operations.dump import dump
from kluis.operations.find import find
from kluis.operations.forget import forget
from kluis.operations.hold import hold
from kluis.operations.ls import ls
from kluis.operations.rewrite import rewrite
from kluis.operations.snapshots import snapshots
from kluis.operations.stats import stats
from kluis.operations.tag import tag
from kluis.options import (
    DiffOptions,
    DumpOptions,
    FindOptions,
    ForgetOptions,
    HoldOptions,
    KeepPolicy,
    LsOptions,
    RewriteOptions,
    SnapshotsOptions,
    StatsOptions,
    TagOptions,
)
from kluis.repository.access import Repository
from kluis.repository.keys import restricted
from kluis.repository.ledger import Signer
from tests.repositories import DAY_NS, START_NS, Place, days_of_snapshots


@pytest.fixture
def operator(place: Place) -> Iterator[Repository]:
    """A repository with three snapshots, opened with an operator's secrets."""
    days_of_snapshots(place, 3)
    signer = Signer(*signing_key(bytes(32)))
    with place.open() as repository:
        session = repository.session
        domains = tuple(session.domains)
        role = Role(OPERATOR, "provider", signer.verify, bytes(32), domains)
        repository.ledger.append((Roles((role,)),), session.signer, place.clock)
        repository.session = restricted(session, META, OPERATOR, signer)
        yield repository


def test_snapshots_are_listed_grouped_held_forgotten_and_brought_back(
    place: Place, operator: Repository
) -> None:
    context = place.context()
    [group] = snapshots(operator, SnapshotsOptions(group_by=("host", "paths")), context).groups
    first, second, third = (snapshot.id for snapshot in group.snapshots)
    assert group.snapshots[0].paths == ()
    assert hold(operator, HoldOptions((first,)), context).changed == (first,)
    result = forget(operator, ForgetOptions(policy=KeepPolicy(last=1)), context)
    assert result.forgotten == (second,)
    assert forget(operator, ForgetOptions(undo=(second,)), context).undone == (second,)
    assert stats(operator, StatsOptions(mode="raw-data"), context).frames > 0
    assert stats(operator, StatsOptions(), context).snapshots == 3
    with place.open() as owner:
        [group] = snapshots(owner, SnapshotsOptions(), context).groups
    assert [snapshot.id for snapshot in group.snapshots] == [first, second, third]


def test_snapshots_of_other_paths_are_another_group_to_who_cannot_read_the_paths(
    place: Place, operator: Repository
) -> None:
    place.backup(START_NS + 5 * DAY_NS, paths=(place.path("docs"),))
    operator.ledger.read_on()
    options = ForgetOptions(policy=KeepPolicy(last=1), dry_run=True)
    result = forget(operator, options, place.context())
    assert [len(group.keep) for group in result.groups] == [1, 1]
    assert len(result.forgotten) == 2


@pytest.mark.parametrize(
    "operation",
    [
        lambda repository, context: ls(repository, LsOptions(), context),
        lambda repository, context: list(
            find(repository, FindOptions((b"empty",)), context).matches
        ),
        lambda repository, context: diff(repository, DiffOptions("latest~1", "latest"), context),
        lambda repository, context: dump(repository, DumpOptions(io.BytesIO()), context),
        lambda repository, context: rewrite(repository, RewriteOptions(host="x"), context),
        lambda repository, context: tag(repository, TagOptions(add=("x",)), context),
        lambda repository, context: stats(
            repository, StatsOptions(mode="files-by-contents"), context
        ),
        lambda repository, _: repository.open_file("latest", b"/x"),
    ],
    ids=["ls", "find", "diff", "dump", "rewrite", "tag", "stats", "open_file"],
)
def test_content_is_refused_and_nothing_written(
    place: Place, operator: Repository, operation: Callable[..., object]
) -> None:
    before = sorted(str(path) for path in place.location.rglob("*"))
    with pytest.raises(RefusedError):
        operation(operator, place.context())
    assert sorted(str(path) for path in place.location.rglob("*")) == before
