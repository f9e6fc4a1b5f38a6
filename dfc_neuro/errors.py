"""What can go wrong, and the exit status each kind of failure has.

``InputError`` is for what a user wrote: one message that names the place and the remedy, exit
status 2.  ``NumericalError`` is for a run that went wrong by itself, exit status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DfcNeuroError(Exception):
    """Base of every error that the package raises on purpose."""

    exit_code = 1


class InputError(DfcNeuroError):
    """Something that the user wrote cannot be used.

    Parameters
    ----------
    where : str
        File and key, or the option, that holds the mistake.
    found : str
        What is wrong there.
    remedy : str, optional
        What to write instead.
    """

    exit_code = 2

    def __init__(self, where: str, found: str, remedy: str = ""):
        self.where, self.found, self.remedy = str(where), found, remedy
        super().__init__(f"{where}: {found}" + (f"; {remedy}" if remedy else ""))

    def __reduce__(self):
        return type(self), (self.where, self.found, self.remedy)


class ModelError(InputError):
    """A model file is wrong."""


class ProtocolError(InputError):
    """A protocol file, or a key set on it, is wrong."""


class DataError(InputError):
    """A dataset is missing, damaged or does not fit the network."""


class EngineError(InputError):
    """The chosen engine cannot run this description; the message says which can."""


class ResultsError(InputError):
    """A result file is missing, damaged, or in the way."""


class BusyError(ResultsError):
    """Another process writes this result file."""


class DiskError(ResultsError):
    """The disk refuses what is written: it is full, say."""


class NumericalError(DfcNeuroError):
    """A simulation left its bounds; the message names where and when."""


def near(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the near match, or all that is known."""
    known = sorted(known)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if match:
        return f"did you mean '{match[0]}'?"
    return "known: " + ", ".join(known) if known else "none is known"
