"""Downloading released models, through pooch."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Generator
from pathlib import Path
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

from . import disk
from .cards import ModelCard
from .errors import WeightsError
from .events import Downloaded, Event, Message, Progress
from .folders import CACHE_VARIABLE, cache_folder, expanded
from .model_files import disk_problem
from .registry import ModelEntry, file_sha256, find_model

logger = logging.getLogger(__name__)

URL_VARIABLE = "NAPARI_SA2NET_WEIGHTS_URL"

CHUNK = 1 << 15  # bytes between two looks at whether the download was cancelled
TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces
TICK = 0.1  # seconds between two events

BY_HAND = (
    "Or download the file on another computer and take it in with 'Import a model file…' "
    "(sa2net models import FILE)."
)


class _Cancelled(Exception):
    """Ends the thread of a download that nobody waits for."""


class _TooMuch(ValueError):
    """What comes cannot be the published file."""


class _Download:
    """One download in a thread of its own, into a folder of its own."""

    def __init__(self, card: ModelCard, source: str, folder: Path) -> None:
        self.card = card
        self.source = source
        self.folder = folder
        self.done = 0
        self.error: Exception | None = None
        self.cancelled = threading.Event()
        # A daemon, so that a connection on which nothing moves does not keep the program alive.
        self.thread = threading.Thread(target=self._run, name="sa2net-download", daemon=True)

    def _run(self) -> None:
        import pooch

        own_messages = _NotFromThisThread()
        pooch.get_logger().addFilter(own_messages)
        try:
            pooch.retrieve(
                self.source,
                known_hash=f"sha256:{self.card.sha256}",
                fname=self.card.file,
                path=self.folder,
                downloader=self._transfer,
            )
        except Exception as error:  # handed to the generator, which explains it
            self.error = error
        finally:
            pooch.get_logger().removeFilter(own_messages)
            if self.cancelled.is_set():  # some systems cannot remove a file that is open
                shutil.rmtree(self.folder, ignore_errors=True)

    def _transfer(self, url: str, output: str, pooch: object) -> None:
        """Bring ``url`` to the file ``output``: what pooch calls a downloader."""
        local = local_folder(url)
        with open(output, "wb") as target:
            if local is not None:
                with local.open("rb") as source:
                    while chunk := source.read(CHUNK):
                        self._take(target.write(chunk))
                return
            import requests

            with requests.get(url, stream=True, timeout=TIMEOUT) as response:
                response.raise_for_status()
                for chunk in response.iter_content(CHUNK):
                    self._take(target.write(chunk))

    def _take(self, size: int) -> None:
        if self.cancelled.is_set():
            raise _Cancelled
        self.done += size
        if self.done > self.card.bytes:
            raise _TooMuch(f"it has more than the {self.card.bytes} bytes published")


class _NotFromThisThread(logging.Filter):
    """Hide pooch's report, which names a temporary folder; the events say it better."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self.thread


def fetch(name: str) -> Generator[Event, None, Path]:
    """Download the model called ``name`` unless it is here already.

    Closing the generator cancels the download. Cancelled, broken off or tampered with, it
    leaves nothing behind: the file appears in the cache when it is whole and its hash is right.

    Yields
    ------
    Event
        A :class:`Message` that says from where, then :class:`Progress` in bytes, and
        :class:`Downloaded` at the end.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    WeightsError
        If there is no such model or the download fails; the message says what to do.
    """
    entry = find_model(name)
    card = entry.card
    if entry.path is not None:
        if not _tampered(entry):
            return entry.path
        if entry.status == "bundled":
            raise WeightsError(
                f"{entry.path} is damaged (its SHA-256 is not the published one): install "
                "napari-sa2net again."
            )
        yield Message(
            f"{entry.path} is damaged (its SHA-256 is not the published one), and is downloaded "
            "again.",
            warning=True,
        )
    if not card.sha256 or not card.bytes:
        raise WeightsError(
            f"The model {name!r} cannot be downloaded: this version does not know its size and "
            "hash, so the file could not be checked. Install napari-sa2net again."
        )
    problems: list[WeightsError] = []
    for source in sources(card):
        yield Message(f"Downloading {name} ({card.bytes / 1e6:.1f} MB) from {source}")
        try:
            path = yield from _fetch_from(card, source)
            yield Downloaded(name)
            return path
        except WeightsError as error:
            problems.append(error)
    raise problems[0]


def _tampered(entry: ModelEntry) -> bool:
    """Whether a file is no longer the published one."""
    if entry.status not in ("bundled", "downloaded") or entry.path is None:
        return False
    return file_sha256(entry.path) != entry.card.sha256.lower()


