"""Products with logarithms that are 0 where their first factor is, as entropies need them."""

from __future__ import annotations

import numpy as np

from torchlite.ops.arithmetic import where
from torchlite.ops.construct import binary, unary
from torchlite.ops.half_precision import widened

xlogy = binary(
    "xlogy",
    (
        lambda g, _out, x, y: where((x == 0) & (y <= 0), 0.0, g * y.log()),
        lambda g, _out, x, y: g * x / y,
    ),
    run=widened(lambda xp, x, y: xp.where((x == 0) & ~xp.isnan(y), x.dtype.type(0), x * xp.log(y))),
    to_float=True,
    domain=(0.3, 2.0),
    doc="x ln y, which is 0 at x = 0 whatever y is, except NaN.",
)
xlog1py = binary(
    "xlog1py",
    (
        lambda g, _out, x, y: where((x == 0) & (y <= -1), 0.0, g * y.log1p()),
        lambda g, _out, x, y: g * x / (y + 1),
    ),
    run=widened(lambda xp, x, y: xp.where((x == 0) & ~xp.isnan(y), x.dtype.type(0), x * xp.log1p(y))),
    to_float=True,
    methods=False,
    domain=(0.3, 2.0),
    doc="x ln (1 + y), which is 0 at x = 0 whatever y is, except NaN.",
)
entr = unary(
    "entr",
    lambda g, _out, x: -g * (x.log() + 1),
    run=widened(
        lambda xp, x: xp.where(x > 0, -x * xp.log(x), xp.where(x < 0, x.dtype.type(-np.inf), x + x.dtype.type(0)))
    ),
    to_float=True,
    methods=False,
    domain=(0.3, 2.0),
    doc="-x ln x, which is 0 at 0, and -∞ below.",
)
