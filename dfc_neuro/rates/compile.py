"""From a rule file to a compiled kernel: the rule's factors put into the one dynamics source.

The generated module is a file of its own, named by the hash of all it is made of, in the user's
cache folder; so Numba's cache on disk works and a second run compiles nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dfc_neuro import generated
from dfc_neuro.errors import EngineError
from dfc_neuro.rates.rule_text import Separated, read_names, separate

FOLDER = Path(__file__).parent

# what the engine offers to a rule, in the kernel's own coordinates
POST = {
    "rate_post": "(r[i] + dr[i])",
    "prediction_post": "(r[i] + dp[i])",
    "mismatch_post": "(dr[i] - dp[i])",
    "somatic_difference_post": "(x[i] - basal[i])",
    "v_soma_post": "(v[i] + x[i])",
    "v_basal_post": "(v[i] + basal[i])",
    "v_apical_post": "apical[i]",
    "apical_post": "apical[i]",
    "gain_post": "gain[i]",
}
PRE = {"rate_pre": "rate[i]", "u_pre": "u[i]", "u_next_pre": "u_next[i]"}
FUNCTIONS = {  # of rule text, and their names in the kernel
    "tanh": "tanh", "exp": "exp", "expm1": "expm1", "log": "log", "log10": "log10",
    "log1p": "log1p", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan", "sinh": "sinh",
    "cosh": "cosh", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "abs",
    "floor": "floor", "ceil": "ceil", "int": "int",
}


@dataclass(frozen=True)
class RuleKernel:
    """A compiled rule: the kernel module, its separation, its parameters' names and values.

    `bounds` are those of its weights, for whoever changes them.
    """

    module: ModuleType
    separated: Separated
    names: tuple[str, ...]
    parameters: tuple[float, ...]
    bounds: tuple[float, float] | None = None

    @property
    def feedback(self) -> bool:
        """Whether it changes feedback weights Q."""
        return self.separated.feedback

    @property
    def by_synapse(self) -> bool:
        """Whether it is no sum of products, so that it is read a synapse at a time."""
        return bool(self.separated.synapse)


class _ToKernel(ast.NodeTransformer):
    def __init__(self, names: dict[str, str], parameters: list[str]):
        self.names, self.parameters = names, parameters

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.names:
            text = self.names[node.id]
        elif node.id in self.parameters:
            text = f"p[{self.parameters.index(node.id)}]"
        else:
            return node
        return ast.parse(text, mode="eval").body

    def visit_Call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name)
        call = ast.Call(ast.Name(FUNCTIONS[node.func.id]), [self.visit(a) for a in node.args], [])
        return ast.Call(ast.Name("F"), [call], [])  # int and floor give integers

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.parse(f"F({node.value!r})", mode="eval").body

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left = self.visit(node.left)
        whole = isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant)
        return ast.BinOp(left, node.op, node.right if whole else self.visit(node.right))


def _kernel_text(text: str, names: dict[str, str], parameters: list[str]) -> str:
    node = _ToKernel(names, parameters).visit(ast.parse(text, mode="eval").body)
    return ast.unparse(ast.fix_missing_locations(node))


def _function(signature: str, texts: tuple[str, ...], names: dict[str, str],
              parameters: list[str], first: str) -> str:
    lines = ["@njit(**options)", f"def {signature}:", f"    F = {first}.dtype.type"]
    for slot, text in enumerate(texts):
        lines += [f"    for i in range({first}.size):",
                  f"        out[{slot} * stride + i] = F({_kernel_text(text, names, parameters)})"]
    return "\n".join([*lines, "\n"])


def _synapses(separated: Separated, parameters: list[str]) -> str:
    """Return the function that sums dw/dt over samples, a synapse at a time.

    post (slots, S, n), pre (slots, S, m), w and out (n, m), all flat; rows lo..hi-1 of out.
    """
    names = {f"post_{k}": f"a{k}" for k in range(len(separated.post))}
    names |= {f"pre_{k}": f"pre[({k} * S + s) * m + j]" for k in range(len(separated.pre))}
    here = [f"            a{k} = post[({k} * S + s) * n + i]" for k in range(len(separated.post))]
    text = _kernel_text(separated.synapse, names | {"w": "w[i * m + j]"}, parameters)
    return "\n".join([
        "@njit(**options)",
        "def synapses(post, pre, w, p, out, S, n, m, lo, hi):",
        "    F = w.dtype.type",
        "    for i in range(lo, hi):",
        "        out[i * m:(i + 1) * m] = F(0)",
        "        for s in range(S):",
        *here,
        "            for j in range(m):",
        f"                out[i * m + j] += F({text})",
        "\n"])


def source(separated: Separated, parameters: list[str]) -> str:
    """Return the text of the kernel module for a separated rule."""
    post = _function("post_factors(x, basal, apical, dr, dp, r, v, gain, p, out, stride)",
                     separated.post, POST, parameters, "x")
    filled = [
        "from dfc_neuro.rates._elementwise import tanh",
        f"POST_SLOTS = {len(separated.post)}",
        f"PRE_SLOTS = {len(separated.pre)}",
        f"PRODUCTS = np.array({separated.products!r}, np.int64).reshape(-1, 3)",
        f"SUMS = {tuple(a in separated.summed for a in range(len(separated.post)))!r}",
        f"FEEDBACK = {separated.feedback}",
        f"PREDICTS = {'dp[i]' in post}",
        "\n",
        post,
        _function("pre_factors(rate, u, u_next, p, out, stride)",
                  separated.pre, PRE, parameters, "rate"),
        _function("weight_factors(w, p, out, stride)",
                  separated.weight, {"w": "w[i]"}, parameters, "w"),
        *([_synapses(separated, parameters)] if separated.synapse else []),
    ]
    text = generated.filled(FOLDER / "_dynamics.py", "\n".join(filled))
    return text.replace("import numpy as np", "from math import *\n\nimport numpy as np", 1)


def compile_rule(synapse: str, bias: str | None, parameters: dict[str, float],
                 where: str = "rule") -> RuleKernel:
    """Compile the text of a rule for the rate engine.

    Parameters
    ----------
    synapse, bias : str
        ``dw/dt = ... : 1`` and ``db/dt = ... : 1``; an expression of what the engine offers.
    parameters : dict
        Values in SI units; dw/dt counts per second.
    where : str
        The rule's file, for messages.

    Raises
    ------
    EngineError
        If the rule reads what the rate level does not offer.
    """
    separated = separate(synapse, bias, where)
    names = sorted(parameters)
    for name in sorted(read_names(separated) - set(names) - set(FUNCTIONS)):
        if name not in POST and name not in PRE:
            raise EngineError(
                where, f"reads '{name}', which the rate level does not offer",
                "it offers " + ", ".join(sorted({*POST, *PRE}))
                + "; engine 'brian' runs the rule on cells that declare more")
    module = generated.module(source(separated, names), "rule")
    return RuleKernel(module, separated, tuple(names), tuple(float(parameters[n]) for n in names))
