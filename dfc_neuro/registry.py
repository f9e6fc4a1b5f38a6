"""Parts found by being there: one module a part, in the folder of its kind.

A method, initialiser, optimiser, dataset or diagnostic is a module of ``dfc_neuro/<kind>/``; its
name is the file's name, its summary the first line of its docstring.  Adding a file adds the part.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from importlib.resources import files
from types import ModuleType

from dfc_neuro.errors import InputError, near

KINDS = ("methods", "initialisers", "optimisers", "datasets", "diagnostics")


@cache
def names(kind: str) -> dict[str, str]:
    """Return the parts of one kind and their summaries, importing none of them."""
    found = {}
    for entry in files(f"dfc_neuro.{kind}").iterdir():
        if entry.name.endswith(".py") and not entry.name.startswith("_"):
            text = ast.get_docstring(ast.parse(entry.read_text(encoding="utf-8"))) or ""
            found[entry.name.removesuffix(".py")] = text.partition("\n")[0]
    return dict(sorted(found.items()))


def get(kind: str, name: str, where: str) -> ModuleType:
    """Import one part; `where` is the place of the name, for the message when it is unknown."""
    known = names(kind)
    if name not in known:
        raise InputError(where, f"unknown {kind.removesuffix('s')} '{name}'", near(name, known))
    return import_module(f"dfc_neuro.{kind}.{name}")
