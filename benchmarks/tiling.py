"""How much do tiles change the result of the bundled model?

    python benchmarks/tiling.py IMAGES... [--model nuclei] [--tile 512]

Segments each image once as a whole and then in tiles: with 96 pixels of each tile's border
discarded, and with the defaults. Prints the largest and mean difference of the class
probabilities (those are kept as float16, which rounds by up to 0.0005), the share of pixels
whose label's mask changes, and the share of labels that change: without a counterpart of
IoU above 0.5, and of IoU above 0.99.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_sa2net import load_model, segment
from napari_sa2net.engine.files import list_images, read_image
from napari_sa2net.engine.metrics import match


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--tile", type=int, default=512)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    print(
        "| image | size | border | largest | mean | pixels changed | labels | lost | not the same |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for path in list_images(arguments.images):
        image = read_image(path)

        def run(tile: int, image=image, **lengths: int):
            keep = {"probabilities"}
            return segment(image.array, model, rgb=image.rgb, tile=tile, keep=keep, **lengths)

        whole = run(8192)
        size = " × ".join(map(str, whole.labels.shape))
        for name, lengths in (("96 discarded", {"discard": 96}), ("default", {})):
            tiled = run(arguments.tile, **lengths)
            apart = np.abs(
                whole.probabilities.astype(np.float32) - tiled.probabilities.astype(np.float32)
            )
            pixels = ((whole.labels > 0) != (tiled.labels > 0)).mean()
            count = len(np.unique(whole.labels)) - 1
            lost, changed = (
                match(tiled.labels, whole.labels, threshold).false_negatives
                for threshold in (0.5, 0.99)
            )
            print(
                f"| {path.stem} | {size} | {name} | {apart.max():.1e} | {apart.mean():.1e} "
                f"| {pixels:.1e} | {count} | {lost} ({lost / max(1, count):.1%}) "
                f"| {changed} ({changed / max(1, count):.1%}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
