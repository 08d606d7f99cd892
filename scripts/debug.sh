#!/usr/bin/env bash
# Runs tests/native on a build under AddressSanitizer and UndefinedBehaviorSanitizer.
# That build lies in build/sanitize; the one in place is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$PWD/.venv/bin/python
lib=$PWD/build/sanitize/lib

KLUIS_SANITIZE=1 "$python" setup.py -q build --build-lib "$lib"
runtime=$(gcc -print-file-name=libasan.so)
[ -e "$runtime" ] || { echo "debug: gcc has no libasan here" >&2; exit 1; }

# CPython itself leaves memory to the process's end, so leaks are not counted; pymalloc would
# hide overruns inside its arenas, so every object is a malloc of its own.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONMALLOC=malloc PYTHONPATH="$lib" LD_PRELOAD="$runtime"
"$python" - "$lib" <<'PY'
import pathlib, sys
import kluis
here = pathlib.Path(kluis.__file__ or next(iter(kluis.__path__)))
assert here.is_relative_to(sys.argv[1]), f"the sanitized build is not what is imported: {here}"
PY
exec "$python" -m pytest -q -p no:cacheprovider tests/native "$@"
