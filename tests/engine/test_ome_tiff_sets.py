"""OME-TIFF images over several files: all there, some missing, and of a folder each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_sa2net as sa2net
from napari_sa2net.cli import main
from napari_sa2net.engine.events import Message
from napari_sa2net.engine.files import one_of_each_set, read_image, read_info
from napari_sa2net.engine.model_files import save_model
from napari_sa2net.engine.pairing import by_name

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 2, 24, 32), dtype=np.uint8)
"""Over C, Z, Y and X."""

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def _xml(planes: str, own: int | str) -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}" UUID="urn:uuid:{own}">'
        '<Image ID="Image:0" Name="i"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        'SizeX="32" SizeY="24" SizeC="2" SizeZ="2" SizeT="1" PhysicalSizeX="0.25" '
        'PhysicalSizeY="0.25"><Channel ID="Channel:0:0" SamplesPerPixel="1" Name="a"/>'
        f'<Channel ID="Channel:0:1" SamplesPerPixel="1" Name="b"/>{planes}</Pixels></Image></OME>'
    )


def _plane(channel: int, z: int, name: str = "") -> str:
    uuid = f'<UUID FileName="{name}">urn:uuid:{channel}</UUID>' if name else ""
    ifd = z if name else 2 * channel + z
    return f'<TiffData FirstC="{channel}" FirstZ="{z}" IFD="{ifd}" PlaneCount="1">{uuid}</TiffData>'


def _set(folder: Path, prefix: str = "ch") -> list[Path]:
    """Write a file for each channel, each of which describes both."""
    folder.mkdir(exist_ok=True)
    names = [f"{prefix}{channel}.ome.tif" for channel in range(2)]
    planes = "".join(_plane(c, z, names[c]) for c in range(2) for z in range(2))
    for channel, name in enumerate(names):
        tifffile.imwrite(folder / name, PIXELS[channel], description=_xml(planes, channel),
                         metadata=None, photometric="minisblack")  # fmt: skip
    return [folder / name for name in names]


def _with_companion(folder: Path) -> list[Path]:
    """Write a file for each channel, and a third that describes both."""
    names = [f"ch{channel}.ome.tif" for channel in range(2)]
    planes = "".join(_plane(c, z, names[c]) for c in range(2) for z in range(2))
    (folder / "set.companion.ome").write_text(_xml(planes, "companion"), encoding="utf-8")
    for channel, name in enumerate(names):
        text = (
            f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:{channel}"><BinaryOnly '
            'MetadataFile="set.companion.ome" UUID="urn:uuid:companion"/></OME>'
        )
        tifffile.imwrite(folder / name, PIXELS[channel], description=text, metadata=None,
                         photometric="minisblack")  # fmt: skip
    return [folder / name for name in names]


@pytest.mark.parametrize("made", [_set, _with_companion])
def test_a_whole_set_is_one_image_from_each_of_its_files(tmp_path: Path, made: Any) -> None:
    for path in made(tmp_path):
        image = read_image(path)
        assert (image.axes, image.remark) == ("CZYX", "")
        np.testing.assert_array_equal(image.array, PIXELS)
        assert image.calibration == {"Y": 0.25, "X": 0.25}
        assert image.channel_names == ("a", "b")
        assert read_info(path).shape == PIXELS.shape


def test_planes_of_a_missing_file_are_told(tmp_path: Path) -> None:
    first, second = _set(tmp_path)
    second.unlink()
    image = read_image(first)
    np.testing.assert_array_equal(image.array[0], PIXELS[0])
    assert not np.asarray(image.array[1]).any()
    assert "2 of 4 planes of ch0.ome.tif are missing, as is ch1.ome.tif" in image.remark
    assert read_info(first).remark == image.remark


def test_planes_without_data_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    planes = "".join(_plane(c, z) for c, z in ((0, 0), (0, 1), (1, 0)))
    tifffile.imwrite(path, PIXELS.reshape(4, 24, 32)[:3], description=_xml(planes, 0),
                     metadata=None, photometric="minisblack")  # fmt: skip
    image = read_image(path)
    assert image.axes == "CZYX"
    assert "1 of 4 planes of a.ome.tif are missing: they are read as 0" in image.remark


def test_a_missing_companion_is_told(tmp_path: Path) -> None:
    first, _ = _with_companion(tmp_path)
    (tmp_path / "set.companion.ome").unlink()
    image = read_image(first)
    np.testing.assert_array_equal(image.array, PIXELS[0])
    assert "set.companion.ome, which tells what the planes of ch0.ome.tif are" in image.remark


def test_positions_in_files_of_their_own_are_images_of_their_own(tmp_path: Path) -> None:
    """Each file describes all of them, as Micro-Manager writes them."""
    images = []
    for number in range(2):
        planes = "".join(_plane(number, z, f"pos{number}.ome.tif") for z in range(2))
        planes = planes.replace(f'FirstC="{number}"', 'FirstC="0"')
        xml = _xml(planes, number).replace('SizeC="2"', 'SizeC="1"')
        xml = xml.replace('<Channel ID="Channel:0:1" SamplesPerPixel="1" Name="b"/>', "")
        images.append(xml[xml.index("<Image") : xml.index("</OME>")])
    for number in range(2):
        head = f'<OME xmlns="{NAMESPACE}" UUID="urn:uuid:{number}">'
        tifffile.imwrite(tmp_path / f"pos{number}.ome.tif", PIXELS[number], metadata=None,
                         description=head + "".join(images) + "</OME>",
                         photometric="minisblack")  # fmt: skip
    paths = sorted(tmp_path.iterdir())
    for number, path in enumerate(paths):
        image = read_image(path)
        assert (image.axes, image.remark) == ("ZYX", "")
        np.testing.assert_array_equal(image.array, PIXELS[number])
    assert one_of_each_set(paths) == (paths, [])


def test_of_a_folder_each_set_is_segmented_once(
    tmp_path: Path, tiny_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    _set(folder, "one")
    _set(folder, "two")[1].unlink()
    tifffile.imwrite(folder / "plain.tif", PIXELS[0, 0])
    model = tmp_path / "tiny.safetensors"
    save_model(tiny_model, model)
    arguments = ["--model", str(model), "--device", "cpu", "--channels", "0", "-q"]
    assert main(["segment", str(folder), "-o", str(tmp_path / "out"), *arguments]) == 0
    told = capsys.readouterr().err
    assert "Warning: one0.ome.tif, one1.ome.tif are one image" in told
    assert "Warning: 2 of 4 planes of two0.ome.tif are missing" in told
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [f"{name}_labels.ome.tif" for name in ("one0", "plain", "two0")]
    assert list(by_name(folder)) == ["one0", "plain", "two0"]


def test_missing_planes_are_told_in_python(tmp_path: Path, tiny_model: Any) -> None:
    first, second = _set(tmp_path)
    second.unlink()
    events: list[Any] = []
    sa2net.segment(first, tiny_model, device="cpu", channels=(0,), on_event=events.append)
    told = [event for event in events if isinstance(event, Message) and event.warning]
    assert any("2 of 4 planes" in message.text for message in told)
