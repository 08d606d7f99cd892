"""Files with several names: read once, and told apart by a number that stays the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from blake3 import blake3

from kluis.operations.archiving.files import StoredFile
from kluis.source import records as listing
from kluis.source.above import mount_point
from kluis.source.records import Record
from kluis.source.walk import Directory

# Files with several names are read once while the map of them is small.
LINKS_REMEMBERED = 100_000


def _same_file(first: bytes, second: bytes) -> bool:
    """True if two names show one file: all but the length of the name and the links agree."""
    one, other = listing.unpack(first), listing.unpack(second)
    return one._replace(name_length=0, nlink=0) == other._replace(name_length=0, nlink=0)


@dataclass
class Links:
    """What is known of the files with several names that a backup has met."""

    _stored: dict[tuple[int, int], StoredFile] = field(default_factory=dict)
    _file_systems: dict[int, int] = field(default_factory=dict)

    def known(self, directory: Directory, index: int) -> StoredFile | None:
        """The content of the file, if it was stored under another of its names."""
        record = listing.record_at(directory.records, index)
        stored = self._stored.get(listing.identity_of(record))
        if stored is None or stored.record is None or _same_file(stored.record, record):
            return stored
        return None  # the inode has been given to another file meanwhile

    def remember(self, directory: Directory, index: int, stored: StoredFile) -> None:
        """Notes the content for its other names, with the record that it belongs to."""
        if len(self._stored) < LINKS_REMEMBERED:
            record = listing.record_at(directory.records, index)
            kept = stored if stored.record is not None else replace(stored, record=record)
            self._stored[listing.identity_of(record)] = kept

    def on_file_system(self, directory: Directory, index: int, fields: Record) -> Record:
        """The record with a number for its file system in place of the device's.

        The kernel's numbers change when a disk is plugged in elsewhere, and with them every
        tree that holds such a file; the place where the file system is mounted does not.
        """
        device = listing.identity_of(listing.record_at(directory.records, index))[0]
        number = self._file_systems.get(device)
        if number is None:
            top = mount_point(directory.descriptor, directory.path)
            if device != listing.identity_of(directory.own)[0]:
                top += b"\0%d" % len(self._file_systems)  # a layer of an overlay, say
            number = int.from_bytes(blake3(top).digest(8), "little")
            self._file_systems[device] = number
        return fields._replace(dev=number)
