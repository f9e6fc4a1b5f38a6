"""Expressions as sums of terms, so that two texts can be compared term by term."""

from __future__ import annotations

import ast
from collections import Counter

Term = tuple[tuple[str, int], ...]  # factors with their powers, sorted
Sum = dict[Term, float]


def _times(a: Sum, b: Sum) -> Sum:
    out: Counter[Term] = Counter()
    for term_a, c in a.items():
        for term_b, d in b.items():
            powers: Counter[str] = Counter(dict(term_a))
            for factor, power in term_b:
                powers[factor] += power
            key = tuple(sorted((f, p) for f, p in powers.items() if p))
            out[key] += c * d  # type: ignore[assignment]
    return {term: c for term, c in out.items() if c != 0.0}


def _atom(text: str, power: int = 1) -> Sum:
    return {((text, power),): 1.0}


def terms(node: ast.expr) -> Sum:
    """Return the expanded terms of an expression: {factors with powers: coefficient}.

    Calls and denominators of more than one term count as one factor, written in normal form.
    """
    match node:
        case ast.Constant(value):
            return {(): float(value)} if value else {}  # type: ignore[arg-type]
        case ast.Name(name):
            return _atom(name)
        case ast.UnaryOp(ast.USub(), inner):
            return {term: -c for term, c in terms(inner).items()}
        case ast.UnaryOp(ast.UAdd(), inner):
            return terms(inner)
        case ast.BinOp(left, ast.Add() | ast.Sub() as op, right):
            sign = 1.0 if isinstance(op, ast.Add) else -1.0
            out = Counter(terms(left))  # type: ignore[type-var]
            for term, c in terms(right).items():
                out[term] += sign * c  # type: ignore[assignment]
            return {term: c for term, c in out.items() if c != 0.0}
        case ast.BinOp(left, ast.Mult(), right):
            return _times(terms(left), terms(right))
        case ast.BinOp(left, ast.Div(), right):
            below = terms(right)
            if len(below) == 1:
                ((term, c),) = below.items()
                return _times(terms(left), {tuple((f, -p) for f, p in term): 1.0 / c})
            return _times(terms(left), _atom(f"({normal(right)})", -1))
        case ast.BinOp(left, ast.Pow(), ast.Constant(int(power))) if power > 0:
            base = terms(left)
            out_sum: Sum = {(): 1.0}
            for _ in range(power):
                out_sum = _times(out_sum, base)
            return out_sum
        case ast.Call(ast.Name(function), arguments):
            return _atom(f"{function}({', '.join(normal(a) for a in arguments)})")
    return _atom(ast.unparse(node))


def _number(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def term_text(term: Term, coefficient: float) -> str:
    """Return one term as text."""
    above = [f if p == 1 else f"{f}**{p}" for f, p in term if p > 0]
    below = [f if p == -1 else f"{f}**{-p}" for f, p in term if p < 0]
    number = [] if abs(coefficient) == 1.0 and above else [_number(abs(coefficient))]
    text = "*".join(number + above) + "".join(f"/{f}" for f in below)
    return f"-{text}" if coefficient < 0 else text


def normal(node: ast.expr) -> str:
    """Return the normal form of an expression: its terms in a fixed order."""
    parts = [term_text(term, c) for term, c in sorted(terms(node).items())]
    return " + ".join(parts).replace("+ -", "- ") or "0"


def differing_terms(found: ast.expr, expected: ast.expr) -> tuple[list[str], list[str]]:
    """Return the terms that only `found` has, and those that only `expected` has."""
    a, b = terms(found), terms(expected)
    extra = [term_text(t, c) for t, c in sorted(a.items()) if b.get(t) != c]
    missing = [term_text(t, c) for t, c in sorted(b.items()) if a.get(t) != c]
    return extra, missing
