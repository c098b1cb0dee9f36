"""The errors this package raises on purpose.

Every message says what is wrong and what to do about it, so that the window
and the command line can show it to a person as it is.
"""

from __future__ import annotations


class SA2NetError(Exception):
    """Base of all errors that are meant to be read by a user."""


class InputError(SA2NetError, ValueError):
    """An image, a mask, a file or an option does not fit."""


class WeightsError(SA2NetError):
    """A model is unknown, cannot be downloaded, or its file is unusable."""


class TrainingError(SA2NetError):
    """A training cannot start or cannot go on."""


class DeviceError(SA2NetError):
    """A device is missing or ran out of memory for good."""
