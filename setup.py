"""Builds the native modules: every ext/<name>.pyx becomes kluis._native.<name>.

All C of ext/c goes into one static library that each module links. Which
instructions a kernel uses is decided at run time (ext/c/cpu.h), so nothing here
depends on the machine that builds. KLUIS_SANITIZE=1 gives a debug build under
ASan and UBSan.
"""

from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SANITIZE = os.environ.get("KLUIS_SANITIZE", "0") not in ("", "0")

os.chdir(Path(__file__).resolve().parent)  # setuptools wants paths relative to this file
C_SOURCES = sorted(str(path) for path in Path("ext/c").glob("*.c"))
C_HEADERS = sorted(str(path) for path in Path("ext/c").glob("*.h"))
MODULES = sorted(Path("ext").glob("*.pyx"))

SANITIZE_FLAGS = ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer"]
SANITIZE_FLAGS += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
MODE_FLAGS = SANITIZE_FLAGS if SANITIZE else ["-O2", "-g0"]
BUILD_FOLDER = "build/sanitize" if SANITIZE else "build"  # objects of one kind are never mixed
OUR_C_FLAGS = ["-std=gnu11", "-fPIC", "-fvisibility=hidden"]
OUR_C_FLAGS += ["-Wall", "-Wextra", "-Wconversion", "-Werror"]  # not for what Cython writes


class BuildExt(build_ext):
    """build_ext that makes the static library first, also when called alone."""

    def run(self) -> None:
        self.run_command("build_clib")
        super().run()

    def copy_extensions_to_source(self) -> None:
        self.force = True  # replaces a module of the other kind of build even if that is newer
        super().copy_extensions_to_source()


setup(
    cmdclass={"build_ext": BuildExt},
    options={"build": {"build_base": BUILD_FOLDER}},
    libraries=[
        (
            "kluis_native",
            {
                "sources": C_SOURCES,
                "include_dirs": ["ext/c"],
                "cflags": MODE_FLAGS + OUR_C_FLAGS,
                "obj_deps": {"": C_HEADERS},
            },
        )
    ],
    ext_modules=cythonize(
        [
            Extension(
                f"kluis._native.{path.stem}",
                [str(path)],
                include_dirs=["ext/c"],
                depends=[*C_SOURCES, *C_HEADERS],
                extra_compile_args=MODE_FLAGS,
                extra_link_args=[flag for flag in MODE_FLAGS if "sanitize=" in flag],
            )
            for path in MODULES
        ],
        build_dir="build/cython",
        include_path=["ext"],
        compiler_directives={"language_level": 3, "embedsignature": True},
    ),
)
