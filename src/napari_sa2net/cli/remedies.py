"""Why torch, napari or Qt did not load, and what helps: from what their import said."""

from __future__ import annotations

import re
import signal

_QT_PACKAGES = (
    "libegl1 libgl1 libxkbcommon-x11-0 libdbus-1-3 libxcb-cursor0 libxcb-icccm4 "
    "libxcb-keysyms1 libxcb-shape0 libxcb-xinerama0 libxcb-image0 libxcb-render-util0 "
    "libfontconfig1 libglib2.0-0"
)

# Of what failed, a pattern in what it said, and what helps; the first that fits counts.
_REMEDIES = (
    (
        "torch",
        r"WinError 1114|WinError 126|WinError 127|DLL load failed",
        "Windows could not load torch's libraries. Install the Microsoft Visual C++ "
        "Redistributable (https://aka.ms/vs/17/release/vc_redist.x64.exe). If torch still fails, "
        "perhaps only inside napari, where Qt is loaded before it, take an older one: "
        "pip install torch==2.8",
    ),
    (
        "torch",
        r"No module named '?torch'?",
        "pip install torch  (https://pytorch.org/get-started has the line for your GPU)",
    ),
    (
        "torch",
        r"lib(cuda|cudart|cudnn|cublas|nvrtc|nccl|cusparse|cufft)\w*",
        "torch does not find its CUDA libraries: install torch again in a fresh environment, "
        "or the CPU version, see https://pytorch.org/get-started/locally/.",
    ),
    (
        "torch",
        r"numpy\.(dtype|core)|compiled using NumPy 1|_ARRAY_API",
        "torch and NumPy do not fit: pip install --upgrade torch numpy",
    ),
    (
        "Qt",
        r"No Qt bindings could be found|No module named '?(PyQt|PySide|qtpy)",
        'Only napari\'s window needs it: pip install "napari-sa2net[all]"',
    ),
    (
        "Qt",
        r"lib(EGL|GL|xkb|xcb|dbus|fontconfig|glib)\S*\.so|platform plugin|plugin \"xcb\"",
        "Qt's system libraries are missing. On Debian or Ubuntu: sudo apt-get install "
        + _QT_PACKAGES,
    ),
    (
        "Qt",
        r"DLL load failed|WinError",
        "Windows could not load Qt: in a fresh environment, without conda's Qt beside pip's, "
        'pip install "napari-sa2net[all]"',
    ),
    ("napari", r"No module named '?napari'?$", 'pip install "napari-sa2net[all]"'),
    (
        "",
        r"No module named '?([\w.]+)'?",
        "A package is missing: install napari-sa2net again, or this package alone.",
    ),
    ("", r"MemoryError|not enough memory|paging file", "Close other programs and try again."),
    (
        "napari_sa2net",
        r"WeightsError|safetensors",
        "Install again: pip install --force-reinstall --no-deps napari-sa2net",
    ),
)
_WINDOWS_CRASH = 0xC0000000
_ILLEGAL_INSTRUCTION = (-4, 0xC000001D)  # SIGILL, and Windows' code
_OTHERWISE = "Install it again in a fresh environment; the whole message: python -c 'import {}'"


def remedy(what: str, code: int, output: str) -> tuple[str, str]:
    """Explain a failed import.

    Parameters
    ----------
    what
        ``"torch"``, ``"napari"``, ``"Qt"`` or ``"napari_sa2net"``.
    code
        Exit code of the process that tried; negative if a signal ended it, and on Windows from
        ``0xC0000000`` on if it crashed.
    output
        What it wrote to stderr.

    Returns
    -------
    tuple of str
        What is wrong, and how to mend it.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((x for x in reversed(lines) if re.match(r"[\w.]+(Error|Exception)\b", x)), "")
    said = said or (lines[-1] if lines else "")
    text = f"it does not load: {said or 'no message'}"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        text = f"it crashed ({name}){f': {said}' if said else ''}"
    elif code >= _WINDOWS_CRASH:
        text = f"it crashed (0x{code:08X}){f': {said}' if said else ''}"
    for of, pattern, help_text in _REMEDIES:
        if of in ("", what) and re.search(pattern, output, re.IGNORECASE | re.MULTILINE):
            return text, help_text
    if code in _ILLEGAL_INSTRUCTION:
        return text, "The processor lacks instructions this torch needs: install an older torch."
    return text, _OTHERWISE.format("qtpy.QtWidgets" if what == "Qt" else what)
