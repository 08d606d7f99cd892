"""The folder that a restore writes into: made if it is missing, known again if it was cut short."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from kluis.errors import KluisError, NoSpaceError
from kluis.source.folders import OWNER_MAY_ALL

# For the owner alone, and as nobody else makes a folder: by it a later restore knows the target
# that an interrupted one made.
UNFINISHED_MODE = stat.S_ISVTX | OWNER_MAY_ALL


def open_root(path: bytes, finished: bool) -> int:
    """A descriptor of the folder; if it is made, and `finished` later, with UNFINISHED_MODE."""
    try:
        if finished and not os.path.isdir(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with contextlib.suppress(FileExistsError):  # made meanwhile, or no folder
                os.mkdir(path, UNFINISHED_MODE)
        os.makedirs(path, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as failure:
        full = failure.errno in (errno.ENOSPC, errno.EDQUOT)
        a_file = failure.errno in (errno.EEXIST, errno.ENOTDIR)
        why = "it is or lies below a file; a folder is needed" if a_file else failure.strerror
        raise (NoSpaceError if full else KluisError)(
            f"the target {os.fsdecode(path)!r} cannot be used: {why}; "
            "nothing was restored; choose another --target"
        ) from failure


def is_unfinished(descriptor: int) -> bool:
    """Whether the folder is ours and still as `open_root` made it."""
    status = os.fstat(descriptor)
    # A folder takes setgid from the one above it.
    mode = stat.S_IMODE(status.st_mode) & ~stat.S_ISGID
    return status.st_uid == os.geteuid() and mode == UNFINISHED_MODE
