"""Training: a generator of events that ends with the trained network."""

from __future__ import annotations

import logging
import math
import os
import pickle
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .annotations import boundary_classes
from .augment import Augmentation, crop, vary_intensity
from .errors import TrainingError
from .events import Event, Message, StepDone
from .losses import cross_entropy_dice, deep_supervision
from .network import SA2Net

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights are fitted."""

    steps: int = 4000
    batch: int = 8
    crop: int = 160
    """Height and width of a crop in pixels, a multiple of 16."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.03
    """Share of the first cycle's steps over which the learning rate rises."""
    hold: float = 0.0
    """Share of the first cycle's steps at the highest rate; afterwards it falls as a cosine."""
    restart_steps: tuple[int, ...] = ()
    """Steps at which a further cycle begins: the rate jumps up and falls again."""
    restart_rate: float = 0.5
    """Where a further cycle's rate begins, as a share of where the one before began."""
    hard_from: int = 0
    """Step from which badly fitted images are drawn more often, 0 for never: they are scored
    once at that step, and each data set keeps its share."""
    clip_norm: float = 2.0
    class_weights: tuple[float, ...] = ()
    """Weight of each class in the cross-entropy; none: all the same."""
    stage_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """Weight of each stage's loss, finest first."""
    diameter: float = 0.0
    """Object diameter in pixels towards which images are zoomed; 0: not at all."""
    diameter_pull: float = 0.25
    """How far: 0 not at all, 1 fully."""
    seed: int = 0
    checkpoint_every: int = 100


@dataclass(frozen=True)
class Sample:
    """A normalised training image with its instance mask."""

    image: NDArray[np.float32]
    """(C, H, W); one channel is shown to the network in all of its channels."""
    labels: NDArray[np.int32]
    """(H, W) instance numbers, 0 background."""
    weight: float = 1.0
    """Relative probability of being drawn."""
    diameter: float = 0.0
    """Median object diameter in pixels, 0 if there is none."""
    invert: float = 0.0
    dataset: str = ""


