"""kluis: a backup engine. This is its whole public interface."""

from __future__ import annotations

__version__ = "0.1.0"
