"""What does segmenting a large image block by block take?

    python benchmarks/large_image.py 2048 5000 20000 [--folder /tmp/large] [--model nuclei]

For each side, writes an RGB zarr image of that side, made of the bundled sample images, mirrored
and shaded differently from place to place, and segments it with `sa2net segment` in a process
of its own. Prints the process's peak resident memory, the time, the time a megapixel, the disk
space of the working files at their largest and that of the result.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_sa2net.gui.sample_data import load_sample
from records import table

STRIP = 1024
"""Rows that are made at once."""


def patterns() -> list[np.ndarray]:
    """Return the samples as RGB bytes of one size."""
    found = []
    for name in ("fluorescence", "histology"):
        sample = load_sample(name)
        if sample.ndim == 2:
            sample = np.repeat(sample[..., None], 3, axis=2)
        found.append(
            np.pad(sample, ((0, sample.shape[0]), (0, sample.shape[1]), (0, 0)), "symmetric")
        )
    return found


def strip(pattern: np.ndarray, top: int, height: int, width: int, side: int) -> np.ndarray:
    """Return rows of a plane that the pattern covers, darker here and brighter there."""
    y, x = np.arange(top, top + height), np.arange(width)
    # Every repetition starts elsewhere in the pattern, so that none lies alike on the blocks.
    rows, columns = (
        (y + y // 1777 * 131) % pattern.shape[0],
        (x + x // 1511 * 97) % pattern.shape[1],
    )
    shade = 0.85 + 0.15 * np.outer(np.cos(7 * y / side), np.sin(5 * x / side))
    return (pattern[np.ix_(rows, columns)] * shade[..., None]).astype(np.uint8)


def make_image(path: Path, side: int, sample: str) -> None:
    """Write an image of ``side`` × ``side`` pixels."""
    import zarr

    array = zarr.create_array(
        str(path), shape=(side, side, 3), chunks=(1024, 1024, 3), dtype=np.uint8, overwrite=True
    )
    pattern = patterns()[("fluorescence", "histology").index(sample)]
    for top in range(0, side, STRIP):
        height = min(STRIP, side - top)
        array[top : top + height] = strip(pattern, top, height, side, side)


def folder_bytes(folder: Path) -> int:
    """Return how much the files in a folder take."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # removed meanwhile
                continue
    return total


def peak_memory(process: int) -> int:
    """Return the peak resident memory of a running process in bytes (Linux)."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else 0


def measure(image: Path, output: Path, model: str) -> tuple[int, float, int, int]:
    """Return peak memory, seconds, and the disk space at its largest and at the end."""
    command = [sys.executable, "-m", "napari_sa2net", "segment", str(image), "-o", str(output)]
    began = time.perf_counter()
    running = subprocess.Popen([*command, "--model", model, "--axes", "YXC", "--overwrite"])
    memory = disk = 0
    pause = 1.0
    while True:
        try:
            code = running.wait(pause)
            break
        except subprocess.TimeoutExpired:
            memory = max(memory, peak_memory(running.pid))
            disk = max(disk, folder_bytes(output))
    if code:
        raise SystemExit(f"sa2net segment failed with code {code}")
    seconds = time.perf_counter() - began
    return memory, seconds, disk, folder_bytes(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sides", nargs="+", type=int)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--sample", choices=("fluorescence", "histology"), default="histology")
    parser.add_argument(
        "--folder", type=Path, help="where to work; a temporary folder if not given"
    )
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for side in arguments.sides:
        image, output = folder / f"{side}.zarr", folder / f"{side}-labels.ome.zarr"
        make_image(image, side, arguments.sample)
        memory, seconds, disk, result = measure(image, output, arguments.model)
        rows.append(
            (
                f"{side} × {side}",
                f"{memory / 2**20:.0f} MiB",
                f"{seconds:.0f} s",
                f"{seconds / side**2 * 1e6:.2f} s",
                f"{disk / 1e6:.1f} MB",
                f"{result / 1e6:.1f} MB",
            )
        )
        print(rows[-1], file=sys.stderr, flush=True)
        if arguments.folder is None:
            shutil.rmtree(image)
            shutil.rmtree(output)
    head = ("image", "peak memory", "time", "a megapixel", "disk while it runs", "result")
    print(table(head, rows))


if __name__ == "__main__":
    main()
