#!/usr/bin/env bash
# Every rule that a tool can check. Runs all of them, then fails if one did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin
failed=()

check() {
    local name=$1
    shift
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        printf 'lint: %-14s ok\n' "$name"
    else
        cat "$log"
        printf 'lint: %-14s FAILED\n' "$name"
        failed+=("$name")
    fi
    rm -f "$log"
}

clang_format() {
    find ext benchmarks -name '*.[ch]' |
        xargs -r "$bin/clang-format" --dry-run -Werror
}

check "ruff" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy" "$bin/mypy"
check "imports" "$bin/lint-imports"
check "clang-format" clang_format
check "tests/lint" "$bin/python" -m pytest -q tests/lint

if [ "${#failed[@]}" -gt 0 ]; then
    printf 'lint: failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
