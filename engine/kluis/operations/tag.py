"""Tag: snapshots with other tags, each as a new one that takes the place of the old."""

from __future__ import annotations

from dataclasses import replace

from kluis.errors import UsageError
from kluis.events import Context, Stage
from kluis.options import TagOptions
from kluis.repository.access import Repository
from kluis.repository.listing import root_of
from kluis.repository.remaking import (
    Remade,
    begin_run,
    choose_live,
    follow,
    previous,
    remake,
    store_again,
)
from kluis.repository.snapshots import Snapshot
from kluis.results import RewriteResult, Rewritten

WHAT = ("tags",)


def tag(repository: Repository, options: TagOptions, context: Context) -> RewriteResult:
    """The chosen snapshots have other tags when this returns; their ids are new."""
    if options.replace is not None and (options.add or options.remove):
        raise UsageError("tags are either replaced, or added and removed; nothing was changed")
    if options.replace is None and not options.add and not options.remove:
        raise UsageError("no tags were named; nothing was changed")
    chosen: list[Snapshot] = []

    def prepare() -> list[Remade]:
        chosen[:] = choose_live(repository, options.ids, options.filter, context)
        changed = []
        for snapshot in chosen:
            context.cancel.check()
            if _differs(snapshot, options):
                changed.append(snapshot)
        return _store(repository, changed, options)

    if options.dry_run:
        chosen = choose_live(repository, options.ids, options.filter, context)
        changed = {item.mark.run: "" for item in chosen if _differs(item, options)}
    else:
        context.events(Stage("writing snapshots"))
        remade = remake(repository, prepare, forget=True)
        changed = {item.old.mark.run: item.id() for item in remade}
    return RewriteResult(
        tuple(
            Rewritten(item.id(), changed[item.mark.run], WHAT)
            if item.mark.run in changed
            else Rewritten(item.id(), "")
            for item in chosen
        ),
        options.dry_run,
    )


def _differs(snapshot: Snapshot, options: TagOptions) -> bool:
    return new_tags(snapshot.facts.tags, options) != snapshot.facts.tags


def _store(repository: Repository, changed: list[Snapshot], options: TagOptions) -> list[Remade]:
    """Stores what replaces each, one after the other in the client's chain."""
    before = previous(repository)
    remade = []
    for snapshot in changed:
        run = begin_run(repository, snapshot)
        tags = new_tags(snapshot.facts.tags, options)
        facts = replace(snapshot.facts, tags=tags, previous=before)
        mark = store_again(repository, snapshot, run, (facts, root_of(snapshot)))
        before = follow(mark)
        remade.append(Remade(snapshot, mark, repository.ledger.state.head))
    return remade


def new_tags(tags: tuple[str, ...], options: TagOptions) -> tuple[str, ...]:
    """The tags after the change, each once, in the order in which they came."""
    if options.replace is not None:
        return tuple(dict.fromkeys(name for name in options.replace if name))
    kept = [name for name in tags if name not in options.remove]
    return tuple(dict.fromkeys([*kept, *(name for name in options.add if name)]))
