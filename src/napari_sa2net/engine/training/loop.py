"""Training: a generator of events that ends with the trained network."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import TrainingError
from ..events import Event, Message, StepDone
from ..network import SA2Net
from .augment import Augmentation
from .checkpoints import read_checkpoint, write_checkpoint
from .losses import cross_entropy_dice, deep_supervision
from .samples import Sample, draw_batch, hard_weights
from .settings import TrainingSettings


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
        state = read_checkpoint(checkpoint, identity)
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
            write_checkpoint(checkpoint, identity, network, optimizer, scheduler, extra)
        yield StepDone(
            done, settings.steps, float(loss.detach()), rate, time.perf_counter() - began
        )
    network.eval()
    return network
