"""Choosing and describing the device the network runs on.

torch is imported by the functions, so that importing this module stays cheap.
"""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import DeviceError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_MEMORY_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "alloc_failed",
    "cudaerrormemoryallocation",
    "std::bad_alloc",
    "invalid buffer size",  # MPS, for a buffer larger than it can ever give
)


@dataclass(frozen=True)
class Device:
    """A device of this machine."""

    device: str
    """Its name for torch: ``"cpu"``, ``"cuda:0"``, ``"mps"``."""
    description: str


@dataclass(frozen=True)
class DeviceChoice:
    """The device to use, and why, for a person to read."""

    device: str
    reason: str


def list_devices() -> list[Device]:
    """Return the devices that work here, the one preferred by ``"auto"`` first."""
    import torch

    found = []
    try:
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            properties = torch.cuda.get_device_properties(i)
            text = f"{properties.name}, {properties.total_memory / 2**30:.0f} GB"
            found.append(Device(f"cuda:{i}", text))
    except RuntimeError:  # a broken driver must not keep the processor from working
        logger.warning("CUDA is there but cannot be used", exc_info=True)
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU (MPS)"))
    found.append(Device("cpu", f"processor, {torch.get_num_threads()} thread(s)"))
    return found


def choose_device(wanted: str = "auto", turn: int = 0) -> DeviceChoice:
    """Choose the device to run on.

    Parameters
    ----------
    wanted
        ``"auto"`` takes CUDA, then Apple's MPS, then the CPU, leaving out what fails a small
        trial. Otherwise ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"gpu"`` for
        whichever GPU there is.
    turn
        With ``"auto"``: begin at this of several CUDA devices, and at the first again after the
        last. Processes that run beside each other have one each so.

    Raises
    ------
    DeviceError
        If the wanted device is unknown or not there; says what is there.
    """
    devices = list_devices()
    name = wanted.strip().lower()
    if name == "auto":
        several = max(1, sum(device.device.startswith("cuda") for device in devices))
        first = turn % several
        return _first_that_works(devices[first:several] + devices[:first] + devices[several:])
    if name == "gpu":
        name = devices[0].device if devices[0].device != "cpu" else "gpu"
    name = {"cuda": "cuda:0", "mps:0": "mps"}.get(name, name)
    for device in devices:
        if device.device == name:
            return DeviceChoice(name, f"{name} ({device.description}), as asked for.")
    there = ", ".join(f"{d.device} ({d.description})" for d in devices)
    raise DeviceError(
        f"The device {wanted!r} is not on this machine, which has: {there}. Choose one of these "
        f"or 'auto'.{_why_no_gpu(name)}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out, of whatever device."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing torch
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in text for part in _MEMORY_TEXTS)


def free_memory(device: str) -> None:
    """Give memory that nothing uses any more back to the device."""
    if not device.startswith(("cuda", "mps")):
        return  # the processor's memory is free as soon as nothing refers to it
    import torch

    gc.collect()
    try:
        if _is_apple(device):
            torch.mps.empty_cache()
            return
        torch.cuda.empty_cache()
        if hasattr(torch, "accelerator") and hasattr(torch.accelerator, "empty_host_cache"):
            torch.accelerator.empty_host_cache()  # what copies to and from the card went through
    except RuntimeError:  # the device is broken: whoever noticed has said so
        logger.warning("The memory of %s could not be freed", device, exc_info=True)


def layout_for(device: str) -> torch.memory_format:
    """Return in which order a device computes a network quickest.

    Channels last everywhere, but Apple's backend has had wrong results with that.
    """
    import torch

    return torch.contiguous_format if _is_apple(device) else torch.channels_last


def has_bfloat16(device: str) -> bool:
    """Tell whether a device is an NVIDIA card that computes in bfloat16 itself.

    Older ones than Ampere do it by detours, if at all.
    """
    import torch

    return device.startswith("cuda") and torch.cuda.get_device_capability(device) >= (8, 0)


def _is_apple(device: str) -> bool:
    return device.split(":")[0] == "mps"  # a tensor says "mps:0"


def _first_that_works(devices: list[Device]) -> DeviceChoice:
    failures = []
    for device in devices:
        if device.device == "cpu":
            break
        problem = _trial(device.device)
        if problem is None:
            return DeviceChoice(
                device.device, f"{device.device} ({device.description}): the fastest here."
            )
        failures.append(f"{device.device} ({device.description}) failed a trial: {problem}")
    why = "; ".join(failures) or "no GPU that torch can use was found"
    return DeviceChoice("cpu", f"cpu ({devices[-1].description}): {why}.{_why_no_gpu('cuda')}")


def _trial(device: str) -> str | None:
    """Run a small convolution; return the first line of what went wrong."""
    import torch

    try:
        x = torch.zeros(1, 1, 4, 4, device=device)
        torch.nn.functional.conv2d(x, torch.zeros(1, 1, 3, 3, device=device)).sum().item()
    except (RuntimeError, NotImplementedError) as error:
        logger.warning("%s failed a trial", device, exc_info=True)
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None


def _why_no_gpu(name: str) -> str:
    """Explain a missing NVIDIA GPU as far as torch tells."""
    import torch

    if not name.startswith(("cuda", "gpu")) or torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return " The installed torch was built without CUDA; pytorch.org tells how to get one with."
    return " The installed torch has CUDA but finds no NVIDIA GPU with a working driver."