def sources(card: ModelCard) -> tuple[str, ...]:
    """Return where a model's file is looked for: the mirror if one is set, or else its URLs."""
    mirror = os.environ.get(URL_VARIABLE, "").strip()
    if not mirror:
        return card.urls
    folder = local_folder(mirror)
    if folder is not None:
        return (str(folder / card.file),)
    return (f"{mirror.rstrip('/')}/{card.file}",)


_SHOWN = 300
"""Letters of an address that a message shows."""


def local_folder(location: str) -> Path | None:
    """Return the path if ``location`` is one (or a ``file://`` URL), ``None`` for other URLs.

    Raises
    ------
    WeightsError
        If it is neither.
    """
    try:
        parts = urlparse(location)
    except ValueError as error:  # as of an open bracket
        raise WeightsError(
            f"{location[:_SHOWN]} is no address ({error}): check {URL_VARIABLE}."
        ) from error
    if parts.scheme == "file":
        share = f"//{parts.netloc}" if parts.netloc not in ("", "localhost") else ""
        return Path(share + url2pathname(parts.path) if os.name == "nt" else unquote(parts.path))
    if len(parts.scheme) > 1 and "://" in location:
        return None
    return expanded(location)  # "C:" of Windows looks like a scheme of one letter


def _fetch_from(card: ModelCard, source: str) -> Generator[Event, None, Path]:
    cache = cache_folder()
    work: Path | None = None
    download: _Download | None = None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        disk.sweep(cache)
        # Not by tempfile: on Windows others could not read what is moved out of its folder, and it
        # takes very long where the cache's rights forbid folders.
        work = disk.temporary(cache / card.file)
        work.mkdir()
        download = _Download(card, source, work)
        download.thread.start()
        while download.thread.is_alive():
            download.thread.join(TICK)
            yield Progress(download.done, card.bytes, "byte", f"Downloading {card.name}")
        if download.error is not None:
            raise download.error
        target = cache / card.file
        (work / card.file).chmod(0o644)  # pooch makes it private, but a lab shares its models
        disk.patiently(os.replace, work / card.file, target)
        return target
    except Exception as error:
        raise WeightsError(explain(error, card, source, cache)) from error
    finally:
        if download is not None:
            download.cancelled.set()
            # The file goes now, even if the thread still waits for a server that is silent.
            download.thread.join(TICK)
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def explain(error: Exception, card: ModelCard, source: str, cache: Path) -> str:
    """Return what went wrong with a download, and what to do."""
    import requests

    start = f"The model {card.name!r} could not be downloaded"
    if isinstance(error, requests.RequestException):
        return f"{start}: {_network_problem(error, source[:_SHOWN])} {BY_HAND}"
    local = local_folder(source)
    source = source[:_SHOWN]
    if isinstance(error, OSError) and local is not None and str(error.filename) == str(local):
        return (
            f"{start}: {source} cannot be read ({error.strerror}). Put {card.file} there, or set "
            f"{URL_VARIABLE} to the folder or address where it is."
        )
    if isinstance(error, OSError):
        return f"{start}. {disk_problem(error, cache, card.bytes, CACHE_VARIABLE)}"
    if isinstance(error, ValueError):
        why = str(error) if isinstance(error, _TooMuch) else "its SHA-256 differs"
        return (
            f"{start}: what came from {source} is not the published file ({why}), and was "
            "deleted. The transfer may have been cut or changed on its way, for instance by a "
            f"login page of the network: try again, or another network. {BY_HAND}"
        )
    return f"{start} ({type(error).__name__}: {error}). Try again. {BY_HAND}"


def _network_problem(error: Exception, source: str) -> str:
    import requests

    status = 0
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
    if isinstance(error, requests.exceptions.ProxyError) or status == 407:
        return (
            "the proxy does not let it through. Check the address, user and password in the "
            "environment variable HTTPS_PROXY (or the system's proxy settings)."
        )
    if status in (404, 410):
        return (
            f"{source} does not exist. Update napari-sa2net, or check {URL_VARIABLE} if it is set."
        )
    if status:
        return f"{source} answers with the error {status}. Try again later."
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"the certificate of {source} cannot be checked. If your organisation inspects "
            "traffic, set REQUESTS_CA_BUNDLE to its certificate file."
        )
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off. Try again."
    if isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return (
            f"{source} cannot be reached. Check the internet connection, set HTTPS_PROXY if your "
            f"network has a proxy, or set {URL_VARIABLE} to a mirror or a folder with the file."
        )
    return f"{source} cannot be used ({error}). Check {URL_VARIABLE} if it is set."
