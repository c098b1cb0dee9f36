"""Reading TIFF files of all kinds: plain, OME, ImageJ, slides; grey, colours and palettes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from . import calibration
from .axes import (
    AXES,
    COLOURS,
    as_image_axes,
    axes_of_file,
    check_axes,
    further_axes,
    spare_letter,
)
from .calibration import Calibration
from .colours import Colours, of_palette
from .errors import InputError
from .image_file import FileInfo, ImageFile
from .positions import choose_image, count_positions, one_position

logger = logging.getLogger(__name__)

LARGE = 2**28
"""A compressed image of more bytes than this is read part by part, where zarr is installed."""

_SVS_PIXEL = re.compile(r"\bMPP\s*=\s*([^|;\s]+)")
_DOTS_PER = {2: "inch", 3: "centimeter", 4: "millimeter", 5: "micrometer"}
"""Of the tag ResolutionUnit."""
_OF_MICROSCOPES = {
    "fei": calibration.from_fei,
    "sem": calibration.from_zeiss_sem,
    "sis": calibration.from_sis,
    "metaseries": calibration.from_metaseries,
}
"""Of kinds of metadata that tifffile reads, what takes the pixel size out of it."""

_SAMPLES: dict[int, Any] = {5: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "ICCLab"}
"""Colours that become red, green and blue, by TIFF's number for them."""

_REFUSED = {
    10: "ITU L*a*b*",
    32803: "of a camera's filter (CFA)",
    32844: "logarithmic (LogL)",
    32845: "logarithmic (LogLuv)",
    34892: "of a camera's sensor (LinearRaw)",
}

_DECODED = ("JPEG", "OJPEG", "ALT_JPEG", "APERIO", "WEBP")
"""Compressions, by the beginning of their names, whose decoders give red, green and blue."""


def read_tiff(
    path: Path, numbers: bool = False, axes: str | None = None, position: int | None = None
) -> ImageFile:
    """Read one image of a TIFF file, or of the OME-TIFF set that it belongs to.

    Parameters
    ----------
    path
        The file.
    numbers
        See :func:`~napari_sa2net.engine.files.read_image`.
    axes
        A letter for each axis, in place of what the file says.
    position
        Which image; the first if None.
    """
    with _opened(path) as (tiff, omexml, remark):
        images = _images(path, tiff, omexml)
        sizes = [(as_image_axes(i.letters(axes), i.shape), i.shape) for i in images]
        which, inner, first = choose_image(sizes, position, path.name)
        image = images[which]
        letters, samples = image.letters(axes), image.samples
        colours = _colours_of(path, tiff, image, numbers)
        array = image.load()
        if colours is not None:
            array = colours.image(array, samples)
            if colours.adds_axis:
                samples = array.ndim - 1
                letters = axes if axes and len(axes) == array.ndim else letters + COLOURS
            elif axes is None and array.shape[samples] == 1:  # grey values without opacity
                array, letters = array.squeeze(samples), letters.replace(COLOURS, "")
                samples = -1
        sizes_um, kind, doubt = _tiff_calibration(tiff, image.page)
        names = _channel_names(tiff)
    if axes is not None and letters != axes and letters != axes + COLOURS:
        check_axes(axes, array.shape)
    final = as_image_axes(letters, array.shape)
    at = final.find("C")
    rgb = at >= 0 and array.shape[at] in (3, 4) and (at == samples or letters[at] == COLOURS)
    remarks = [remark, image.missing, first, _pictures(path, letters, array.shape)]
    remarks.append(calibration.about(path.name, doubt))
    array = one_position(array, final, inner)
    if axes is None:
        array, final = _without_ones(array, final)
    return ImageFile(
        array, final, rgb, sizes_um, path, kind, names, " ".join(filter(None, remarks)),
        {"axes": axes, "position": position},
    )  # fmt: skip


