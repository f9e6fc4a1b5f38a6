"""Small matrix-vector products of several samples at once, in vector instructions.

Numba leaves loops as short as these scalar.  So the product is written out in LLVM's vector types:
a vector holds one number of each of 8 samples, or of 4 in float64, and ROWS sums run side by side,
which hides the latency of the multiply-adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

ROWS = 10  # rows of a matrix side by side
BYTES = 32  # of a vector; with 64 the matrices of a group leave the first cache (n_L 10, L 4)


def lanes(dtype: np.dtype) -> int:
    """Return how many samples stand side by side: 8 in float32, 4 in float64."""
    return BYTES // dtype.itemsize


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return zeros that begin where a vector may; one that straddles two lines loads half as fast.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    held = np.zeros(size + BYTES, np.uint8)
    start = -held.ctypes.data % BYTES
    return held[start:start + size].view(dtype).reshape(shape)


def _subtract_rows(typingctx, M, m, g, j, count, out, o):
    """out[r, lane] -= sum over `count` columns c of M[c, r, lane] g[c, lane], for ROWS rows.

    Arrays are flat, of one precision; `m`, `j` and `o` are where the parts of M, g and out begin.
    """
    signature = types.void(M, m, g, j, count, out, o)
    double = M.dtype == types.float64
    size = 8 if double else 4
    wide = BYTES // size
    vector = ir.VectorType(ir.DoubleType() if double else ir.FloatType(), wide)

    def codegen(context, builder, signature, args):
        kinds = signature.args
        base = {k: context.make_array(kinds[k])(context, builder, args[k]).data for k in (0, 2, 5)}
        start = {k: context.cast(builder, args[k], kinds[k], types.intp) for k in (1, 3, 4, 6)}

        def number(value):
            return ir.Constant(start[4].type, value)

        def place(k, first, offset):
            at = builder.gep(base[k], [builder.add(first, offset)])
            return builder.bitcast(at, vector.as_pointer())

        sums = [cgutils.alloca_once(builder, vector) for _ in range(ROWS)]
        for one in sums:
            builder.store(ir.Constant(vector, None), one)
        with cgutils.for_range(builder, start[4]) as loop:
            right = builder.load(
                place(2, start[3], builder.mul(loop.index, number(wide))), align=size)
            column = builder.mul(loop.index, number(ROWS * wide))
            for r, one in enumerate(sums):
                at = builder.add(column, number(r * wide))
                left = builder.load(place(0, start[1], at), align=size)
                product = builder.fmul(left, right, flags=("contract",))
                builder.store(builder.fadd(builder.load(one), product, flags=("contract",)), one)
        for r, one in enumerate(sums):
            at = place(5, start[6], number(r * wide))
            left = builder.fsub(builder.load(at, align=size), builder.load(one))
            builder.store(left, at, align=size)
        return context.get_dummy_value()

    return signature, codegen


subtract_rows: Any = intrinsic(_subtract_rows)
