"""Vectors of one number each of several samples: 8 in float32, 4 in float64.

Numba leaves loops as short as those over ten outputs scalar.  Here arithmetic is written on LLVM's
vector types instead, with the operators of Python: ``load(a, k) - load(b, k) * splat(c)``.  An
array is flat, and its k-th vector begins at number k * lanes.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

BYTES = 32  # of a vector; with 64 the matrices of a group leave the first cache (n_L 10, L 4)


class Lanes(types.Type):
    """A vector of numbers of one precision."""

    def __init__(self, scalar: types.Float):
        self.scalar = scalar
        super().__init__(f"lanes({scalar})")

    @property
    def vector(self) -> ir.VectorType:
        """The type in LLVM."""
        number = ir.DoubleType() if self.scalar.bitwidth == 64 else ir.FloatType()
        return ir.VectorType(number, 8 * BYTES // self.scalar.bitwidth)


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, kind.vector)


def _operator(own: Any, instruction: str) -> None:
    @infer_global(own)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Lanes) and args[0] == args[1]:
                return signature(args[0], *args)

    @lower_builtin(own, Lanes, Lanes)
    def lower(context, builder, signature, args):
        # "contract": a product and a sum become one instruction
        return getattr(builder, instruction)(*args, flags=("contract",))


for _own, _instruction in ((operator.add, "fadd"), (operator.iadd, "fadd"), (operator.sub, "fsub"),
                           (operator.isub, "fsub"), (operator.mul, "fmul")):
    _operator(_own, _instruction)


def _place(context, builder, signature, args):
    """Return where vector number args[1] of array args[0] lies, and what it is aligned to."""
    kind = signature.args[0]
    data = context.make_array(kind)(context, builder, args[0]).data
    first = builder.bitcast(data, Lanes(kind.dtype).vector.as_pointer())
    number = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.gep(first, [number]), kind.dtype.bitwidth // 8


def _load(typingctx, a, k):
    """Return vector number k of a flat array."""
    def codegen(context, builder, signature, args):
        at, align = _place(context, builder, signature, args)
        return builder.load(at, align=align)

    return Lanes(a.dtype)(a, k), codegen


def _store(typingctx, a, k, value):
    """Write vector number k of a flat array."""
    def codegen(context, builder, signature, args):
        at, align = _place(context, builder, signature, args)
        builder.store(args[2], at, align=align)
        return context.get_dummy_value()

    return types.void(a, k, value), codegen


def _splat(typingctx, number):
    """Return a vector of one number."""
    def codegen(context, builder, signature, args):
        vector, index = signature.return_type.vector, ir.IntType(32)
        none = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(none, args[0], ir.Constant(index, 0))
        zeros = ir.Constant(ir.VectorType(index, vector.count), None)
        return builder.shuffle_vector(first, none, zeros)

    return Lanes(number)(number), codegen


load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
splat: Any = intrinsic(_splat)
