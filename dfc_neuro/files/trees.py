"""Syntax trees of expressions: walked, rebuilt, written."""

from __future__ import annotations

import ast
from collections.abc import Callable


def size(tree: ast.AST) -> int:
    """Return the number of nodes of a tree."""
    return sum(1 for _ in ast.walk(tree))


def rebuilt(tree: ast.expr, change: Callable[[ast.expr], ast.expr | None]) -> ast.expr:
    """Return a tree with each node replaced by `change` of it, unless that is None.

    The original is left as it is; nodes are shared where nothing changes below them.
    """
    changed = change(tree)
    if changed is not None:
        return changed
    match tree:
        case ast.BinOp(left, op, right):
            return ast.BinOp(rebuilt(left, change), op, rebuilt(right, change))
        case ast.UnaryOp(op, operand):
            return ast.UnaryOp(op, rebuilt(operand, change))
        case ast.BoolOp(op, values):
            return ast.BoolOp(op, [rebuilt(v, change) for v in values])
        case ast.Compare(left, ops, right):
            return ast.Compare(rebuilt(left, change), ops, [rebuilt(r, change) for r in right])
        case ast.Call(function, arguments, keywords):
            return ast.Call(function, [rebuilt(a, change) for a in arguments], keywords)
    return tree


def names(tree: ast.AST) -> set[str]:
    """Return the names that an expression reads, functions left out."""
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}


def write(tree: ast.expr) -> str:
    """Return an expression as text."""
    return ast.unparse(ast.fix_missing_locations(tree))
