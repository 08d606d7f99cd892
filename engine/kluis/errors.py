"""Everything that kluis raises on purpose.

One tree. The class carries what a program decides on (`code`, `exit_status`,
`retryable`); the message is for a person and says what happened, to which
object, what it means for the data, and what to type next.
"""

from __future__ import annotations


class KluisError(Exception):
    """A failure that kluis foresaw; nothing that was stored before is lost by it."""

    code = "failed"
    exit_status = 1
    retryable = False


class UsageError(KluisError):
    """What was asked for makes no sense, whatever the state of the repository."""

    code = "usage"
    exit_status = 2


class NotFoundError(KluisError):
    """A snapshot, path, key or object that was named does not exist."""

    code = "not_found"


class AlreadyExistsError(KluisError):
    """A name that had to be new is taken."""

    code = "already_exists"


class DamageError(KluisError):
    """Stored bytes are missing or differ from what was stored."""

    code = "damage"
    exit_status = 4


class FormatError(DamageError):
    """Bytes that no version of kluis writes: damaged, foreign or forged."""

    code = "format"


class NewerFormatError(KluisError):
    """Written by a newer kluis, with a feature that this one does not know."""

    code = "newer_format"


class RefusedError(KluisError):
    """The key or the policy does not allow it."""

    code = "refused"
    exit_status = 5


class NoRepositoryError(KluisError):
    """There is no kluis repository at the place that was named."""

    code = "no_repository"
    exit_status = 10


class BusyError(KluisError):
    """Another process has to finish first."""

    code = "busy"
    exit_status = 11
    retryable = True


class PasswordError(KluisError):
    """The passphrase or key opens nothing here, or could not be obtained."""

    code = "password"
    exit_status = 12


class StorageError(KluisError):
    """The medium or its driver reported an error."""

    code = "storage"
    retryable = True


class UnreadableError(DamageError, StorageError):
    """The medium refuses to give the bytes of one object: as good as damaged."""

    code = "unreadable"
    exit_status = 4


class NoSpaceError(StorageError):
    """The medium is full (also a quota or a file size limit)."""

    code = "no_space"
    exit_status = 13


class MediumGoneError(StorageError):
    """The medium was unplugged, or is not connected."""

    code = "medium_gone"
    exit_status = 75


class CancelledError(KluisError):
    """The caller cancelled; nothing half-done counts."""

    code = "cancelled"
    exit_status = 130
