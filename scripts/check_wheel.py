"""Check that a built wheel has what the package needs and is not too big.

python -m build --wheel && python scripts/check_wheel.py dist/*.whl
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MODEL_BYTES = 12_000_000
WHEEL_BYTES = 20_000_000
NEEDED = (
    "napari_sa2net/napari.yaml",
    "napari_sa2net/py.typed",
    "napari_sa2net/engine/models.toml",
    "napari_sa2net/engine/models/nuclei.safetensors",
    "napari_sa2net/gui/samples/ATTRIBUTION.md",
    "napari_sa2net/gui/samples/fluorescence.png",
)


def problems(sizes: Mapping[str, int]) -> list[str]:
    """Return what is wrong with a wheel.

    Parameters
    ----------
    sizes
        Size in bytes of each file in it.
    """
    found = [f"{name} is missing" for name in NEEDED if name not in sizes]
    models = sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
    if models > MODEL_BYTES:
        found.append(f"the models take {models} bytes, more than {MODEL_BYTES}")
    if sum(sizes.values()) > WHEEL_BYTES:
        found.append(f"all files take {sum(sizes.values())} bytes, more than {WHEEL_BYTES}")
    foreign = [name for name in sizes if name.startswith(("tests/", "scripts/", "benchmarks/"))]
    if foreign:
        found.append(f"{foreign[0]} does not belong into it")
    return found


def main(paths: Sequence[str]) -> int:
    """Check each wheel; return 1 if something is wrong, 2 if there is none."""
    if not paths:
        print("Which wheel? Give its path.", file=sys.stderr)
        return 2
    wrong = False
    for path in map(Path, paths):
        with zipfile.ZipFile(path) as wheel:
            sizes = {entry.filename: entry.file_size for entry in wheel.infolist()}
        for problem in problems(sizes):
            print(f"{path.name}: {problem}", file=sys.stderr)
            wrong = True
        models = sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
        print(f"{path.name}: {len(sizes)} files, models {models / 1e6:.1f} MB")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
