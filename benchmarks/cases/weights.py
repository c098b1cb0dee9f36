"""Model files, checkpoints and packages, most of them not as they should be."""

from __future__ import annotations

import functools
import io
import json
import logging
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from cases.drawing import NAMES, Draw, damaged, mutated, odd_json
from cases.networks import KINDS, network_model
from cases.outcomes import Wrong

_EXECUTED = "campaign-was-executed"
"""Folder that code in a hostile file would make."""


def run(draw: Draw, folder: Path) -> None:
    """Write a file, and do with it what a person does."""
    make = draw.weighted({_model_file: 6, _checkpoint: 3, _package: 2})
    name = draw.among("model", "my cells", "µ", "nuclei", "x" * 120, "a.b")
    path: Path = make(draw, folder, name)
    os.chdir(folder)
    try:
        _use(draw, folder, path)
    finally:
        if (folder / _EXECUTED).exists():
            raise Wrong("code in a file was executed", path.name)


# What is written.


def _model_file(draw: Draw, folder: Path, name: str) -> Path:
    """Write a safetensors file."""
    from napari_sa2net.engine.model_files import model_bytes

    path = folder / f"{name}{draw.among('.safetensors', '.safetensors', '.SAFETENSORS', '.pt')}"
    kind = draw.among(*KINDS)
    draw.say(f"model file {kind} {path.name}")
    data = model_bytes(network_model(kind))
    how = draw.weighted(
        {"as it is": 1, "card": 5, "content": 1, "header": 3, "tensors": 2, "length": 1,
         "deep": 0.5, "bytes": 2, "counts": 2}
    )  # fmt: skip
    draw.say(how)
    header, tensors = _parted(data)
    if how == "card":
        content = json.loads(header["__metadata__"]["napari-sa2net"])
        content["card"] = mutated(draw, content["card"])
        data = _joined(_with_content(header, content), tensors)
    elif how == "counts":
        content = json.loads(header["__metadata__"]["napari-sa2net"])
        name = draw.among("num_classes", "members", "base_channels", "in_channels", "classes")
        count = draw.among(0, -1, 2, 3, 20, 1000, 3_000_000, 10**12, 2.5, "3")
        if name in ("members", "classes"):
            count = min(int(float(count)), 200_000)
            content["card"][name] = [{"name": f"n{i}"} for i in range(count)]
        else:
            content["card"][name] = count
        draw.say(f"{name} {count}")
        data = _joined(_with_content(header, content), tensors)
    elif how == "content":
        content = json.loads(header["__metadata__"]["napari-sa2net"])
        data = _joined(_with_content(header, mutated(draw, content)), tensors)
    elif how == "header":
        data = _joined(mutated(draw, header), tensors)
    elif how == "tensors":
        data = _joined(_other_tensors(draw, header), tensors)
    elif how == "length":
        length = draw.among(0, 1, 2, 8, 99_999_999, 2**40, 2**63, len(data))
        draw.say(length)
        data = struct.pack("<Q", length) + data[8:]
    elif how == "deep":
        deep = draw.among("[", '{"a":') * draw.among(500, 5_000, 200_000)
        data = struct.pack("<Q", len(deep)) + deep.encode() + tensors
    elif how == "bytes":
        data = damaged(draw, data)
    path.write_bytes(data)
    return path


