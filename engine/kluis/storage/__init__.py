"""Named bytes: where a repository lies, and nothing of what is in it."""

from __future__ import annotations

from kluis.storage.base import Buffer, Storage, check_name
from kluis.storage.local import LocalStorage
from kluis.storage.memory import MemoryStorage

__all__ = ["Buffer", "LocalStorage", "MemoryStorage", "Storage", "check_name"]
