"""A rule's text evaluated with NumPy, for all synapses of a layer and all samples at once."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import CodeType

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.files import text, units
from dfc_neuro.files.schema import Rule

Array = np.ndarray
_NAMES = ("arccos", "arcsin", "arctan", "ceil", "clip", "cos", "cosh", "exp", "expm1", "floor",
          "log", "log10", "log1p", "sign", "sin", "sinh", "sqrt", "tan", "tanh")
FUNCTIONS = {name: getattr(np, name) for name in _NAMES} | {
    "abs": np.abs, "int": lambda x: np.asarray(x).astype(np.int64).astype(float)}


class RuleMeans:
    """The right sides of ``dw/dt`` and ``db/dt`` as functions of arrays, in SI units.

    Parameters
    ----------
    rule : Rule
        Without events and filters.
    constants : dict of str to float
        What the postsynaptic side offers that does not vary, by its own name.

    Attributes
    ----------
    post, pre : sets of str
        What varies that the rule reads on each side.
    bounds : tuple of float, or None
        Of the weights.
    """

    def __init__(self, rule: Rule, constants: Mapping[str, float]):
        line, = rule.part("synapse")
        bias = rule.part("bias")
        fixed = {name: q.value for name, q in rule.constants.items()}
        fixed |= {f"{n}_post": v for n, v in constants.items() if n in rule.reads.post}
        self.post = {n for n in rule.reads.post if f"{n}_post" not in fixed}
        self.pre = set(rule.reads.pre)
        self.bounds = rule.bounds.get("w")
        self._fixed = fixed
        self._synapse = self._code(rule, line, {f"{n}_pre" for n in self.pre} | {"w"})
        self._bias = self._code(rule, bias[0], {"b"}) if bias else None

    def _code(self, rule: Rule, line: text.Equation, names: set[str]) -> CodeType:
        where = f"{rule.label}: {line.name}"
        assert line.tree is not None
        tree = text.inline(line.tree, rule.definitions, where)
        names = names | {f"{n}_post" for n in self.post}
        for node in ast.walk(tree):
            if isinstance(node, ast.BoolOp) or (
                    isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                    and node.func.id not in FUNCTIONS):
                raise EngineError(where, f"'{ast.unparse(node)}' cannot be read for many samples "
                                  "at once", "write it with " + ", ".join(sorted(FUNCTIONS)))
        for name in text.names(tree) - names - set(self._fixed):
            if name not in units.table():
                raise EngineError(where, f"reads '{name}', which has no mean over time")
            self._fixed[name] = units.table()[name][0]
        return compile(ast.fix_missing_locations(ast.Expression(tree)), where, "eval")

    def _value(self, code: CodeType, values: dict[str, Array]) -> Array:
        space = {"__builtins__": {}, **FUNCTIONS, **self._fixed, **values}
        return eval(code, space)  # of the files' grammar: names, numbers and arithmetic only

    def changes(self, post: Mapping[str, Array], pre: Mapping[str, Array], w: Array) -> Array:
        """Return dw/dt (n, m), the mean over samples, from post (R, n), pre (R, m) and w (n, m)."""
        values = {f"{n}_post": a[:, :, None] for n, a in post.items()}
        values |= {f"{n}_pre": a[:, None, :] for n, a in pre.items()} | {"w": w}
        found = self._value(self._synapse, values)
        return np.broadcast_to(found, (len(next(iter(pre.values()))), *w.shape)).mean(axis=0)

    def bias_changes(self, post: Mapping[str, Array], b: Array) -> Array:
        """Return db/dt (n,), the mean over samples; zeros if the rule has no bias."""
        if self._bias is None:
            return np.zeros_like(b)
        found = self._value(self._bias, {f"{n}_post": a for n, a in post.items()} | {"b": b})
        return np.broadcast_to(found, (len(next(iter(post.values()))), *b.shape)).mean(axis=0)
