"""Biological time a second and core for 1,000 reference cells, beside NEURON and Arbor.

``python benchmarks/cells_throughput.py [--json FILE]``: needs the extra ``oracles``.  Ten currents
into the soma of RC3 (0.8 to 1.07 nA, 50 to 250 ms).  The error is the worst of all spike times in
300 ms, against SciPy's LSODA at a tolerance of 1e-11; infinite where a spike is missing.
Speed is that of 1,000 cells on one thread, the steps alone, spikes recorded; the best of two
rounds in which all engines take turns.  Engines whose steps are short run shorter times.
``--scaling [--figure FILE]`` measures how the kernels grow with the number of cells and of threads.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numba import njit

from dfc_neuro.analysis import crossings
from dfc_neuro.brian.compiled import Compiled
from dfc_neuro.brian.plan import batches
from dfc_neuro.brian.recording import Running
from dfc_neuro.files import resolve
from dfc_neuro.rates import threads

sys.path.insert(0, str(Path(__file__).parent))
from cells_peers import CYLINDERS, OFF, ON, Spikes, arbor, neuron

CURRENTS = [round(0.8 + 0.03 * k, 2) for k in range(10)]  # nA
STOP = 300.0  # ms, of the runs that errors are read from
BAR = 0.03  # ms
CELLS = 1000
CIRCUIT = """
kind = "circuit"
summary = "Reference cells that nothing connects"
populations.all = {{ n = {n}, cell = "rc3" }}
"""
PROTOCOL = """
kind = "recording"
summary = "A step into the soma of all"
on = "{circuit}"
duration = "300 ms"
[stimuli.step]
type = "step"
at = "all.soma"
amplitude = "{{current}}"
from = "{on} ms"
to = "{off} ms"
[over]
current = {currents}
[record]
spikes = {{ what = "spikes" }}
{more}
"""


@dataclass
class Row:
    """An engine at one step: errors in ms, seconds for `cells` cells over `stop` ms."""

    engine: str
    setting: str
    dt: float
    run: Callable[[Sequence[float], float, bool], tuple[float, Spikes]]
    stop: float
    cells: int = CELLS
    error: float = np.inf
    seconds: float = np.inf

    @property
    def steps(self) -> float:
        """Cell-steps a second; none where steps are variable."""
        return self.cells * self.stop / self.dt / self.seconds if self.dt else np.nan

    @property
    def throughput(self) -> float:
        """Seconds of biological time, summed over cells, a second of wall time."""
        return 1e-3 * self.cells * self.stop / self.seconds


def reference() -> list[np.ndarray]:
    """Return the spikes of each current (ms) by SciPy's LSODA, equations written anew."""
    from scipy.integrate import odeint

    length, diameter = np.array(list(CYLINDERS.values())).T * 1e-4  # cm
    area = np.pi * length * diameter
    half = 150 * (length / 2) / (np.pi * diameter**2 / 4) * 1e-3  # 1/mS
    g_bs, g_sa = 1 / (half[0] + half[1]), 1 / (half[1] + half[2])
    c = area  # uF, of 1 uF/cm2

    @njit
    def slopes(y, t, drive):
        b, s, a, m, h, n = y
        channels = area[1] * (120 * m**3 * h * (s - 50) + 36 * n**4 * (s + 77) + 0.3 * (s + 54.3))
        x, z = s + 40, s + 55
        alpha_m = 0.1 * x / (1 - np.exp(-x / 10)) if abs(x) > 1e-9 else 1.0
        alpha_n = 0.01 * z / (1 - np.exp(-z / 10)) if abs(z) > 1e-9 else 0.1
        return np.array([
            (0.1 * area[0] * (-65 - b) + g_bs * (s - b)) / c[0],
            (-channels + g_bs * (b - s) + g_sa * (a - s) + drive) / c[1],
            (0.1 * area[2] * (-65 - a) + g_sa * (s - a)) / c[2],
            alpha_m * (1 - m) - 4 * np.exp(-(s + 65) / 18) * m,
            0.07 * np.exp(-(s + 65) / 20) * (1 - h) - h / (1 + np.exp(-(s + 35) / 10)),
            alpha_n * (1 - n) - 0.125 * np.exp(-(s + 65) / 80) * n])

    rest = [-65.0, -65.0, -65.0]
    gates = []
    for k in range(3, 6):  # dx/dt = alpha (1 - x) - beta x: its zero from two values of x
        low, high = (slopes(np.array(rest + [x] * 3), 0.0, 0.0)[k] for x in (0.0, 1.0))
        gates.append(low / (low - high))
    spikes = []
    for current in CURRENTS:
        y, t, v = np.array(rest + gates), [np.zeros(1)], [np.array(rest[:1])]
        for since, until, drive in ((0, ON, 0.0), (ON, OFF, current * 1e-3), (OFF, STOP, 0.0)):
            grid = np.linspace(since, until, round((until - since) / 0.01) + 1)
            found = odeint(slopes, y, grid, args=(drive,), rtol=1e-11, atol=1e-11, mxstep=100_000)
            y = found[-1]
            t.append(grid[1:])
            v.append(found[1:, 1])
        spikes.append(crossings(np.concatenate(t), np.concatenate(v), 0.0))
    return spikes


