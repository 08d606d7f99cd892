"""Whether all that a snapshot needs is there: by the ledger as read, and packs listed after."""

from __future__ import annotations

from kluis.format.ledger import PackName
from kluis.format.usemap import FrameSet, numbers
from kluis.repository.access import Repository
from kluis.repository.collector import list_packs
from kluis.repository.durable import reliable
from kluis.repository.index import Index
from kluis.repository.state import subtract


def missing_frames(repository: Repository, index: Index, uses: FrameSet) -> int:
    """How many frames lie in no pack that is there and not doomed; known losses apart.

    The index has to be loaded after the ledger was read.
    """
    state = repository.ledger.state
    listed = reliable(repository, index, list_packs(repository))
    good = []
    for place in index.packs:
        pack = PackName(place.shelf, place.digest)
        good.append(listed.get(pack) == place.size and pack not in state.doomed)
    return sum(
        not any(good[place.pack] for place in index.locate(run, n))
        for run, ranges in subtract(uses, state.lost).items()
        for n in numbers(ranges)
    )
