"""A model as a package of the BioImage Model Zoo (bioimage.io).

The package holds the ONNX file, the model file itself, so that nothing is lost when it is
imported again, and a test. Format: bioimageio.spec, model description 0.5.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..cards import ModelCard
from ..errors import InputError, SA2NetError
from ..execution.graphs import OPSET
from ..execution.maps import probabilities
from ..files import replacing
from ..folders import target_of
from ..images import normalize
from ..model_files import Model, save_model
from ..network import STAGES, STRIDE
from ..official import ARXIV, PAPER
from .onnx_file import export_onnx
from .package import MODEL_FILE
from .requirements import require

SUFFIX = ".zip"

_TEST_SHAPE = (4 * STRIDE, 6 * STRIDE)

_DOI = re.compile(r"10\.\d{4,}/[^\s,;]+[^\s,;.]")


def export_bioimage(model: Model, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a model as a BioImage Model Zoo package; it is validated and its test is run first.

    Parameters
    ----------
    path
        The file, to which ``.zip`` is added if it has no such ending, or a folder that exists,
        in which the file gets the model's name.
    overwrite
        Replace a file that exists.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    InputError
        If packages are missing, the file exists, or the card's normalisation cannot be said in
        the format.
    SA2NetError
        If the package does not pass its validation or test, or cannot be written; no file is
        left then.
    """
    require("BioImage Model Zoo packages", "bioimageio", "bioimageio.core", "onnx", "onnxruntime")
    target = target_of(model.card.name, path, SUFFIX, overwrite=overwrite)
    # The format's own library leaves files open, which Windows does not let go of at once.
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with scratch as folder, replacing(target) as partial:
        made = _package(model, Path(folder))
        _check(made)
        partial.write_bytes(made.read_bytes())
    return target


def preprocessing(card: ModelCard) -> list[dict[str, Any]]:
    """Return how an image is normalised, in the format's terms.

    Raises
    ------
    InputError
        If there are no such terms.
    """
    norm = card.normalization
    if norm.method == "none":
        return []
    if norm.method == "scale":
        return [{"id": "scale_linear", "kwargs": {"gain": 1 / norm.divisor, "offset": 0.0}}]
    percentile = norm.method == "percentile"
    low, high = (norm.low, norm.high) if percentile else (0.0, 100.0)
    if not 0 <= low < high or high <= 1 or not 0 < norm.eps <= 0.1:
        raise InputError(
            f"The normalisation of {card.name!r} (percentiles {low:g} to {high:g}, eps "
            f"{norm.eps:g}) cannot be said in a BioImage Model Zoo package."
        )
    axes = ["channel", "y", "x"] if norm.joint and not percentile else ["y", "x"]
    scale = {"axes": axes, "min_percentile": low, "max_percentile": high, "eps": norm.eps}
    clip = {"min": norm.clip[0], "max": norm.clip[1]}
    return [{"id": "scale_range", "kwargs": scale}, {"id": "clip", "kwargs": clip}]


def _package(model: Model, folder: Path) -> Path:
    """Write everything into ``folder`` and return the package."""
    from bioimageio.spec import save_bioimageio_package
    from bioimageio.spec.model.v0_5 import ModelDescr

    card = model.card
    export_onnx(model, folder / "weights.onnx")
    save_model(model, folder / MODEL_FILE)
    (folder / "README.md").write_text(_readme(card), encoding="utf-8")
    image = _test_image(card)
    np.save(folder / "test_input.npy", image)
    for name, values in _expected(model, image).items():
        np.save(folder / f"test_{name}.npy", values)
    table = _description(card, folder)
    try:
        descr = ModelDescr.model_validate(table)
        return Path(save_bioimageio_package(descr, output_path=folder / "package.zip"))
    except ValueError as error:  # pydantic's
        raise SA2NetError(
            f"The model {card.name!r} does not make a valid BioImage Model Zoo package: {error}"
        ) from error


def _description(card: ModelCard, folder: Path) -> dict[str, Any]:
    from bioimageio.spec.model.v0_5 import ModelDescr

    def file(name: str) -> dict[str, Any]:
        return {"source": folder / name}

    def space(reference: bool) -> list[dict[str, Any]]:
        return [
            {
                "type": "space",
                "id": axis,
                "size": {"tensor_id": "image", "axis_id": axis}
                if reference
                else {"min": STRIDE, "step": STRIDE},
            }
            for axis in "yx"
        ]

    def tensor(name: str, channels: list[str], *, out: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": name,
            "axes": [
                {"type": "batch"},
                {"type": "channel", "channel_names": channels},
                *space(out),
            ],
            "test_tensor": file("test_input.npy" if not out else f"test_{name}.npy"),
            "data": {"type": "float32"},
        }
        return found

    channels = list(card.channels) or [f"channel{i}" for i in range(card.in_channels)]
    classes = [info.name for info in card.classes]
    image = tensor("image", channels, out=False)
    image["preprocessing"] = preprocessing(card)
    outputs = []
    for number in range(1, STAGES + 1):
        output = tensor(f"stage{number}", classes, out=True)
        output["description"] = f"Probabilities of decoder stage {number}, 1 the finest"
        outputs.append(output)
    table: dict[str, Any] = {
        "type": "model",
        "format_version": ModelDescr.implemented_format_version,
        "name": re.sub(r"[^\w+\-() ]", " ", f"SA2-Net {card.name}", flags=re.ASCII)[:128],
        "description": card.description[:1000] or f"SA2-Net {card.name}",
        "authors": [{"name": _author(card)}],
        "cite": _citations(card),
        "tags": ["sa2net", "2d", "semantic-segmentation", "pytorch", "onnx"],
        "documentation": file("README.md"),
        "attachments": [file(MODEL_FILE)],
        "inputs": [image],
        "outputs": outputs,
        "weights": {"onnx": {**file("weights.onnx"), "opset_version": OPSET}},
    }
    table["license"] = _licence(card, folder)
    return table


