"""``python -m napari_sa2net.cli`` is ``sa2net``."""

from __future__ import annotations

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
