"""The text of one projection: transmission and rule, sorted by where each state lives.

- A synapse model that is linear in its states lives once for each postsynaptic unit, in the text
  of the target, and is integrated together with the voltage; any other lives with each synapse.
- A rule's ``pre`` and ``post`` states that no event statement assigns are filters of their unit and
  live there, once; the others live with each synapse (and so respect its delay), event-driven where
  nothing needs them between events.

Names that move into a population carry the projection's name as a suffix (``u_minus_test``);
constants of a rule end in ``_rule`` in its synapses, for its two sides may have such names.
A presynaptic spike is transmitted first, then the rule's statements run in the written order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import brian2 as b2
import sympy
from brian2.parsing.sympytools import str_to_sympy

from dfc_neuro.brian.text import (
    NAME,
    constant,
    lines_of,
    rename,
    start,
    statements_of,
    states,
)
from dfc_neuro.files import text as grammar
from dfc_neuro.files.units import Quantity, quantity


@dataclass
class Part:
    """Text that lives in one place, with its constants and initial values."""

    lines: list[str] = field(default_factory=list)
    constants: dict[str, Quantity] = field(default_factory=dict)
    initial: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Equation lines and the declarations of the constants."""
        return "\n".join([*self.lines, *(constant(n, q) for n, q in self.constants.items())])


@dataclass(frozen=True)
class Late:
    """A variable of the target that holds what another was some seconds ago."""

    variable: str
    of: str
    seconds: float


@dataclass
class Wiring:
    """What a projection adds to its target, to its source, and what its Synapses hold."""

    synapses: Part = field(default_factory=Part)
    target: Part = field(default_factory=Part)
    source: Part = field(default_factory=Part)
    bias: str = ""
    on_pre: list[str] = field(default_factory=list)
    on_post: list[str] = field(default_factory=list)
    clip: list[str] = field(default_factory=list)
    symbol: str = ""  # what the target's socket sums; empty if nothing is transmitted
    summed: bool = False  # the symbol is a sum over synapses
    continuous: bool = False  # something of the rule changes between events
    late: list[Late] = field(default_factory=list)


def is_linear(expressions: Iterable[str], names: Iterable[str]) -> bool:
    """Tell whether expressions are linear, without a constant term, in the named states."""
    symbols = [sympy.Symbol(n, real=True) for n in names]
    for text in expressions:
        expr = str_to_sympy(text)
        if sympy.simplify(expr.subs(dict.fromkeys(symbols, 0))) != 0:
            return False
        if any(sympy.simplify(sympy.diff(expr, a, b)) != 0 for a in symbols for b in symbols):
            return False
    return True


def transmit_rate(wiring: Wiring, name: str, observable: str, scale: Quantity, unit: str) -> None:
    """Add the sum ``w*scale*observable`` over the synapses of a unit."""
    wiring.symbol, wiring.summed = f"I_{name}", True
    factor = ""
    if any(scale.dimensions) or scale.value != 1.0:
        wiring.synapses.constants["scale"] = scale
        factor = "*scale"
    wiring.synapses.lines.append(
        f"I_{name}_post = w*{observable}_pre{factor} : {unit} (summed)")


