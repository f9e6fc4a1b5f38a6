"""The table as text and as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dfc_neuro.bench import Measured, Table
from dfc_neuro.errors import InputError
from dfc_neuro.results._provenance import environment

HEAD = ("method", "integrator", "feedback", "dtype", "threads", "T", "ms/minibatch", "samples/s",
        "GFLOP/s", "of GEMM", "update error", "peak MiB")
ADAM = {"dfc_ssa", "bp", "dfa"}

# what is compared, and the two rows whose times are divided: the first by the second
RATIOS: tuple[tuple[str, tuple[str, dict], tuple[str, dict]], ...] = (
    ("plain PyTorch loop (float64) / DFC by Euler steps", ("torch_dfc", {"dtype": "float64"}),
     ("dfc", {"integrator": "euler"})),
    ("plain PyTorch loop (float64) / DFC, fast stepping", ("torch_dfc", {"dtype": "float64"}),
     ("dfc", {"integrator": "fast"})),
    ("plain PyTorch loop (float64) / DFC in closed form", ("torch_dfc", {"dtype": "float64"}),
     ("dfc", {"integrator": "averaged"})),
    ("DFC-SSA with Adam / PyTorch backprop, default Adam", ("dfc_ssa", {}), ("torch_bp", {})),
    ("DFC-SSA with Adam / PyTorch backprop, fused Adam", ("dfc_ssa", {}),
     ("torch_bp", {"fused": True})),
    ("backprop with Adam / PyTorch backprop, default Adam", ("bp", {}), ("torch_bp", {})),
    ("backprop with Adam / PyTorch backprop, fused Adam", ("bp", {}),
     ("torch_bp", {"fused": True})),
    ("noisy feedback update by Euler's steps / linearised", ("feedback", {"integrator": "euler"}),
     ("feedback", {"integrator": "averaged"})),
    ("noisy feedback update by Euler's steps / expected one",
     ("feedback", {"integrator": "euler"}), ("feedback", {"feedback": "expected"})),
    ("one thread / all, DFC by Euler steps", ("dfc", {"integrator": "euler", "threads": 1}),
     ("dfc", {"integrator": "euler"})),
    ("one thread / all, noisy feedback update by Euler's steps",
     ("feedback", {"integrator": "euler", "threads": 1}), ("feedback", {"integrator": "euler"})),
)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _name(measured: Measured) -> str:
    row = measured.row
    if row.method == "torch_bp":
        return "torch_bp + fused Adam" if row.fused else "torch_bp + Adam"
    return row.method + (" + Adam" if row.method in ADAM else "")


def _cells(table: Table, measured: Measured) -> list[str]:
    row = measured.row

    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return [_name(measured), "" if row.integrator == "none" else row.integrator,
            "" if row.feedback == "none" else row.feedback, row.dtype, str(row.threads),
            str(measured.steps or ""), _digits(1e3 * measured.seconds),
            f"{table.case.batch / measured.seconds:.0f}", shown(measured.gflops, ".1f"),
            shown(measured.fraction, ".0%"),
            "reference" if measured.reference else f"{measured.error:.1e}",
            shown(measured.peak_mib, ".0f")]


def lines(table: Table) -> list[str]:
    """Return the table as it is printed: Markdown, with the machine above and ratios below."""
    case, host = table.case, environment()
    cells = [list(HEAD), *(_cells(table, m) for m in table.rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(HEAD))]

    def line(row: list[str]) -> str:
        return "| " + " | ".join(
            text.ljust(w) if k < 4 else text.rjust(w)
            for k, (text, w) in enumerate(zip(row, widths, strict=True))) + " |"

    said = [f"{'-'.join(map(str, case.sizes))} tanh, batch {case.batch}, lambda {case.nudge:.4g}; "
            f"control dt {case.control.dt:g}, T {case.control.steps}; "
            f"feedback dt {case.feedback.dt:.4g}, T {case.feedback.steps}",
            f"{host['host']}; Python {host['python']}, numpy {host['numpy']}, "
            f"numba {host['numba']}, scipy {host['scipy']}"]
    for (dtype, n), rate in table.gemm.items():
        said.append(f"product of {case.gemm} x {case.gemm} matrices, {dtype}, threads {n}: "
                    f"{rate:.0f} GFLOP/s")
    if table.empty_mib is not None:
        said.append(f"a process that has only loaded the libraries: {table.empty_mib:.0f} MiB")
    said += ["", line(cells[0]),
             "|" + "|".join("-" * (w + 2) if k < 4 else "-" * (w + 1) + ":"
                            for k, w in enumerate(widths)) + "|",
             *map(line, cells[1:])]
    compared = ratios(table)
    if compared:
        said += ["", "times, the first over the second (float32 and all threads if not said):",
                 *(f"  {text}: {_digits(value)}" for text, value in compared.items())]
    if table.euler_error is not None:
        said += ["", "error of Euler's steps against the exact solution, dt to 0, to which fast "
                 f"stepping is held: {table.euler_error:.1e}"]
    return said + ([""] if table.notes else []) + table.notes


def ratios(table: Table) -> dict[str, float]:
    """Return the ratios of times whose rows are both there."""
    found = {}
    for text, (first, mine), (second, yours) in RATIOS:
        a, b = table.find(first, **mine), table.find(second, **yours)
        if a is not None and b is not None and a is not b:
            found[text] = a.seconds / b.seconds
    return found


def as_json(table: Table) -> dict[str, Any]:
    """Return rates and rows under the names of the JSON file; null where nothing is counted.

    PyTorch's rows are those of its default Adam.
    """
    most = max(n for _, n in table.gemm)
    return {
        "gemm_gflops": {dtype: rate for (dtype, n), rate in table.gemm.items() if n == most},
        "rows": [{
            "method": m.row.method, "threads": m.row.threads, "integrator": m.row.integrator,
            "feedback": m.row.feedback, "dtype": m.row.dtype, "sizes": list(table.case.sizes),
            "batch": table.case.batch, "steps": m.steps, "seconds": m.seconds,
            "gflops": m.gflops, "fraction_of_gemm": m.fraction, "update_error": m.error,
            "peak_mib": m.peak_mib} for m in table.rows if not m.row.fused],
    }


def writable(path: Path) -> Path:
    """Return `path` if a file can be written there; found out before anything is measured.

    Raises
    ------
    InputError
    """
    if path.is_dir():
        raise InputError("--json", f"{path} is a folder", "give the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError("--json", f"the folder {path.parent} is not there or cannot be written to",
                         "make it, or choose another")
    return path


def write(table: Table, path: Path) -> None:
    """Write the JSON file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(as_json(table), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
