"""Type and range of options and cards: said once, in the fields of a dataclass, and checked here.

A field's type is its annotation. Its ``metadata`` may say what else holds of each number or text
in it: ``min`` and ``max``, or ``above`` and ``below`` where the end itself is not allowed;
``choices``; ``pattern``; ``what`` fits, in words; ``longest``, the most letters or members.
The controls of the window read the same ``metadata``, besides ``help``, ``label`` and ``step``.

pydantic does the checking. It is imported with the first check, so that ``--help`` is quick.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import json
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, wraps
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from .errors import InputError, SA2NetError, WeightsError

LARGEST = 1e30
"""Numbers without a range end here, far from where float32 overflows."""

_LONGEST = 100_000
"""Letters of a text, and members of a list, that has no ``longest``."""

_MOST_JSON = 4_000_000
"""Letters of a table of anything at all, written as JSON."""

_UNIONS = (typing.Union, types.UnionType)
_SEVERAL = (tuple, frozenset, collections.abc.Sequence, collections.abc.Iterable)

Kind = TypeVar("Kind")
_P = ParamSpec("_P")
_T = TypeVar("_T")


def check_fields(instance: Any, error: type[SA2NetError] = InputError, where: str = "") -> None:
    """Check the fields of a frozen dataclass; NumPy's numbers and lists become plain and tuples.

    For ``__post_init__``.

    Raises
    ------
    InputError
        Or another ``error``, if a field does not fit. The message begins with ``where`` and says
        the field, its value and what is allowed.
    """
    kind: Any = type(instance)
    for name, check in _checks_of_fields(kind).items():
        object.__setattr__(instance, name, check(getattr(instance, name), error, where))


def check_value(name: str, value: Any, hint: Any, **limits: Any) -> Any:
    """Return a single option as it is to be used; an InputError as of :func:`check_fields`."""
    return _Check(name, hint, limits)(value)


def checked(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Check the arguments of a call by its annotations, before anything is done."""
    signature = inspect.signature(call)

    @wraps(call)
    def checking(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        given = signature.bind(*args, **kwargs)
        for name, check in _checks_of_call(call).items():
            if name in given.arguments:
                given.arguments[name] = check(given.arguments[name])
        return call(*given.args, **given.kwargs)

    return checking


def build(
    kind: type[Kind],
    table: Any,
    where: str,
    strict: bool = True,
    error: type[SA2NetError] = WeightsError,
) -> Kind:
    """Make a ``kind`` (a dataclass) from a table; ``error`` says what does not fit.

    Parameters
    ----------
    where
        Whose table it is, for a person.
    strict
        Refuse fields that are not known; otherwise they are left out.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where}: {shown(table)} is no table of fields.")
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(table) - known)
    if unknown and strict:
        names = f"{', '.join(unknown)}. Known are {', '.join(sorted(known))}"
        raise error(f"{where}: unknown field {names}.")
    try:
        return kind(**{key: value for key, value in table.items() if key in known})
    except (SA2NetError, TypeError) as problem:
        text = str(problem).rstrip(".")
        raise error(f"{text if text.startswith(where) else f'{where}: {text}'}.") from problem


def shown(value: Any) -> str:
    """Return a value for a sentence, in short."""
    with suppress(Exception):  # of an object's own making
        text = " ".join(_SHORT.repr(value).split())
        if " at 0x" not in text:
            return text
    return f"a {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


class _Check:
    """The check of one option."""

    def __init__(self, name: str, hint: Any, limits: Mapping[str, Any]) -> None:
        from pydantic import TypeAdapter

        self.name, self.hint, self.limits = name, hint, limits
        self._adapter = TypeAdapter(_schema(hint, limits))

    def __call__(self, value: Any, error: type[SA2NetError] = InputError, where: str = "") -> Any:
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(value)
        except ValidationError:
            what = _allowed(self.hint, self.limits)
            raise error(f"{where}{self.name} is {shown(value)}: give {what}.") from None


@cache
def _checks_of_fields(kind: Any) -> dict[str, _Check]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return {f.name: _Check(f.name, hints[f.name], f.metadata) for f in fields}


@cache
def _checks_of_call(call: Any) -> dict[str, _Check]:
    hints = typing.get_type_hints(call)
    parameters = inspect.signature(call).parameters.values()
    named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    return {name: _Check(name, hints[name], {}) for name in named}


# --- what pydantic is asked for ----------------------------------------------------------------


def _schema(hint: Any, limits: Mapping[str, Any]) -> Any:
    """Return a type for pydantic: nothing is converted but NumPy's numbers, lists and paths."""
    from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf

    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return typing.Union[tuple(_schema(arg, limits) for arg in args)]  # noqa: UP007
    if origin in _SEVERAL:
        return _several(origin, args, limits)
    if hint in (int, float):
        return _number(hint, limits)
    if hint is str:
        length = limits.get("longest", _LONGEST)
        text = Field(strict=True, max_length=length, pattern=limits.get("pattern"))
        known = limits.get("choices")
        return Annotated[
            str, text, AfterValidator(_without_nul), AfterValidator(lambda x: _chosen(x, known))
        ]
    if hint is bool:
        return Annotated[bool, Field(strict=True), BeforeValidator(_plain)]
    if hint is Path:
        return Annotated[Path, AfterValidator(_without_nul)]
    if origin is dict and args[1] is Any:
        return Annotated[dict[str, Any], AfterValidator(_json)]
    if origin in (dict, collections.abc.Mapping):
        return dict[str, _schema(args[1], limits)]  # type: ignore[misc]
    instance: Any = InstanceOf
    own = isinstance(hint, type) and hint not in (Any, type(None))
    return instance[hint] if own else hint


def _number(hint: Any, limits: Mapping[str, Any]) -> Any:
    from pydantic import BeforeValidator, Field, WrapValidator

    ends: dict[str, Any] = {"gt": limits.get("above"), "lt": limits.get("below")}
    ends |= {"ge": hint(limits.get("min", -LARGEST)), "le": hint(limits.get("max", LARGEST))}
    if hint is int:
        return Annotated[int, Field(strict=True, **ends), BeforeValidator(_whole)]
    number = Annotated[float, Field(strict=True, allow_inf_nan=False, **ends)]
    return Annotated[number, WrapValidator(_as_it_is), BeforeValidator(_plain)]


def _several(origin: Any, args: tuple[Any, ...], limits: Mapping[str, Any]) -> Any:
    """Return a tuple or a set; lists are welcome, and a single value where any number fits."""
    from pydantic import BeforeValidator, Field

    most = limits.get("longest", _LONGEST)
    inner = {key: limit for key, limit in limits.items() if key != "longest"}
    members = [_schema(arg, inner) for arg in args if arg is not ...]
    if _is_fixed(origin, args):
        return Annotated[tuple[tuple(members)], BeforeValidator(_plain)]  # type: ignore[misc]
    kind: Any = frozenset[members[0]] if origin is frozenset else tuple[members[0], ...]  # type: ignore[valid-type]
    return Annotated[kind, Field(max_length=most), BeforeValidator(_listed)]


def _is_fixed(origin: Any, args: tuple[Any, ...]) -> bool:
    return origin is tuple and ... not in args


def _plain(value: Any) -> Any:
    """Return a number or an array of NumPy or torch as Python's own."""
    if isinstance(value, type) or not hasattr(value, "tolist"):
        return value
    try:
        return value.item() if getattr(value, "size", 0) == 1 else value.tolist()
    except Exception as error:  # of an object's own making
        raise ValueError from error


def _as_it_is(value: Any, check: Callable[[Any], Any]) -> Any:
    """Check a number; a whole one stays so among real ones: what is hashed must not change."""
    number = check(value)
    return value if isinstance(value, int) else number


def _whole(value: Any) -> Any:
    value = _plain(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listed(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return (value,)
    try:
        return tuple(islice(value, _LONGEST + 1))
    except Exception as error:  # of an object's own making
        raise ValueError from error


def _without_nul(value: Any) -> Any:
    if "\0" in str(value):
        raise ValueError
    return value


def _chosen(value: str, known: Sequence[str] | None) -> str:
    if known is not None and value not in known:
        raise ValueError
    return value


def _json(value: Any) -> Any:
    """Return a table as it is after it was saved: of text, numbers, lists and tables."""
    try:
        text = json.dumps(value, ensure_ascii=False)
        if len(text.encode()) > _MOST_JSON:
            raise ValueError
        return json.loads(text)
    except (TypeError, RecursionError) as error:
        raise ValueError from error


# --- what a person is told ----------------------------------------------------------------------


def _allowed(hint: Any, limits: Mapping[str, Any], many: bool = False) -> str:
    """Return what fits, in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        parts = [_allowed(arg, limits, many) for arg in args if arg is not type(None)]
        parts += ["leave it out"] if type(None) in args else []
        return ", or ".join(dict.fromkeys(parts))
    if "what" in limits and hint is not str:
        return str(limits["what"])
    if origin is typing.Literal or (hint is str and "choices" in limits):
        return f"{'some' if many else 'one'} of {', '.join(args or limits['choices'])}"
    if origin in _SEVERAL:
        most = f", at most {limits['longest']}" if "longest" in limits else ""
        inner = {key: limit for key, limit in limits.items() if key != "longest"}
        what = _allowed(args[0], inner, many=True)
        return f"{len(args)} {what}" if _is_fixed(origin, args) else what + most
    if hint in (int, float):
        whole = "whole " if hint is int else ""
        return (f"{whole}numbers" if many else f"a {whole}number") + _range(limits)
    if hint is str and "what" in limits:
        return f"{limits['what']}{', each' if many else ''}"
    if hint is str:
        most = f" of at most {limits['longest']} letters" if "longest" in limits else ""
        return ("texts" if many else "a text") + most
    if origin is dict and args[1] is Any:
        return "a table of texts, numbers, lists and tables, that is not too large"
    if origin in (dict, collections.abc.Mapping):
        return f"a table of {_allowed(args[1], limits, many=True)}"
    names: dict[Any, str] = {bool: "True or False", Path: "path", Any: "anything"}
    name = names.get(hint) or str(getattr(origin or hint, "__name__", hint))
    article = "an" if name[0].lower() in "aeiou" else "a"
    return name if hint is bool else (f"{name}s" if many else f"{article} {name}")


def _range(limits: Mapping[str, Any]) -> str:
    """Return the range of a number in words, empty if it has none."""
    low, high = limits.get("min"), limits.get("max")
    above, below = limits.get("above"), limits.get("below")
    if above is not None and below is not None:
        return f" between {above:g} and {below:g}"
    if low is not None and high is not None:
        return (
            f" from {low:g} to {high:g}" if max(abs(low), high) >= 1e7 else f" from {low} to {high}"
        )
    if above is not None:
        return f" above {above:g}" + ("" if high is None else f", at most {high:g}")
    return "" if low is None else f" of {low} or more"