def transmit_spikes(wiring: Wiring, name: str, model, scale: Quantity, voltage: str,
                    unit: str) -> None:
    """Add a synapse model: its states, its current, and what a presynaptic spike does.

    Parameters
    ----------
    wiring : Wiring
        Receives the text.
    name : str
        Of the projection.
    model : Synapse
        The model's file.
    scale : Quantity
        What w = 1 means.
    voltage, unit : str
        Voltage of the compartment the synapse sits on, and unit of its socket.
    """
    own, lines = model.constants, lines_of(model, model.lines)
    current = grammar.write(model.expression(model.current, "current"))
    events = statements_of(model, model.on_pre, "on_pre")
    names = {n: f"{n}_{name}" for n in (*lines, *own)}
    constants = {names[n]: q for n, q in own.items()}
    wiring.symbol = f"input_{name}"  # a state of the model may be called I
    wiring.synapses.constants["scale"] = scale
    if _superposes(lines, current, [s for s, _ in events]):
        here = {**names, "V": voltage}
        wiring.target.lines += [rename(line, here) for line in lines.values()]
        wiring.target.lines.append(f"{wiring.symbol} = {rename(current, here)} : {unit}")
        wiring.target.constants.update(constants)
        wiring.target.initial.update(
            {names[n]: rename(start(v, model), here) for n, v in model.initial.items()})
        there = {**{n: f"{names[n]}_post" for n in names}, "V": f"{voltage}_post"}
    else:
        there = {**names, "V": f"{voltage}_post"}
        wiring.summed = True
        wiring.synapses.lines += [
            _flagged(rename(line, there), "clock-driven") for line in lines.values()]
        wiring.synapses.lines.append(
            f"{wiring.symbol}_post = {rename(current, there)} : {unit} (summed)")
        wiring.synapses.constants.update(constants)
        wiring.synapses.initial.update(
            {names[n]: rename(start(v, model), there) for n, v in model.initial.items()})
    wiring.on_pre += [rename(line, there) for _, line in events]


def release(wiring: Wiring, name: str, model) -> None:
    """Let short-term plasticity multiply the weights of the spikes that are transmitted so far.

    Its states live with each synapse and are advanced from event to event.
    """
    lines = lines_of(model, model.lines)
    names = {n: f"{n}_release_{name}" for n in (*lines, *model.constants)}
    before = [rename(line, names) for _, line in statements_of(model, model.on_pre, "on_pre")]
    after = [rename(line, names) for _, line in statements_of(model, model.after, "after")]
    factor = rename(grammar.write(model.expression(model.release, "release")), names)
    wiring.on_pre = [*before, *(rename(line, {"w": f"(w*({factor}))"}) for line in wiring.on_pre),
                     *after]
    wiring.synapses.lines += [_flagged(rename(line, names), "event-driven")
                              for line in lines.values()]
    wiring.synapses.constants.update({names[n]: q for n, q in model.constants.items()})
    wiring.synapses.initial.update(
        {names[n]: rename(start(v, model), names) for n, v in model.initial.items()})


def _superposes(lines: Mapping[str, str], current: str, events: Iterable[grammar.Statement]
                ) -> bool:
    """Tell whether the synapses of a unit can share one set of states."""
    equations = b2.Equations("\n".join(lines.values()))
    inner = states(equations)
    if {"w", "scale"} & (_names(lines) | set(NAME.findall(current))):
        return False
    return is_linear([*(equations[s].expr.code for s in inner), current], inner) and all(
        s.name in inner and s.operator == "+=" and not grammar.names(s.tree) & set(lines)
        for s in events)


def _flagged(line: str, flag: str) -> str:
    """Say how a differential equation of a synapse is advanced."""
    return f"{line} ({flag})" if "/dt" in line.partition("=")[0] else line


