""" "Where next?": the camera goes where the stages disagree, and where nothing is painted."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from napari_sa2net.engine.cards import ClassInfo, ModelCard
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.events import Progress, run
from napari_sa2net.gui import compat
from napari_sa2net.gui.annotating import where_next
from napari_sa2net.gui.annotating.layers import new_annotation
from napari_sa2net.gui.annotating.where_next import Query, WhereNext
from napari_sa2net.gui.layers import read_image
from napari_sa2net.gui.regions import current_plane
from napari_sa2net.gui.segmenting.backend import Ran, Request
from napari_sa2net.gui.segmenting.results import Note, write_maps

CARD = ModelCard(
    name="nuclei",
    num_classes=2,
    classes=(ClassInfo("background", "#000000"), ClassInfo("nucleus", "#e69f00")),
    diameter=20.0,
)


class Network:
    """Disagrees by the brightness of the image."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Generator[Progress, None, Ran]:
        self.requests.append(request)
        yield Progress(0, 1, "tile")
        values = np.asarray(request.data, dtype=np.float32)
        axes = request.options["axes"]
        if "C" in axes:
            values = values.mean(axis=axes.index("C"))
        return Ran(None, {"disagreement": values})


class Window:
    """A viewer with an image, and what "Where next?" said."""

    def __init__(self, viewer: Any, pixels: np.ndarray, axes: str, **kwargs: Any) -> None:
        self.viewer = viewer
        self.layer = viewer.add_image(pixels, name="cells", contrast_limits=(0, 1), **kwargs)
        self.image = read_image(self.layer).with_axes(axes)
        self.network = Network()
        self.where = WhereNext(viewer, self.network)
        self.said: list[str] = []
        self.query = Query(self.layer, self.image, (), CARD)

    def press(self) -> tuple[float, float]:
        """Press the button, and return the pixel in the middle of the view."""

        def now(work: Any, finish: Callable[[Any], None]) -> None:
            finish(run(work()))

        self.where.press(self.query, now, self.said.append)
        world = np.array(self.viewer.dims.point, dtype=float)
        world[-2:] = np.asarray(compat.camera(self.viewer).center)[-2:]
        y, x = np.asarray(self.layer.world_to_data(world[-self.layer.ndim :]))[-2:]
        return float(y), float(x)


def bright(shape: tuple[int, ...], *places: tuple[int, int]) -> np.ndarray:
    """Return an image with round spots of falling brightness."""
    rows, columns = np.indices(shape[-2:])
    pixels = np.zeros(shape[-2:], np.float32)
    for rank, (y, x) in enumerate(places):
        spot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 25**2))
        pixels = np.maximum(pixels, (1 - 0.2 * rank) * spot)
    return np.broadcast_to(pixels, shape).astype(np.float32)


@pytest.fixture
def viewer(make_napari_viewer_proxy: Callable[..., Any]) -> Any:
    return make_napari_viewer_proxy(show=True)


def test_repeated_presses_visit_further_places(viewer: Any, qtbot: Any) -> None:
    places = [(100, 400), (400, 120), (430, 430)]
    window = Window(viewer, bright((512, 512), *places), "YX", scale=(0.5, 0.5), translate=(20, -5))
    viewer.reset_view()
    qtbot.wait(50)
    for place in places:
        y, x = window.press()
        assert abs(y - place[0]) < 50
        assert abs(x - place[1]) < 50
        qtbot.wait(50)
        # The place fills the view: the window is 128 pixels wide.
        low, high = compat.visible_data(viewer, window.layer)
        assert 100 < min(high - low) < 180
    assert len(window.network.requests) == 1  # the network was run once
    assert window.said[1].startswith("Place 2: the stages disagree by 0.1")
    assert window.network.requests[0].keep == frozenset({"disagreement"})


