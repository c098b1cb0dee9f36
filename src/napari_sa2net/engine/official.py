"""Reading the checkpoints that the authors of SA2-Net published or that their program writes.

Two formats: the MoNuSeg and GlaS trainings save a dictionary with ``state_dict`` among other
things (``.pth.tar``, 3 channels, 1 class); the SegPC and ISIC trainings save the bare state
dictionary (``.pt``, 4 or 3 channels, 2 classes). Width, channels and classes are not written
down in either, and follow from the tensors' shapes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cards import ModelCard
from .errors import WeightsError
from .images import Normalization
from .model_files import Model, build_network, check_tensors
from .pytorch_files import NotDataError, load_data

if TYPE_CHECKING:
    from torch import Tensor

UNUSED = re.compile(
    r"Multi_scale_Fuse\d\."  # never called
    r"|bottleneck\.gcn\d\.dwconv[35]x[35]_1\."  # a second branch of LSA, never called
    r"|up\d\.AG\.weight\."  # a gate of AuA whose result is thrown away
)
"""Names of tensors that are in the checkpoints but never enter the computation."""

PAPER = (
    "Fiaz, Heidari, Anwer, Cholakkal: SA2-Net: Scale-aware Attention Network for Microscopic "
    "Image Segmentation, BMVC 2023"
)
ARXIV = "2309.16661"


def import_checkpoint(path: str | Path) -> Model:
    """Read a checkpoint of the authors' program.

    The tensors are read with ``weights_only=True``: code in the file is never run. Tensors that
    the authors' program stores but never uses are dropped.

    Returns
    -------
    Model
        The network in evaluation mode on the CPU, and a card with the preprocessing of the
        authors' program: blue, green, red divided by 255 for a binary model, minimum to maximum
        for the others. Licence, training data and class names are not in the file.

    Raises
    ------
    WeightsError
        If the file cannot be read, holds code, or its tensors do not fit; tensors that are
        missing, unexpected or of the wrong shape are named as in the file.
    """
    path = Path(path)
    tensors = _state_dict(_load(path), path)
    try:
        base_channels, in_channels = tensors["inc.conv.weight"].shape[:2]
        num_classes = tensors["outc4.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{path} is not a checkpoint of SA2-Net: it has no usable inc.conv.weight and "
            "outc4.weight. Choose a checkpoint of the authors' program, or a model file of "
            "napari-sa2net."
        ) from error
    if min(base_channels, in_channels, num_classes) < 1:
        raise WeightsError(f"{path} holds empty tensors: get it again.")
    used = {key: value for key, value in tensors.items() if not UNUSED.match(key)}
    where = f"The checkpoint {path}"
    names = _names(in_channels, num_classes, base_channels, used, where)
    network = build_network(
        {names[key]: value for key, value in used.items()},
        in_channels,
        num_classes,
        base_channels,
        where,
    )
    return Model(network, _card(path, in_channels, num_classes, base_channels))


def key_map() -> dict[str, str]:
    """Return the authors' names of the network's parts with the names used here."""
    names = {
        "inc": "encoder.stem",
        "side_conv5": "encoder.side_bottom",
        "bottleneck.bn": "attention.global_attention.norm",
        "bottleneck.conv": "attention.global_attention.conv",
        "bottleneck.qconv": "attention.global_attention.qconv",
    }
    for i in range(3):
        names[f"side_conv{i + 2}"] = f"encoder.side.{i}"
    for i in range(4):
        up = f"up{i + 1}"
        names |= {
            f"down{i + 1}.nConvs": f"encoder.down.{i}",
            f"bottleneck.gcn{i + 1}": f"attention.local_attention.{i}",
            f"bottleneck.mlp{i + 1}": f"attention.mlp.{i}",
            f"bottleneck.conv{i + 1}": f"attention.out.{i}",
            f"{up}.nConvs": f"decoder.{i}.blocks",
            f"{up}.AG.dwconv.0": f"decoder.{i}.norm",
            f"{up}.AG.dwconv.1": f"decoder.{i}.up_proj",
            f"{up}.AG.dwconv.3": f"decoder.{i}.up_dwconv",
            f"{up}.AG.conv.0": f"decoder.{i}.skip_dwconv",
            f"{up}.AG.proj": f"decoder.{i}.proj",
            f"{up}.AG.psi.0": f"decoder.{i}.psi_conv",
            f"{up}.AG.psi.1": f"decoder.{i}.psi_norm",
            f"outc{4 - i}": f"heads.{i}",  # theirs are numbered from the coarsest
        }
    return names


def _load(path: Path) -> Any:
    """Return what is in a PyTorch file, if it is nothing but data."""
    try:
        return load_data(path)
    except OSError as error:
        raise WeightsError(f"The checkpoint {path} cannot be read: {error}.") from error
    except NotDataError as error:
        raise WeightsError(
            f"{path} holds objects of a program beside the tensors ({error}). It was not loaded, "
            "because that could run any code. Ask for a file with the state dictionary only, as "
            "torch.save(network.state_dict(), file) writes it."
        ) from error
    except ValueError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: ValueError) -> WeightsError:
    if path.suffix.lower() == ".onnx":
        return WeightsError(
            f"{path} is an ONNX file, which is for other programs: choose the model's "
            ".safetensors file, or the .zip of a package that was exported."
        )
    return WeightsError(
        f"{path} is not a PyTorch checkpoint, or it is damaged: get it again, or choose another "
        f"({str(error).splitlines()[0] if str(error) else 'it ends too early'})."
    )


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors by name from either format."""
    import torch

    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{path} holds no state dictionary: choose a checkpoint of a network.")
    # Trained on several GPUs, every name begins with "module.".
    named = {str(key).removeprefix("module."): value for key, value in content.items()}
    strange = [key for key, value in named.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise WeightsError(
            f"{path} is not a checkpoint of SA2-Net: {strange[0]} is no tensor. Choose a "
            "checkpoint of the authors' program."
        )
    return named


def _names(
    in_channels: int, num_classes: int, base_channels: int, tensors: dict[str, Tensor], where: str
) -> dict[str, str]:
    """Return the tensors' names here by their names in the file, after checking all of them."""
    import torch

    from .network import SA2Net

    with torch.device("meta"):
        state = SA2Net(in_channels, num_classes, base_channels).state_dict()
    theirs = {ours: name for name, ours in key_map().items()}
    names = {}
    for key in state:
        part = next(ours for ours in theirs if key.startswith(f"{ours}."))
        names[theirs[part] + key.removeprefix(part)] = key
    # Named as in the file, because that is where a person will look.
    check_tensors(tensors, {name: state[key] for name, key in names.items()}, where)
    return names


def _card(path: Path, in_channels: int, num_classes: int, base_channels: int) -> ModelCard:
    """Return a card with the preprocessing of the authors' program."""
    if num_classes == 1:
        normalization = Normalization("scale", divisor=255.0, clip=(0.0, 1.0))
        channels: tuple[str, ...] = ("blue", "green", "red") if in_channels == 3 else ()
        made = "as for MoNuSeg and GlaS; it was trained on images resized to 224 × 224 pixels"
    else:
        normalization = Normalization("minmax", joint=True, clip=(0.0, 1.0))
        channels = ("red", "green", "blue") if in_channels in (3, 4) else ()
        channels += ("nucleus mask",) if in_channels == 4 else ()
        made = "as for SegPC and ISIC"
    name = path.name
    for suffix in (".tar", ".pth", ".pt"):
        name = name.removesuffix(suffix)
    return ModelCard(
        name=name or "checkpoint",
        description=f"Imported from a checkpoint of the SA2-Net authors' program ({made}).",
        file=path.name,
        bytes=path.stat().st_size,
        licence="unknown: ask whoever made the checkpoint",
        citation=f"{PAPER}, arXiv:{ARXIV}",
        base_channels=base_channels,
        in_channels=in_channels,
        num_classes=num_classes,
        channels=channels,
        normalization=normalization,
        result="instances" if num_classes == 1 else "classes",
        extra={"imported_from": path.name},
    )
