"""Downloads from a server that cuts, stalls, lies or sends something else."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

from cases.drawing import Draw
from cases.networks import network_model
from cases.outcomes import Refused, Wrong

NAME = "remote"

_ANSWERS: dict[str, float] = {
    "the file": 6, "in pieces": 2, "cut": 3, "stalls": 1, "other bytes": 2, "longer": 2,
    "wrong length": 2, "404": 1, "500": 1, "407": 0.5, "200 and a page": 2, "redirected": 2,
    "redirected in a circle": 0.5, "redirected to nowhere": 0.5, "empty": 1, "not HTTP": 1,
    "closed at once": 1, "compressed": 1, "a part": 1, "slowly": 1,
}  # fmt: skip

_ADDRESSES = (
    "http://", "http://[", "http://127.0.0.1:99999/", "http://127.0.0.1:1/", "htp://x/", "://",
    "http://nul\x00l/", "file://", "file:///nowhere", "~nouser/x", "http:// /", "ftp://127.0.0.1/",
    "http://[::1", "http://user:pass@127.0.0.1:1/", "x" * 3000, "http://127.0.0.1:1/\n", "nowhere",
    "http://xn--/", "http://\u202e/", "C:\\weights", "https://127.0.0.1:{port}/",
)  # fmt: skip


def run(draw: Draw, folder: Path) -> None:
    """Download a model from a server that answers in some way, perhaps again from a good one."""
    from napari_sa2net.engine import download, folders, registry
    from napari_sa2net.engine.errors import SA2NetError

    data = _published(folder)
    cache = folders.cache_folder()
    in_the_way = _fill_cache(draw, cache, data)
    with (
        _server(data) as server,
        mock.patch.object(registry, "REGISTRY_FILE", folder / "models.toml"),
        mock.patch.object(download, "TIMEOUT", (1.0, 0.4)),
    ):
        server.answers = [draw.weighted(_ANSWERS) for _ in range(draw.among(1, 1, 2))]
        address = f"http://127.0.0.1:{server.server_port}/"
        if draw.chance(0.15):
            address = draw.among(*_ADDRESSES).format(port=server.server_port)
            draw.say(repr(address), 80)
        else:
            draw.say(server.answers)
        os.environ["NAPARI_SA2NET_WEIGHTS_URL"] = address.replace("\x00", "")
        if draw.chance(0.08):
            proxy = draw.among("http://127.0.0.1:1", "nonsense", "http://[::", "socks9://x", " ")
            draw.say(f"proxy {proxy}")
            os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = proxy
        refused: SA2NetError | None = None
        try:
            path = _fetched(draw, server)
        except SA2NetError as error:
            refused, path = error, None
        _check(cache, path, data, _old())
        # A good server, and everything is as if nothing had happened.
        server.answers = []
        os.environ["NAPARI_SA2NET_WEIGHTS_URL"] = f"http://127.0.0.1:{server.server_port}"
        for name in ("HTTP_PROXY", "http_proxy"):
            os.environ.pop(name, None)
        try:
            _check(cache, _again(draw), data)
        except (SA2NetError, Refused) as error:
            if in_the_way:
                raise
            raise Wrong("does not go on afterwards", str(error)) from error
        if refused is not None:
            raise refused


def _fetched(draw: Draw, server: Any) -> Path | None:
    """Download; in some of the cases it is cancelled while it goes on."""
    from napari_sa2net.engine.weights import fetch

    stop_at = draw.among(0, 1, 3) if draw.chance(0.15) else None
    work = fetch(NAME)
    for number in range(10**6):
        if number == stop_at:
            draw.say(f"cancelled after {number} events")
            work.close()
            return None
        try:
            next(work)
        except StopIteration as stop:
            found: Path = stop.value
            return found
    raise Wrong("a download without end")


def _again(draw: Draw) -> Path:
    from napari_sa2net.engine.events import run as drive
    from napari_sa2net.engine.weights import fetch, find_model

    if draw.chance(0.2):
        draw.say("then sa2net models download")
        from cases.command_line import check_output, run_here

        code, out, err = run_here(["models", "download", NAME])
        check_output(code, out, err)
        if code:
            raise Refused(err)
        path = find_model(NAME).path
        if path is None:
            raise Wrong("told as downloaded, but it is not")
        return path
    return drive(fetch(NAME))


def _check(cache: Path, path: Path | None, data: bytes, there: str = "") -> None:
    """Check that what was downloaded is whole, and that nothing else is in the cache."""
    if path is not None and path.read_bytes() != data:
        raise Wrong("what was downloaded is not the published file")
    known = (f"{NAME}.safetensors", "others", there)
    left = [p.name for p in cache.glob("*") if p.name not in known]
    deadline = time.monotonic() + 3  # a thread may still be waiting for a server that is silent
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [name for name in left if (cache / name).exists()]
    if left:
        raise Wrong("left behind in the cache", ", ".join(left))


def _fill_cache(draw: Draw, cache: Path, data: bytes) -> bool:
    """Put something into the cache; tell whether no file can be written there."""
    there = draw.weighted(
        {"nothing": 6, "the file": 1, "other bytes": 1, "a part": 1, "a folder": 0.5, "a file": 0.3,
         "left by a killed run": 1}
    )  # fmt: skip
    if there != "nothing":
        draw.say(f"in the cache: {there}")
    if there == "a file":
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text("in the way")
        return True
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "others").write_text("of somebody else")
    target = cache / f"{NAME}.safetensors"
    if there == "the file":
        target.write_bytes(data)
    elif there == "other bytes":
        target.write_bytes(data[:-3] + b"odd")
    elif there == "a part":
        target.write_bytes(data[:1000])
    elif there == "a folder":
        target.mkdir()
    elif there == "left by a killed run":
        old = cache / _old()
        old.mkdir()
        (old / "remote.safetensors").write_bytes(data[:1000])
        os.utime(old, (0, 0))
    return there == "a folder"


@functools.cache
def _old() -> str:
    """Return what a process that is gone calls a file that it was writing."""
    from napari_sa2net.engine.disk import temporary

    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    return temporary(Path("x")).name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")


@functools.cache
def _content() -> bytes:
    from dataclasses import replace

    from napari_sa2net.engine.model_files import Model, model_bytes

    model = network_model("grey")
    return model_bytes(Model(model.network, replace(model.card, name=NAME)))


def _published(folder: Path) -> bytes:
    """Write a list of models with one that is elsewhere; return its file."""
    data = _content()
    (folder / "models.toml").write_text(
        'base_url = "http://127.0.0.1:1/"\n[[models]]\n'
        f'name = "{NAME}"\nfile = "{NAME}.safetensors"\nbytes = {len(data)}\n'
        f'sha256 = "{hashlib.sha256(data).hexdigest()}"\n'
        "base_channels = 2\nin_channels = 1\nnum_classes = 3\n"
    )
    return data


class _Handler(BaseHTTPRequestHandler):
    """Answers as the server was told to, and afterwards as it should."""

    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        answers, data = self.server.answers, self.server.data
        answer = answers.pop(0) if answers else "the file"
        with suppress(ConnectionError):  # whoever asked does not want it any more
            self._answer(answer, data)

    def _answer(self, answer: str, data: bytes) -> None:
        if answer in ("404", "500", "407"):
            self.send_error(int(answer))
        elif answer.startswith("redirected"):
            self._redirect(answer)
        elif answer == "not HTTP":
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        elif answer == "closed at once":
            self.close_connection = True
        else:
            self._send(answer, data)

    def _redirect(self, answer: str) -> None:
        self.send_response(302)
        target = {"redirected": f"{self.path}?again", "redirected in a circle": self.path}
        if answer.endswith("circle"):
            self.server.answers = [answer] * 50
        self.send_header("Location", target.get(answer, "http://127.0.0.1:1/x"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, answer: str, data: bytes) -> None:
        said = len(data)
        if answer == "other bytes":
            data = bytes(reversed(data))
        elif answer == "longer":
            data += data
            said = len(data)
        elif answer == "empty":
            data, said = b"", 0
        elif answer == "wrong length":
            said = said // 2
        elif answer == "200 and a page":
            data = b"<html>Please log in</html>"
            said = len(data)
        self.send_response(206 if answer == "a part" else 200)
        if answer == "compressed":
            self.send_header("Content-Encoding", "gzip")
        if answer == "a part":
            data = data[: len(data) // 2]
            said = len(data)
        if answer != "in pieces":
            self.send_header("Content-Length", str(said))
        self.end_headers()
        if answer in ("cut", "stalls"):
            self.wfile.write(data[: len(data) // 3])
            self.wfile.flush()
            if answer == "stalls":
                self.server.released.wait(3)
            self.close_connection = True
            return
        step = max(1, len(data) // (5 if answer == "slowly" else 1))
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            if answer == "slowly":
                self.wfile.flush()
                time.sleep(0.1)


@contextmanager
def _server(data: bytes) -> Iterator[Any]:
    """Serve on this machine."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.data, server.answers, server.released = data, [], threading.Event()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
