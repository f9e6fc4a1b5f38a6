"""A rule's text as a sum of products of postsynaptic and presynaptic factors.

``dw/dt = eta*(rate_post - prediction_post)*rate_pre`` is one product; the sum over samples and
time of such products is a matrix product.  Only products that mix the two sides are expanded.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from dfc_neuro.errors import EngineError

# observables whose difference is offered as one number, computed without cancellation
DIFFERENCES = {
    ("rate_post", "prediction_post"): "mismatch_post",
    ("v_soma_post", "v_basal_post"): "somatic_difference_post",
}


@dataclass(frozen=True)
class Separated:
    """dw/dt = sum over `terms` of post[a] * pre[b]; db/dt = post[bias], or no bias (-1).

    The factors are Python expressions of the names that the rule reads and of its parameters.
    """

    post: tuple[str, ...]
    pre: tuple[str, ...]
    terms: tuple[tuple[int, int], ...]
    bias: int
    feedback: bool


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _sides(node: ast.AST) -> set[str]:
    return {name.rpartition("_")[2] for name in _names(node)} & {"post", "pre"}


def _product(a: ast.expr | None, b: ast.expr | None) -> ast.expr | None:
    if a is None or b is None:
        return a or b
    return ast.BinOp(a, ast.Mult(), b)


def _negative(term: tuple[ast.expr | None, ast.expr | None]):
    post, pre = term
    return ast.UnaryOp(ast.USub(), post if post is not None else ast.Constant(1)), pre


def _separate(node: ast.expr, where: str) -> list[tuple[ast.expr | None, ast.expr | None]]:
    """Return (post, pre) factor pairs whose products add up to `node`; None stands for 1."""
    sides = _sides(node)
    if "pre" not in sides:
        return [(node, None)]
    if "post" not in sides:
        return [(None, node)]
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return _separate(left, where) + _separate(right, where)
        case ast.BinOp(left, ast.Sub(), right):
            return _separate(left, where) + [_negative(t) for t in _separate(right, where)]
        case ast.BinOp(left, ast.Mult(), right):
            return [(_product(a, c), _product(b, d)) for a, b in _separate(left, where)
                    for c, d in _separate(right, where)]
        case ast.BinOp(left, ast.Div(), right) if len(_sides(right)) < 2:
            on_pre = "pre" in _sides(right)
            return [(a if on_pre else ast.BinOp(a or ast.Constant(1), ast.Div(), right),
                     ast.BinOp(b or ast.Constant(1), ast.Div(), right) if on_pre else b)
                    for a, b in _separate(left, where)]
        case ast.UnaryOp(ast.USub(), inner):
            return [_negative(t) for t in _separate(inner, where)]
        case ast.UnaryOp(ast.UAdd(), inner):
            return _separate(inner, where)
    raise EngineError(
        where, f"'{ast.unparse(node)}' is not a sum of products of post- and presynaptic factors",
        "the rate engine needs such a sum; engine 'brian' runs any rule")


def _chain(node: ast.expr, sign: int = 1) -> list[tuple[int, ast.expr]]:
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return _chain(left, sign) + _chain(right, sign)
        case ast.BinOp(left, ast.Sub(), right):
            return _chain(left, sign) + _chain(right, -sign)
        case ast.UnaryOp(ast.USub(), inner):
            return _chain(inner, -sign)
        case ast.BinOp(left, ast.Mult() | ast.Div() as op, right):
            match _chain(left):  # a sign inside a product comes out of it
                case [(-1, positive)]:
                    return [(-sign, ast.BinOp(positive, op, right))]
    return [(sign, node)]


def _factors(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.BinOp(left, ast.Mult(), right):
            return _factors(left) + _factors(right)
        case ast.BinOp(left, ast.Div(), right):
            return [*_factors(left), ast.BinOp(ast.Constant(1), ast.Div(), right)]
    return [node]


class _Differences(ast.NodeTransformer):
    """Replace c*rate - c*prediction (and the like) by c times the observable of the difference."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if not isinstance(node.op, ast.Add | ast.Sub):
            return self.generic_visit(node)  # type: ignore[return-value]
        chain = [(sign, self.visit(term)) for sign, term in _chain(node)]
        for (plus, minus), name in DIFFERENCES.items():
            chain = _pair(chain, plus, minus, name)
        total: ast.expr | None = None
        for sign, term in chain:
            if total is None:
                total = term if sign > 0 else ast.UnaryOp(ast.USub(), term)
            else:
                total = ast.BinOp(total, ast.Add() if sign > 0 else ast.Sub(), term)
        assert total is not None
        return total


def _pair(chain: list[tuple[int, ast.expr]], plus: str, minus: str,
          name: str) -> list[tuple[int, ast.expr]]:
    def split(term: ast.expr, wanted: str) -> tuple[str, ...] | None:
        texts = sorted(ast.unparse(f) for f in _factors(term))
        if wanted not in texts:
            return None
        texts.remove(wanted)
        return tuple(texts)

    done: list[tuple[int, ast.expr]] = []
    left = list(chain)
    while left:
        sign, term = left.pop(0)
        partner = None
        for own, other, own_sign in ((plus, minus, sign), (minus, plus, -sign)):
            rest = split(term, own)
            if rest is None:
                continue
            partner = next((i for i, (s, t) in enumerate(left)
                            if s == -sign and split(t, other) == rest), None)
            if partner is not None:
                left.pop(partner)
                text = "*".join((*(f"({f})" for f in rest), name))
                done.append((own_sign, ast.parse(text, mode="eval").body))
                break
        if partner is None:
            done.append((sign, term))
    return done


def _right_hand_side(text: str, where: str) -> ast.expr:
    right = text.partition("=")[2]
    if not right:
        raise EngineError(where, f"'{text}' is not an equation dw/dt = ... : 1")
    return ast.parse(right.rpartition(":")[0].strip(), mode="eval").body


def separate(synapse: str, bias: str | None, where: str) -> Separated:
    """Separate the text ``dw/dt = ... : 1`` and ``db/dt = ... : 1`` of a rule.

    Raises
    ------
    EngineError
        If the text is not a sum of products of one-sided factors.
    """
    by_pre: dict[str, ast.expr] = {}
    for post, pre in _separate(_right_hand_side(synapse, where), where):
        key = ast.unparse(pre) if pre is not None else "1"
        post = post if post is not None else ast.Constant(1)
        by_pre[key] = ast.BinOp(by_pre[key], ast.Add(), post) if key in by_pre else post
    posts: list[str] = []

    def slot(node: ast.expr) -> int:
        text = ast.unparse(ast.fix_missing_locations(_Differences().visit(node)))
        if text not in posts:
            posts.append(text)
        return posts.index(text)

    terms = tuple((slot(post), i) for i, post in enumerate(by_pre.values()))
    bias_slot = -1
    if bias:
        node = _right_hand_side(bias, where)
        if "pre" in _sides(node):
            raise EngineError(where, f"the bias equation reads '{ast.unparse(node)}'",
                              "it can read the postsynaptic side only")
        bias_slot = slot(node)
    read = {name for text in by_pre for name in _names(ast.parse(text))}
    feedback = bool(read & {"u_pre", "u_next_pre"})
    return Separated(tuple(posts), tuple(by_pre), terms, bias_slot, feedback)


def read_names(separated: Separated) -> set[str]:
    """Return the names that the factors read, parameters included."""
    texts: Iterable[str] = (*separated.post, *separated.pre)
    return {name for text in texts for name in _names(ast.parse(text))}
