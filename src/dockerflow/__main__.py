"""The ``dockerflow`` command as ``python -m dockerflow``."""

from __future__ import annotations

import sys

from dockerflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
