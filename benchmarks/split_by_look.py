"""Split the images of a data set by look, so that near-identical fields stay on one side.

Fields of one experiment look alike; a random split would put twins on both sides and flatter
every figure. Two images belong to one group if they have the same size and either their
overlap under the best shift correlates (neighbouring or repeated fields) or their colour
histograms and textures are nearly the same. Groups are the connected components. Whole groups
are held out, drawn with a fixed seed, until the wanted share of images is reached.

    python benchmarks/split_by_look.py DATA/dsb2018_fluorescence DATA/dsb2018_histology ...

prints one held-out file name (without its ending) a line. ``--never FILE`` keeps every group out
of which FILE lists an image: for a fresh held-out set after an earlier one was looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.color import rgb2hsv
from skimage.io import imread
from skimage.transform import resize

THUMBNAIL = 64


def describe(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a zero-mean, unit-norm thumbnail and a vector of colour and texture."""
    rgb = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
    rgb = rgb.astype(np.float32) / 255
    thumbnail = resize(rgb.mean(-1), (THUMBNAIL, THUMBNAIL), anti_aliasing=True)
    thumbnail -= thumbnail.mean()
    norm = float(np.linalg.norm(thumbnail))
    hsv = rgb2hsv(rgb)
    parts = [
        np.histogram(hsv[..., k], bins=16, range=(0, 1))[0] / hsv[..., k].size for k in range(3)
    ]
    grey = rgb.mean(-1)
    spectrum = np.abs(np.fft.rfft2(grey - grey.mean()))
    radius = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1]))
    energy = np.histogram(radius, bins=8, range=(0, 0.5), weights=spectrum)[0]
    parts.append(energy / max(float(energy.sum()), 1e-9))
    return thumbnail / max(norm, 1e-9), np.concatenate(parts)


def group(paths: list[Path], correlation: float, distance: float) -> np.ndarray:
    """Return the group number of each image."""
    images = [imread(path) for path in paths]
    described = [describe(image) for image in images]
    spectra = np.stack([np.fft.rfft2(thumbnail) for thumbnail, _ in described])
    looks = np.stack([look for _, look in described])
    rows, columns = [], []
    for i in range(len(paths)):
        shifted = np.fft.irfft2(spectra[i] * spectra[i:].conj(), s=(THUMBNAIL, THUMBNAIL))
        best = shifted.max(axis=(1, 2))
        apart = np.abs(looks[i:] - looks[i]).sum(axis=1) / 2
        for offset in np.flatnonzero((best > correlation) | (apart < distance)):
            if images[i].shape == images[i + offset].shape:
                rows.append(i)
                columns.append(i + int(offset))
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(paths), len(paths)))
    return np.asarray(connected_components(graph, directed=False)[1])


def hold_out(groups: np.ndarray, share: float, seed: int, never: np.ndarray) -> np.ndarray:
    """Return which images are held out: whole groups, none larger than half the share.

    Groups with an image for which ``never`` is true stay in training.
    """
    wanted = share * len(groups)
    held = np.zeros(len(groups), bool)
    for number in np.random.default_rng(seed).permutation(groups.max() + 1):
        members = groups == number
        if never[members].any():
            continue
        if members.sum() <= max(1, wanted / 2) and held.sum() + members.sum() <= wanted + 0.5:
            held |= members
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--share", type=float, default=0.15)
    parser.add_argument("--correlation", type=float, default=0.8)
    parser.add_argument("--distance", type=float, default=0.04)
    parser.add_argument("--seed", type=int, default=2018)
    parser.add_argument("--never", type=Path, help="list of images not to hold out")
    parser.add_argument("--groups", action="store_true", help="print the groups instead")
    arguments = parser.parse_args()
    listed = arguments.never.read_text(encoding="utf-8").split("\n") if arguments.never else []
    for folder in arguments.folders:
        paths = sorted((folder / "images").iterdir())
        groups = group(paths, arguments.correlation, arguments.distance)
        never = np.array([path.stem in listed for path in paths])
        held = hold_out(groups, arguments.share, arguments.seed, never)
        sizes = np.sort(np.bincount(groups))[::-1]
        print(
            f"# {folder.name}: {held.sum()} of {len(paths)} held out, "
            f"{len(set(groups[held]))} of {len(sizes)} groups, largest {sizes[:5].tolist()}"
        )
        for path, number, out in zip(paths, groups, held, strict=True):
            if arguments.groups:
                print(path.stem, f"{folder.name}-{number}")
            elif out:
                print(path.stem)


if __name__ == "__main__":
    main()
