"""What an error of the operating system means for an object, in words for a person."""

from __future__ import annotations

import errno
import os

from kluis.errors import (
    AlreadyExistsError,
    DamageError,
    KluisError,
    MediumGoneError,
    NoSpaceError,
    NotFoundError,
    StorageError,
    UnreadableError,
)
from kluis.storage.folders import BarrierError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GONE = {errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESHUTDOWN, errno.ESTALE}
_FORBIDDEN = {
    errno.EROFS: "the medium or its mount is read-only",
    errno.EACCES: "this user may not; look at the owner and the mode of the folder",
    errno.EPERM: "the system forbids it; look at the owner, the mode and the mount options",
}
_FAILING = "the medium, its cable or its driver may be failing"
# A link, or a file where a folder should be.
_FOREIGN = {errno.ELOOP, errno.ENOTDIR}
_OTHERS = {
    errno.EMFILE: "this process has too many files open (ulimit -n)",
    errno.ENFILE: "this machine has too many files open",
    errno.EISDIR: "a folder lies where an object should be",
    errno.ENOLCK: "the file system has no locks, so two writers could not be kept apart",
}


def explain(error: OSError, action: str, name: str, location: str) -> KluisError:
    """The error to raise for a failed `action` ("write", "read", ...) on an object."""
    what = f"cannot {action} {name or 'the folder'} in {location}"
    number = error.errno or 0
    if isinstance(error, BarrierError):
        return _explain_barrier(error, location)
    if number in _FULL:
        return NoSpaceError(_full(number, what))
    if number == errno.EEXIST:
        return AlreadyExistsError(f"{name} exists already in {location}; it was left as it is")
    if number == errno.ENOENT and action in ("write", "create"):
        return StorageError(f"{what}: its folder was removed meanwhile; repeat the command")
    if number == errno.ENOENT:
        return NotFoundError(f"{name} is not there in {location}")
    if number in _GONE:
        return gone(what, location)
    reason = os.strerror(number) if number else str(error)
    if number in _FORBIDDEN:
        return StorageError(f"{what}: {reason.lower()}: {_FORBIDDEN[number]}")
    if number in _FOREIGN:
        return DamageError(
            f"{what}: on the way there lies a link or a file in the place of a folder, which kluis"
            " never makes there; move it away, then verify"
        )
    if number == errno.EIO and action in ("read", "look at"):
        return UnreadableError(f"{what}: {reason.lower()}: {_FAILING}")
    more = _OTHERS.get(number, _FAILING)
    return StorageError(f"{what}: {reason.lower()}: {more}")


def explain_root(error: OSError, location: str) -> KluisError:
    """The error to raise when the storage's own folder cannot be opened or made."""
    if error.errno == errno.ENOENT:
        refused = _not_listed(location)
        if refused is not None:
            return explain(refused, "list the folder above", "this one", location)
        return NotFoundError(f"there is no folder {location}")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return NotFoundError(f"{location} is or lies below a file; a folder is needed there")
    return explain(error, "open", "", location)


def _not_listed(path: str) -> OSError | None:
    """What the nearest folder above says, if it cannot be listed: then nothing is known of `path`.

    Drivers outside of the kernel take what they cannot read for empty.
    """
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        try:
            with os.scandir(path) as entries:
                next(entries, None)
        except FileNotFoundError:
            continue
        except OSError as error:
            return error if error.errno != errno.EACCES else None
        break
    return None


def shown(path: str) -> str:
    """The path as it can be printed anywhere: bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def gone(what: str, location: str) -> MediumGoneError:
    """The error for a storage whose medium is not there any more."""
    return MediumGoneError(
        f"{what}: the medium is not connected any more, or another lies in its place; nothing in"
        f" the repository is judged by that; connect it again at {location} and repeat the command"
    )


def not_plain(name: str, location: str) -> DamageError:
    """The error for a folder, fifo, device or link that has an object's name."""
    return DamageError(f"{name} in {location} is no plain file, so not what was stored there")


def _full(number: int, what: str) -> str:
    if number == errno.EDQUOT:
        return f"{what}: this user's quota leaves no space; free some, then repeat the command"
    if number == errno.EFBIG:
        return f"{what}: no space: a limit of the system or of this process on file sizes is met"
    return f"{what}: no space left on the medium; free some (kluis prune), then repeat the command"


def _explain_barrier(error: OSError, location: str) -> KluisError:
    where = f"the folder {error.filename or '.'} in {location}"
    if error.errno in _FULL:
        return NoSpaceError(f"cannot make {where} durable: no space left on the medium")
    if error.errno in _GONE:
        return gone(f"cannot make {where} durable", location)
    return StorageError(
        f"cannot make {where} durable: {os.strerror(error.errno or errno.EIO).lower()}: what was"
        " written last may be lost, and nothing counts that depends on it; repeat the command"
    )
