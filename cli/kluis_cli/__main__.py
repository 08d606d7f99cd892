"""`python -m kluis_cli` is `kluis`."""

from __future__ import annotations

import sys

from kluis_cli.start import main

if __name__ == "__main__":
    sys.exit(main())
