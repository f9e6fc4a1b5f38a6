"""The equations that the rate kernels implement, and their comparison with a model's text.

Text rules over kernels: a model is run only if its text says what the kernels do; otherwise the
difference is named, term by term.
"""

from __future__ import annotations

from dfc_neuro.errors import EngineError
from dfc_neuro.files import text
from dfc_neuro.files.schema import Cell, Controller
from dfc_neuro.rates.algebra import differing_terms, normal
from dfc_neuro.rates.nonlinearities import NONLINEARITIES

CELL = """
v_basal = g_basal*(I_basal + b) : 1
v_apical = g_apical*I_apical : 1
dv_soma/dt = (v_basal + v_apical - v_soma)/tau_v : 1
b : 1
v_free : 1
"""
SLOW_APICAL = "dv_apical/dt = (g_apical*I_apical - v_apical)/tau_A : 1"
CONTROLLER = """
error = target - y : 1
u = u_int + k_p*error : 1
du_int/dt = (error - alpha*u)/tau_u : 1
"""
OBSERVABLES = {
    "rate": "phi(v_soma)",
    "prediction": "phi(v_basal)",
    "apical": "v_apical",
    "mismatch": "phi(v_soma) - phi(v_basal)",
    "gain": "dphi(v_free)",
}
OPTIONAL = {"v_free"}
REMEDY = "engine 'brian' runs any text (numerics.engine = \"brian\")"


def _lines(source: str) -> dict[str, text.Equation]:
    return {line.name: line for line in text.equations(source, "canonical form")}


def _left(line: text.Equation) -> str:
    return f"d{line.name}/dt" if line.kind == "differential" else line.name


def _compare(found: tuple[text.Equation, ...], expected: dict[str, text.Equation],
             where: str) -> None:
    names = {line.name for line in found}
    for name in expected:
        if name not in names and name not in OPTIONAL:
            raise EngineError(f"{where}: equations",
                              f"has no '{name}', which the rate engine needs", REMEDY)
    for line in found:
        place = f"{where}: equations line {line.line}"
        mine = expected.get(line.name)
        if mine is None:
            raise EngineError(place, f"'{_left(line)}' is not among the equations of the rate "
                              "engine: " + ", ".join(_left(e) for e in expected.values()), REMEDY)
        if mine.kind != line.kind:
            raise EngineError(place, f"'{line.name}' is a {line.kind}; in the rate engine it is a "
                              f"{mine.kind}", REMEDY)
        if line.tree is None or mine.tree is None:
            continue
        extra, missing = differing_terms(line.tree, mine.tree)
        if extra or missing:
            raise EngineError(
                place,
                f"{_left(line)} has " + (f"the term {' and '.join(map(repr, extra))}" if extra
                                         else "no such term")
                + " where the rate engine has "
                + (" and ".join(map(repr, missing)) if missing else "none"), REMEDY)


def check_cell(cell: Cell) -> bool:
    """Check a cell's text against the kernels; return whether its apical compartment is slow.

    Raises
    ------
    EngineError
        Naming the line and the term that differ.
    """
    expected = _lines(CELL)
    slow = any(line.name == "v_apical" and line.kind == "differential" for line in cell.lines)
    if slow:
        expected["v_apical"] = _lines(SLOW_APICAL)["v_apical"]
    _compare(cell.lines, expected, cell.label)
    if cell.initial:
        raise EngineError(f"{cell.label}: initial.{min(cell.initial)}", "is set; the rate engine "
                          "starts from the network without control", REMEDY)
    if cell.spike is not None:
        raise EngineError(f"{cell.label}: spike", "the rate engine has no spikes", REMEDY)
    for gain in ("g_basal", "g_apical"):
        value = cell.constants[gain].value
        if value != 1.0:
            raise EngineError(f"{cell.label}: parameters.{gain}",
                              f"is {value:g}; the rate engine has a gain of 1", REMEDY)
    return slow


def check_observable(cell: Cell, name: str) -> None:
    """Check that an observable that is read has the text that the kernels compute.

    Raises
    ------
    EngineError
        If it differs; states of the cell are always readable.
    """
    if name not in cell.observables:
        return
    where = f"{cell.label}: observables.{name}"
    if name not in OBSERVABLES:
        raise EngineError(where, "is not computed by the rate engine; it offers "
                          + ", ".join(OBSERVABLES), REMEDY)
    found = text.with_unit(cell.observables[name], where, cell.definitions)[0]
    expected = text.expression(OBSERVABLES[name], where, cell.definitions)
    extra, missing = differing_terms(found, expected)
    if extra or missing:
        raise EngineError(where, f"is '{normal(found)}'; in the rate engine it is "
                          f"'{normal(expected)}'", REMEDY)
    if name == "gain":
        known = NONLINEARITIES[nonlinearity(cell, cell.label)].slope_text
        slope = _function_of_x(cell, "dphi", cell.label)
        if slope != _normal(known, where):
            raise EngineError(f"{cell.label}: functions.dphi", f"'{slope}' is not the slope of "
                              f"phi, '{known}'", REMEDY)


def _function_of_x(cell: Cell, name: str, where: str) -> str:
    """Return the normal form of a function of one argument, applied to x."""
    own = cell.definitions.get(name)
    if own is None or len(own.arguments) != 1:
        raise EngineError(f"{where}: functions", f"has no {name}(x)", REMEDY)
    return _normal(f"{name}(x)", where, cell.definitions)


def _normal(formula: str, where: str, functions: dict[str, text.Function] | None = None) -> str:
    """Return the normal form of a formula, functions and shorthands such as relu put in."""
    known = functions or {}
    return normal(text.inline(text.expression(formula, where, known), known, where))


def nonlinearity(cell: Cell, where: str) -> str:
    """Return the name of the nonlinearity that a cell's ``phi(x)`` is.

    Raises
    ------
    EngineError
        If the kernels have none of that text.
    """
    found = _function_of_x(cell, "phi", where)
    for name, known in NONLINEARITIES.items():
        if found in (_normal(candidate, where) for candidate in known.text):
            return name
    raise EngineError(f"{where}: functions.phi", f"'{found}' is not a nonlinearity of the rate "
                      "engine: " + ", ".join(n.text[0] for n in NONLINEARITIES.values()), REMEDY)


def check_controller(controller: Controller) -> None:
    """Check a controller's text against the kernels.

    Raises
    ------
    EngineError
        Naming the line and the term that differ.
    """
    _compare(controller.lines, _lines(CONTROLLER), controller.label)
    if controller.initial:
        raise EngineError(f"{controller.label}: initial.{min(controller.initial)}", "is set; in "
                          "the rate engine control starts at 0", REMEDY)