def _licence(card: ModelCard, folder: Path) -> Any:
    """Return the SPDX identifier, or a file that says what the card says."""
    from bioimageio.spec.model.v0_5 import LicenseId
    from pydantic import TypeAdapter, ValidationError

    named = card.licence.strip().replace(" ", "-")
    try:
        TypeAdapter(LicenseId).validate_python(named)
    except ValidationError:
        pass
    else:
        return named
    text = card.licence or "No licence was stated for this model: ask those who made it."
    (folder / "LICENSE.txt").write_text(f"{text}\n", encoding="utf-8")
    return {"source": folder / "LICENSE.txt"}


def _author(card: ModelCard) -> str:
    """Return who made a model, as far as its card tells."""
    if "recipe" in card.extra:
        return "The napari-sa2net developers"
    return "unknown, see the documentation"


def _citations(card: ModelCard) -> list[dict[str, str]]:
    """Return the network's paper and what the card cites, each with its DOI."""
    found = [{"text": PAPER, "doi": f"10.48550/arXiv.{ARXIV}"}]
    for text in card.citation.split("; "):
        doi = _DOI.search(text)
        if doi:
            found.append({"text": text, "doi": doi.group()})
    return found


def _readme(card: ModelCard) -> str:
    """Return the documentation that goes with the package."""
    figures = [f"- {f.name}: {f.value:g}" + (f" (`{f.command}`)" if f.command else "")
               for f in card.figures]  # fmt: skip
    sizes = []
    if card.diameter is not None:
        sizes.append(f"Objects should be about {card.diameter:g} pixels wide: resample the image.")
    if card.pixel_size is not None:
        sizes.append(f"A pixel should be {card.pixel_size:g} µm wide: resample the image.")
    classes = ", ".join(info.name for info in card.classes)
    lines = [
        f"# SA2-Net {card.name}",
        card.description,
        f"Classes, in the order of the outputs' channels: {classes}. `stage1` is the result; "
        "`stage2` to `stage4` are those of the coarser decoder stages.",
        *sizes,
        f"Training data: {card.training_data}" if card.training_data else "",
        f"Citation of the data: {card.citation}" if card.citation else "",
        f"Licence: {card.licence}" if card.licence else "",
        "# Validation",
        "\n".join(figures)
        or "No figures were measured. Compare results with known masks: Dice of "
        "the foreground, average precision of the objects.",
        f"Members, whose probabilities are averaged: {', '.join(m.name for m in card.members)}"
        if card.members
        else "",
        f"`{MODEL_FILE}` is the same model for napari-sa2net"
        + (", which can also fine-tune it." if not card.members else "."),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _test_image(card: ModelCard) -> NDArray[np.float32]:
    """Return a made-up image (1, C, H, W): bright discs on an uneven, noisy background."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: _TEST_SHAPE[0], : _TEST_SHAPE[1]]
    image = 20 + 0.2 * x
    for row in range(16, _TEST_SHAPE[0], 32):
        for column in range(16, _TEST_SHAPE[1], 32):
            image = image + 100 * (np.hypot(y - row, x - column) < 9)
    noise = rng.normal(0, 4, (card.in_channels, *_TEST_SHAPE))
    found: NDArray[np.float32] = (image + noise).clip(0, 255).astype(np.float32)[None]
    return found


def _expected(model: Model, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    normalised = normalize(image[0], model.card.normalization)[None]
    network = model.network
    device, training = next(network.parameters()).device, network.training
    try:
        with torch.inference_mode():
            stages = network.eval()(torch.from_numpy(normalised).to(device))
        made = {f"stage{i}": probabilities(s).cpu().numpy() for i, s in enumerate(stages, 1)}
    finally:
        network.train(training)
    return made


def _check(path: Path) -> None:
    from bioimageio.core import test_model

    summary = test_model(path, weight_format="onnx")
    if summary.status != "passed":
        raise SA2NetError(
            f"The BioImage Model Zoo package does not pass its test:\n{summary.format()}"
        )
