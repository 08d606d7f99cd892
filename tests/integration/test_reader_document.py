"""The reader and the documents as they lie on a medium: short, alone, true to one another."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from tests.integration.test_reader import READER, load_reader
from tests.lint.project import ROOT
from tests.repositories import make_place

FORMAT = ROOT / "engine/kluis/documents/format.md"
MOST_LINES = 500


def test_the_reader_is_one_short_file_of_old_python_without_kluis() -> None:
    source = READER.read_text()
    assert len(source.splitlines()) <= MOST_LINES
    tree = ast.parse(source, feature_version=(3, 9))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            modules.add(str(node.module).split(".")[0])
    assert modules - sys.stdlib_module_names == {"nacl", "zstandard", "blake3"}


def test_init_puts_reader_and_documents_on_the_medium(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    for name in ("README", "format.md", "kluis-reader.py"):
        wanted = (READER.parent / name).read_bytes()
        assert wanted
        assert (place.location / name).read_bytes() == wanted
        assert (place.location / "twins" / name).read_bytes() == wanted


def vectors() -> dict[str, str]:
    """The hex values of the document's last table, by the words that name them."""
    rows = FORMAT.read_text().split("## 18. Test vectors")[1].splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows if row.startswith("| ")]
    return {cell[0].replace("`", ""): cell[1].strip("`") for cell in cells[2:]}


def test_the_documents_vectors_are_those_of_the_reader() -> None:
    reader = load_reader()
    key, text, given = bytes(range(32)), b"kluis", vectors()
    assert reader.blake3(text).hexdigest() == given["H(text)"]
    assert reader.blake3(text, key=key).hexdigest() == given["K(key, text)"]
    assert reader.derive(key, "data chunks").hex() == given["derive(key, data chunks)"]
    assert reader.b32(key[:16]) == given["b32(first 16 bytes of key)"]
    sealed = [given[name] for name in given if name.startswith("seal(")]
    assert [reader.unseal(key, bytes.fromhex(hex), b"place") for hex in sealed] == [text, text]
    verify_key, _ = reader.sodium.crypto_sign_seed_keypair(key)
    assert verify_key.hex() == given["Ed25519 verify key of seed key"]
    signature = given["its signature, context kluis object, message message"]
    reader.verify(verify_key, b"kluis object", b"message" + bytes.fromhex(signature))