def read_tiff_info(path: Path) -> FileInfo:
    """Return what a TIFF file tells of its first image, without reading the pixels."""
    with _opened(path) as (tiff, omexml, remark):
        images = _images(path, tiff, omexml)
        image = images[0]
        colours = _colours_of(path, tiff, image, numbers=False)
        letters = as_image_axes(image.letters(), image.shape)
        sizes = [(as_image_axes(i.letters(), i.shape), i.shape) for i in images]
        calibrated, _, doubt = _tiff_calibration(tiff, image.page)
        return FileInfo(
            letters,
            image.shape,
            calibrated,
            calibration.about(path.name, doubt),
            colours,
            sum(count_positions(*size) for size in sizes),
            len(images),
            " ".join(filter(None, (remark, image.missing))),
            _channel_names(tiff),
        )


def _channel_names(tiff: tifffile.TiffFile) -> tuple[str, ...]:
    return calibration.channel_names(tiff.ome_metadata or "") if tiff.is_ome else ()


def files_of_image(path: Path) -> tuple[str, ...]:
    """Return the names of the files over which the first image of a TIFF file spreads.

    Returns
    -------
    tuple of str
        Empty if it lies in this file alone.

    Raises
    ------
    Exception
        If it cannot be read, whatever its reader raises.
    """
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata if tiff.is_ome else None
        if not xml or ("FileName" not in xml and "BinaryOnly" not in xml):
            return ()
    with _opened(path) as (tiff, omexml, _):
        series = _images(path, tiff, omexml)[0].series[0]
        names = {page.parent.filename for page in series if page is not None}
    return tuple(sorted(names)) if len(names) > 1 else ()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tifffile.TiffFile, str | None, str]]:
    """Open a file, with its OME description where that is in another one, and a remark."""
    omexml, remark = None, ""
    with tifffile.TiffFile(path) as tiff:
        elsewhere = _described_in(tiff)
        if not elsewhere:
            yield tiff, None, ""
            return
    companion = path.with_name(Path(elsewhere).name)
    try:
        if companion.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(companion) as tiff:
                omexml = tiff.ome_metadata
        else:
            omexml = companion.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        logger.info("%s cannot be read: %s", companion, error)
        remark = (
            f"{companion.name}, which tells what the planes of {path.name} are, is missing or "
            "cannot be read: the planes of this file are read alone, and its axes are guessed."
        )
    with tifffile.TiffFile(path, omexml=omexml) as tiff:
        yield tiff, omexml, remark


def _described_in(tiff: tifffile.TiffFile) -> str:
    """Return the name of the file that holds the description of an OME-TIFF file; or empty."""
    if not tiff.is_ome or "BinaryOnly" not in (tiff.ome_metadata or ""):
        return ""
    for element in _elements(tiff.ome_metadata or "", "BinaryOnly"):
        return element.get("MetadataFile", "")
    return ""


def _elements(xml: str, name: str) -> Iterable[ElementTree.Element]:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return []
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)


