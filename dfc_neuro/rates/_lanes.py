"""Small matrix-vector products of several samples at once, in vector instructions.

Numba leaves loops as short as these scalar.  So the product is written out in LLVM's vector types:
a vector holds one number of each of LANES samples, and ROWS sums run side by side, which hides the
latency of the multiply-adds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 8  # samples side by side, in float64
ROWS = 5  # rows of a matrix side by side


def _subtract_rows(typingctx, M, m, g, j, count, out, o):
    """out[r, lane] -= sum over `count` columns c of M[c, r, lane] g[c, lane], for ROWS rows.

    Arrays are flat float64; `m`, `j` and `o` are where the parts of M, g and out begin.
    """
    signature = types.void(M, m, g, j, count, out, o)
    vector = ir.VectorType(ir.DoubleType(), LANES)

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
                place(2, start[3], builder.mul(loop.index, number(LANES))), align=8)
            column = builder.mul(loop.index, number(ROWS * LANES))
            for r, one in enumerate(sums):
                at = builder.add(column, number(r * LANES))
                left = builder.load(place(0, start[1], at), align=8)
                product = builder.fmul(left, right, flags=("contract",))
                builder.store(builder.fadd(builder.load(one), product, flags=("contract",)), one)
        for r, one in enumerate(sums):
            at = place(5, start[6], number(r * LANES))
            builder.store(builder.fsub(builder.load(at, align=8), builder.load(one)), at, align=8)
        return context.get_dummy_value()

    return signature, codegen


subtract_rows: Any = intrinsic(_subtract_rows)
