"""Brian2's global state, touched here and nowhere else: target, caches, seed, clocks, logger."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import brian2 as b2
import numpy as np
from brian2.codegen.generators.numpy_generator import NumpyCodeGenerator
from brian2.codegen.runtime.cython_rt import CythonCodeObject
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.devices.device import runtime_device
from brian2.utils.logger import NameFilter
from scipy.special import exprel

from dfc_neuro.errors import EngineError

log = logging.getLogger("dfc_neuro.brian")

# Brian2 gives these units and takes them away in each call, and prints the array on the way
for _name, _function in (("log1p", np.log1p), ("expm1", np.expm1), ("exprel", exprel)):
    DEFAULT_FUNCTIONS[_name].implementations.add_implementation(NumpyCodeGenerator, code=_function)

TARGETS = ("auto", "numpy", "cython")  # of runs that go by stretches
STAGES = {"rk4": 4, "rk2": 2, "heun": 2, "euler": 1, "exponential_euler": 1}
METHODS = tuple(STAGES)
_program: list[str] = []  # the folder of the C++ program that is being made
COMPILE_SECONDS = 4.0  # one code object in a cold cache


def check_method(method: str, where: str) -> str:
    """Return the integrator; Brian2's own choice and ``exact`` cost a minute and are refused."""
    if method not in METHODS:
        raise EngineError(
            where, f"method '{method}' is not offered by the Brian2 engine",
            f"write one of {', '.join(METHODS)} (rk4 for coupled compartments)")
    return method


def choose(target: str, steps: int, updates: int, synapses: int,
           cells: Sequence[tuple[int, int]] = ()) -> str:
    """Choose where the code runs: numpy for short jobs, cython for long ones.

    Parameters
    ----------
    target : {"auto", "numpy", "cython"}
    steps : int
        Time steps of the run.
    updates : int
        Code objects run in each step, 50 us each in numpy and 5 us compiled.
    synapses : int
        Synapses updated in each step, 100 ns each in numpy and 10 ns compiled.
    cells : sequence of (operations, units)
        Arithmetic operations of each group in a step, 0.5 us each in numpy, and its units, for
        each of which they take 1 ns in numpy and 1.8 ns compiled.

    Returns
    -------
    str
        "numpy" or "cython".
    """
    if target not in TARGETS:
        raise EngineError("numerics.target", f"unknown target '{target}'",
                          f"write one of {', '.join(TARGETS)}")
    if target != "auto":
        return target
    operations = sum(n for n, _ in cells)
    inside = sum(n * units for n, units in cells)
    interpreted = steps * (updates * 50e-6 + operations * 0.5e-6 + inside * 1e-9
                           + synapses * 100e-9)
    compiled = steps * (updates * 5e-6 + inside * 1.8e-9
                        + synapses * 10e-9) + updates * COMPILE_SECONDS
    if compiled < interpreted and CythonCodeObject.is_available():
        log.info("Brian2 compiles %d code objects (cython), about %.0f s unless they are cached",
                 updates, updates * COMPILE_SECONDS)
        return "cython"
    log.info("Brian2 runs in numpy, about %.0f s", max(1.0, interpreted))
    return "numpy"


@contextmanager
def code(target: str) -> Iterator[None]:
    """Hold Brian2's preferences for building or running, and put them back afterwards.

    Parameters
    ----------
    target : {"numpy", "cython"}

    Raises
    ------
    EngineError
        When the user has switched Brian2 to a standalone device.
    """
    if _program:
        yield
        return
    if b2.get_device() is not runtime_device:
        raise EngineError("Brian2", "a standalone device is active",
                          "call brian2.set_device('runtime')")
    cython = b2.prefs.codegen.runtime.cython
    held = b2.prefs.codegen.target, cython.cache_dir, cython.multiprocess_safe
    b2.prefs.codegen.target = target
    cython.multiprocess_safe = True
    if target == "cython" and not _writable(Path(cython.cache_dir or "~/.cython").expanduser()):
        cython.cache_dir = tempfile.mkdtemp(prefix="dfc_neuro_cython_")
    console, quiet = b2.BrianLogger.console_handler, NameFilter("invalid_values")
    console.addFilter(quiet)  # the guard of a run says it better
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            yield
    finally:
        console.removeFilter(quiet)
        b2.prefs.codegen.target, cython.cache_dir, cython.multiprocess_safe = held


@contextmanager
def randomness(seed: int, state: dict | None = None) -> Iterator[Callable[[], dict]]:
    """Hold Brian2's random numbers (``rand()`` in text), and put NumPy's back afterwards.

    Yields a function that returns their state, to go on from later.

    Parameters
    ----------
    seed : int
    state : dict, optional
        Go on from this state instead of from the seed.
    """
    before = np.random.get_state()  # noqa: NPY002 (Brian2 draws from it)
    if state is None:
        b2.seed(seed)
    else:
        runtime_device.set_random_state(state)
    try:
        yield runtime_device.get_random_state
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def program(seed: int, threads: int) -> Iterator[Callable[[b2.Network, float], None]]:
    """Write what is built inside as a C++ program of its own.

    Yields a function that compiles the program and runs a network for some seconds; what its
    variables hold can be read until the context is left.

    Parameters
    ----------
    seed : int
    threads : int
        Of OpenMP.

    Raises
    ------
    EngineError
        When the program cannot be compiled.
    """
    folder = tempfile.mkdtemp(prefix="dfc_neuro_program_")
    openmp = b2.prefs.devices.cpp_standalone.openmp_threads
    b2.set_device("cpp_standalone", build_on_run=False, directory=folder)
    b2.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
    _program.append(folder)

    def run(network: b2.Network, seconds: float) -> None:
        b2.seed(seed)
        network.run(seconds * b2.second, namespace={})
        try:
            b2.get_device().build(directory=folder, with_output=False)
        except RuntimeError as error:
            raise EngineError("numerics.target", f"cpp_standalone: {' '.join(str(error).split())}",
                              "dfc-neuro doctor looks for a compiler; numerics.target = \"auto\" "
                              "does without") from error

    try:
        yield run
    finally:
        _program.clear()
        b2.get_device().reinit()
        b2.set_device("runtime")
        b2.prefs.devices.cpp_standalone.openmp_threads = openmp
        shutil.rmtree(folder, ignore_errors=True)


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def claim(network: b2.Network) -> None:
    """Say that objects belong to a network also when it never runs: Brian2 warns of others."""
    for one in network.sorted_objects:
        one._network = network.id


def clock(dt: float, name: str) -> b2.Clock:
    """Return a clock of step `dt` seconds.

    Its name stands in compiled code: numbered names, Brian2's own way, would compile it anew.
    """
    return b2.Clock(dt * b2.second, name=f"clock_of_{name}")


def describe() -> tuple[str, str]:
    """Return where equations run when ``target`` is auto, and the folder of compiled code."""
    folder = str(b2.prefs.codegen.runtime.cython.cache_dir or "~/.cython/brian_extensions")
    if CythonCodeObject.is_available():
        return "cython for long runs, numpy for short ones", folder
    return "numpy (cython cannot compile here)", folder
