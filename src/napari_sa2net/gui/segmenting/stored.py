"""Labels that lie in an OME-Zarr folder on the disk, and the layer that shows them.

The layer is a multiscale one, of which napari reads only the part in view, at the resolution of
the canvas. Such a layer cannot be painted in: nothing that a person does can be lost with it,
nor change the result.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from ...engine.batch.kinds import ENDINGS, MEASURES
from ...engine.blocks.plan import disk_bytes
from ...engine.blocks.store import WORK, import_zarr
from ...engine.disk import OURS, replacing
from ...engine.errors import InputError
from ...engine.folders import expanded
from .. import colours
from ..classes import as_notes
from ..layers import NOTE, LayerImage, note_of
from ..notes import Note, Written, claim, earlier, make_note
from ..saving import MEASURES_FILTER
from .maps import describe_bytes
from .results import class_table
from .work import work_on

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...engine.weights import ClassInfo

STORE = "store"
"""Key of a result's note under which its folder stands."""

FOUND = "found"
"""Key of a result's note under which stands how many objects it has, once it is complete."""

FILE_FILTER = ";;".join(("OME-Zarr (*.ome.zarr *.zarr)", *MEASURES_FILTER))
"""For a file dialog."""


class StoredLabels:
    """One level of a result on the disk, with the axes of its layer; read when it is sliced.

    Parameters
    ----------
    array
        A zarr array.
    axes
        Its letters, in the order T, Z, Y, X.
    layer_axes
        Letters of the layer: the same in any order, and perhaps C, which has one step.
    """

    def __init__(self, array: Any, axes: str, layer_axes: str) -> None:
        self._array, self._axes, self._layer_axes = array, axes, layer_axes
        sizes = dict(zip(axes, array.shape, strict=True))
        self.shape = tuple(int(sizes.get(letter, 1)) for letter in layer_axes)
        self.dtype = np.dtype(array.dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        keys += [slice(None)] * (self.ndim - len(keys))
        asked = dict(zip(self._layer_axes, keys, strict=True))
        found = np.asarray(self._array[tuple(asked[letter] for letter in self._axes)])
        kept = [letter for letter in self._axes if isinstance(asked[letter], slice)]
        wanted = [letter for letter in self._layer_axes if isinstance(asked[letter], slice)]
        found = found.transpose([kept.index(letter) for letter in wanted if letter != "C"])
        return np.expand_dims(found, wanted.index("C")) if "C" in wanted else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)


def store_of(layer: Any) -> Path | None:
    """Return the folder that ``layer`` shows; None if it is no result on the disk."""
    store = (note_of(layer) or {}).get(STORE)
    return Path(store) if store and isinstance(layer, Labels) and layer.multiscale else None


def found_in(layer: Any) -> str:
    """Return how many objects a result on the disk has, in words; empty if that is not known."""
    return str((note_of(layer) or {}).get(FOUND, ""))


def show_store(
    viewer: ViewerModel,
    image: LayerImage,
    store: Path,
    *,
    note: Note,
    result: str,
    classes: Sequence[ClassInfo] = (),
) -> Written:
    """Show a result on the disk, complete or not, in the layer of an earlier one or a new one.

    Parameters
    ----------
    viewer
        Where to show it.
    image
        What is segmented; of a region, the cropped image.
    store
        The OME-Zarr folder.
    note, result, classes
        As for :func:`~napari_sa2net.gui.segmenting.results.write_labels`.
    """
    name = f"{image.name} labels{note.place}"
    mark = make_note(
        note, image, "labels", name, preview=False, result=result, classes=as_notes(classes)
    )
    mark[STORE] = str(store)
    work = work_on(viewer, image, note.region)
    before = [layer for layer in earlier(viewer, image, mark, Labels) if store_of(layer)]
    if before and store_of(before[0]) == store:
        claim(before[0], mark)
        before[0].refresh()
        return Written(before[0], created=False, beneath=work.cover())
    colormap = (
        colours.class_colormap(classes)
        if result == "classes" and classes
        else colours.instance_colormap()
    )
    layer = Labels(
        open_levels(store, image.layer_axes),
        multiscale=True,
        name=name,
        colormap=colormap,
        features=class_table(None, classes, result),
        metadata={NOTE: mark},
        **image.result_transform().kwargs(),
    )
    active = viewer.layers.selection.active
    # Nobody can have painted in the one before, so it can go.
    place = viewer.layers.index(before[0]) if before else len(viewer.layers)
    for old in before:
        viewer.layers.remove(old)
    layer.visible = work.cover() is None
    work.add_beneath(viewer, layer, place)
    claim(layer, mark)
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active  # a person may be at work while this is made
    return Written(layer, created=True, beneath=work.cover())


