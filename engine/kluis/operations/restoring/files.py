"""Files written into the target: small ones many at once, large ones part by part."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from kluis._native import scatter
from kluis.errors import DamageError
from kluis.format import tree
from kluis.format.frame import HASH_BYTES
from kluis.format.tree import Extent, extent_length
from kluis.operations.restoring.chunks import Stretch
from kluis.operations.restoring.existing import Comparer, Difference
from kluis.operations.restoring.fetch import Fetcher, Lost, Opened
from kluis.operations.restoring.listings import blocks_of
from kluis.operations.restoring.outcome import Outcome
from kluis.operations.restoring.plan import Batch, Block, Frame, Large, Link, Needed, Part, Small
from kluis.repository.content import record, stream_digest
from kluis.repository.trees import TreeReader
from kluis.source.target import Placed, Target

# So many files of one call stay open: fewer than a target keeps (OPEN_FILES).
FILES_A_CALL = 32
_PART = struct.Struct(scatter.PART_FORMAT)
_NO_HASH = bytes(HASH_BYTES)
_ZEROS = bytes(1 << 20)
DIFFERENT = "its content is not the one that was recorded"
