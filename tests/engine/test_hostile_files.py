"""Files that are no models, in the models' folder and given by a person; and programs at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_sa2net.engine import disk, model_files, official, own_models, registry
from napari_sa2net.engine.errors import InputError, SA2NetError, TrainingError, WeightsError
from napari_sa2net.engine.exchange import package
from napari_sa2net.engine.model_files import METADATA_KEY, Model, check_tensors
from napari_sa2net.engine.training.checkpoints import read_checkpoint
from napari_sa2net.engine.weights import (
    add_model,
    available_models,
    import_model,
    load_model,
    models_folder,
    read_card,
    rename_model,
    save_model,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = sorted((FIXTURES / "weights").iterdir())
OFFICIAL = FIXTURES / "official_checkpoints" / "best_model_state_dict.pt"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the models of whoever runs them."""
    monkeypatch.setenv("NAPARI_SA2NET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_SA2NET_MODELS", str(tmp_path / "own"))
    models_folder().mkdir()
    registry.warn_once.cache_clear()


@pytest.fixture
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a file is refused only after a network was made, or its tensors copied."""

    def fail(*_: object, **__: object) -> None:
        pytest.fail("a network was built")

    monkeypatch.setattr(model_files, "build_network", fail)
    monkeypatch.setattr(official, "build_network", fail)


def with_header(path: Path, header: bytes, body: bytes = b"", length: int | None = None) -> None:
    size = len(header) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + header + body)


def with_card(path: Path, tensors: dict[str, torch.Tensor], card: object, version: Any = 1) -> None:
    save_file(tensors, path, {METADATA_KEY: json.dumps({"version": version, "card": card})})


def make_pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(path)


BAD: dict[str, Callable[[Path], object]] = {
    "nested header": lambda p: with_header(p, b'{"a":' + b"[" * 100_000),
    "nested card": lambda p: with_header(
        p, json.dumps({"__metadata__": {METADATA_KEY: "[" * 100_000}}).encode()
    ),
    "huge header": lambda p: with_header(p, b"{" + b" " * 11_000_000 + b"}"),
    "header beyond the file": lambda p: with_header(p, b"{}", length=5_000_000),
    "not JSON": lambda p: with_header(p, b"\xff\xfe{}"),
    "huge number": lambda p: with_header(p, b'{"a":' + b"9" * 5000 + b"}"),
    "version inf": lambda p: with_card(p, {}, {"name": "x"}, float("inf")),
    "card is a list": lambda p: with_card(p, {}, [["name", "x"]]),
    "half of a pair": lambda p: with_card(p, {}, {"name": "x", "description": "\ud800"}),
    "empty": lambda p: p.write_bytes(b""),
    "folder": lambda p: p.mkdir(),
    "dangling link": lambda p: p.symlink_to("nowhere"),
    "looping link": lambda p: p.symlink_to(p.name),
    "pipe": make_pipe,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_left_out_with_one_warning(
    kind: str, tiny_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    before = len(available_models())
    add_model(tiny_model, "good")
    BAD[kind](models_folder() / "bad.safetensors")
    for _ in range(3):
        names = [entry.name for entry in available_models()]
        assert len(names) == before + 1
        assert "good" in names
        assert "bad" not in names
    assert load_model("nuclei").card.name == "nuclei"
    told = [record.message for record in caplog.records if "left out" in record.message]
    assert len(told) == 1
    assert "bad.safetensors" in told[0]


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred"])
def test_a_name_that_no_terminal_shows_is_left_out_in_escapes(
    name: str, tiny_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    path = add_model(tiny_model).path
    assert path is not None
    path.rename(path.with_name(f"{name}.safetensors"))
    assert name not in [entry.name for entry in available_models()]
    assert caplog.records
    assert all(record.message.isprintable() for record in caplog.records)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_name_that_is_no_text_is_left_out(
    tiny_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    path = add_model(tiny_model).path
    assert path is not None
    os.rename(path, os.fsencode(path.parent) + b"/caf\xe9.safetensors")
    assert [entry.name for entry in available_models() if entry.status == "imported"] == []
    assert r"caf\udce9" in caplog.text


@pytest.mark.parametrize("when", ["listed", "opened"])
def test_a_file_that_goes_while_it_is_looked_at_is_left_out(
    when: str, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(tiny_model, "good")
    gone = add_model(tiny_model, "gone").path
    assert gone is not None
    where, name = (registry, "read_card") if when == "listed" else (model_files.json, "loads")
    real = getattr(where, name)

    def removing(*args: Any) -> Any:
        gone.unlink(missing_ok=True)
        return real(*args)

    monkeypatch.setattr(where, name, removing)
    names = [entry.name for entry in available_models()]
    assert "good" in names
    assert "nuclei" in names


def test_a_folder_that_cannot_be_read_leaves_the_bundled_models(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", denied)
    assert "nuclei" in [entry.name for entry in available_models()]
    assert "cannot be read" in caplog.text


def test_a_folder_that_is_a_file_leaves_the_bundled_models() -> None:
    models_folder().rmdir()
    models_folder().write_text("x", encoding="utf-8")
    assert "nuclei" in [entry.name for entry in available_models()]


def test_a_damaged_bundled_model_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = shutil.copytree(registry.BUNDLED_FOLDER, tmp_path / "bundled")
    with_header(bundled / "generalist.safetensors", b"[" * 100_000)
    monkeypatch.setattr(registry, "BUNDLED_FOLDER", bundled)
    found = {entry.name: entry.status for entry in available_models()}
    assert (found["nuclei"], found["generalist"]) == ("bundled", "remote")


# --- files that a person gives ---------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
@pytest.mark.usefixtures("nothing_is_built")
def test_reported_files_are_refused_before_anything_is_built(path: Path) -> None:
    if path.name == "escape.safetensors":
        assert read_card(path).name == "esc"  # a model like any other, with an odd text
        return
    with pytest.raises(WeightsError):
        load_model(path)
    with pytest.raises(WeightsError):
        import_model(path)


@pytest.mark.parametrize(
    "change",
    [{"base_channels": 1024}, {"in_channels": 512, "channels": []}, {"num_classes": 1000,
     "classes": []}, {"members": [{"name": str(i)} for i in range(100)]}],
)  # fmt: skip
@pytest.mark.usefixtures("nothing_is_built")
def test_counts_of_a_card_are_compared_with_the_tensors(
    change: dict[str, Any], tiny_model: Model, tmp_path: Path
) -> None:
    card = {**tiny_model.card.to_dict(provenance=False), **change}
    with_card(tmp_path / "m.safetensors", tiny_model.network.state_dict(), card)
    with pytest.raises(WeightsError, match=r"its card (says|names)"):
        read_card(tmp_path / "m.safetensors")


class Bytes:
    """Pickled, a call of a few bytes that takes what it is told."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (1 << 45,)