def hard_weights(
    network: SA2Net, samples: Sequence[Sample], least: float = 0.03
) -> NDArray[np.float64]:
    """Return how often to draw each sample, so that what is fitted badly is seen more.

    Within a data set the weights are in proportion to one minus the Dice of the finest
    stage's foreground, plus ``least``; each data set's sum stays what it was. The network is
    left in evaluation mode.
    """
    network.eval()
    device = next(network.parameters()).device
    error = np.empty(len(samples))
    for i, sample in enumerate(samples):
        height, width = (min(side, 512) // 16 * 16 for side in sample.labels.shape)
        x = torch.from_numpy(sample.image[None, :, :height, :width]).to(device)
        x = x.expand(-1, network.in_channels, -1, -1) if x.shape[1] == 1 else x
        with torch.inference_mode():
            found = network(x.contiguous(memory_format=torch.channels_last))[0].softmax(1)[0, 0]
        mask, true = found.cpu().numpy() < 0.5, sample.labels[:height, :width] > 0
        size = int(mask.sum()) + int(true.sum())
        error[i] = least + (1 - 2 * int((mask & true).sum()) / size if size else 0.0)
    before = np.array([sample.weight for sample in samples])
    names = np.array([sample.dataset for sample in samples])
    after = before * error
    for name in np.unique(names):
        of = names == name
        after[of] *= before[of].sum() / after[of].sum()
    return after


def draw_batch(
    samples: Sequence[Sample],
    weights: NDArray[np.float64],
    in_channels: int,
    settings: TrainingSettings,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw augmented crops: images (B, C, H, W) and classes (B, H, W)."""
    images, labels = [], []
    for index in rng.choice(len(samples), settings.batch, p=weights / weights.sum()):
        sample = samples[index]
        zoom = 1.0
        if settings.diameter > 0 and sample.diameter > 0:
            zoom = (settings.diameter / sample.diameter) ** settings.diameter_pull
        image, mask = crop(sample.image, sample.labels, settings.crop, augmentation, rng, zoom)
        image = image.expand(in_channels, -1, -1) if image.shape[0] == 1 else image
        image = 1 - image if rng.random() < sample.invert else image
        images.append(vary_intensity(image, augmentation, rng))
        labels.append(mask)
    x = torch.stack(images).contiguous(memory_format=torch.channels_last)
    return x, boundary_classes(torch.stack(labels))


def learning_rate_factor(step: int, settings: TrainingSettings) -> float:
    """Return the learning rate at ``step`` as a share of the highest: up, held, cosine down.

    Further cycles are a cosine alone.
    """
    begun = [restart for restart in settings.restart_steps if restart <= step]
    end = ([r for r in settings.restart_steps if r > step] or [settings.steps])[0]
    if begun:
        done = (step - begun[-1]) / max(1, end - begun[-1])
        return settings.restart_rate ** len(begun) * 0.5 * (1 + math.cos(math.pi * done))
    warmup = max(1.0, settings.warmup * end)
    if step < warmup:
        return (step + 1) / warmup
    falls_from = warmup + settings.hold * end
    left = max(1.0, end - falls_from)
    return 0.5 * (1 + math.cos(math.pi * max(0.0, step - falls_from) / left))


def fit(
    network: SA2Net,
    samples: Sequence[Sample],
    settings: TrainingSettings,
    augmentation: Augmentation,
    checkpoint: Path | None = None,
    identity: str = "",
) -> Generator[Event, None, SA2Net]:
    """Fit ``network`` to ``samples`` on the device it is on.

    Parameters
    ----------
    checkpoint
        File in which the state is kept as training goes on. If it exists and carries the
        same ``identity``, training goes on from it.
    identity
        Tells what the checkpoint belongs to, for instance a recipe's hash.

    Yields
    ------
    Event
        A :class:`StepDone` after every step.

    Raises
    ------
    TrainingError
        If the checkpoint belongs to something else, or the loss is no longer finite.
    """
    device = next(network.parameters()).device
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, settings)
    )
    class_weights = None
    if settings.class_weights:
        class_weights = torch.tensor(settings.class_weights, device=device)
    rng = np.random.default_rng(settings.seed)
    weights = np.array([sample.weight for sample in samples])
    start = 0
    if checkpoint is not None and checkpoint.exists():
        state = _read_checkpoint(checkpoint, identity)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        rng.bit_generator.state = state["rng"]
        start = state["step"]
        weights = np.array(state.get("weights", weights))
        yield Message(f"Going on at step {start} of {settings.steps}.")
    network.train()
    for step in range(start, settings.steps):
        began = time.perf_counter()
        if settings.hard_from and step == settings.hard_from:
            yield Message("Scoring the training images, to draw the badly fitted more often.")
            weights = hard_weights(network, samples)
            network.train()
        images, classes = draw_batch(
            samples, weights, network.in_channels, settings, augmentation, rng
        )
        optimizer.zero_grad(set_to_none=True)
        loss = deep_supervision(
            network(images.to(device)),
            classes.to(device),
            lambda logits, target: cross_entropy_dice(logits, target, class_weights),
            settings.stage_weights,
        )
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss is no longer finite at step {step}: lower the learning rate "
                f"({settings.learning_rate:g})."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        rate = float(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        done = step + 1
        if checkpoint is not None and (
            done % settings.checkpoint_every == 0 or done == settings.steps
        ):
            extra = {"rng": rng.bit_generator.state, "weights": weights.tolist(), "step": done}
            _write_checkpoint(checkpoint, identity, network, optimizer, scheduler, extra)
        yield StepDone(
            done, settings.steps, float(loss.detach()), rate, time.perf_counter() - began
        )
    network.eval()
    return network


def _read_checkpoint(path: Path, identity: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        known = state["identity"] == identity
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"The training state {path} cannot be read: delete it to begin anew."
        ) from error
    if not known:
        raise TrainingError(
            f"The training state in {path} belongs to other settings: delete it, or train with "
            "the settings it was made with."
        )
    return state


def _write_checkpoint(
    path: Path,
    identity: str,
    network: SA2Net,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    extra: dict[str, Any],
) -> None:
    state = {
        "identity": identity,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        **extra,
    }
    partial = path.with_name(path.name + ".part")
    torch.save(state, partial)
    os.replace(partial, path)
