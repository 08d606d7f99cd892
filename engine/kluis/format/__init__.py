"""Stored bytes from and to dataclasses: pure, without I/O, clock or randomness.

One module for each stored kind; `docs/format.md` says the same byte by byte. Every
decoder raises `FormatError` for bytes that no encoder here gives, or `NewerFormatError`
for those of a later version, and nothing else, whatever it is handed.
"""
