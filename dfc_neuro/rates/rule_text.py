"""A rule's text as a sum of products: of a factor of w, a postsynaptic and a presynaptic one.

``dw/dt = eta*(rate_post - prediction_post)*rate_pre`` is one product; the sum over samples and
time of such products is a matrix product.  Terms without a presynaptic factor, as the decay of
Oja's rule, need a sum of the postsynaptic one only.  Only products that mix the sides are expanded,
and products that share a factor are put together.  A text that is no such sum runs a synapse at a
time, with all that concerns one side put outside the loop.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from dfc_neuro.errors import EngineError
from dfc_neuro.files.trees import rebuilt
from dfc_neuro.rates.algebra import normal

# observables whose difference is offered as one number, computed without cancellation
DIFFERENCES = {
    ("rate_post", "prediction_post"): "mismatch_post",
    ("v_soma_post", "v_basal_post"): "somatic_difference_post",
}
MOST_TERMS = 32  # an expansion of more is no gain, and a text could ask for millions
ONE = ast.Constant(1)


@dataclass(frozen=True)
class Separated:
    """dw/dt = sum over `products` (c, a, b) of weight[c]*post[a]*pre[b], and over `rows` (c, a)
    of weight[c]*post[a]; db/dt = post[bias], or no bias (-1).

    The factors are Python expressions of the names that the rule reads and of its parameters;
    ``weight[0]`` is 1, the others are of w.  A rule that is no such sum has `synapse` instead:
    dw/dt as an expression of w, of parameters and of ``post_0, ...`` and ``pre_0, ...``, which
    stand for the factors of that number.
    """

    post: tuple[str, ...]
    pre: tuple[str, ...]
    weight: tuple[str, ...]
    products: tuple[tuple[int, int, int], ...]
    rows: tuple[tuple[int, int], ...]
    bias: int
    feedback: bool
    synapse: str = ""

    @property
    def summed(self) -> set[int]:
        """Postsynaptic factors that are wanted summed over samples."""
        return {a for _, a in self.rows} | ({self.bias} - {-1})


class _NotSeparable(Exception):
    """The text is no sum of products; holds the part that is none."""


@dataclass(frozen=True)
class _Term:
    """One product; factors that are None are 1."""

    constant: ast.expr | None = None
    w: ast.expr | None = None
    post: ast.expr | None = None
    pre: ast.expr | None = None

    def times(self, other: _Term) -> _Term:
        return _Term(*(_product(a, b) for a, b in zip(_parts(self), _parts(other), strict=True)))

    def keys(self) -> tuple[str, str, str]:
        """Return the normal forms of w, post and pre."""
        w, post, pre = ("1" if p is None else normal(p) for p in _parts(self)[1:])
        return w, post, pre


def _parts(term: _Term) -> tuple[ast.expr | None, ...]:
    return term.constant, term.w, term.post, term.pre


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _sides(node: ast.AST) -> set[str]:
    names = _names(node)
    return ({name.rpartition("_")[2] for name in names} & {"post", "pre"}) | (names & {"w"})


def _product(a: ast.expr | None, b: ast.expr | None) -> ast.expr | None:
    if a is None or b is None:
        return a or b
    return ast.BinOp(a, ast.Mult(), b)


def _negative(term: _Term) -> _Term:
    return _Term(ast.UnaryOp(ast.USub(), term.constant or ONE), *_parts(term)[1:])


def _one_sided(node: ast.expr, side: str) -> _Term:
    """Return a term of one side, constant factors and sign apart."""
    term, sign = _Term(), 1
    factors = _factors(node)
    if all(_sides(f) and not isinstance(f, ast.UnaryOp) for f in factors):
        return _Term(**{side: node})
    for factor in factors:
        if isinstance(factor, ast.Constant) and factor.value == 1:
            continue
        while isinstance(factor, ast.UnaryOp) and isinstance(factor.op, ast.USub):
            factor, sign = factor.operand, -sign
        term = term.times(_Term(**{side if _sides(factor) else "constant": factor}))
    return term if sign > 0 else _negative(term)


def _separate(node: ast.expr) -> list[_Term]:
    """Return terms that add up to `node`."""
    sides = _sides(node)
    if len(sides) < 2:
        return [_one_sided(node, *sides) if sides else _Term(constant=node)]
    match node:
        case ast.BinOp(left, ast.Add(), right):
            found = _separate(left) + _separate(right)
        case ast.BinOp(left, ast.Sub(), right):
            found = _separate(left) + [_negative(t) for t in _separate(right)]
        case ast.BinOp(left, ast.Mult(), right):
            found = [a.times(b) for a in _separate(left) for b in _separate(right)]
        case ast.BinOp(left, ast.Div(), right) if len(_sides(right)) < 2:
            below = _one_sided(ast.BinOp(ONE, ast.Div(), right), *_sides(right)) \
                if _sides(right) else _Term(constant=ast.BinOp(ONE, ast.Div(), right))
            found = [a.times(below) for a in _separate(left)]
        case ast.UnaryOp(ast.USub(), inner):
            found = [_negative(t) for t in _separate(inner)]
        case ast.UnaryOp(ast.UAdd(), inner):
            found = _separate(inner)
        case _:
            raise _NotSeparable(ast.unparse(node))
    if len(found) > MOST_TERMS:
        raise _NotSeparable(ast.unparse(node))
    return found


def _grouped(terms: list[_Term], added: str) -> list[_Term]:
    """Put terms together that differ in constants and in one side (`added`) only."""
    which = {"w": 0, "post": 1, "pre": 2}[added]
    groups: dict[tuple[str, ...], list[_Term]] = {}
    for term in terms:
        key = term.keys()
        groups.setdefault(key[:which] + key[which + 1:], []).append(term)
    out = []
    for group in groups.values():
        if len(group) == 1:
            out += group
            continue
        total: ast.expr | None = None
        for term in group:
            part = _product(term.constant, getattr(term, added)) or ONE
            total = part if total is None else ast.BinOp(total, ast.Add(), part)
        kept = {side: getattr(group[0], side) for side in ("w", "post", "pre") if side != added}
        out.append(_Term(**kept, **{added: total}))
    return out


def _fewest(terms: list[_Term]) -> list[_Term]:
    """Return equal terms, as few as putting together shared factors gives.

    Postsynaptic sums come first where it makes no difference: they show differences of
    observables that are known without cancellation.
    """
    orders = [("post", "pre", "w"), ("pre", "post", "w")]
    found = []
    for order in orders:
        grouped = terms
        for added in order:
            grouped = _grouped(grouped, added)
        found.append(grouped)
    return min(found, key=len)


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
        texts = sorted(t for t in map(ast.unparse, _factors(term)) if t != "1")
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


class _Slots:
    """Factors by text, each with a number."""

    def __init__(self, *texts: str):
        self.texts = list(texts)

    def of(self, node: ast.expr) -> int:
        text = ast.unparse(ast.fix_missing_locations(_Differences().visit(node)))
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


def separate(synapse: str, bias: str | None, where: str) -> Separated:
    """Separate the text ``dw/dt = ... : 1`` and ``db/dt = ... : 1`` of a rule.

    Raises
    ------
    EngineError
        If the bias equation reads more than the postsynaptic side.
    """
    right = _right_hand_side(synapse, where)
    post, pre, weight = _Slots(), _Slots(), _Slots("1")
    products, rows, text = [], [], ""
    try:
        for term in _fewest(_separate(right)):
            c = 0 if term.w is None else weight.of(term.w)
            a = post.of(_product(term.constant, term.post) or ONE)
            if term.pre is None:
                rows.append((c, a))
            else:
                products.append((c, a, pre.of(term.pre)))
    except _NotSeparable:
        text = _outside_the_loop(right, post, pre)
    bias_slot = -1
    if bias:
        node = _right_hand_side(bias, where)
        if _sides(node) - {"post"}:
            raise EngineError(where, f"the bias equation reads '{ast.unparse(node)}'",
                              "it can read the postsynaptic side only")
        bias_slot = post.of(node)
    feedback = bool(_names(right) & {"u_pre", "u_next_pre"})
    return Separated(tuple(post.texts), tuple(pre.texts), tuple(weight.texts), tuple(products),
                     tuple(rows), bias_slot, feedback, text)


def _outside_the_loop(node: ast.expr, post: _Slots, pre: _Slots) -> str:
    """Return dw/dt with every part that reads one side replaced by the name of its slot."""
    def slot(part: ast.expr) -> ast.expr | None:
        sides = _sides(part)
        if sides == {"post"}:
            return ast.Name(f"post_{post.of(part)}")
        if sides == {"pre"}:
            return ast.Name(f"pre_{pre.of(part)}")
        return None

    return ast.unparse(rebuilt(ast.fix_missing_locations(_Differences().visit(node)), slot))


def read_names(separated: Separated) -> set[str]:
    """Return the names that the rule reads, parameters and functions included."""
    texts: Iterable[str] = (*separated.post, *separated.pre, *separated.weight)
    found = {name for text in texts for name in _names(ast.parse(text))}
    if separated.synapse:
        slots = {f"post_{k}" for k in range(len(separated.post))} \
            | {f"pre_{k}" for k in range(len(separated.pre))}
        found |= _names(ast.parse(separated.synapse)) - slots
    return found - {"w"}
