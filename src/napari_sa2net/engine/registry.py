"""Which models there are, and where their files lie."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from .cards import ModelCard
from .errors import WeightsError
from .fields import check_value, shown
from .folders import cache_folder, models_folder
from .model_files import SUFFIX, open_regular, read_card

logger = logging.getLogger(__name__)

REGISTRY_FILE = Path(__file__).with_name("models.toml")
BUNDLED_FOLDER = Path(__file__).with_name("models")

Status = Literal["bundled", "downloaded", "trained", "joined", "imported", "remote"]

ORIGIN = "imported_sha256"
"""Key in the ``extra`` of a card: hash of the file that was taken in."""


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be used, or downloaded and then used."""

    card: ModelCard
    status: Status
    path: Path | None
    """The file, ``None`` while it is remote."""

    @property
    def name(self) -> str:
        """The name by which the model is asked for."""
        return self.card.name

    @property
    def own(self) -> bool:
        """Whether it is the person's own, not a released one."""
        return self.status in ("trained", "joined", "imported")


def read_registry(path: Path | None = None) -> tuple[ModelCard, ...]:
    """Return the cards of the registry's models, by default of this version's own.

    Raises
    ------
    WeightsError
        If it cannot be read, or an entry has an unknown field, a double name or no plain file
        name.
    """
    path = path or REGISTRY_FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"The list of models {path} cannot be read ({error}): install napari-sa2net again."
        ) from error
    base = str(table.get("base_url", "")).rstrip("/") + "/"
    cards: list[ModelCard] = []
    for entry in table.get("models", ()):
        card = ModelCard.from_dict(entry, strict=True)
        if any(card.name == other.name for other in cards):
            raise WeightsError(f"{path} lists the model {card.name!r} twice: remove one of them.")
        if not card.file or Path(card.file).name != card.file:
            raise WeightsError(f"{path}: the 'file' of {card.name!r} must be a plain file name.")
        cards.append(replace(card, urls=card.urls or (base + card.file,)))
    return tuple(cards)


def available_models() -> list[ModelEntry]:
    """Return all models: the registered ones in their order, then the user's own by name.

    A file in the user's folder that is no usable model is left out, with a warning in the log.
    """
    entries = [registered_entry(card) for card in read_registry()]
    taken = {entry.name for entry in entries}
    for path in own_files():
        try:
            # The file's name counts, so that a person may rename a model by renaming the file.
            card = replace(read_card(path), name=path.stem)
        except WeightsError as error:
            warn_once(f"{path} is left out of the models: {error}")
            continue
        if card.name in taken:
            warn_once(f"{path} has the name of a released model: rename it to use it.")
            continue
        taken.add(card.name)
        entries.append(ModelEntry(card, own_status(card), path))
    return entries


def own_files() -> list[Path]:
    """Return what may be models in the user's folder, by name; nothing if it cannot be read."""
    try:
        return sorted(path for path in models_folder().iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []
    except OSError as error:
        warn_once(f"Your own models are left out: {models_folder()} cannot be read ({error}).")
        return []


@cache
def warn_once(text: str) -> None:
    """Tell what is wrong with a file once, and not each time that models are looked for.

    A name that no terminal could show, or that would change its colours, is written in escapes.
    """
    letters = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    logger.warning("%s", "".join(letters))


def own_status(card: ModelCard) -> Status:
    """Tell how a model of the person's own came to be: an imported one was noted to be that."""
    if ORIGIN in card.extra:
        return "imported"
    if card.members:
        return "joined"
    return "trained" if "training" in card.extra else "imported"


def registered_entry(card: ModelCard) -> ModelEntry:
    """Return the entry of a registered model: bundled, downloaded or remote."""
    places: tuple[tuple[Status, Path], ...] = (
        ("bundled", BUNDLED_FOLDER / card.file),
        ("downloaded", cache_folder() / card.file),
    )
    for status, path in places:
        try:
            size = path.stat().st_size
        except (OSError, ValueError):  # it is not here
            continue
        if status == "downloaded" and size != card.bytes:
            continue
        try:
            return ModelEntry(with_file_card(card, path), status, path)
        except WeightsError as error:
            warn_once(f"It will be downloaded again: {error}")
    return ModelEntry(card, "remote", None)


def with_file_card(registered: ModelCard, path: Path) -> ModelCard:
    """Return the card inside a registered model's file with what only the registry can know.

    What the network needs travels with the weights, so the file decides; the registry adds the
    file's hash and addresses, and the figures, which are measured when the file is finished.
    """
    card = read_card(path)
    return replace(
        card,
        name=registered.name,
        sha256=registered.sha256,
        urls=registered.urls,
        figures=registered.figures or card.figures,
    )


def find_model(name: str) -> ModelEntry:
    """Return the entry of the model called ``name``.

    Raises
    ------
    WeightsError
        If there is none; the message lists the names there are.
    """
    name = check_value("model", name, str)
    entries = available_models()
    for entry in entries:
        if entry.name == name:
            return entry
    names = [entry.name for entry in entries]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise WeightsError(
        f"There is no model {shown(name)}.{hint} Available are {', '.join(names)}, or the path of "
        "a model file."
    )


def free_name(wanted: str, taken: set[str]) -> str:
    """Return ``wanted`` as a name that can be a file's, with a number if it is taken."""
    plain = re.sub(r"[^\w.+-]+", "-", wanted.strip()).strip(".-") or "model"
    names = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name.lower() not in taken)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def toml_entry(path: str | Path) -> str:
    """Return the registry's entry of a model file, to be put into ``models.toml``."""
    path = Path(path)
    card = replace(read_card(path), sha256=file_sha256(path))
    table = card.to_dict()
    del table["extra"]  # only of use beside the tensors
    table = {k: v for k, v in table.items() if v not in ("", [], False)}
    tables = {k: table.pop(k) for k in list(table) if isinstance(table[k], dict)}
    lines = ["[[models]]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    for key, value in tables.items():
        lines += ["", f"[models.{key}]", *(f"{k} = {_toml(v)}" for k, v in value.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return "[\n" + "".join(f"    {_toml(v)},\n" for v in value) + "]"
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    # JSON's strings, numbers and booleans are TOML's too.
    return json.dumps(value, ensure_ascii=False)