def learn(wiring: Wiring, name: str, rule, voltage: str, bias: bool, source) -> None:
    """Add a plasticity rule to a projection.

    Parameters
    ----------
    wiring : Wiring
        Receives the text.
    name : str
        Of the projection.
    rule : Rule
        The rule's file.
    voltage : str
        Voltage of the compartment the synapses sit on: the rule's ``V``.
    bias : bool
        The bias of the target learns with this projection.
    source : Cell or None
        The cell of the source, in whose equations filters can live; None for other sources.
    """
    own, synapse = rule.constants, lines_of(rule, rule.part("synapse"))
    on_pre = statements_of(rule, rule.on_pre, "on_pre")
    on_post = statements_of(rule, rule.on_post, "on_post")
    touched = {s.name for s, _ in (*on_pre, *on_post)}
    sent = {n: source.sent(n) for n in rule.reads.pre if source is not None and n in source.axon}
    constants = {n: f"{n}_rule" for n in own}  # the two sides may have constants of these names
    names = {"V_post": f"{voltage}_post", **{f"{n}_pre": f"{sent[n]}_pre" for n in sent},
             **constants}
    for side in ("pre", "post"):
        lines = lines_of(rule, rule.part(side))
        if not lines:
            continue
        unit_owned = not touched & {f"{n}_{side}" for n in lines} and (
            side == "post" or source is not None)
        if unit_owned:
            part = wiring.target if side == "post" else wiring.source
            _at_unit(part, name, lines, {"V": voltage, **(sent if side == "pre" else {})}, rule)
            names.update({f"{n}_{side}": f"{n}_{name}_{side}" for n in lines})
            if side == "post":
                names.update(_late(wiring, name, lines, rule))
        else:
            local = {n: f"{side}_{n}" for n in lines}
            names.update({f"{n}_{side}": local[n] for n in lines})
            read = {n: names.get(f"{n}_{side}", f"{n}_{side}") for n in getattr(rule.reads, side)}
            if "V" in read:
                read["V"] = f"{voltage}_post"
            lazy = not set(read) & _names(lines) and not _read(synapse, names, local.values())
            for line in lines.values():
                flag = "event-driven" if lazy else "clock-driven"
                wiring.synapses.lines.append(
                    _flagged(rename(line, {**constants, **read, **local}), flag))
            wiring.continuous |= not lazy
            wiring.synapses.initial.update(
                {local[n]: rename(start(rule.initial[n], rule), {**constants, **read, **local})
                 for n in lines if n in rule.initial})
    for line in synapse.values():
        wiring.synapses.lines.append(_flagged(rename(line, names), "clock-driven"))
    wiring.synapses.initial.update({n: rename(start(rule.initial[n], rule), names)
                                    for n in synapse if n in rule.initial and n != "w"})
    wiring.continuous |= bool(synapse)
    wiring.synapses.constants.update({constants[n]: q for n, q in own.items()})
    wiring.on_pre += [rename(line, names) for _, line in on_pre]
    wiring.on_post += [rename(line, names) for _, line in on_post]
    wiring.clip = [f"{n} = clip({n}, {low!r}, {high!r})"
                   for n, (low, high) in rule.bounds.items()]
    if bias and rule.bias:
        line, = lines_of(rule, rule.part("bias")).values()
        reads = {f"{n}_post": n for n in rule.reads.post}
        wiring.bias = rename(line, {**reads, **{n: f"{n}_{name}" for n in own}})
        wiring.target.constants.update({f"{n}_{name}": q for n, q in own.items()})


def _late(wiring: Wiring, name: str, lines: Mapping[str, str], rule) -> dict[str, str]:
    """Add the variables that hold a rule's filters as they were; return how they are read."""
    names = {}
    for n in rule.late:
        unit = lines[n].rpartition(":")[2].partition("(")[0].strip()
        variable = f"{n}_late_{name}"
        wiring.target.lines.append(f"{variable} : {unit}")
        seconds = quantity(rule.late[n], f"{rule.label}: late.{n}").value
        wiring.late.append(Late(variable, f"{n}_{name}", seconds))
        names[f"{n}_post"] = f"{variable}_post"
    return names


def _names(lines: Mapping[str, str]) -> set[str]:
    equations = b2.Equations("\n".join(lines.values()))
    return set().union(*(eq.identifiers for eq in equations.values()))


def _read(lines: Mapping[str, str], names: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Tell whether equations read one of the wanted variables once they are renamed."""
    return bool(lines) and bool({names.get(n, n) for n in _names(lines)} & set(wanted))


def _at_unit(part: Part, name: str, lines: Mapping[str, str], read: Mapping[str, str], rule
             ) -> None:
    """Put the filters of a rule into the text of the population they filter."""
    used = [n for n in rule.constants if n in _names(lines)]
    here = {**read, **{n: f"{n}_{name}" for n in (*lines, *used)}}
    part.lines += [rename(line, here) for line in lines.values()]
    part.constants.update({f"{n}_{name}": rule.constants[n] for n in used})
    part.initial.update({f"{n}_{name}": rename(start(rule.initial[n], rule), here)
                         for n in lines if n in rule.initial})
