"""The counting of system calls: on a written trace, and on a real program."""

from __future__ import annotations

from pathlib import Path

from benchmarks.calls import counted

TRACE = """\
100 openat(AT_FDCWD</repo>, "packs/a", O_WRONLY) = 3</repo/packs/a>
100 write(3</repo/packs/a>, ""..., 65536) = 65536
101 pwrite64(4</repo/index/b>, ""..., 100, 0 <unfinished ...>
100 write(1<pipe:[12]>, ""..., 10) = 10
101 <... pwrite64 resumed>) = 100
100 fsync(3</repo/packs/a>) = 0
100 fsync(5</repo>) = 0
100 fsync(9</cache/c>) = -1 EIO (Input/output error)
100 renameat2(7</repo/ledger>, "x.tmp", 7</repo/ledger>, "x", RENAME_NOREPLACE) = 0
100 unlink("/cache/old") = 0
100 write(9</repository-beside/z>, ""..., 7) = 7
100 +++ exited with 0 +++
"""


def test_calls_are_counted_by_place_and_kind(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text(TRACE)
    repo, elsewhere = counted(trace, Path("/repo"))
    assert repo.files == {"/repo/packs/a", "/repo/index/b"}
    assert repo.written_bytes == 65636
    assert dict(repo.calls) == {"writes": 2, "syncs": 2, "moves": 1}
    assert elsewhere.files == {"/repository-beside/z"}
    assert dict(elsewhere.calls) == {"writes": 1, "removals": 1}
