"""The note that every result carries, and finding a result again by it.

``metadata["napari-sa2net"]`` of a result tells model (of an ensemble the members and the hashes
of their files), settings, version, source and kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .layers import NOTE, LayerImage, comes_from, layer_id, note_of

if TYPE_CHECKING:
    from napari.components import ViewerModel


@dataclass(frozen=True)
class Note:
    """What made a result."""

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    members: tuple[Any, ...] = ()
    """Those of an ensemble (:class:`~napari_sa2net.engine.cards.Member`)."""
    region: tuple[int, int, int, int] | None = None
    """First row, first column, last row + 1 and last column + 1 in the planes; None for all."""

    @property
    def place(self) -> str:
        """What the name of a result tells of the region; empty for all of the image."""
        if self.region is None:
            return ""
        y0, x0, y1, x1 = self.region
        return f" (y {y0}–{y1}, x {x0}–{x1})"


@dataclass(frozen=True, eq=False)
class Written:
    """What became of a result."""

    layer: Any
    created: bool
    """Whether the layer is new."""
    beneath: Any = None
    """A layer of a person's work in sight, so that this one is better not seen; or None."""
    kept: Any = None
    """The layer of an earlier run that a person has edited, so that this one is new; or None."""

    covered: bool = False
    """Whether it is a map that is not seen, as another one of its kind is."""

    @property
    def message(self) -> str:
        """Something to show, empty if there is nothing to say."""
        if self.covered:
            return (
                "The maps lie under the labels, one of each kind to be seen. The others of its "
                "kind are in the layer list: their eyes show them, or hide what covers them."
            )
        if self.beneath is not None and not self.layer.visible:
            return (
                f"You have edited “{self.beneath.name}”, so it stays on top as it is. The new "
                f"result is in “{self.layer.name}” below it, hidden: click its eye to see it."
            )
        if self.kept is not None:
            return (
                f"You have edited “{self.kept.name}”, so it was left as it is; the new result is "
                f"in “{self.layer.name}”."
            )
        return ""


def make_note(note: Note, image: LayerImage, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """Return what stands in a result's metadata."""
    return {
        **asdict(note),
        "source": image.name,
        "source_id": image.source_id,
        "source_ids": image.source_ids,
        "kind": kind,
        "axes": image.layer_axes,
        "told_sizes": image.told_sizes,
        "factors": image.factors,
        "name": name,
        **more,
    }


def earlier(
    viewer: ViewerModel,
    image: LayerImage,
    mark: Mapping[str, Any],
    layer_type: type,
    *,
    any_index: bool = False,
) -> list[Any]:
    """Return the layers of an earlier run that a result may update, the newest first.

    Those of another region stay as they are; a preview replaces the one before, wherever it was.
    With ``any_index`` they are all of a kind, such as the four stages.
    """
    keys = ("kind", "preview") + (() if any_index else ("index",))
    keys += () if mark.get("preview") else ("region",)
    found = []
    for layer in viewer.layers:
        note = note_of(layer)
        if note is None or not isinstance(layer, layer_type):
            continue
        same = all(note.get(key) == mark.get(key) for key in keys)
        same = same and note.get("layer_id") == layer_id(layer)
        if same and comes_from(note, image.source_id, image.name):
            found.append(layer)
    return found[::-1]


def claim(layer: Any, mark: Mapping[str, Any]) -> None:
    """Leave the note in ``layer``; its name follows its content until a person gives another.

    The note holds the layer's id, by which it is known from copies (Duplicate) that a person
    made to keep.
    """
    before = note_of(layer) or {}
    ours = before.get("layer_name", layer.name) == layer.name
    if ours and before.get("name", mark["name"]) != mark["name"]:
        layer.name = mark["name"]
    layer.metadata[NOTE] = {
        **mark,
        "layer_name": str(layer.name) if ours else "",
        "layer_id": layer_id(layer),
    }
