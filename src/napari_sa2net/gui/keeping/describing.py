"""A Labels layer as plain values to keep beside its pixels, and the layer again from those."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from numpy.typing import NDArray

from ..annotating.originals import ORIGINAL, Original
from ..layers import KIND, NOTE, layer_id, look_of, may_be, note_of
from ..transforms import Matrix, Transform

if TYPE_CHECKING:
    from napari.components import ViewerModel

log = logging.getLogger(__name__)

LOOK = ("opacity", "blending", "contour", "brush_size", "selected_label", "n_edit_dimensions")
"""Properties of the layer that are kept as they are."""


class Describer:
    """Describes one layer; the parts that may be large only when they have changed."""

    def __init__(self) -> None:
        self._colormap: Any = None
        self._features: Any = None
        self._colours: dict[str, Any] = {}
        self._columns: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    @property
    def image(self) -> dict[str, Any]:
        """What is known of the image that was painted on."""
        return self._last.get("image") or {}

    def go_on(self, about: dict[str, Any]) -> None:
        """Begin with what was described before."""
        self._last = about

    def describe(self, layer: Any, image_layer: Any = None) -> dict[str, Any]:
        """Return what there is to keep of ``layer`` besides its pixels.

        Parameters
        ----------
        layer
            A Labels layer.
        image_layer
            The layer it was painted on; None if that is unknown or gone: what was known of it
            before stays.

        Returns
        -------
        dict
            Plain values; the very same object as before if nothing has changed.
        """
        if layer.colormap is not self._colormap:
            self._colormap, self._colours = layer.colormap, _colours(layer.colormap)
        if layer.features is not self._features:
            self._features, self._columns = layer.features, _columns(layer.features)
        found = {
            "name": str(layer.name),
            "transform": _transform(Transform.from_layer(layer)),
            "look": {name: _plain(getattr(layer, name)) for name in LOOK},
            "colormap": self._colours,
            "features": self._columns,
            "note": _plain(note_of(layer) or {}),
            "image": self._image(layer, image_layer),
        }
        if found != self._last:
            self._last = found
        return self._last

    def _image(self, layer: Any, image_layer: Any) -> dict[str, Any]:
        if image_layer is None:
            if self.image:
                return self.image
            table = (note_of(layer) or {}).get(KIND)
            return {"name": str(table.get("image", "")) if isinstance(table, dict) else ""}
        return {
            "name": str(image_layer.name),
            "id": layer_id(image_layer),
            "path": _path(image_layer),
            "look": look_of(image_layer),
            "shape": list(_shape(image_layer)),
            "transform": _transform(Transform.from_layer(image_layer)),
        }


def image_of(viewer: ViewerModel, layer: Any, known: Mapping[str, Any]) -> Any:
    """Return the Image layer that ``layer`` says it was painted on, None if it is not open.

    ``known`` is what was kept of the image before: another one of its name is not taken for it.
    """
    table = (note_of(layer) or {}).get(KIND)
    if not isinstance(table, dict):
        return None
    images = [other for other in viewer.layers if isinstance(other, Image)]
    for other in images:
        if table.get("image_id") and layer_id(other) == table["image_id"]:
            return other
    named = [other for other in images if str(other.name) == table.get("image")]
    return next((other for other in named if _may_be(other, known)), None)


def find_image(viewer: ViewerModel, about: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the open image that a kept painting belongs to, None if there is none.

    It is the same layer, or one of the same pixels from the same file or of the same name; where
    pixels or files cannot be compared, of the same shape. Also returns a sentence if an image is
    open that seems to be it and is not.
    """
    known = about.get("image") or {}
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    for layer in images:
        if known.get("id") and layer_id(layer) == known["id"]:
            return layer, ""
    fitting = [
        layer for layer in images if not known.get("shape") or list(_shape(layer)) == known["shape"]
    ]
    alike = [layer for layer in fitting if known.get("path") and _path(layer) == known["path"]]
    alike += [layer for layer in fitting if str(layer.name) == known.get("name")]
    found = next((layer for layer in alike if _may_be(layer, known)), None)
    if found is not None or not alike:
        return found, ""
    where = f" ({known['path']})" if known.get("path") else ""
    return None, (
        f"“{alike[0].name}” is another image than the “{known.get('name')}”{where} that was "
        "painted on: open that one, and restore the painting once more."
    )


def _may_be(layer: Any, known: Mapping[str, Any]) -> bool:
    return may_be(layer, str(known.get("look") or ""), known.get("path"))


def _path(layer: Any) -> str | None:
    path = getattr(layer.source, "path", None)
    return None if path is None else str(path)


