"""Tables and outlines beside a result, from its labels, block by block."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence

from ..batch.kinds import MEASURES
from ..calibration import Calibration
from ..errors import InputError
from ..events import Event, Message
from ..files import check_length
from ..instances import object_classes
from ..measuring.objects import all_channels
from ..measuring.rois import check_rois
from .measuring import Measuring
from .phases import Phase, Sum, Trace
from .plan import Block
from .result import beside
from .setup import Setup
from .store import ATTRIBUTE, MAKING
from .work import Work

Each = Callable[[Phase, Iterable[Block]], Generator[Event, None, None]]
"""Does what is not done yet of a phase."""

_OUTLINES = frozenset({"geojson", "rois"})
"""What needs the outlines of the objects."""


class Saving:
    """What is wanted beside a result.

    Parameters
    ----------
    setup
        The run.
    kinds
        Of :data:`~napari_sa2net.engine.batch.kinds.MEASURES`.
    sizes
        Size of a step along ``Z``, ``Y`` and ``X`` in µm, where it is known.
    channel_names
        Names of the image's channels.

    Raises
    ------
    InputError
        If something else is wanted.
    SA2NetError
        If ROIs are wanted, and a package is missing.
    """

    def __init__(
        self, setup: Setup, kinds: Sequence[str], sizes: Calibration, channel_names: Sequence[str]
    ) -> None:
        unknown = [kind for kind in kinds if kind not in MEASURES]
        if unknown:
            raise InputError(
                f"{', '.join(unknown)} cannot be saved with an OME-Zarr result: choose from "
                f"{', '.join(MEASURES)}."
            )
        if "rois" in kinds:
            check_rois()
        self.store, self.grid, self.sizes = setup.store, setup.grid, sizes
        self.targets = {kind: beside(self.store.path, kind) for kind in kinds}
        self.measuring = Measuring(
            setup.store,
            setup.grid,
            setup.stack,
            all_channels(setup.planes, setup.options.rgb, channel_names),
            setup.card.classes,
            object_classes(setup.classes, setup.rules.derived),
            setup.rules.settings.result == "classes",
            setup.region[:2],
        )

    # --- Whose files they are -----------------------------------------------------------------

    def check(self, overwrite: bool) -> set[str]:
        """Return the kinds of files that belong to the result that is there.

        Raises
        ------
        InputError
            If a file is there that does not, and nothing is to be replaced, or a name is too long.
        """
        check_length(self.store.path, MAKING)  # those of the files beside it are no longer
        known = self.store.claimed()
        for kind, path in self.targets.items():
            if path.exists() and kind not in known and not overwrite:
                raise InputError(
                    f"{path} exists already and does not belong to {self.store.path.name}: move "
                    "it away, give another name, or replace both with --overwrite "
                    "(overwrite=True)."
                )
        return known

    def replace(self, known: set[str]) -> Generator[Event, None, None]:
        """Remove files that will be made again, and tell which are left of the former result."""
        for path in self.targets.values():
            path.unlink(missing_ok=True)
        left = [beside(self.store.path, kind) for kind in sorted(known - self.targets.keys())]
        names = ", ".join(path.name for path in left if path.exists())
        if names:
            yield Message(f"{names}: still of the result that is replaced.", warning=True)

    def claim(self) -> None:
        """Note that the files belong to the result."""
        self.store.claim(self.store.claimed() | self.targets.keys())

    def saved(self) -> list[str]:
        """Return the kinds of files that the result has."""
        claimed = sorted(self.store.claimed())
        return [kind for kind in claimed if beside(self.store.path, kind).exists()]

    def only_missing(self) -> None:
        """Leave out what a finished result has already.

        Raises
        ------
        InputError
            If too little was kept of it for what is missing.
        """
        has = self.store.attributes()[ATTRIBUTE].get("saved", ())
        self.targets = {
            kind: path
            for kind, path in self.targets.items()
            if kind not in has or not path.exists()
        }
        if self.targets and self.measuring.needs_probabilities:
            raise InputError(
                f"{self.store.path} is complete, and what tells the classes of its objects was "
                "not kept: make it again with --overwrite (overwrite=True) and --save (save=...)."
            )

    # --- Making them --------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How many blocks the phases have together."""
        return len(self.grid) * (bool(self.targets) + self._outlines)

    @property
    def _outlines(self) -> bool:
        return bool(self.targets.keys() & _OUTLINES)

    def run(
        self, work: Work, each: Each, say: Callable[[str], Message]
    ) -> Generator[Event, None, None]:
        """Measure the objects of the labels, and write the files."""
        if not self.targets:
            return
        yield from each(Sum(work, self.measuring), self.grid)
        if self._outlines:
            if self.measuring.cut:
                yield say("The outlines of classes are cut at the blocks' borders.")
            for layer in range(len(self.grid.planes)):
                blocks = self.grid.of_layer(layer)
                if not all(self.store.marked("trace", block.number) for block in blocks):
                    self.measuring.share_out(layer)
            yield from each(Trace(work, self.measuring), self.grid)
        yield from self.measuring.write(self.targets, self.sizes)
