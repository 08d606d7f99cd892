"""The place that a tool restores to: empty, writable, and gone afterwards, mounted or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import target


@pytest.mark.parametrize("what", ["as this machine can", target.FOLDER])
def test_a_target_is_empty_and_gone_at_the_end(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == target.FOLDER:
        monkeypatch.setattr(target, "kind", lambda: target.FOLDER)
    place = tmp_path / "target"
    for _ in range(2):
        with target.fresh_target(place, 1_000_000, 10) as inside:
            assert inside.is_relative_to(place)
            assert list(inside.iterdir()) == []
            (inside / "file").write_bytes(bytes(1_000_000))
        assert list(tmp_path.iterdir()) == []


def test_a_target_is_gone_after_a_failure_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        _failing(tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def _failing(place: Path) -> None:
    with target.fresh_target(place, 1, 1) as inside:
        (inside / "half").touch()
        raise ZeroDivisionError
