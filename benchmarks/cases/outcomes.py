"""How a case ends: with a result, refused in words for a person, or with a fault."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cases.drawing import Draw

LONGEST = 3000
"""Characters of a message that a person is expected to read."""

_UNREADABLE = {
    "an address": re.compile(r"\bat 0x[0-9a-f]{6,}"),
    "a traceback": re.compile(r"Traceback \(most recent|File \".*\", line \d+"),
    "what an unexpected error says": re.compile(r"\(--debug shows where\)"),
    "another error in it": re.compile(r"^Segmentation failed: "),
    "control characters": re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]"),
}

LEFTOVERS = re.compile(r"\.part$|^\.sa2net-|\.tmp$|^tmp[\w]{8}$")
"""Names of files that are only there while something is written."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    outcome: str
    """``result``, ``refused`` or ``fault``."""
    text: str = ""
    """The message, or a fault's last line."""
    kind: str = ""
    """Of a fault: the same for those that have one cause, most likely."""
    what: str = ""
    """What was drawn."""
    trace: str = ""
    """Where a fault came from, for a person."""

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept of a fault."""
        kept = asdict(self)
        del kept["outcome"], kept["trace"]
        return kept


class Refused(Exception):
    """The program said no, in the way it should."""


class Wrong(Exception):
    """The program did something that it should not do; the first argument names the kind."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind


def judge(run: Callable[[Draw, Path], None], draw: Draw, folder: Path) -> Outcome:
    """Run a case in an empty folder, and say how it ended."""
    from napari_sa2net.engine.errors import SA2NetError

    outcome, text, kind, trace = "result", "", "", ""
    try:
        try:
            run(draw, folder)
        except (Refused, SA2NetError) as error:
            outcome, text = "refused", str(error)
            check_message(text)
            draw.say(f"refused: {text}")
        check_folder(folder)
    except Wrong as error:
        outcome, text, kind = "fault", str(error), error.kind
        trace = traceback.format_exc()
    except BaseException as error:  # whatever it is, it is what a person would have seen
        outcome, kind = "fault", f"{type(error).__name__} in {place_of(error)}"
        text = traceback.format_exception_only(error)[-1].strip()
        trace = traceback.format_exc()
    return Outcome(outcome, text[:LONGEST], kind, "; ".join(draw.said), trace)


def check_message(text: str) -> None:
    """Check that a message is a sentence that can be shown to a person as it is."""
    for what, pattern in _UNREADABLE.items():
        if pattern.search(text):
            raise Wrong(f"a message with {what}", text[:500])
    if len(text.split()) < 3:
        raise Wrong("a message that is no sentence", text)
    if len(text) > LONGEST:
        raise Wrong("a message without end", f"{len(text)} characters, {text[:200]}…")


def check_folder(folder: Path) -> None:
    """Check that nothing is left of what was only there while something was written."""
    left = [path for path in folder.rglob("*") if LEFTOVERS.search(path.name)]
    if left:
        names = ", ".join(str(path.relative_to(folder)) for path in left[:5])
        raise Wrong(f"left behind: {LEFTOVERS.search(left[0].name)[0][:10]}", names)  # type: ignore[index]


def place_of(error: BaseException) -> str:
    """Return the package's function that an error came out of."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "napari_sa2net" in frame.filename]
    frame = (ours or frames)[-1]
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.name}"