def test_painted_places_are_left_out(viewer: Any) -> None:
    window = Window(viewer, bright((512, 512), (100, 400), (400, 120)), "YX")
    made = new_annotation(viewer, window.layer, window.image, CARD)
    made.data[60:140, 360:440] = 1
    window.query = replace(window.query, annotations=(made,))
    y, x = window.press()
    assert abs(y - 400) < 50
    assert abs(x - 120) < 50
    made.data[...] = 1
    window.press()
    assert "Everything here is painted" in window.said[-1]


def test_after_the_last_place_comes_the_first(viewer: Any) -> None:
    window = Window(viewer, bright((200, 200), (100, 100)), "YX")
    window.press()
    for _ in range(9):
        window.press()
    assert any("first again" in text for text in window.said)


def test_the_plane_shown_of_a_stack(viewer: Any) -> None:
    pixels = np.zeros((4, 2, 512, 512), np.float32)
    pixels[2] = bright((2, 512, 512), (100, 400))
    window = Window(viewer, pixels, "TCYX", scale=(2, 1, 0.5, 0.5))
    viewer.dims.point = (4, 1, 0, 0)
    y, x = window.press()
    assert window.network.requests[0].data.shape == (1, 2, 512, 512)
    assert abs(y - 100) < 50
    assert abs(x - 400) < 50
    assert_allclose(viewer.dims.point[:2], (4, 1))
    viewer.dims.point = (6, 1, 0, 0)
    window.press()
    assert len(window.network.requests) == 2


def test_a_result_that_is_there_spares_the_network(viewer: Any) -> None:
    pixels = np.zeros((4, 512, 512), np.float32)
    window = Window(viewer, pixels, "TYX")
    viewer.dims.point = (3, 0, 0)
    plane = window.image.crop(current_plane(viewer, window.layer, "TYX"))
    maps = {"disagreement": bright((1, 512, 512), (100, 400)).astype(np.float16)}
    write_maps(viewer, plane, maps, note=Note("nuclei"), classes=CARD.classes)
    y, x = window.press()
    assert not window.network.requests
    assert abs(y - 100) < 50
    assert abs(x - 400) < 50
    viewer.dims.point = (1, 0, 0)  # another plane
    window.press()
    assert len(window.network.requests) == 1
    window.query = replace(window.query, card=replace(CARD, name="other"))
    viewer.dims.point = (3, 0, 0)  # another model
    window.press()
    assert len(window.network.requests) == 2


def test_of_a_large_plane_the_part_in_view(
    viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where_next, "MOST", 300)
    window = Window(viewer, bright((1000, 1000), (700, 700)), "YX")
    compat.move_to(viewer, (650.0, 650.0))
    compat.camera(viewer).zoom = 4.0
    qtbot.wait(50)
    y, x = window.press()
    assert window.network.requests[0].data.shape == (300, 300)
    assert abs(y - 700) < 50
    assert abs(x - 700) < 50
    assert "only the part" in window.said[-1]


def test_small_objects_make_small_places(viewer: Any, qtbot: Any) -> None:
    window = Window(viewer, bright((512, 512), (100, 400)), "YX")
    window.query = replace(window.query, diameter=10.0)  # half of the model's: twice the zoom
    viewer.reset_view()
    qtbot.wait(50)
    window.press()
    qtbot.wait(50)
    low, high = compat.visible_data(viewer, window.layer)
    assert 50 < min(high - low) < 90


def test_layers_that_are_gone(viewer: Any) -> None:
    window = Window(viewer, bright((512, 512), (100, 400)), "YX")
    made = new_annotation(viewer, window.layer, window.image, CARD)
    window.query = replace(window.query, annotations=(made,))
    waiting: list[Any] = []
    window.where.press(window.query, lambda work, finish: waiting.append((work, finish)), print)
    viewer.layers.remove(made)
    work, finish = waiting[0]
    with pytest.raises(InputError, match="removed"):
        finish(run(work()))
    viewer.layers.remove(window.layer)
    with pytest.raises(InputError, match="removed"):
        window.press()