@dataclass(frozen=True, eq=False)
class _Image:
    """An array in a file, of one series or of several alike."""

    path: Path
    series: tuple[Any, ...]
    """Of tifffile."""
    number: int
    """Of the first series in the file."""
    omexml: str | None
    """The description, where it is from another file."""

    @property
    def page(self) -> Any:
        """Whose tags are those of all."""
        return self.series[0].keyframe

    @property
    def raw_axes(self) -> str:
        """As tifffile calls them."""
        return "I" * (len(self.series) > 1) + str(self.series[0].axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the numbers in the file."""
        several = (len(self.series),) if len(self.series) > 1 else ()
        return (*several, *map(int, self.series[0].shape))

    @property
    def samples(self) -> int:
        """Which axis is that of samples; -1 if there is none."""
        return self.raw_axes.find(COLOURS)

    def letters(self, axes: str | None = None) -> str:
        """Return a letter for each axis: as asked for, if it fits, else as the file says."""
        shape = self.shape
        if axes is not None and 0 <= len(axes) - len(shape) <= 1:
            return axes[: len(shape)]
        ones = [i for i, a in enumerate(self.raw_axes) if a not in AXES and shape[i] == 1]
        left = [i for i in range(len(shape)) if i not in ones]
        letters = axes_of_file("".join(self.raw_axes[i] for i in left), [shape[i] for i in left])
        for i in ones:  # of length 1, so that they do not matter
            letters = letters[:i] + spare_letter(letters) + letters[i:]
        return letters

    @property
    def missing(self) -> str:
        """What is to be said of planes that are not there; empty if all are."""
        if self.series[0].kind not in ("ome", "mmstack"):
            return ""
        pages = list(self.series[0])
        gone = sum(page is None for page in pages)
        if not gone:
            return ""
        names = {e.get("FileName", "") for e in _elements(self._xml, "UUID")}
        files = sorted(n for n in names if n and not self.path.with_name(Path(n).name).exists())
        listed = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
        because = f", as {'are' if len(files) > 1 else 'is'} {listed}" if files else ""
        return (
            f"{gone} of {len(pages)} planes of {self.path.name} are missing{because}: they are "
            "read as 0, so that nothing is found there."
        )

    @property
    def _xml(self) -> str:
        return self.omexml or self.page.parent.ome_metadata or ""

    def load(self) -> Any:
        """Return the pixels, lazily where that can be."""
        if len(self.series) > 1:
            return np.stack([one.asarray() for one in self.series])
        return _lazily(self.path, self.series[0], self.number, self.omexml)


def _images(path: Path, tiff: tifffile.TiffFile, omexml: str | None) -> list[_Image]:
    """Return the images of a file: no thumbnails, and of a set those with planes in this file."""
    series = list(enumerate(tiff.series))
    if not series:
        raise InputError(f"{path.name} holds no image.")
    first = series[0][1]
    if tiff.is_svs or tiff.is_ndpi:  # their other series are thumbnails and labels
        return [_Image(path, (first,), 0, omexml)]
    series = [(n, one) for n, one in series if not one.keyframe.is_reduced] or series
    if tiff.is_ome or omexml:
        own = [(n, one) for n, one in series if _in_file(one, path)]
        return [_Image(path, (one,), n, omexml) for n, one in own or series]
    alike = all((s.shape, s.dtype, s.axes) == (first.shape, first.dtype, first.axes)
                for _, s in series)  # fmt: skip
    if len(series) > 1 and alike and first.axes in ("YX", "YXS") and not tiff.is_imagej:
        return [_Image(path, tuple(one for _, one in series), 0, omexml)]  # one after the other
    return [_Image(path, (one,), n, omexml) for n, one in series]


def _in_file(series: Any, path: Path) -> bool:
    return any(page is not None and page.parent.filename == path.name for page in series)


def _colours_of(
    path: Path, tiff: tifffile.TiffFile, image: _Image, numbers: bool
) -> Colours | None:
    """Return what the numbers of an image show; None if they are grey values, or RGB."""
    page = image.page
    kind = int(page.photometric)
    if kind in _REFUSED:
        raise InputError(
            f"The colours of {path.name} are {_REFUSED[kind]}, which is not understood: save it "
            "with grey values or as RGB."
        )
    bits = int(page.bitspersample) if page.bitspersample < 8 * page.dtype.itemsize else 0
    if kind in _SAMPLES and not page.compression.name.startswith(_DECODED):
        inks = page.tags["InkSet"].value if "InkSet" in page.tags else 1
        count = image.shape[image.samples] if image.samples >= 0 else 1
        if count < (4 if kind == 5 else 3) or (kind == 5 and inks != 1):
            raise InputError(
                f"The colours of {path.name} are {count} inks (photometric {kind}), and not "
                "cyan, magenta, yellow and black: save it as RGB."
            )
        if kind == 6 and tuple(page.subsampling or ()) not in ((), (1, 1)):
            raise InputError(
                f"The colours of {path.name} are YCbCr of which only some pixels have their own "
                "(chroma subsampling), which is not understood: save it as RGB."
            )
        return Colours(_SAMPLES[kind], bits=bits)
    if image.samples >= 0 and kind <= 1 and _is_grey_and_alpha(page, image):
        return Colours("grey and alpha")
    # There the palette, or which end is white, is how to show it, and not the image.
    if numbers or tiff.is_imagej or tiff.is_ome or _is_of_tifffile(page):
        return None
    if kind == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return of_palette(page.colormap)
    if kind == tifffile.PHOTOMETRIC.MINISWHITE and page.dtype.kind in "ub":
        return Colours("white is zero", bits=bits)
    return None


def _is_grey_and_alpha(page: Any, image: _Image) -> bool:
    extra = tuple(int(e) for e in page.extrasamples or ())
    return image.shape[image.samples] == 2 and extra in ((1,), (2,))


def _pictures(path: Path, letters: str, shape: tuple[int, ...]) -> str:
    """Say that channels are pictures in colours, each of which is a plane."""
    if not {"C", COLOURS} <= set(letters) or shape[letters.index("C")] == 1:
        return ""
    if further_axes(as_image_axes(letters, shape)):
        return ""
    count = shape[letters.index("C")]
    return (
        f"{path.name} holds {count} channels with colours of their own (axes {letters}): each is "
        "a plane."
    )


def _without_ones(array: Any, axes: str) -> tuple[Any, str]:
    """Return an array without further axes, of length 1; a lazy one is left as it is."""
    drop = tuple(i for i, a in enumerate(axes) if further_axes(a))
    if not isinstance(array, np.ndarray):
        return array, axes
    return array.squeeze(drop), "".join(a for i, a in enumerate(axes) if i not in drop)


def _is_of_tifffile(page: Any) -> bool:
    """Tell whether it is a mask that tifffile wrote: it marks these as white on nothing."""
    software = str(page.tags["Software"].value) if "Software" in page.tags else ""
    white = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    return white and page.bitspersample == 1 and software.startswith("tifffile")


def _lazily(path: Path, series: Any, number: int, omexml: str | None) -> Any:
    if series.dataoffset is not None and series.keyframe.is_memmappable and omexml is None:
        try:
            array: NDArray[Any] = tifffile.memmap(path, series=number, mode="r")
            if array.shape == series.shape:
                return array
        except (ValueError, OSError) as error:
            logger.debug("%s is read at once: %s", path, error)
    if series.nbytes > LARGE:
        try:
            return _part_by_part(path, number, omexml)
        except Exception as error:  # zarr is missing or too old, or tifffile cannot do it
            logger.info("%s is read at once: %s", path, error)
    return np.asarray(series.asarray())


def _part_by_part(path: Path, number: int, omexml: str | None) -> Any:
    """Return the full resolution as a zarr array, of which only what is indexed is decoded."""
    import zarr

    # The store keeps the file open.
    store = tifffile.imread(path, series=number, level=0, aszarr=True, omexml=omexml)
    return zarr.open_array(store, mode="r")


def _tiff_calibration(tiff: tifffile.TiffFile, page: Any) -> tuple[Calibration, str, str]:
    """Return pixel sizes, the kind of the file, and what is to be said of the sizes."""
    tags = page.tags
    y, x = (tags[n].value if n in tags else None for n in ("YResolution", "XResolution"))
    unit: Any = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else None
    dots = (y, x), _DOTS_PER.get(unit, "")
    if tiff.is_ome and tiff.ome_metadata:
        (sizes, doubt), kind = calibration.from_ome(tiff.ome_metadata), "OME-TIFF"
    elif tiff.is_imagej:
        told = tiff.imagej_metadata or {}
        (sizes, doubt), kind = calibration.from_imagej(told, *dots), "ImageJ TIFF"
    elif tiff.is_svs:
        found = _SVS_PIXEL.search(page.description)
        size = (found[1] if found else None, "um")
        (sizes, doubt), kind = calibration.read_sizes({"Y": size, "X": size}), "SVS"
    else:
        sizes, doubt = _of_microscope(tiff) or calibration.from_dots(*dots)
        kind = "NDPI" if tiff.is_ndpi else "TIFF"
    return sizes, kind, doubt


def _of_microscope(tiff: tifffile.TiffFile) -> tuple[Calibration, str] | None:
    """Return what the metadata of a microscope's own kind tell; None if there are none."""
    for kind, read in _OF_MICROSCOPES.items():
        try:
            metadata = getattr(tiff, f"is_{kind}") and getattr(tiff, f"{kind}_metadata")
            sizes, doubt = read(metadata) if metadata else ({}, "")
        except Exception as error:  # the image is there all the same
            return {}, f"what {kind.upper()} writes of the size of a pixel is damaged ({error})"
        if sizes or doubt:
            return sizes, doubt
    return None
