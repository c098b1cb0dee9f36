"""Downloads, from a server on this machine that can misbehave."""

from __future__ import annotations

import errno
import http.server
import logging
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
import torch

from napari_sa2net.engine import download, registry
from napari_sa2net.engine.disk import temporary
from napari_sa2net.engine.errors import WeightsError
from napari_sa2net.engine.events import Event, Message, Progress, run
from napari_sa2net.engine.network import SA2Net
from napari_sa2net.engine.weights import (
    Model,
    ModelCard,
    available_models,
    cache_folder,
    fetch,
    find_model,
    import_model,
    load_model,
    save_model,
    toml_entry,
)


class Server(http.server.ThreadingHTTPServer):
    """Serves one file in the way a test asks for."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.behaviour = "good"
        self.asked: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content, behaviour = self.server.content, self.server.behaviour
        status = int(behaviour) if behaviour.isdigit() else 200
        self.send_response(status)
        if behaviour != "no length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if behaviour == "tampered":
            content = bytes([content[0] ^ 1]) + content[1:]
        elif behaviour in ("cut", "no length"):
            content = content[: len(content) // 2]
        elif behaviour == "stalled":
            self.wfile.write(content[: len(content) // 2])
            self.server.released.wait(30)
            return
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture(scope="module")
def released_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    card = ModelCard(name="far", description="Far away", base_channels=4, num_classes=2)
    return save_model(Model(SA2Net(3, 2, 4), card), tmp_path_factory.mktemp("release") / "far-1")


@pytest.fixture
def server(released_file):
    server = Server(released_file.read_bytes())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def far_model(tmp_path, monkeypatch, released_file, server):
    """A registry with one model, which the server has."""
    monkeypatch.setenv("NAPARI_SA2NET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_SA2NET_MODELS", str(tmp_path / "own"))
    monkeypatch.delenv("NAPARI_SA2NET_WEIGHTS_URL", raising=False)
    for variable in list(os.environ):
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    listed = tmp_path / "models.toml"
    listed.write_text(f'base_url = "{server.url}"\n\n{toml_entry(released_file)}')
    monkeypatch.setattr(registry, "REGISTRY_FILE", listed)


def left_behind() -> list[str]:
    return sorted(str(path) for path in cache_folder().rglob("*"))


def fails(match: str) -> None:
    """Check that fetching fails with a message, leaves nothing, and works the next time."""
    with pytest.raises(WeightsError, match=match):
        run(fetch("far"))
    assert left_behind() == []
    assert find_model("far").status == "remote"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_remote_model_is_downloaded_once(server, released_file):
    entry = find_model("far")
    assert (entry.status, entry.path) == ("remote", None)
    events = []
    path = run(fetch("far"), events.append)
    assert path == cache_folder() / "far-1.safetensors"
    assert path.read_bytes() == released_file.read_bytes()
    assert left_behind() == [str(path)]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644  # a lab shares its models
    assert find_model("far").status == "downloaded"
    assert isinstance(events[0], Message)
    assert server.url in events[0].text
    progress = [event for event in events if isinstance(event, Progress)]
    size = released_file.stat().st_size
    assert (progress[-1].done, progress[-1].total, progress[-1].unit) == (size, size, "byte")
    assert run(fetch("far")) == path
    assert server.asked == ["/weights/far-1.safetensors"]


def test_loading_by_name_downloads(server):
    model = load_model("far")
    assert model.card.description == "Far away"
    assert len(model.card.sha256) == 64
    assert model.network.num_classes == 2


def test_the_library_that_downloads_says_nothing_itself(caplog):
    import pooch

    logger = pooch.get_logger()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO):
            run(fetch("far"))
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.records == []
    assert logger.filters == []


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("tampered", r"SHA-256 differs.*deleted.*try again"),
        ("no length", r"SHA-256 differs.*deleted.*try again"),
        ("cut", r"connection broke off\. Try again.*Import a model file"),
        ("404", r"far-1\.safetensors does not exist\. Update napari-sa2net"),
        ("407", r"proxy does not let it through.*HTTPS_PROXY"),
        ("503", r"error 503\. Try again later"),
    ],
)
def test_a_bad_download_is_explained_and_leaves_nothing(server, behaviour, text):
    server.behaviour = behaviour
    fails(text)
    server.behaviour = "good"
    assert run(fetch("far")).is_file()


def test_more_than_was_published_is_not_stored(server):
    server.behaviour = "no length"
    server.content = server.content * 4
    fails("not the published file .it has more than the [0-9]+ bytes published.")


def test_without_a_connection_the_message_says_so(monkeypatch):
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", f"http://127.0.0.1:{closed_port()}")
    fails(r"cannot be reached\. Check the internet connection.*NAPARI_SA2NET_WEIGHTS_URL")


def test_a_dead_proxy_is_explained(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    fails("the proxy does not let it through.*HTTPS_PROXY.*Import a model file")


def test_a_certificate_that_cannot_be_checked_is_explained(monkeypatch):
    import requests

    def get(*args, **kwargs):
        raise requests.exceptions.SSLError("certificate verify failed")

    monkeypatch.setattr(requests, "get", get)
    fails("certificate.*REQUESTS_CA_BUNDLE")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, r"disk is full.*NAPARI_SA2NET_CACHE"),
        (errno.EROFS, r"cannot be written to.*NAPARI_SA2NET_CACHE"),
    ],
)
def test_a_disk_that_fails_is_explained_and_nothing_is_left(monkeypatch, code, text):
    class Disk(download._Download):
        def _take(self, size):
            super()._take(size)
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(download, "_Download", Disk)
    fails(text)


def test_a_cache_that_cannot_be_written_is_explained(monkeypatch):
    """At once: ``tempfile`` takes very long there on Windows."""
    mkdir, refused = Path.mkdir, []

    def refuse(path, *args, **kwargs):
        if path.name.startswith(".sa2net-"):
            refused.append(path)
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    fails(r"cannot be written to \(Permission denied\).*NAPARI_SA2NET_CACHE")
    assert len(refused) == 1


def test_a_cache_that_is_a_file_is_explained(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_SA2NET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match="NAPARI_SA2NET_CACHE"):
        run(fetch("far"))


def test_closing_the_generator_cancels_and_leaves_nothing(server):
    server.behaviour = "stalled"
    events = fetch("far")
    seen = [next(events) for _ in range(4)]
    # It waits for a silent server, and still gives control back.
    assert isinstance(seen[-1], Progress)
    assert seen[-1].done < seen[-1].total
    events.close()
    assert left_behind() == []
    assert find_model("far").status == "remote"
    # When the server wakes up, the thread ends without leaving anything either.
    server.released.set()
    for thread in threading.enumerate():
        if thread.name == "sa2net-download":
            thread.join(10)
            assert not thread.is_alive()
    assert left_behind() == []


def test_what_a_killed_program_left_is_removed(dead_process):
    cache_folder().mkdir(parents=True, exist_ok=True)
    mine = temporary(cache_folder() / "model")
    old = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead_process}-"))
    for folder in (old, mine):
        folder.mkdir()
        (folder / "part").write_bytes(b"half")
    run(fetch("far"))
    assert not old.exists()
    assert mine.exists(), "another program may be downloading right now"


def test_a_file_that_changed_in_the_cache_is_downloaded_again(server, released_file):
    path = run(fetch("far"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    said: list[Event] = []
    assert run(fetch("far"), said.append) == path
    assert path.read_bytes() == released_file.read_bytes()
    warning = next(event for event in said if isinstance(event, Message) and event.warning)
    assert f"{path} is damaged" in warning.text
    assert "downloaded again" in warning.text
    path.write_bytes(content)
    assert load_model("far").network.num_classes == 2
    assert path.read_bytes() == released_file.read_bytes()
    path.write_bytes(b"short")
    assert find_model("far").status == "remote"


@pytest.mark.parametrize("form", ["path", "file URL", "URL", "URL/"])
def test_a_mirror_replaces_the_published_place(monkeypatch, server, released_file, form):
    server.content = b"not asked" if form in ("path", "file URL") else server.content
    mirror = {
        "path": str(released_file.parent),
        "file URL": released_file.parent.as_uri(),
        "URL": server.url.replace("weights", "mirror"),
        "URL/": server.url.replace("weights", "mirror") + "/",
    }[form]
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", mirror)
    assert run(fetch("far")).read_bytes() == released_file.read_bytes()
    expected = [] if form in ("path", "file URL") else ["/mirror/far-1.safetensors"]
    assert server.asked == expected


def test_a_mirror_folder_without_the_file_is_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", str(tmp_path / "share"))
    fails(r"share/far-1\.safetensors cannot be read.*NAPARI_SA2NET_WEIGHTS_URL")


def test_a_tampered_file_in_a_mirror_folder_is_refused(monkeypatch, tmp_path, released_file):
    content = bytearray(released_file.read_bytes())
    content[-1] ^= 1
    (tmp_path / "far-1.safetensors").write_bytes(content)
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", str(tmp_path))
    fails("SHA-256 differs")


def test_an_address_that_is_none_is_explained(monkeypatch):
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", "gopher://x/y")
    fails("cannot be used.*NAPARI_SA2NET_WEIGHTS_URL")


@pytest.mark.parametrize("address", ["http://[", "https://[::1", "x" * 3000])
def test_an_address_that_is_none_is_told_in_short(monkeypatch, address):
    monkeypatch.setenv("NAPARI_SA2NET_WEIGHTS_URL", address)
    fails(r"\A.{,900}\Z")


def test_the_next_address_is_tried(tmp_path, server, released_file):
    entry = toml_entry(released_file).replace(
        'base_channels',
        f'urls = ["http://127.0.0.1:{closed_port()}/x", "{server.url}/y"]\nbase_channels',
    )  # fmt: skip
    (tmp_path / "models.toml").write_text(entry)
    assert run(fetch("far")).is_file()
    assert server.asked == ["/weights/y"]


def test_without_a_hash_nothing_is_downloaded(tmp_path, server):
    (tmp_path / "models.toml").write_text("[[models]]\nname = 'far'\nfile = 'far.safetensors'")
    fails("does not know its size and hash")
    assert server.asked == []


def test_a_file_downloaded_by_hand_counts_as_downloaded(released_file, server, tmp_path):
    by_hand = tmp_path / "far-1 (2).safetensors"
    by_hand.write_bytes(released_file.read_bytes())
    entry = import_model(by_hand)
    assert (entry.name, entry.status) == ("far", "downloaded")
    assert [e.name for e in available_models()] == ["far"]
    assert load_model("far").card.sha256 == entry.card.sha256
    assert server.asked == []
    assert import_model(by_hand) == entry
