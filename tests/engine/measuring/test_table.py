"""The table of measurements: against values worked out by hand, in 2-D, through Z and time."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sa2net.engine.cards import ClassInfo
from napari_sa2net.engine.errors import InputError, SA2NetError
from napari_sa2net.engine.events import Progress, run
from napari_sa2net.engine.measuring.objects import Objects, channels_of
from napari_sa2net.engine.measuring.table import measure, write_table

CLASSES = (ClassInfo("background"), ClassInfo("nucleus", "#e69f00"), ClassInfo("cell", "#56b4e9"))


def two_squares() -> np.ndarray:
    """Return a plane (8, 10) of a square of four pixels and a line of three."""
    labels = np.zeros((8, 10), np.int32)
    labels[1:3, 2:4] = 1
    labels[5, 4:7] = 2
    return labels


def test_a_plane_in_pixels() -> None:
    image = np.arange(80).reshape(8, 10)
    objects = Objects(two_squares(), "YX", CLASSES, {1: 2, 2: 1})
    table = run(measure(objects, channels_of(image, "YX")))
    assert table["index"].tolist() == [1, 2]
    assert table["class"].tolist() == [2, 1]
    assert table["class_name"].tolist() == ["cell", "nucleus"]
    assert table["area"].tolist() == [4, 3]
    assert table["centroid_y_px"].tolist() == [1.5, 5]
    assert table["centroid_x_px"].tolist() == [2.5, 5]
    boxes = zip(*(table[f"bbox_{name}_px"].tolist() for name in ("y0", "x0", "y1", "x1")),
                strict=True)  # fmt: skip
    assert list(boxes) == [(1, 2, 3, 4), (5, 4, 6, 7)]
    assert table["intensity_mean_0"].tolist() == [17.5, 55]
    assert table["intensity_min_0"].tolist() == [12, 54]
    assert table["intensity_max_0"].tolist() == [23, 56]
    assert not {"t", "z", "area_um2", "volume_um3"} & set(table)


def test_lengths_are_in_the_units_of_the_image() -> None:
    table = run(measure(Objects(two_squares(), "YX"), sizes={"Y": 0.5, "X": 0.25}))
    assert table["area"].tolist() == [4, 3]
    assert table["area_um2"].tolist() == [0.5, 0.375]
    assert table["centroid_y_um"].tolist() == [0.75, 2.5]
    assert table["centroid_x_um"].tolist() == [0.625, 1.25]
    assert not [name for name in table if name.startswith(("intensity", "centroid_y_px"))]


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.float16, np.float32])
def test_channels_are_measured_each_by_its_name(dtype: Any) -> None:
    image = np.zeros((3, 8, 10), dtype)
    image[0, 1:3, 2:4] = 1
    image[2] = 1
    channels = channels_of(image, "CYX", names=("DAPI", "", "DAPI"))
    assert channels.names == ("DAPI", "1", "2")
    table = run(measure(Objects(two_squares(), "YX"), channels))
    assert table["intensity_mean_DAPI"].tolist() == [1, 0]
    assert table["intensity_max_1"].tolist() == [0, 0]
    assert table["intensity_min_2"].tolist() == [1, 1]
    assert channels_of(image, "CYX", names=("1", "", "x")).names == ("0", "1", "x")


def test_colours_have_their_names_and_the_image_any_order_of_axes() -> None:
    image = np.zeros((10, 8, 3), np.uint8)  # X, Y, C
    image[2:4, 1:3, 1] = 200
    labels = two_squares().T
    table = run(measure(Objects(labels, "XY"), channels_of(image, "XYC", rgb=True)))
    assert table["intensity_mean_green"].tolist() == [200, 0]
    assert table["intensity_mean_red"].tolist() == [0, 0]
    assert table["centroid_x_px"].tolist() == [2.5, 5]


def test_of_a_region_nothing_else_is_read() -> None:
    read = []

    class Lazy:
        """A file of five planes."""

        shape, dtype, ndim = (5, 80, 100), np.dtype(np.uint8), 3

        def __getitem__(self, key: Any) -> np.ndarray:
            read.append(key)
            return np.full(self.shape, 7, np.uint8)[key]

    labels = np.stack([two_squares()] * 5)
    channels = channels_of(Lazy(), "ZYX", region=(20, 30, 28, 40))
    assert not read
    table = run(measure(Objects(labels, "ZYX", origin=(20, 30)), channels))
    assert read == [(z, slice(20, 28), slice(30, 40)) for z in range(5)]
    assert set(table["intensity_mean_0"]) == {7}
    with pytest.raises(InputError, match=r"\(5, 8, 10\).*\(5, 80, 100\)"):
        run(measure(Objects(labels, "ZYX"), channels_of(Lazy(), "ZYX")))


def stack() -> tuple[np.ndarray, np.ndarray]:
    """Return labels and image (3, 8, 10): object 1 in two planes, object 2 in one."""
    labels = np.zeros((3, 8, 10), np.int32)
    labels[0, 1:3, 2:4] = 1
    labels[1, 1:3, 2:6] = 1
    labels[2, 5, 4:7] = 2
    return labels, np.array([10, 40, 70])[:, None, None] * np.ones((1, 8, 10), np.int64)


def test_linked_objects_of_a_stack_are_solids() -> None:
    labels, image = stack()
    objects = Objects(labels, "ZYX", through_z=True)
    sizes = {"Z": 2.0, "Y": 0.5, "X": 0.5}
    table = run(measure(objects, channels_of(image, "ZYX"), sizes))
    assert table["index"].tolist() == [1, 2]
    assert table["area"].tolist() == [12, 3]
    assert table["volume_um3"].tolist() == [6, 1.5]
    assert table["centroid_z_um"] == pytest.approx([2 * 8 / 12, 4])
    assert table["centroid_x_um"] == pytest.approx([0.5 * (4 * 2.5 + 8 * 3.5) / 12, 2.5])
    assert table["intensity_mean_0"] == pytest.approx([30, 70])
    assert table["intensity_min_0"].tolist() == [10, 70]
    assert table["intensity_max_0"].tolist() == [40, 70]
    assert table["bbox_z0_px"].tolist() == [0, 2]
    assert table["bbox_z1_px"].tolist() == [2, 3]
    assert table["bbox_x1_px"].tolist() == [6, 7]
    assert not {"z", "t", "area_um2"} & set(table)


def test_other_objects_of_a_stack_have_a_row_a_plane() -> None:
    labels, image = stack()
    table = run(measure(Objects(labels, "ZYX"), channels_of(image, "ZYX"), {"Y": 1.0, "X": 1.0}))
    assert list(zip(table["index"].tolist(), table["z"].tolist(), strict=True)) == [
        (1, 0), (1, 1), (2, 2)]  # fmt: skip
    assert table["area_um2"].tolist() == [4, 8, 3]
    assert table["centroid_z_px"].tolist() == [0, 1, 2]
    assert table["intensity_mean_0"].tolist() == [10, 40, 70]


def test_time_has_a_row_for_each_moment_also_of_solids() -> None:
    labels, image = stack()
    movie = np.stack([labels, labels])
    channels = channels_of(np.stack([image, image + 1]), "TZYX")
    events: list[Any] = []
    table = run(measure(Objects(movie, "TZYX", through_z=True), channels), events.append)
    assert list(zip(table["t"].tolist(), table["index"].tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 1), (1, 2)]  # fmt: skip
    assert table["intensity_max_0"].tolist() == [40, 70, 41, 71]
    assert [event.done for event in events if isinstance(event, Progress)] == list(range(1, 7))


@pytest.mark.parametrize("through_z", [False, True])
def test_without_objects_there_are_columns_and_no_rows(tmp_path: Path, through_z: bool) -> None:
    labels = np.zeros((2, 8, 10), np.int32)
    objects = Objects(labels, "ZYX", through_z=through_z)
    table = run(measure(objects, channels_of(np.zeros((2, 8, 10)), "ZYX")))
    assert all(len(column) == 0 for column in table.values())
    header = write_table(tmp_path / "t.csv", table).read_text(encoding="utf-8").splitlines()
    assert len(header) == 1
    assert "intensity_mean_0" in header[0]


def test_a_table_is_a_csv_file_of_plain_numbers(tmp_path: Path) -> None:
    objects = Objects(two_squares(), "YX", CLASSES, {1: 1, 2: 1})
    table = run(measure(objects, sizes={"Y": 0.1, "X": 0.1}))
    with write_table(tmp_path / "t.csv", table).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["class_name"] == "nucleus"
    assert float(rows[0]["area_um2"]) == pytest.approx(0.04)
    assert rows[1]["bbox_y0_px"] == "5"


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    objects = Objects(two_squares(), "YX")
    with pytest.raises(InputError, match="the image they belong to"):
        run(measure(objects, channels_of(np.zeros((9, 9)), "YX")))
    with pytest.raises(InputError, match="no channels"):
        Objects(np.zeros((2, 8, 8), int), "CYX")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SA2NetError, match="cannot be written"):
        write_table(tmp_path / "file" / "t.csv", run(measure(objects)))
