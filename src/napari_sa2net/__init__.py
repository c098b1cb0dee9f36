"""SA2-Net for napari: segment microscopy images, and train on what you paint.

The names below are loaded when they are first used, so that importing the package is quick
and loads neither torch nor Qt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        evaluate,
        fine_tune,
        import_checkpoint,
        join_models,
        load_model,
        measure,
        segment,
        segment_files,
        segment_to_zarr,
        suggest_start,
        train,
    )
    from .engine.network import SA2Net

    __version__: str

__all__ = [
    "SA2Net",
    "__version__",
    "evaluate",
    "fine_tune",
    "import_checkpoint",
    "join_models",
    "load_model",
    "measure",
    "segment",
    "segment_files",
    "segment_to_zarr",
    "suggest_start",
    "train",
]

_HOMES = {
    "SA2Net": "engine.network",
    "evaluate": "api",
    "fine_tune": "api",
    "import_checkpoint": "api",
    "join_models": "api",
    "load_model": "api",
    "measure": "api",
    "segment": "api",
    "segment_files": "api",
    "segment_to_zarr": "api",
    "suggest_start": "api",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-sa2net")
    except PackageNotFoundError:  # the source folder on the path, without an installation
        return "0+unknown"
