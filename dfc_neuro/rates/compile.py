"""From a rule file to a compiled kernel: the rule's factors put into the one dynamics source.

The generated module is a file of its own, named by the hash of all it is made of, in the user's
cache folder; so Numba's cache on disk works and a second run compiles nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from dfc_neuro.errors import EngineError
from dfc_neuro.rates.rule_text import Separated, read_names, separate

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
FUNCTIONS = {"tanh", "exp", "log", "sqrt", "sin", "cos", "abs"}


@dataclass(frozen=True)
class RuleKernel:
    """A compiled rule: the kernel module, its separation, its parameters' names and values."""

    module: ModuleType
    separated: Separated
    names: tuple[str, ...]
    parameters: tuple[float, ...]

    @property
    def feedback(self) -> bool:
        """Whether it changes feedback weights Q."""
        return self.separated.feedback


def cache_folder() -> Path:
    """Return the folder of compiled kernels: $DFC_NEURO_CACHE, or dfc_neuro in the user's cache."""
    own = os.environ.get("DFC_NEURO_CACHE")
    base = Path(own) if own else Path(
        os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dfc_neuro"
    return base / "kernels"


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

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.parse(f"F({node.value!r})", mode="eval").body

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left = self.visit(node.left)
        whole = isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant)
        return ast.BinOp(left, node.op, node.right if whole else self.visit(node.right))


def _function(signature: str, texts: tuple[str, ...], names: dict[str, str],
              parameters: list[str], first: str) -> str:
    lines = ["@njit(**options)", f"def {signature}:", f"    F = {first}.dtype.type"]
    for slot, text in enumerate(texts):
        node = _ToKernel(names, parameters).visit(ast.parse(text, mode="eval").body)
        expression = ast.unparse(ast.fix_missing_locations(node))
        lines += [f"    for i in range({first}.size):",
                  f"        out[{slot} * stride + i] = F({expression})"]
    return "\n".join(lines)


def source(separated: Separated, parameters: list[str]) -> str:
    """Return the text of the kernel module for a separated rule."""
    folder = Path(__file__).parent
    text = (folder / "_dynamics.py").read_text(encoding="utf-8")
    head, _, rest = text.partition("# --- what a rule file fills in")
    tail = rest.partition("# --- end of what a rule file fills in")[2].partition("\n")[2]
    filled = [
        f"POST_SLOTS = {len(separated.post)}",
        f"PRE_SLOTS = {len(separated.pre)}",
        f"TERMS = {separated.terms!r}",
        f"BIAS_SLOT = {separated.bias}",
        f"FEEDBACK = {separated.feedback}",
        "\n",
        _function("post_factors(x, basal, apical, dr, dp, r, v, gain, p, out, stride)",
                  separated.post, POST, parameters, "x"),
        "\n",
        _function("pre_factors(rate, u, u_next, p, out, stride)",
                  separated.pre, PRE, parameters, "rate"),
        "\n",
    ]
    return head.replace("import numpy as np", "from math import *\n\nimport numpy as np") \
        + "\n".join(filled) + tail


@lru_cache(maxsize=64)
def _module(text: str) -> ModuleType:
    folder = Path(__file__).parent
    digest = hashlib.sha256(text.encode())
    for name in ("_blocks.py", "_elementwise.py", "_noise.py"):
        digest.update((folder / name).read_bytes())
    digest.update(f"{np.__version__} {sys.version_info[:2]}".encode())
    name = f"rule_{digest.hexdigest()[:16]}"
    path = cache_folder() / f"{name}.py"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                    "w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
                file.write(text)
            os.replace(file.name, path)
        except OSError as error:
            raise EngineError(str(path.parent), f"cannot be written ({error.strerror})",
                              "set DFC_NEURO_CACHE to a folder that can") from error
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


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
        If the rule reads what the rate level does not offer, or is not a sum of products.
    """
    separated = separate(synapse, bias, where)
    names = sorted(parameters)
    for name in sorted(read_names(separated) - set(names) - FUNCTIONS):
        if name not in POST and name not in PRE:
            raise EngineError(
                where, f"reads '{name}', which the rate level does not offer",
                "it offers " + ", ".join(sorted({*POST, *PRE}))
                + "; engine 'brian' runs the rule on cells that declare more")
    module = _module(source(separated, names))
    return RuleKernel(module, separated, tuple(names), tuple(float(parameters[n]) for n in names))
