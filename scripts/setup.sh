#!/usr/bin/env bash
# Makes .venv with everything that kluis is built and tested with, and builds it in place.
# Says nothing and returns at once when that has been done for exactly these files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# command or file that shows it is there : Debian package that brings it
BUILD_NEEDS=(gcc:gcc /usr/include/stdlib.h:libc6-dev)
TEST_NEEDS=(setfattr:attr setfacl:acl chattr:e2fsprogs git:git)

say() { printf 'setup: %s\n' "$*" >&2; }

there() { case "$1" in /*) [ -e "$1" ] ;; *) command -v "$1" >/dev/null 2>&1 ;; esac; }

missing_of() {
    local need
    for need in "$@"; do there "${need%%:*}" || printf '%s\n' "${need##*:}"; done
}

# A Python that can make an environment and build extensions: 3.11 or newer, venv, Python.h.
usable_python() {
    "$1" - 2>/dev/null <<'PY'
import ensurepip, os, sys, sysconfig, venv
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
sys.exit(0 if sys.version_info >= (3, 11) and os.path.exists(header) else 1)
PY
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11 \
        /usr/bin/python3; do
        if usable_python "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

install_debian() {
    [ "$#" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        say "missing Debian packages; run: sudo apt-get install $*"
        return 1
    fi
    say "installing Debian packages: $*"
    local log
    log=$(mktemp)
    if { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        cat "$log" >&2
        rm -f "$log"
        say "could not install: $*"
        return 1
    fi
}

digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

build_digest() {
    { cat setup.py pyproject.toml; find ext -type f | LC_ALL=C sort | xargs cat
      ls engine/kluis/_native/*.so 2>/dev/null; } | sha256sum | cut -d' ' -f1
}

current() { [ -e "$1" ] && [ "$(cat "$1")" = "$2" ]; }

export PYTHONWARNINGS=ignore # setuptools explains editable installs at length on every one
mkdir -p .venv
exec 9>.venv/setup.lock
flock 9 # two `make` at once: the second waits, then finds everything done

PACKAGES_STAMP=.venv/kluis-packages.stamp
BUILD_STAMP=.venv/kluis-build.stamp
packages=$(digest constraints.txt pyproject.toml)
if .venv/bin/python -c '' 2>/dev/null && [ -e .venv/bin/kluis ] &&
    current "$PACKAGES_STAMP" "$packages" && current "$BUILD_STAMP" "$(build_digest)"; then
    exit 0
fi

mapfile -t build_packages < <(missing_of "${BUILD_NEEDS[@]}")
find_python >/dev/null || build_packages+=(python3 python3-dev python3-venv)
mapfile -t test_packages < <(missing_of "${TEST_NEEDS[@]}")
if ! install_debian "${build_packages[@]}" "${test_packages[@]}"; then
    [ "${#build_packages[@]}" = 0 ] || exit 1
    say "going on without: the tests of what those packages bring will fail"
fi

if ! usable_python .venv/bin/python; then
    python=$(find_python) || { say "no Python 3.11 or newer with venv and headers found"; exit 1; }
    say "making .venv with $python"
    "$python" -m venv --clear .venv
    exec 9>.venv/setup.lock
    flock 9
fi

if ! current "$PACKAGES_STAMP" "$packages"; then
    say "installing Python packages as pinned in constraints.txt"
    .venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt \
        setuptools wheel cython </dev/null
    .venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt \
        --no-build-isolation -e '.[dev]' </dev/null
else
    say "building the native modules"
    .venv/bin/python setup.py -q build_ext --inplace </dev/null
fi
printf '%s\n' "$packages" >"$PACKAGES_STAMP"
build_digest >"$BUILD_STAMP"
