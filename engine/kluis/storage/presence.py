"""Whether a medium that fails a call is bad in one place or gone as a whole.

Both give the same error. What is in a cache answers from a medium that is gone as well, so
only places count that were let go of or never read.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict, deque

from kluis.errors import KluisError
from kluis.storage import explain
from kluis.storage.calls import Calls
from kluis.storage.folders import Folders, parent
from kluis.surroundings import Surroundings

# What a failing place gives, and a medium that is gone too: by the layer that notices it.
REFUSED = {errno.EIO, errno.EREMOTEIO, errno.ENOLINK, errno.ENODATA, errno.ETIMEDOUT}

PLACE_BYTES = 4096
# Of a smaller file the bytes may lie beside its name, in a cache that nobody can empty.
LARGE_BYTES = 64 * 1024
KNOWN_GOOD = 3
NAMES_READ = 4096
# So many other objects have to fail, all that were tried: of a disk that is half bad one in 60,000
# failures looks like that, where no place is known to be good.
FAILING = 16
# A small repository has not so many; one bad sector costs it a file or two, or one folder.
FEWEST_FAILING = 3
TRIED = 64
FOLDERS_LISTED = 64


class Presence:
    """What tells, for one storage, whether its medium is there; in threads too."""

    def __init__(
        self, path: str, calls: Calls, folders: Folders, surroundings: Surroundings
    ) -> None:
        self._path = path
        self._calls = calls
        self._folders = folders
        self._surroundings = surroundings
        self._device = calls.block_device(folders.root)
        self._good: deque[tuple[str, int]] = deque(maxlen=KNOWN_GOOD)
        self._read: OrderedDict[str, None] = OrderedDict()
        self._names: list[str] | None = None
        self._direct: bool | None = None
        self._gone = False
        self._lock = threading.Lock()

    def noted(self, name: str, size: int, offset: int) -> None:
        """Remembers a place that was read: if it can be read again the medium is there."""
        if size < LARGE_BYTES or (self._good and self._good[-1][0] == name):
            return
        self._good.append((name, offset))
        with self._lock:
            self._read[name] = None
            if len(self._read) > NAMES_READ:
                self._read.popitem(last=False)

    def explain(self, error: OSError, action: str, name: str) -> KluisError:
        """The error to raise for a failed `action` on an object."""
        location = explain.shown(self._path)
        if error.errno != errno.ENOENT and error.errno not in REFUSED:
            return explain.explain(error, action, name, location)
        if not self._connected():
            return explain.gone(f"cannot {action} {name}", location)
        refused = self._not_listed(name) if error.errno == errno.ENOENT else error
        if refused is None:
            return explain.explain(error, action, name, location)
        if self._is_gone(name):
            return explain.gone(f"cannot {action} {name}", location)
        if refused is error and self._not_listed("") is None:
            return explain.explain(error, action, name, location)
        # Whether the object is there, or is whole, cannot be known.
        return explain.explain(refused, "list the folder of", name, location)

    def _connected(self) -> bool:
        """Whether the path still leads to the folder that was opened."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._folders.root))
        except OSError:
            return False

    def _not_listed(self, name: str) -> OSError | None:
        """What the medium says to who lists the folder of an object that is said to be missing.

        Drivers outside of the kernel say so too of what lies in a folder that they cannot read.
        """
        if name and self._is_direct():
            return None
        folder = parent(name)
        while True:
            try:
                with self._folders.opened(folder) as at:
                    self._calls.peek(at)
            except FileNotFoundError:
                if folder:
                    folder = parent(folder)
                    continue
            except OSError as error:
                if error.errno in REFUSED:
                    return error
            return None

    def _is_direct(self) -> bool:
        if self._direct is None:
            self._direct = self._calls.is_direct(self._folders.root)
        return self._direct

    def _is_gone(self, name: str) -> bool:
        with self._lock:
            if not self._gone:
                left = self._device is not None and not self._calls.is_device(self._device)
                self._gone = left or self._nothing_answers(name)
            return self._gone

    def _nothing_answers(self, name: str) -> bool:
        """Whether what was readable is not any more, nor anything else; one answer ends it."""
        failing: set[str] = set()
        direct = self._is_direct()
        for known, offset in list(self._good):
            answer = self._try(known, offset, failing)
            if answer is not None and direct:
                return False
        left = self._listed(failing)
        for _ in range(min(TRIED, len(left))):
            if len(failing - {name}) >= FAILING:
                break
            other = left.pop(self._below(len(left)))
            size = self._try(other, None, failing)
            if size is None:
                continue
            if direct or (size >= LARGE_BYTES and other not in self._read):
                self._read[other] = None
                return False
        return len(failing - {name}) >= FEWEST_FAILING

    def _try(self, name: str, offset: int | None, failing: set[str]) -> int | None:
        """The size of an object of which a place could be read, past the cache of the kernel."""
        try:
            with self._folders.opened(parent(name)) as at:
                fd = self._calls.open(name.rpartition("/")[2], at)
                try:
                    status = self._calls.fstat(fd)
                    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
                    if not size:
                        return None
                    if offset is None:
                        offset = self._below(size) // PLACE_BYTES * PLACE_BYTES
                    self._calls.uncache(fd)
                    self._calls.read(fd, PLACE_BYTES, offset)
                    return size
                finally:
                    self._calls.close(fd)
        except OSError as error:
            if error.errno in REFUSED:
                failing.add(name)
            return None

    def _listed(self, failing: set[str]) -> list[str]:
        """Names of objects, all or very many, read once; a folder that cannot be listed fails."""
        if self._names is not None:
            return list(self._names)
        found: list[str] = []
        pending = [""]
        for _ in range(FOLDERS_LISTED):
            if not pending:
                break
            folder = pending.pop(self._below(len(pending)))
            try:
                with self._folders.opened(folder) as at:
                    names = self._calls.names(at)
            except OSError as error:
                if error.errno in REFUSED:
                    failing.add(folder or ".")
                continue
            for last, is_folder in names:
                (pending if is_folder else found).append(f"{folder}/{last}" if folder else last)
        if not failing:
            self._names = found
        return list(found)

    def _below(self, limit: int) -> int:
        return int.from_bytes(self._surroundings.random(8), "little") % limit
