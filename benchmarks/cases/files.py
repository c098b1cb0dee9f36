"""Image files of all kinds, as other programs write them and as nobody should."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cases.arrays import some_array, some_shape, some_values
from cases.drawing import Draw, damaged, mutated, odd_json
from cases.outcomes import Refused

MICROMETRES = {
    "µm": 1.0, "nm": 1e-3, "mm": 1e3, "Å": 1e-4, "cm": 1e4, "pm": 1e-6, "m": 1e6, "inch": 25400.0
}  # fmt: skip


@dataclass
class Made:
    """A file, and what was written into it as far as that is certain."""

    path: Path
    array: np.ndarray | None = None
    """The pixels; None: not certain."""
    axes: str = ""
    """Of the pixels; empty: not certain."""
    sizes: dict[str, float] = field(default_factory=dict)
    """µm, of those axes of which it is certain."""

    def unsure(self) -> None:
        """Note that it was damaged."""
        self.array, self.axes, self.sizes = None, "", {}


def some_file(draw: Draw, folder: Path) -> Made:
    """Write a file, and perhaps damage it."""
    make = draw.weighted({some_tiff: 6, some_picture: 2, some_zarr: 3, some_other: 0.4})
    made: Made = make(draw, folder)
    if made.path.is_file() and draw.chance(0.2):
        made.path.write_bytes(damaged(draw, made.path.read_bytes()))
        made.unsure()
    return made


def _tried(draw: Draw, write: Callable[..., None], path: Path, options: dict[str, Any]) -> None:
    """Write with options, leaving out one after the other that the writer does not take."""
    while True:
        try:
            write(path, **options)
        except Exception as error:
            if not options:
                raise Refused(f"The writer does not take it: {error}") from error
            del options[draw.among(*options)]
        else:
            told = {k: v for k, v in options.items() if not isinstance(v, np.ndarray)}
            draw.say(told, 400)
            return


def some_tiff(draw: Draw, folder: Path) -> Made:
    """Write a TIFF file."""
    path = folder / f"{draw.among('image', 'a b', 'µ', 'i.0')}{draw.among('.tif', '.tiff', '.TIF')}"
    kind = draw.weighted({"plain": 4, "imagej": 2, "ome": 3, "ome text": 2, "frames": 1})
    draw.say(f"TIFF {kind}")
    return _TIFFS[kind](draw, path)


def _plain_tiff(draw: Draw, path: Path) -> Made:
    import tifffile

    array, axes = some_array(draw, usual=0.8)
    if array.dtype.kind not in "buifc":
        array = np.zeros(array.shape, "u1")  # TIFF has nothing else
    options: dict[str, Any] = {}
    possible = {
        "photometric": ("minisblack", "miniswhite", "rgb", "palette", "separated", "ycbcr",
                        "cielab", "icclab", "logl", "cfa", "mask"),
        "planarconfig": ("contig", "separate"),
        "compression": ("zlib", "lzw", "zstd", "packbits", "lzma", "jpeg", "jpeg2000", "webp",
                        "png", "lerc", "deflate", "jpegxl", "jpegxr"),
        "tile": ((16, 16), (32, 16), (64, 64)),
        "predictor": (True, False),
        "byteorder": ("<", ">"),
        "bigtiff": (True,),
        "rowsperstrip": (1, 3, 1000),
        "extrasamples": (["unassalpha"], ["assocalpha"], ["unspecified"]),
        "resolution": ((1e4, 1e4), (2.0, 3.0), (0, 0), (72, 72), (1e-9, 1e9), (1e9, 1e9)),
        "resolutionunit": (1, 2, 3, 4, 5),
        "software": ("tifffile.py", "ImageJ", "µ"),
        "description": ("", "text", "{}", "[1]", "ImageJ=1.53\nunit=nm\n", "<OME/>", "µ" * 99),
        "subfiletype": (0, 1, 2),
        "volumetric": (True,),
        "metadata": (None, {"axes": axes or "YX"}, {"axes": "Q" * array.ndim}),
        "extratags": ([(34682, 2, None, "Width=1\nPixelWidth=1e-9\n", True)],),
    }  # fmt: skip
    for name, values in possible.items():
        if draw.chance(0.2):
            options[name] = draw.among(*values)
    if options.get("photometric") == "palette":
        colours = draw.numpy.integers(0, 2**16, (3, 256 if array.dtype.itemsize == 1 else 2**16))
        options["colormap"] = colours.astype(np.uint16)
    # Of several samples of one bit tifffile reads something else than it wrote.
    if array.dtype == bool:
        options.pop("planarconfig", None)
        if array.shape[-1] not in (3, 4) and draw.chance(0.5):
            options["bitspersample"] = 1

    def write(target: Path, **given: Any) -> None:
        tifffile.imwrite(target, array, **given)

    _tried(draw, write, path, options)
    lossy = {"jpeg", "jpeg2000", "webp", "lerc", "jpegxl", "jpegxr"}
    certain = not lossy & {options.get("compression")} and "photometric" not in options
    certain &= not {"description", "metadata", "extratags", "extrasamples"} & set(options)
    return Made(path, array if certain else None)


def _imagej_tiff(draw: Draw, path: Path) -> Made:
    import tifffile

    axes = draw.among("YX", "ZYX", "TYX", "CYX", "ZCYX", "TZCYX", "TZCYXS", "YXS")
    lengths = {"T": 2, "Z": 3, "C": draw.among(1, 2, 3), "S": 3}
    shape = tuple(lengths.get(a, draw.among(16, 17, 31, 40)) for a in axes)
    dtype = "u1" if "S" in axes else draw.among("u1", "u2", "f4")
    array = some_values(draw, shape).astype(dtype)
    unit = draw.among("um", "µm", "\\u00B5m", "micron", "nm", "mm", "inch", "pixel", "", "µ", "km")
    options: dict[str, Any] = {
        "metadata": {"axes": axes, "unit": unit, "spacing": draw.among(0.5, 1, 1e-5, 1e6, -1)},
        "resolution": draw.among((2.0, 4.0), (1e-6, 1e-6), (1e6, 1e6), (0, 0), (0.3, 0.3)),
    }
    more = {"yunit": "nm", "zunit": "nm", "mode": "composite", "loop": False, "min": 1.0}
    options["metadata"] |= {k: v for k, v in more.items() if draw.chance(0.15)}
    if draw.chance(0.2):
        options["metadata"] = mutated(draw, options["metadata"])
    if draw.chance(0.2):
        options["colormap"] = draw.numpy.integers(0, 2**16, (3, 256)).astype(np.uint16)

    def write(target: Path, **given: Any) -> None:
        tifffile.imwrite(target, array, imagej=True, **given)

    _tried(draw, write, path, options)
    return Made(path)


def _ome_tiff(draw: Draw, path: Path) -> Made:
    """Write an OME-TIFF with tifffile, so that its description is right."""
    import tifffile

    path = path.with_name(f"{path.stem}.ome.tif")
    axes = draw.among("YX", "ZYX", "CYX", "TYX", "TZCYX", "ZCYX", "YXS", "CYXS", "RYX", "QZYX",
                      "TRZYX", "HYX", "AYX", "LYX")  # fmt: skip
    lengths = {"T": 2, "Z": 3, "C": 2, "S": 3, "R": 2, "Q": 2, "H": 2, "A": 2, "L": 2}
    shape = tuple(lengths.get(a, draw.among(16, 17, 31, 40)) for a in axes)
    array = some_values(draw, shape).astype(draw.among("u1", "u2", "f4", "i4"))
    unit = draw.among(*MICROMETRES)
    sizes = {axis: draw.logarithmic(0.05, 20) for axis in "ZYX" if axis in axes}
    metadata: dict[str, Any] = {"axes": axes}
    for axis, size in sizes.items():
        metadata[f"PhysicalSize{axis}"] = size / MICROMETRES[unit]
        metadata[f"PhysicalSize{axis}Unit"] = unit
    if draw.chance(0.3):
        metadata["Channel"] = {"Name": [draw.among("DAPI", "µ", "<b>", "x" * 300)] * 2}
    options: dict[str, Any] = {"metadata": metadata}
    choices = {"compression": "zlib", "tile": (16, 16), "bigtiff": True}
    options |= {k: v for k, v in choices.items() if draw.chance(0.2)}
    levels = draw.among(0, 0, 0, 1, 2)

    def write(target: Path, **given: Any) -> None:
        with tifffile.TiffWriter(target, ome=True, bigtiff=given.pop("bigtiff", False)) as writer:
            writer.write(array, subifds=levels, **given)
            for _ in range(levels):
                writer.write(array[..., ::2, ::2] if "S" not in axes else array, subfiletype=1)

    _tried(draw, write, path, options)
    certain = set(axes) <= set("TZCYXS") and "metadata" in options
    if not certain:
        return Made(path)
    return Made(path, array, axes.replace("S", "C") if "C" not in axes else "", sizes)


def _ome_text(draw: Draw, path: Path) -> Made:
    """Write an OME-TIFF whose description says something of its own."""
    import tifffile

    path = path.with_name(f"{path.stem}.ome.tif")
    sizes = {"X": draw.among(16, 24, 31), "Y": draw.among(16, 20, 33)}
    sizes |= {"Z": draw.among(1, 1, 2), "C": draw.among(1, 1, 2, 3), "T": draw.among(1, 1, 2)}
    count = sizes["Z"] * sizes["C"] * sizes["T"]
    array = some_values(draw, (count, sizes["Y"], sizes["X"])).astype("u2")
    odd = ("", "0", "-1", "nan", "inf", "1e-12", "1e12", "0,5", "abc", "1e400")
    values = {f"Size{axis}": str(n) for axis, n in sizes.items()}
    values |= {"DimensionOrder": draw.among("XYZCT", "XYCZT", "XYTZC", "XYCTZ"), "Type": "uint16"}
    for axis in "XYZ":
        if draw.chance(0.6):
            values[f"PhysicalSize{axis}"] = draw.among("0.5", "0.65", "130", *odd)
            values[f"PhysicalSize{axis}Unit"] = draw.among(
                "µm", "nm", "mm", "reference frame", "pixel", "dam", "ly", "Å", "thou", "", "x"
            )
    if draw.chance(0.4):
        values = {k: str(v) for k, v in mutated(draw, values).items() if isinstance(k, str)}
    spelled = " ".join(f'{name}="{_escaped(value)}"' for name, value in values.items())
    inner = draw.weighted({"<TiffData/>": 5, "": 1, '<TiffData IFD="99"/>': 1,
                           f'<TiffData FirstZ="7" PlaneCount="{count}"/>': 1,
                           "<MetadataOnly/>": 1, "<BinData/>": 1})  # fmt: skip
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    names = "".join(f'<Channel ID="c{i}" Name="ä&lt;{i}"/>' for i in range(draw.among(0, 1, 3)))
    text = (
        f'<?xml version="1.0" encoding="{draw.among("UTF-8", "UTF-8", "UTF-16", "latin-1")}"?>'
        f'<OME xmlns="{draw.among(namespace, namespace, "")}"><Image ID="Image:0">'
        f'<Pixels ID="p" {spelled}>{names}{inner}</Pixels></Image></OME>'
    )
    if draw.chance(0.1):
        text = text[: draw.randrange(len(text))]
    draw.say(spelled, 400)
    encoding = draw.among("utf-8", "utf-8", "latin-1", "utf-16")
    tifffile.imwrite(path, array, description=text.encode(encoding, "replace"), metadata=None)
    return Made(path)


def _escaped(value: str) -> str:
    plain = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return "".join(c for c in plain if c.isprintable())


def _frames_tiff(draw: Draw, path: Path) -> Made:
    """Write images one after the other, alike or not."""
    import tifffile

    alike = draw.chance(0.5)
    shape, dtype = (draw.among(16, 24), draw.among(16, 31)), "u1"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(draw.among(2, 3, 5)):
            if not alike:
                shape = (draw.among(8, 16, 20), draw.among(16, 17), *draw.among((), (3,)))
                dtype = draw.among("u1", "u2", "f4", "?")
            writer.write(some_values(draw, shape).astype(dtype), contiguous=False)
    return Made(path)


_TIFFS = {
    "plain": _plain_tiff,
    "imagej": _imagej_tiff,
    "ome": _ome_tiff,
    "ome text": _ome_text,
    "frames": _frames_tiff,
}


def some_picture(draw: Draw, folder: Path) -> Made:
    """Write a PNG or JPEG file, or something of another kind under such a name."""
    from PIL import Image

    mode = draw.among("1", "L", "P", "LA", "PA", "RGB", "RGBA", "I;16", "I", "CMYK", "YCbCr", "F")
    kind = draw.weighted({"PNG": 5, "JPEG": 3, "GIF": 0.5, "BMP": 0.5, "TIFF": 0.5, "WEBP": 0.5})
    height, width = draw.among(1, 8, 16, 31, 40), draw.among(1, 16, 24, 33)
    draw.say(f"{kind} {mode} {height} × {width}")
    grey = some_values(draw, (height, width)).astype(np.float64)
    scaled = np.nan_to_num((grey - grey.min()) / (np.ptp(grey) or 1)) * 255
    if mode in ("I;16", "I", "F"):
        raw = (scaled * 200).astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode])
        picture = Image.fromarray(raw)
    else:
        colours = Image.fromarray(np.stack([scaled, scaled[::-1], scaled], -1).astype("u1"))
        picture = colours.convert("RGBA" if mode in ("LA", "PA") else "RGB").convert(
            "P" if mode == "PA" else mode
        )
    options: dict[str, Any] = {}
    possible = {
        "dpi": ((72, 72), (1e6, 1e6), (25400, 12700), (0, 0), (1e-3, 1e-3)),
        "transparency": (0, b"\x00\x80"),
        "progressive": (True,),
        "quality": (1, 90),
        "exif": (b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01"
                 b"\x00\x06\x00\x00\x00\x00\x00\x00",),
        "icc_profile": (b"no profile",),
        "save_all": (True,),
    }  # fmt: skip
    for name, values in possible.items():
        if draw.chance(0.15):
            options[name] = draw.among(*values)
    path = folder / f"picture{draw.among('.png', '.jpg', '.jpeg', '.PNG', '.tif')}"

    def write(target: Path, **given: Any) -> None:
        try:
            picture.save(target, format=kind, **given)
        except (OSError, KeyError, ValueError):
            picture.convert("RGB").save(target, format=kind, **given)

    _tried(draw, write, path, options)
    certain = kind == "PNG" and mode in ("L", "RGB", "RGBA", "I;16") and not options
    if path.suffix.lower() != ".png" or not certain:
        return Made(path)
    return Made(path, np.asarray(picture), "YXC" if mode in ("RGB", "RGBA") else "YX")


def some_zarr(draw: Draw, folder: Path) -> Made:
    """Write a zarr array or an OME-Zarr image."""
    import zarr

    path = folder / draw.among("image.zarr", "image.ome.zarr", "µ.zarr")
    version = draw.among(2, 3)
    if draw.chance(0.2):
        shape, axes = some_shape(draw, 0.7)
        draw.say(f"zarr {version} {shape}")
        array = some_values(draw, shape).astype(draw.among("u1", "u2", "f4"))
        node = zarr.create_array(path, shape=shape, dtype=array.dtype, zarr_format=version)
        node[...] = array
        if draw.chance(0.4):
            names = [draw.among(a.lower(), "band", "time", "") for a in axes]
            node.attrs["_ARRAY_DIMENSIONS"] = names
        return _with_odd_json(draw, Made(path, array))
    return _ome_zarr(draw, path, version)


def _ome_zarr(draw: Draw, path: Path, version: int) -> Made:
    import zarr

    axes = draw.among("YX", "ZYX", "CYX", "CZYX", "TYX", "TCZYX", "TZYX", "XY", "ZCYX")
    lengths = {"T": 2, "Z": 3, "C": draw.among(1, 2, 3)}
    shape = tuple(lengths.get(a, draw.among(16, 17, 31, 40)) for a in axes)
    array = some_values(draw, shape).astype(draw.among("u1", "u2", "f4", "i2"))
    units = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}
    unit = draw.among(*units)
    scale = [draw.logarithmic(0.05, 20) for _ in axes]
    kinds = {"T": "time", "C": "channel"}
    described: list[dict[str, Any]] = [
        {"name": a.lower(), "type": kinds.get(a, "space")} for a in axes
    ]
    for entry in described:
        if entry["type"] == "space":
            entry["unit"] = unit
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    told: dict[str, Any] = {"axes": described, "datasets": datasets, "name": "image"}
    ome: dict[str, Any] = {"multiscales": [told]}
    if draw.chance(0.3):
        names = [{"label": draw.among("DAPI", "", "µ")} for _ in range(lengths["C"])]
        ome["omero"] = {"channels": names}
    draw.say(f"OME-Zarr {'0.4' if version == 2 else '0.5'} {axes} {shape} {unit}")
    certain = True
    if draw.chance(0.5):
        ome = mutated(draw, ome)
        certain = False
    group = zarr.open_group(path, mode="w", zarr_format=version)
    made = group.create_array("0", shape=shape, dtype=array.dtype, chunks=tuple(
        max(1, draw.randrange(n + 1)) for n in shape))  # fmt: skip
    made[...] = array
    attributes = ome if isinstance(ome, dict) else {"multiscales": ome}
    if version == 3:
        attributes = {"ome": {"version": draw.among("0.5", "0.5", "0.6", "1"), **attributes}}
    elif isinstance(attributes.get("multiscales"), list) and draw.chance(0.7):
        for entry in attributes["multiscales"]:
            if isinstance(entry, dict):
                entry["version"] = "0.4"
    group.attrs.update(_storable(attributes))
    sizes = {a: s * units[unit] for a, s in zip(axes, scale, strict=True) if a in "ZYX"}
    made_file = Made(path, array, axes, sizes)
    if not certain:
        made_file.unsure()
    return _with_odd_json(draw, made_file)


def _storable(tree: Any) -> Any:
    """Return what JSON can hold; the writer is not what is tried."""
    return json.loads(json.dumps(tree, allow_nan=True))


def _with_odd_json(draw: Draw, made: Made) -> Made:
    """Change something in one of the files that describe a zarr folder, or lose one."""
    if not draw.chance(0.25):
        return made
    names = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
    files = sorted(path for path in made.path.rglob("*") if path.name in names)
    path = draw.among(*files)
    made.unsure()
    draw.say(str(path.relative_to(made.path)))
    how = draw.among("mutated", "mutated", "lost", "cut", "odd")
    if how == "lost":
        path.unlink()
        draw.say("lost")
    elif how == "cut":
        path.write_bytes(damaged(draw, path.read_bytes()))
    elif how == "odd":
        path.write_text(json.dumps(odd_json(draw)))
    else:
        tree = json.loads(path.read_text())
        path.write_text(json.dumps(mutated(draw, tree)))
    return made


def some_other(draw: Draw, folder: Path) -> Made:
    """Make something under the name of an image that is none."""
    path = folder / f"other{draw.among('.tif', '.png', '.zarr', '.ome.tif', '.txt', '', '.svs')}"
    how = draw.among("empty", "text", "folder", "broken link", "looping link", "missing", "random")
    draw.say(f"{how} as {path.name}")
    if how == "empty":
        path.touch()
    elif how == "text":
        path.write_text("no image")
    elif how == "folder":
        path.mkdir()
    elif how == "broken link":
        path.symlink_to(folder / "nothing")
    elif how == "looping link":
        path.symlink_to(path)
    elif how == "random":
        path.write_bytes(draw.among(b"", b"II*\x00", b"\x89PNG\r\n\x1a\n") + draw.randbytes(500))
    return Made(path)