def rebuild(
    array: NDArray[Any],
    about: Mapping[str, Any],
    original: Original | None = None,
    image_layer: Any = None,
    name: str = "painting",
) -> Any:
    """Return the Labels layer that :meth:`Describer.describe` described.

    Parameters
    ----------
    array
        The pixels; the layer's own from now on.
    about
        The description; what is missing or damaged in it is left as napari makes it.
    original
        What it was before it was corrected.
    image_layer
        The image to lie over, which may have been moved or scaled since.
    name
        Of the layer, where the description has none.
    """
    transform = _placed(about, array.ndim, image_layer)
    layer = Labels(
        array,
        name=str(about.get("name") or name),
        metadata=_metadata(about, original, image_layer),
        **(transform.kwargs() if transform is not None else {}),
    )
    _dress(layer, about)
    note = note_of(layer)
    if note is not None and isinstance(note.get(KIND), dict):
        note[KIND]["layer_id"] = layer_id(layer)
    return layer


def _metadata(about: Mapping[str, Any], original: Original | None, image: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    note = about.get("note")
    if isinstance(note, dict) and note:
        metadata[NOTE] = note = dict(note)
        if isinstance(note.get(KIND), dict) and image is not None:
            note[KIND] = {**note[KIND], "image": str(image.name), "image_id": layer_id(image)}
    if original is not None:
        metadata[ORIGINAL] = original
    return metadata


def _dress(layer: Any, about: Mapping[str, Any]) -> None:
    """Give ``layer`` its looks; one that this napari does not take is left out."""
    steps: dict[str, Any] = dict(about.get("look") or {})
    if about.get("features"):
        steps = {"features": about["features"], **steps}
    colormap = _colormap(about.get("colormap") or {})
    if colormap is not None:
        steps = {"colormap": colormap, **steps}
    for key, value in steps.items():
        try:
            setattr(layer, key, value)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            log.warning("The %s of a restored painting is left out: %s", key, error)


# --- where it lies ------------------------------------------------------------------------------


def _placed(about: Mapping[str, Any], ndim: int, image_layer: Any) -> Transform | None:
    """Return where the painting lies: as it lay on its image, wherever that is now."""
    then = _read_transform(about.get("transform"), ndim)
    if then is None or image_layer is None:
        return then
    image = _read_transform((about.get("image") or {}).get("transform"), int(image_layer.ndim))
    if image is None:
        return then
    now = Transform.from_layer(image_layer)
    same_units = not then.units or image.units == now.units
    if np.allclose(image.matrix(), now.matrix()) and same_units:
        return then
    try:
        moved = now.matrix() @ np.linalg.inv(image.matrix())
    except np.linalg.LinAlgError:
        return then
    values = {field.name: getattr(then, field.name) for field in fields(then)}
    values["affine"] = _of_size(moved, ndim) @ then.affine
    if now.ndim == ndim:
        values["units"] = now.units
    return Transform(**values)


def _of_size(matrix: Matrix, ndim: int) -> Matrix:
    """Return ``matrix`` for ``ndim`` axes, the last ones of both the same."""
    size = len(matrix) - 1
    if size >= ndim:
        return matrix[size - ndim :, size - ndim :]
    whole = np.eye(ndim + 1)
    whole[ndim - size :, ndim - size :] = matrix
    return whole


def _transform(transform: Transform) -> dict[str, Any]:
    return {field.name: _plain(getattr(transform, field.name)) for field in fields(transform)}


def _read_transform(values: Any, ndim: int) -> Transform | None:
    try:
        found = Transform(
            **{name: np.asarray(values[name], float) for name in ("scale", "translate", "rotate")},
            shear=np.asarray(values["shear"], float),
            affine=np.asarray(values["affine"], float),
            units=tuple(values["units"]),
            axis_labels=tuple(values["axis_labels"]),
        )
        fits = found.matrix().shape == (ndim + 1, ndim + 1)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return found if fits else None


# --- looks --------------------------------------------------------------------------------------


def _colours(colormap: Any) -> dict[str, Any]:
    if isinstance(colormap, DirectLabelColormap):
        pairs = colormap.color_dict.items()
        return {"direct": [[None if k is None else int(k), _plain(v)] for k, v in pairs]}
    if isinstance(colormap, CyclicLabelColormap):
        return {
            "cyclic": _plain(colormap.colors),
            "seed": float(colormap.seed),
            "background_value": int(colormap.background_value),
        }
    return {}


def _colormap(values: Mapping[str, Any]) -> Any:
    try:
        if "direct" in values:
            table: dict[int | None, Any] = {k: np.array(v, float) for k, v in values["direct"]}
            return DirectLabelColormap(color_dict=table)
        if "cyclic" in values:
            return CyclicLabelColormap(
                colors=np.asarray(values["cyclic"], float),
                seed=values["seed"],
                background_value=values["background_value"],
            )
    except (ValueError, TypeError, KeyError) as error:
        log.warning("The colours of a restored painting are left out: %s", error)
    return None


def _columns(table: Any) -> dict[str, Any]:
    return {str(name): _plain(np.asarray(table[name])) for name in table}


def _shape(image_layer: Any) -> tuple[int, ...]:
    data = image_layer.data[0] if image_layer.multiscale else image_layer.data
    return tuple(int(n) for n in data.shape)


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it; what it cannot is left out or said as text."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value)
