"""Real trees to scan, read and write, and a kernel that refuses what a test names."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st

Answer = TypeVar("Answer")
LIBC = ctypes.CDLL(None, use_errno=True)
CALL_NUMBERS = {
    "x86_64": {"getdents64": 217, "openat": 257, "openat2": 437, "setresuid": 117},
    "aarch64": {"getdents64": 61, "openat": 56, "openat2": 437, "setresuid": 147},
}
NOBODY = 65534
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_NO_NEW_PRIVS = 38


def _as_name(raw: bytes) -> bytes:
    return raw.translate(bytes.maketrans(b"/\0", b"|\1"))


# Any bytes that a file system allows; names that share long prefixes are as likely as others.
names = st.one_of(
    st.binary(min_size=1, max_size=12).map(_as_name),
    st.text("ab\xff", min_size=1, max_size=12).map(lambda text: text.encode("latin-1")),
    st.binary(min_size=255, max_size=255).map(_as_name),
).filter(lambda name: name not in (b".", b".."))

KINDS = ("file", "folder", "link", "fifo", "hole")


def make(fd: int, name: bytes, kind: str, content: bytes = b"") -> None:
    """Makes one entry of the kind in an open directory."""
    if kind == "folder":
        os.mkdir(name, dir_fd=fd)
    elif kind == "link":
        os.symlink(content or b"nowhere", name, dir_fd=fd)
    elif kind == "fifo":
        os.mkfifo(name, dir_fd=fd)
    else:
        write(fd, name, content, hole=kind == "hole")


def write(fd: int, name: bytes, content: bytes, hole: bool = False) -> None:
    """Writes a file in an open directory, after 64 KiB of nothing if `hole`."""
    with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=fd), "wb") as file:
        file.seek(65536 if hole else 0)
        file.write(content)


def read(fd: int, name: bytes) -> bytes:
    """The content of a file in an open directory."""
    with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as file:
        return file.read()


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[int]:
    """An open directory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def descriptors() -> set[str]:
    """The numbers of all open descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))


def in_thread(function: Callable[[], Answer]) -> Answer:
    """What the function returns in a thread of its own, whose rights it may give away."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def _call(name: str, *arguments: object) -> None:
    if getattr(LIBC, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name} does not work here")


def become_nobody() -> None:
    """From now on this thread, and no other, has nobody's rights."""
    number = CALL_NUMBERS[platform.machine()]["setresuid"]
    if os.geteuid() == 0:
        _call("syscall", number, ctypes.c_long(-1), NOBODY, ctypes.c_long(-1))


def refuse(call: str, error: int, argument: int = 0, mask: int = 0, value: int = 1) -> None:
    """From now on the kernel fails this thread's call with `error`; other threads notice nothing.

    Only where (argument & mask) differs from `value`: by default always.
    """
    number = CALL_NUMBERS[platform.machine()][call]
    load, equal, conjunct, answer = 0x20, 0x15, 0x54, 0x06
    program = (
        (load, 0, 0, 0),
        (equal, 0, 3, number),
        (load, 0, 0, 16 + 8 * argument),
        (conjunct, 0, 0, mask),
        (equal, 0, 1, value),
        (answer, 0, 0, 0x7FFF0000),
        (answer, 0, 0, 0x00050000 | error),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    zero = ctypes.c_ulong(0)
    _call("prctl", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
    _call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, zero, zero)


def errno_of(function: Callable[[], object]) -> int:
    """The errno of the OSError that the function raises, 0 if it returns."""
    try:
        function()
    except OSError as failure:
        return failure.errno or errno.EIO
    return 0
