"""``sa2net train`` with images: fine-tuning, Ctrl-C, what is saved and what is told."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import FAILED, STOPPED, Messages, UsageError, report
from .train_options import IMAGES, SETTINGS, SUGGEST, given

if TYPE_CHECKING:
    from ..engine.cards import ClassInfo
    from ..engine.training.comparison import Comparison
    from ..engine.training.control import Control
    from ..engine.training.fine_tuning import FineTuned


def output_file(arguments: argparse.Namespace, name: str) -> Path:
    """Return the file to write: that of ``-o``, or one called ``name`` in that folder."""
    from ..engine.folders import file_name
    from ..engine.weights import check_output

    output: Path = arguments.output
    if os.path.isdir(output):
        output = output / f"{file_name(name)}.safetensors"
    if output.suffix != ".safetensors":
        raise UsageError(f"{output} must end in .safetensors: that is what models are saved as.")
    if os.path.lexists(output) and not arguments.overwrite:
        raise UsageError(f"{output} exists already: --overwrite replaces it.")
    check_output(output)
    return output


def tell_how_to_use(name: str, output: Path) -> None:
    """Tell where a new model is and what can be done with it."""
    print(f"{name} is trained: {output}")
    print(f"Use it with  --model {output}  or add it with  sa2net models import {output}")


def run(arguments: argparse.Namespace) -> int:
    """Fine-tune and save."""
    _check(arguments)
    if arguments.start == SUGGEST and not _goes_on(arguments):
        arguments.start = _suggested(arguments)
    start = Path(arguments.start or "nuclei").name.removesuffix(".safetensors")
    wanted = arguments.name or f"{'scratch' if arguments.scratch else start}-fine-tuned"
    if arguments.output.suffix == ".safetensors" and not arguments.name:
        wanted = arguments.output.stem
    output = output_file(arguments, wanted)
    from ..engine.files import ensure_folder
    from ..engine.training import states
    from ..engine.training.control import Control
    from ..progress import ProgressBar

    ensure_folder(output.parent)
    state = arguments.resume or states.new_state(wanted)
    control = Control()
    with ProgressBar("Training", Messages(arguments.quiet), quiet=arguments.quiet) as bar:
        interrupt = _Interrupt(control)
        with interrupt.taken():

            def handle(event: Any) -> None:
                interrupt.see(event)
                bar(event)

            try:
                tuned = _train(arguments, wanted, state, control, handle)
            except KeyboardInterrupt:
                bar.close()
                print("sa2net: aborted", file=sys.stderr)
                _tell_how_to_go_on(state, output)
                return STOPPED
            except Exception as error:
                bar.close()
                report(error, arguments.debug)
                _tell_how_to_go_on(state, output)
                return FAILED
    return _save(tuned, state, output, arguments)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.scratch and arguments.start:
        raise UsageError("Give either --from or --scratch, not both.")
    if arguments.base_channels is not None and not arguments.scratch:
        raise UsageError("--base-channels goes with --scratch: a start model has its own width.")
    if not arguments.paths:
        if arguments.resume is None:
            raise UsageError("Give images and annotations, or --resume FOLDER, or --recipe FILE.")
        left = [option for option in given(arguments) if option != "--keep-worse"]
        if left:
            raise UsageError(
                f"{', '.join(left)} cannot be changed any more: the training in "
                f"{arguments.resume} goes on as it began."
            )
    elif len(arguments.paths) == 1:
        raise UsageError("Give the images first, followed by their annotations.")


def _goes_on(arguments: argparse.Namespace) -> bool:
    """Tell whether ``--resume`` names a training that is there: what it starts from is known."""
    from .. import tuning

    return arguments.resume is not None and tuning.holds_training(arguments.resume)


def _suggested(arguments: argparse.Namespace) -> str:
    """Try the models that are here on what is painted, tell the scores, and return the best."""
    from .. import tuning
    from ..progress import ProgressBar

    options = {key: getattr(arguments, key) for key in IMAGES}
    quiet = arguments.quiet
    with ProgressBar("Trying the models", Messages(quiet), quiet=quiet) as bar:
        found = tuning.suggest_start(
            arguments.paths[:-1],
            arguments.paths[-1],
            device=arguments.device,
            meaning=arguments.meaning or "strokes",
            of=arguments.of or "classes",
            on_event=bar,
            **{key: value for key, value in options.items() if value is not None},
        )
    if not arguments.quiet:
        print(found.table())
    if not found.known:
        print(f"Warning: {found.text}", file=sys.stderr)
    for text in found.remarks if found.known else ():
        print(f"Note: {text}", file=sys.stderr)
    return found.best.name


def _train(
    arguments: argparse.Namespace, name: str, state: Path, control: Control, handle: Any
) -> FineTuned:
    from .. import tuning

    options = {key: getattr(arguments, key) for key in (*SETTINGS, *IMAGES, "base_channels")}
    paths = arguments.paths
    return tuning.fine_tune(
        paths[:-1] or None,
        paths[-1] if paths else None,
        None if arguments.scratch else arguments.start or "nuclei",
        arguments.device,
        meaning=arguments.meaning or "strokes",
        of=arguments.of or "classes",
        classes=_classes(arguments),
        name=name,
        state=state,
        keep_worse=bool(arguments.keep_worse),
        control=control,
        on_event=handle,
        **{key: value for key, value in options.items() if value is not None},
    )


def _classes(arguments: argparse.Namespace) -> tuple[ClassInfo, ...] | None:
    """Return the classes asked for, the background first; None: those of the start model."""
    if not arguments.classes:
        return None
    from ..engine.cards import ClassInfo, default_classes

    known = default_classes(len(arguments.classes) + 1)
    return (
        known[0],
        *(
            ClassInfo(name, color or info.color)
            for (name, color), info in zip(arguments.classes, known[1:], strict=True)
        ),
    )


def _save(tuned: FineTuned, state: Path, output: Path, arguments: argparse.Namespace) -> int:
    from .. import tuning
    from ..engine import weights
    from ..engine.errors import SA2NetError
    from ..engine.training.states import delete_state

    if not arguments.quiet:
        print(table(tuned.comparison))
    if not tuning.is_new(tuned):
        print(
            f"sa2net: nothing is saved, because the new model is worse.  sa2net train --resume "
            f"{state} --keep-worse -o {output}  saves it all the same",
            file=sys.stderr,
        )
        return FAILED
    try:
        weights.save_model(tuned, output)
    except (SA2NetError, OSError) as error:
        report(error, arguments.debug)
        _tell_how_to_go_on(state, output)
        return FAILED
    if arguments.resume is None:
        try:
            delete_state(state)
        except SA2NetError as error:  # the model is safe: no reason to fail
            report(error, arguments.debug)
    if not arguments.quiet:
        tell_how_to_use(tuned.card.name, output)
    return 0


def _tell_how_to_go_on(state: Path, output: Path) -> None:
    from ..engine.training.states import list_states

    if any(known.path == state for known in list_states(state.parent)):
        print(
            f"sa2net: the training is kept; go on with  sa2net train --resume {state} -o {output}",
            file=sys.stderr,
        )


def table(comparison: Comparison) -> str:
    """Return before and after as a table, with what they mean."""
    if comparison.after is None:
        return comparison.text
    rows = [("foreground", comparison.before, comparison.after)]
    if len(comparison.per_class) > 1:
        rows += [(name, before, after) for name, (before, after) in comparison.per_class.items()]
    width = max(len("Dice"), *(len(name) for name, _, _ in rows))
    lines = [f"{'Dice':<{width}}  before   after"]
    lines += [f"{name:<{width}}  {_figure(a)}  {_figure(b)}" for name, a, b in rows]
    return "\n".join([*lines, comparison.text])


def _figure(value: float | None) -> str:
    return f"{'–':>6}" if value is None else f"{value:6.3f}"


class _Interrupt:
    """Ctrl-C: the first ends the training with the best so far, the second aborts.

    Before the first step there is nothing to keep, so that the first aborts too.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._begun = False

    def see(self, event: Any) -> None:
        """Learn from an event whether a step is done."""
        from ..engine.events import StepDone

        self._begun = self._begun or isinstance(event, StepDone)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take Ctrl-C while the training runs."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        before = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _on_signal(self, *_: object) -> None:
        if not self._begun or self._control.stopping:
            raise KeyboardInterrupt
        self._control.stop()
        print(
            "\nStopping: the best so far is kept. Ctrl-C once more aborts.",
            file=sys.stderr,
            flush=True,
        )