def _parted(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(header: Any, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def _with_content(header: dict[str, Any], content: Any) -> dict[str, Any]:
    return {**header, "__metadata__": {"napari-sa2net": json.dumps(content)}}


def _other_tensors(draw: Draw, header: dict[str, Any]) -> dict[str, Any]:
    """Change what the header says of some tensors."""
    names = [name for name in header if name != "__metadata__"]
    for _ in range(draw.among(1, 2, 5)):
        name = draw.among(*names)
        entry = dict(header[name])
        change = draw.among("dtype", "shape", "data_offsets", "name")
        if change == "dtype":
            entry["dtype"] = draw.among("F64", "F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3",
                                        "F8_E5M2", "I64", "C64", "F4", "X", "")  # fmt: skip
        elif change == "shape":
            entry["shape"] = draw.among([], [0], [1], [10**9], [2**62, 4], [-1], [1] * 70,
                                        list(reversed(entry["shape"])))  # fmt: skip
        elif change == "data_offsets":
            entry["data_offsets"] = draw.among([0, 0], [0, 2**62], [4, 0], [0, 4], [1, 5], [])
        else:
            header[draw.among(*NAMES[:20])] = entry
        draw.say(f"{name}: {change} {entry.get(change)}", 90)
        header[name] = entry
    return header


class _Code:
    """Runs a command when it is unpickled by somebody who trusts it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (_EXECUTED,)


def _checkpoint(draw: Draw, folder: Path, name: str) -> Path:
    """Write a checkpoint as the authors' program does, or nearly."""
    import torch

    path = folder / f"{name}{draw.among('.pth', '.pt', '.pth.tar', '.ckpt', '.safetensors', '')}"
    state = _authors_state(draw.among(1, 2, 3), draw.among(2, 3))
    how = draw.weighted(
        {"as it is": 1, "other values": 4, "other names": 1, "expanded": 1.5, "not finite": 0.5,
         "code": 2, "other objects": 2, "bytes": 2, "other zip": 1, "other dtype": 1}
    )  # fmt: skip
    draw.say(f"checkpoint {how} {path.name}")
    content: Any = {"state_dict": state, "epoch": 3} if draw.chance(0.5) else state
    key = draw.among(*state)
    if how == "other values":
        for _ in range(draw.among(1, 2, 5)):
            draw.say(key)
            state[draw.among(*state, key)] = draw.weighted(
                {
                    lambda: odd_json(draw): 1,
                    lambda: torch.zeros(draw.among((), (0,), (1,), (2, 2), (1,) * 8)): 2,
                    lambda: torch.zeros(3, dtype=torch.complex64): 0.5,
                    lambda: torch.zeros(3, 3).to_sparse(): 0.5,
                    lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8): 0.2,
                    lambda: torch.zeros(2, device="meta"): 0.5,
                    lambda: torch.nn.Parameter(torch.zeros(4)): 0.5,
                }
            )()
    elif how == "other names":
        prefix = draw.among("module.", "model.", "module.module.", "\x1b[31m", "µ", "")
        changed = {draw.among(*NAMES, 3, None, (1, 2)) if draw.chance(0.1) else f"{prefix}{k}": v
                   for k, v in state.items()}  # fmt: skip
        content = changed
    elif how == "expanded":
        count = draw.among(2, 1000, 10**5, 10**7)
        place = draw.among("inc.conv.weight", "outc4.weight", key)
        shape = (count, *state[place].shape[1:])
        draw.say(f"{place} {shape}")
        state[place] = torch.zeros(1).expand(shape)
    elif how == "not finite":
        state[key] = torch.full_like(state[key], draw.among(np.nan, np.inf), dtype=torch.float32)
    elif how == "other dtype":
        kinds = (torch.float16, torch.float64, torch.int8, torch.bool, torch.float8_e4m3fn,
                 torch.bfloat16, torch.uint16)  # fmt: skip
        dtype = draw.among(*kinds)
        draw.say(dtype)
        for name in list(state):
            state[name] = state[name].to(dtype)
    elif how == "code":
        content = draw.among(_Code(), {"state_dict": _Code()}, {**state, "code": _Code()})
        if draw.chance(0.5):
            path.write_bytes(pickle.dumps(content, draw.among(0, 2, 4)))
            return path
    elif how == "other objects":
        content = draw.among(
            [], {}, None, 5, "text", {"state_dict": []}, {"state_dict": None}, [state], {"a": {}},
            {"state_dict": {"state_dict": state}}, torch.zeros(3), {1: torch.zeros(1)}, set(),
            torch.nn.Linear(2, 2), np.zeros(3), {"inc.conv.weight": 1},
        )  # fmt: skip
        draw.say(repr(content), 60)
    elif how == "other zip":
        with zipfile.ZipFile(path, "w") as archive:
            for entry in draw.subset(("archive/data.pkl", "archive/version", "data.pkl", "../x")):
                archive.writestr(entry, draw.among(b"", b"3\n", draw.randbytes(50)))
        return path
    torch.save(content, path, _use_new_zipfile_serialization=draw.chance(0.8))
    if how == "bytes":
        path.write_bytes(damaged(draw, path.read_bytes()))
    return path


def _authors_state(classes: int, channels: int) -> dict[str, Any]:
    """Return random tensors under the names of the authors' program."""
    import torch

    from napari_sa2net.engine.network import SA2Net
    from napari_sa2net.engine.official import key_map

    torch.manual_seed(0)
    state = SA2Net(channels, classes, 2).state_dict()
    theirs = {ours: name for name, ours in key_map().items()}
    named = {}
    for key, value in state.items():
        part = next(ours for ours in theirs if key.startswith(f"{ours}."))
        named[theirs[part] + key.removeprefix(part)] = value
    return named


def _package(draw: Draw, folder: Path, name: str) -> Path:
    """Write a package of the BioImage Model Zoo, or what looks like one."""
    from napari_sa2net.engine.model_files import model_bytes

    path = folder / f"{name}{draw.among('.zip', '.zip', '.bioimageio', '.pt')}"
    data = model_bytes(network_model(draw.among("grey", "nuclei")))
    how = draw.weighted(
        {"as it is": 1, "large": 1.5, "locked": 1, "other method": 1, "damaged": 3, "model": 2,
         "names": 2, "twice": 0.5}
    )  # fmt: skip
    draw.say(f"package {how} {path.name}")
    method = draw.among(zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA,
                        zipfile.ZIP_BZIP2)  # fmt: skip
    model, table = "model.safetensors", draw.among("rdf.yaml", "bioimageio.yaml")
    if how == "names":
        model = draw.among("../model.safetensors", "/model.safetensors", "weights.pt",
                           "model.safetensors/", "MODEL.SAFETENSORS", *NAMES[10:16])  # fmt: skip
    elif how == "model":
        header, tensors = _parted(data)
        data = draw.among(damaged(draw, data), b"", _joined(mutated(draw, header), tensors))
    if "\x00" in model:
        model = "model"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(table, draw.among("type: model\n", "", "\x00", "{"))
        archive.writestr(model, data)
        if how == "twice":
            archive.writestr(model, data[: len(data) // 2])
    if how == "large":
        size = draw.among(10**8, 3 * 10**9)
        draw.say(f"{size / 1e9:g} GB of zeros")
        path.write_bytes(_large_package(size))
    elif how in ("locked", "other method"):
        _mark(path, how, draw)
    elif how == "damaged":
        path.write_bytes(damaged(draw, path.read_bytes()))
    return path


@functools.cache
def _large_package(size: int) -> bytes:
    """Return a small package whose model is large once it is unpacked."""
    piece, content = bytes(2**20), io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("rdf.yaml", "type: model\n")
        with archive.open("model.safetensors", "w", force_zip64=True) as file:
            for _ in range(size // len(piece)):
                file.write(piece)
    return content.getvalue()


def _mark(path: Path, how: str, draw: Draw) -> None:
    """Say in an archive's headers that its content is encrypted, or compressed in a new way."""
    content = bytearray(path.read_bytes())
    for signature, flags, method in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        at = content.find(signature)
        while at >= 0:
            if how == "locked":
                content[at + flags] |= 1
            else:
                content[at + method] = draw.among(9, 93, 95, 98, 99, 200)
            at = content.find(signature, at + 4)
    path.write_bytes(bytes(content))


# What is done with it.


def _use(draw: Draw, folder: Path, path: Path) -> None:
    from napari_sa2net.engine import weights

    then = draw.weighted({"in the folder": 3, "import": 4, "load": 3, "command line": 1})
    draw.say(then)
    if then == "in the folder":
        _in_the_folder(draw, path)
    elif then == "load":
        _segment(draw, weights.load_model(path if draw.chance(0.7) else str(path)))
    elif then == "command line":
        _command_line(draw, path)
    else:
        _import(draw, folder, path)


def _in_the_folder(draw: Draw, path: Path) -> None:
    """Put the file among the user's models: all others must be usable as ever."""
    from napari_sa2net.engine import weights
    from napari_sa2net.engine.errors import SA2NetError

    models = weights.models_folder()
    models.mkdir(parents=True)
    weights.save_model(network_model("grey"), models / "good.safetensors")
    target = models / f"{path.stem}.safetensors"
    target.write_bytes(path.read_bytes())
    if draw.chance(0.2):
        (models / "gone.safetensors").symlink_to(models / "nothing")
        (models / "folder.safetensors").mkdir()
    logging.getLogger("napari_sa2net").setLevel(logging.CRITICAL)
    try:
        names = {entry.name for entry in weights.available_models()}
    except SA2NetError as error:
        raise Wrong("one bad file keeps all models away", str(error)) from error
    if not {"nuclei", "good"} <= names:
        raise Wrong("one bad file hides other models", str(names))
    if path.stem in names - {"nuclei", "good"}:
        _segment(draw, weights.load_model(path.stem))


def _import(draw: Draw, folder: Path, path: Path) -> None:
    """Take the file in; then use, rename, export and delete it."""
    from napari_sa2net.engine import weights
    from napari_sa2net.engine.errors import SA2NetError
    from napari_sa2net.engine.model_files import model_digest

    name = draw.among(None, None, None, "name", *NAMES[:30])
    if name is not None:
        draw.say(f"as {name!r}", 60)
    models = weights.models_folder()
    try:
        entry = weights.import_model(path, name)
    except SA2NetError:
        left = list(models.rglob("*")) if models.exists() else []
        if left:
            raise Wrong("refused, but something was left", str(left[0].name)) from None
        raise
    if entry.status != "imported":
        raise Wrong("imported, but not listed as such", entry.status)
    loaded = weights.load_model(entry.name)
    digest = model_digest(loaded)
    _segment(draw, loaded)
    renamed = weights.rename_model(entry.name, "another")
    if model_digest(weights.load_model(renamed.name)) != digest:
        raise Wrong("another model after it was renamed")
    exported = weights.export_model(renamed.name, folder / "out")
    if model_digest(weights.load_model(exported)) != digest:
        raise Wrong("another model after it was exported")
    weights.delete_model(renamed.name)
    if any(models.iterdir()):
        raise Wrong("something is left of a model that was deleted")


def _segment(draw: Draw, model: Any) -> None:
    """Segment a small image with the model."""
    from cases.checks import check_segmentation
    from napari_sa2net import segment

    channels = model.card.in_channels
    if channels > 8 or model.card.base_channels > 64:
        return
    image = draw.numpy.random((channels, 20, 24)).astype(np.float32)
    image = image[0] if channels == 1 else image
    axes = "YX" if channels == 1 else "CYX"
    result = segment(image, model, "cpu", axes=axes, backend="torch", pixel_size=0.5)
    check_segmentation(result, image.shape)


def _command_line(draw: Draw, path: Path) -> None:
    """List and describe it as a person does, who must not get any control characters."""
    from cases.command_line import check_output, run_here
    from cases.outcomes import Refused

    command = draw.among(
        ["models", "info", str(path)], ["models", "info", "--json", str(path)],
        ["models", "import", str(path)], ["models", "list"], ["models", "list", "--json"],
    )  # fmt: skip
    if command[1] == "list":
        from napari_sa2net.engine import weights

        weights.models_folder().mkdir(parents=True)
        (weights.models_folder() / "m.safetensors").write_bytes(path.read_bytes())
    code, out, err = run_here(command)
    check_output(code, out, err)
    if code:
        raise Refused(err)