def ours(currents: Sequence[float], stop: float, spikes: bool, *, dt: float, method: str = "rk4",
         target: str = "numba", on: int = 1) -> tuple[float, Spikes]:
    """Run dfc_neuro; `on` threads."""
    folder = Path("results") / "cells_throughput"
    folder.mkdir(parents=True, exist_ok=True)
    distinct = sorted(set(currents))
    circuit, file = folder / "circuit.toml", folder / "protocol.toml"
    circuit.write_text(CIRCUIT.format(n=len(currents) // len(distinct)), encoding="utf-8")
    traces = 'v = { what = "V_m_soma" }' if spikes and target != "numba" else ""
    file.write_text(PROTOCOL.format(circuit=circuit.resolve(), on=ON, off=OFF, more=traces,
                                    currents=[f"{c} nA" for c in distinct]), encoding="utf-8")
    protocol = resolve.protocol(file, {
        "numerics.dt": f"{dt} ms", "numerics.method": method, "numerics.target": target,
        "numerics.threads": on})
    pairs = resolve.conditions(protocol)
    batch, = batches([p for _, p in pairs], np.random.SeedSequence(0))
    kind = Compiled if target == "numba" else Running
    run = kind(batch, [label for label, _ in pairs], np.random.SeedSequence(0))
    run.advance(dt * 1e-3, lambda done: None)  # compiles
    began = time.perf_counter()
    run.advance((stop - dt) * 1e-3, lambda done: None)
    taken = time.perf_counter() - began
    if not spikes:
        return taken, None
    by_name = {m.name: m for m in run.monitors}
    if target == "numba":
        times, _, condition = by_name["spikes"].spikes(np.arange(len(distinct)))
        return taken, [np.sort(times[condition == k]) * 1e3 for k in range(len(distinct))]
    v = by_name["v"].samples()["V_m_soma"][:, :, 0]
    return taken, [crossings(np.arange(len(v)) * dt, v[:, k], 0.0) for k in range(len(distinct))]


def rows() -> list[Row]:
    """Return every engine at every step."""
    def kernels(dt, method):
        return lambda i, stop, spikes: ours(i, stop, spikes, dt=dt, method=method)

    def brian(dt):
        return lambda i, stop, spikes: ours(i, stop, spikes, dt=dt, target="cython")

    def fixed(dt, core=False):
        return lambda i, stop, spikes: neuron(i, stop, dt=dt, core=core and not spikes,
                                              spikes=spikes)

    def variable(atol):
        return lambda i, stop, spikes: neuron(i, stop, atol=atol, spikes=spikes)

    def cables(dt):
        return lambda i, stop, spikes: arbor(i, stop, dt=dt, spikes=spikes)

    found = [Row("dfc_neuro, numba", f"{m} {dt:g}", dt, kernels(dt, m), STOP)
             for m, dt in (("rk4", 0.0625), ("rk4", 0.05), ("rk4", 0.025), ("rk2", 0.05),
                           ("rk2", 0.04), ("rk2", 0.025), ("rk2", 0.0125))]
    found += [Row("Brian2 (dfc_neuro, cython)", f"rk4 {dt:g}", dt, brian(dt), 20)
              for dt in (0.05,)]
    found += [Row("NEURON", f"secondorder {dt:g}", dt, fixed(dt), 100)
              for dt in (0.025, 0.016, 0.0125)]
    found += [Row("NEURON, cvode", f"atol {a:g}", 0.0, variable(a), STOP, 100)
              for a in (1e-3, 5e-4, 3e-4)]
    found += [Row("CoreNEURON", f"secondorder {dt:g}", dt, fixed(dt, True), 100)
              for dt in (0.025, 0.016, 0.0125)]
    found += [Row("Arbor", f"{dt:g}", dt, cables(dt), stop) for dt, stop in
              ((0.025, 100), (0.001, 4), (0.00025, 2))]
    return found


def worst(found: Spikes, exact: list[np.ndarray]) -> float:
    """Return the largest difference of spike times."""
    assert found is not None
    if any(len(a) != len(b) for a, b in zip(found, exact, strict=True)):
        return np.inf
    return max(float(np.abs(a - b).max()) for a, b in zip(found, exact, strict=True))


def report(table: list[Row]) -> None:
    """Print the table, and the ratio to the faster peer at the error of the bar."""
    print(f"{'engine':27} {'setting':20} {'worst error ms':>15} {'Mcell-steps/s':>14} "
          f"{'cell s/s':>10}")
    for row in table:
        steps = "" if np.isnan(row.steps) else f"{row.steps / 1e6:.2f}"
        print(f"{row.engine:27} {row.setting:20} {row.error:15.4f} {steps:>14} "
              f"{row.throughput:10.1f}")
    good = [row for row in table if row.error <= BAR]
    best = {name: max((r for r in good if name(r.engine)), key=lambda r: r.throughput)
            for name in (lambda e: "dfc_neuro, numba" in e, lambda e: "dfc_neuro" not in e)}
    own, peer = best.values()
    print(f"at an error of at most {BAR} ms: {own.engine} {own.setting} over {peer.engine} "
          f"{peer.setting}: {own.throughput / peer.throughput:.1f}")


def scaling() -> list[dict]:
    """Print and return how throughput changes with cells and threads."""
    table = []
    for on in range(1, threads.available() + 1):
        for n in (10, 30, 100, 300, 1000, 3000, 10_000):
            currents = [CURRENTS[k % 10] for k in range(n)]
            stop = float(np.clip(3e6 / n * 0.05 / 10, 20, 300))
            taken = min(ours(currents, stop, False, dt=0.05, on=on)[0] for _ in range(3))
            table.append({"cells": n, "threads": on, "throughput": 1e-3 * n * stop / taken})
            print(f"{n:6} cells, threads {on}: {table[-1]['throughput']:.0f} cell s/s")
    return table


def draw(path: str, table: list[dict]) -> None:
    """Draw throughput against the number of cells, a curve for each number of threads."""
    from importlib.resources import files

    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(str(files("dfc_neuro.figures") / "style.mplstyle")):
        fig = Figure(figsize=(3.35, 2.2), layout="constrained")
        ax = fig.subplots()
        for on, marker in zip(sorted({row["threads"] for row in table}), "osD^v<>ph" * 20,
                              strict=False):
            own = [row for row in table if row["threads"] == on]
            ax.plot([row["cells"] for row in own], [row["throughput"] for row in own],
                    marker=marker, label=f"{on} thread{'s' * (on > 1)}")
        ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        ax.set_xlabel("Cells")
        ax.set_ylabel("Biological time of all cells\nover wall time (s/s)")
        ax.legend(loc="upper left")
        fig.savefig(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--figure", metavar="FILE", help="draws what --scaling measures")
    options = parser.parse_args()
    if options.scaling or options.figure:
        found = scaling()
        if options.figure:
            draw(options.figure, found)
        return
    exact, table = reference(), rows()
    for row in table:
        row.error = worst(row.run(CURRENTS, STOP, True)[1], exact)
    for _ in range(2):
        for row in table:
            currents = [CURRENTS[k * 10 // row.cells] for k in range(row.cells)]
            row.seconds = min(row.seconds, row.run(currents, row.stop, False)[0])
    report(table)
    if options.json:
        kept = [{**asdict(replace(r, run=None)), "throughput": r.throughput}  # type: ignore[arg-type]
                for r in table]
        Path(options.json).write_text(json.dumps({"rows": kept}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