def packed(path: Path, method: int) -> None:
    with zipfile.ZipFile(OFFICIAL) as old, zipfile.ZipFile(path, "w", method) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))


def many_parts(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(40):
            archive.writestr("x" * 60_000 + str(number), b"")
            archive.writestr("y" * 60_000 + str(number), b"")


def official_with(path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = torch.load(OFFICIAL, weights_only=True)
    torch.save({k: change(v) if v.ndim == 4 else v for k, v in tensors.items()}, path)


def wide(path: Path) -> None:
    """Write a checkpoint of a network of great width in which every tensor is one number."""
    tensors = torch.load(OFFICIAL, weights_only=True)
    one = torch.zeros(())
    torch.save({k: one.expand([side * 100 for side in v.shape]) for k, v in tensors.items()}, path)


PYTORCH: dict[str, Callable[[Path], object]] = {
    "expanded": wide,
    "a call": lambda p: torch.save({"state_dict": Bytes()}, p),
    "a call, old format": lambda p: torch.save(
        {"state_dict": Bytes()}, p, _use_new_zipfile_serialization=False
    ),
    "compressed": lambda p: packed(p, zipfile.ZIP_DEFLATED),
    "LZMA": lambda p: packed(p, zipfile.ZIP_LZMA),
    "many parts": many_parts,
    "float8": lambda p: official_with(p, lambda v: v.to(torch.float8_e4m3fn)),
    "sparse": lambda p: official_with(p, torch.Tensor.to_sparse),
    "complex": lambda p: official_with(p, lambda v: v.to(torch.complex64)),
    "no data": lambda p: official_with(p, lambda v: v.to("meta")),
    "cut off": lambda p: p.write_bytes(OFFICIAL.read_bytes()[:5000]),
    "empty": lambda p: p.write_bytes(b""),
    "plain pickle": lambda p: p.write_bytes(b"\x80\x02]."),
    "pipe": make_pipe,
}


@pytest.mark.parametrize("kind", PYTORCH)
@pytest.mark.usefixtures("nothing_is_built")
def test_a_checkpoint_never_takes_more_than_it_holds(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pth"
    PYTORCH[kind](path)
    with pytest.raises(WeightsError):
        load_model(path)
    if kind != "pipe":
        with pytest.raises(WeightsError):
            official.import_checkpoint(path)
        if kind not in ("float8", "complex", "sparse"):
            with pytest.raises(TrainingError):
                read_checkpoint(path, "x")


def test_a_float8_tensor_in_a_model_file_is_refused(tiny_model: Model, tmp_path: Path) -> None:
    tensors = dict(tiny_model.network.state_dict())
    tensors["heads.0.weight"] = tensors["heads.0.weight"].to(torch.float8_e4m3fn)
    with_card(tmp_path / "m.safetensors", tensors, tiny_model.card.to_dict(provenance=False))
    with pytest.raises(WeightsError, match="F8_E4M3"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_package_is_never_unpacked_to_far_more_than_it_is(method: int, tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("rdf.yaml", "x")
        archive.writestr("model.safetensors", bytes(20_000_000))
    with pytest.raises(WeightsError, match="would be 20 MB"):
        load_model(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("change", ["method", "data", "encrypted", "directory"])
def test_a_damaged_package_is_told_as_one(method: int, change: str, tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(package.MODEL_FILE, os.urandom(5000))
        archive.writestr("rdf.yaml", "x")
    data = bytearray(path.read_bytes())
    listed = data.find(b"PK\x01\x02")
    if change == "data":
        data[200:260] = bytes(60)
    else:
        at = {"method": listed + 10, "encrypted": listed + 8, "directory": listed}[change]
        data[at] = {"method": 77, "encrypted": 1, "directory": 0}[change]
    path.write_bytes(data)
    with pytest.raises(WeightsError):
        import_model(path)
    assert list(models_folder().iterdir()) == []


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "~nouser/x", "/dev/zero", "."])
@pytest.mark.parametrize("call", [load_model, import_model, lambda path: load_model(Path(path))])
def test_a_path_that_is_none_is_told(call: Callable[[str], object], path: str) -> None:
    with pytest.raises(SA2NetError):
        call(path)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited in another way there")
def test_a_small_file_is_refused_in_little_memory(tmp_path: Path) -> None:
    """In a process of its own, which ends with a MemoryError where more is taken."""
    for number, make in enumerate((wide, PYTORCH["a call, old format"])):
        make(tmp_path / f"{number}.pth")
    code = (
        "import sys, resource, torch\n"
        "from pathlib import Path\n"
        "from napari_sa2net.engine.weights import load_model\n"
        "from napari_sa2net.engine.errors import WeightsError\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, used + 2**31))\n"
        "for path in sys.argv[1:]:\n"
        "    try: load_model(Path(path)); print('loaded')\n"
        "    except WeightsError as error: print(error)\n"
    )
    files = [str(tmp_path / "0.pth"), str(tmp_path / "1.pth")]
    done = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "more memory than the file is long" in done.stdout
    assert "bytearray" in done.stdout


# --- two programs at once --------------------------------------------------------------------


def _add(path: Path, barrier: Any, names: Any) -> None:
    barrier.wait()
    names.put(import_model(path).name)


def test_two_imports_under_one_name_keep_both_models(tiny_model: Model, tmp_path: Path) -> None:
    """Real processes; what lies between looking and writing is tried below, each time."""
    path = save_model(tiny_model, tmp_path / "cells")
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    barrier, names = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_add, args=(path, barrier, names)) for _ in range(2)]
    for worker in workers:
        worker.start()
    told = {names.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert told == {file.stem for file in models_folder().iterdir()}


@pytest.mark.parametrize("links", [True, False])
def test_a_name_taken_at_the_last_moment_becomes_another(
    links: bool, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = models_folder() / "tiny.safetensors"
    taken = own_models.taken_names

    def then_another_program_writes() -> set[str]:
        names = taken()
        other.write_bytes(b"another program's")
        return names

    monkeypatch.setattr(own_models, "taken_names", then_another_program_writes)
    if not links:
        monkeypatch.setattr(disk.os, "link", _no_links)
    assert add_model(tiny_model).name == "tiny-2"
    with pytest.raises(WeightsError, match="'tiny' already"):
        add_model(tiny_model, "tiny")
    assert other.read_bytes() == b"another program's"
    assert {file.name for file in models_folder().iterdir()} == {other.name, "tiny-2.safetensors"}


def _no_links(*_: object) -> None:
    raise OSError(95, "Operation not supported")


@pytest.mark.parametrize("links", [True, False])
def test_renaming_never_replaces_another_programs_model(
    links: bool, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add_model(tiny_model, "mine").path
    assert path is not None
    other = models_folder() / "theirs.safetensors"
    if not links:
        monkeypatch.setattr(disk.os, "link", _no_links)
    monkeypatch.setattr(own_models, "taken_names", lambda: {"mine"})  # it was free a moment ago
    other.write_bytes(b"another program's")
    with pytest.raises(WeightsError, match="'theirs' already"):
        rename_model("mine", "theirs")
    assert other.read_bytes() == b"another program's"
    assert rename_model("mine", "yours").name == "yours"
    assert not path.exists()


def test_of_two_renamings_of_one_model_one_is_told(
    tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add_model(tiny_model, "mine").path
    assert path is not None
    link = os.link

    def and_another_program(source: Path, target: Path) -> None:
        link(source, target)
        os.rename(source, source.with_name("first.safetensors"))

    monkeypatch.setattr(disk.os, "link", and_another_program)
    with pytest.raises(WeightsError, match="no model 'mine' any more"):
        rename_model("mine", "second")
    assert [file.stem for file in models_folder().iterdir()] == ["first"]


def test_an_export_never_replaces_what_came_in_between(
    tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(tiny_model, "mine")
    target = tmp_path / "out.safetensors"
    inside = own_models._with_name

    def then_another_program_writes(*args: Any) -> bytes:
        target.write_bytes(b"another program's")
        return inside(*args)

    monkeypatch.setattr(own_models, "_with_name", then_another_program_writes)
    with pytest.raises(InputError, match="exists already"):
        own_models.export_model("mine", target)
    assert target.read_bytes() == b"another program's"


def test_names_of_tensors_are_told_without_obeying_them() -> None:
    names = ["\x1b[2Jweight", "x" * 10_000, "plain.weight"]
    with pytest.raises(WeightsError, match=r"plain\.weight") as caught:
        check_tensors({name: torch.zeros(1) for name in names}, {}, "The file")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