def open_levels(store: Path, layer_axes: str) -> list[StoredLabels]:
    """Return the levels of a result on the disk, the finest first."""
    import zarr

    axes = "".join(letter for letter in "TZYX" if letter in layer_axes)
    count = sum(1 for path in store.iterdir() if path.name.isdigit())
    arrays = [zarr.open_array(str(store / str(number)), mode="r") for number in range(count)]
    return [StoredLabels(array, axes, layer_axes) for array in arrays]


def check_zarr() -> None:
    """Raise unless results can be made on the disk.

    Raises
    ------
    InputError
        If the package zarr is missing or too old; the message tells how to install it.
    """
    try:
        import_zarr()
    except InputError as error:
        raise InputError(
            f"An image this large is segmented on the disk. {error}  Or segment a part (Where)."
        ) from error


def disk_question(target: Any, stores: Any) -> str:
    """Return what to ask before a large run if the disk may be too small; empty if it is not.

    Parameters
    ----------
    target
        Of the run (:class:`~napari_sa2net.gui.writer.Target`).
    stores
        Where it goes (:class:`~napari_sa2net.gui.segmenting.live.Stores`).
    """
    pixels = math.prod(target.image.result_shape())
    needed = sum(disk_bytes(pixels, max(2, target.card.num_classes)))
    free = stores.free_bytes()
    if needed <= free:
        return ""
    return (
        f"The result is made on the disk, in {stores.parent}, and may take up to "
        f"{describe_bytes(needed)} while it runs, less what compression saves; "
        f"{describe_bytes(free)} are free there.\n\nSegment all the same? (The environment "
        "variable TMPDIR, set before napari starts, names another folder.)"
    )


def measure_of(path: Path) -> str | None:
    """Return what a file of this ending tells of the objects; None if it is none of these.

    The answer is of :data:`~napari_sa2net.engine.batch.kinds.MEASURES`.
    """
    ending = path.suffix.lower()
    return next((kind for kind in MEASURES if ending == Path(ENDINGS[kind]).suffix), None)


def keep_store(store: Path, path: Path) -> Path:
    """Copy a complete result to where a person wants it.

    Raises
    ------
    InputError
        If it is not complete, the name is another format's, or there is something already.
    """
    path = expanded(path)
    if (store / WORK / "job.json").exists() or not store.exists():
        raise InputError(
            "This result is not complete yet: wait for it, or press Segment to go on with it."
        )
    if path.suffix.lower() != ".zarr":
        name = f"{path.stem.removesuffix('.ome')}.ome.zarr"
        raise InputError(
            f"A result this large is saved as OME-Zarr: give a name such as {name}, "
            "or one that ends in .csv, .geojson or .zip for what is told of its objects. To write "
            "TIFF, segment a part of the image (Where)."
        )
    if os.path.lexists(path):
        raise InputError(f"{path} exists already: give another name.")
    # What is left of a measurement that was stopped stays behind.
    with replacing(path) as partial:
        shutil.copytree(store, partial, ignore=shutil.ignore_patterns(WORK, OURS))
    return path
