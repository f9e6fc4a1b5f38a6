"""Peak memory of a circuit whose voltages go to disk, for a short and a long run.

``python benchmarks/recording_memory.py [--cells N] [--seconds S ...]``: 5,000 spiking cells with
random inhibition, three voltages every ms, 2 s and 8 s.  Each run is a process of its own, so its
largest resident memory, interpreter and libraries included, is its own; what compiles the circuit,
which takes memory too, is a run before them, printed as the first.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CIRCUIT = """
kind = "circuit"
summary = "Cells that inhibit each other at random"
populations.cells = {{ n = {n}, cell = "pyramidal_escape" }}
[projections.inhibition]
from = "cells.spikes"
to = "cells.soma"
synapse = "gaba_a"
w = 1.0
scale = "0.05 nS"
connect = {{ probability = {probability} }}
"""
PROTOCOL = """
kind = "recording"
summary = "Noise into all somata"
on = "circuit.toml"
duration = "{seconds} s"
numerics = {{ method = "rk2", dt = "0.2 ms", target = "cython" }}
[stimuli.noise]
type = "white"
at = "cells.soma"
mean = "100 pA"
sigma = "100 pA*ms**0.5"
[record]
voltages = {{ what = ["V_m_basal", "V_m_soma", "V_m_apical"], every = "1 ms" }}
spikes = {{ what = "spikes" }}
"""


def run(folder: Path) -> None:
    """Run the protocol of a folder in this process; print its peak memory and time."""
    from dfc_neuro.run import run as run_protocol

    began = time.perf_counter()
    run_protocol(folder / "protocol.toml", out=folder / "out.h5", force=True, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    print(peak, time.perf_counter() - began, (folder / "out.h5").stat().st_size)


def main() -> None:
    """Measure each length in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0, 8.0])
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run)
        return
    peaks = []
    for seconds in (0.1, *options.seconds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "circuit.toml").write_text(CIRCUIT.format(
                n=options.cells, probability=min(1.0, 100 / options.cells)), encoding="utf-8")
            (folder / "protocol.toml").write_text(PROTOCOL.format(seconds=seconds),
                                                  encoding="utf-8")
            done = subprocess.run([sys.executable, __file__, "--run", name], check=True,
                                  stdout=subprocess.PIPE, text=True)
        peak, took, size = map(float, done.stdout.split()[-3:])
        peaks.append(peak)
        print(f"{options.cells} cells, {seconds:g} s: peak {peak / 2**20:.0f} MiB, file "
              f"{size / 1e6:.0f} MB, {took:.0f} s")
    print(f"longest over shortest: {peaks[-1] / peaks[1]:.3f}")


if __name__ == "__main__":
    main()
