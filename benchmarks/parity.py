"""Compare all four stages with the outputs of the authors' program.

    python benchmarks/parity.py [FOLDER]

FOLDER holds the two checkpoints in the authors' formats and their stored outputs; it defaults
to the copies the tests use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from napari_sa2net.engine.official import import_checkpoint

PAIRS = {
    "val_best_model-MyNet_999.pth.tar": "binary_rgb.npz",
    "best_model_state_dict.pt": "two_class_4ch.npz",
}
FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "official_checkpoints"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FIXTURES)
    folder = parser.parse_args().folder
    print("| checkpoint | input | stage 1 | stage 2 | stage 3 | stage 4 |")
    print("|---|---|---|---|---|---|")
    for checkpoint, outputs in PAIRS.items():
        network = import_checkpoint(folder / checkpoint).network.eval()
        stored = np.load(folder / outputs)
        for name in sorted(key for key in stored.files if key.startswith("input_")):
            number = name.removeprefix("input_")
            with torch.inference_mode():
                stages = network(torch.from_numpy(stored[name]))
            if network.num_classes == 1:
                stages = [stage.sigmoid() for stage in stages]
            apart = [
                np.abs(stage.numpy() - stored[f"stage{i}_{number}"]).max()
                for i, stage in enumerate(stages, 1)
            ]
            shape = " × ".join(map(str, stored[name].shape))
            print(f"| {checkpoint} | {shape} | " + " | ".join(f"{d:.1e}" for d in apart) + " |")


if __name__ == "__main__":
    main()
