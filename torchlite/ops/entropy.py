"""Products with logarithms that are 0 where their first factor is, as entropies need them.

Of half types the logarithm is rounded, as PyTorch's is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.ops.arithmetic import where
from torchlite.ops.construct import binary, unary
from torchlite.ops.half_precision import widened


@widened
def _log(xp: Any, x: Any) -> Any:
    return xp.log(x)


@widened
def _log1p(xp: Any, x: Any) -> Any:
    return xp.log1p(x)


@widened
def _times(xp: Any, x: Any, y: Any, logarithm: Any) -> Any:
    return xp.where((x == 0) & ~xp.isnan(y), x.dtype.type(0), x * logarithm)


@widened
def _entropy(xp: Any, x: Any, logarithm: Any) -> Any:
    return xp.where(x > 0, -x * logarithm, xp.where(x < 0, x.dtype.type(-np.inf), x + x.dtype.type(0)))


xlogy = binary(
    "xlogy",
    (
        lambda g, _out, x, y: where((x == 0) & (y <= 0), 0.0, g * y.log()),
        lambda g, _out, x, y: g * x / y,
    ),
    run=lambda xp, x, y: _times(xp, x, y, _log(xp, y)),
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
    run=lambda xp, x, y: _times(xp, x, y, _log1p(xp, y)),
    to_float=True,
    methods=False,
    domain=(0.3, 2.0),
    doc="x ln (1 + y), which is 0 at x = 0 whatever y is, except NaN.",
)
entr = unary(
    "entr",
    lambda g, _out, x: -g * (x.log() + 1),
    run=lambda xp, x: _entropy(xp, x, _log(xp, x)),
    to_float=True,
    methods=False,
    domain=(0.3, 2.0),
    doc="-x ln x, which is 0 at 0, and -∞ below.",
)
