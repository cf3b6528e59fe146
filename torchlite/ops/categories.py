"""Which categories uniform random numbers choose from rows of weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register

_INT64 = np.dtype(np.int64)


def _run_chosen(xp: Any, rows: Any, u: Any) -> Any:
    # One search serves all rows: row r is searched for r + u in the cumulative sums, each divided by its last and raised by r.
    edges = xp.cumsum(rows, -1)
    edges = edges / edges[:, -1:]
    above = xp.arange(len(rows))[:, None]
    found = xp.searchsorted((edges + above).reshape(-1), (u + above).reshape(-1), side="right").reshape(u.shape)
    # The last category with a weight catches what rounding leaves above the sum, the first what it leaves below.
    first = xp.argmax(rows > 0, -1)
    last = rows.shape[1] - 1 - xp.argmax(rows[:, ::-1] > 0, -1)
    return xp.clip(found - above * rows.shape[1], first[:, None], last[:, None]).astype("int64")


def _run_chosen_once(xp: Any, rows: Any, e: Any, *, count: int) -> Any:
    keys = xp.where(rows > 0, -xp.log(e) / xp.where(rows > 0, rows, 1.0), xp.inf)
    return xp.argsort(keys, -1)[:, :count].astype("int64")


_chosen: Op = register(
    Op(
        "categories",
        "index",
        run=_run_chosen,
        infer=lambda _rows, u: Aval(u.shape, _INT64, u.device),
        samples=lambda rng: [Sample((rng.uniform(0.1, 1.0, (2, 3)), rng.uniform(0.0, 1.0, (2, 4))), {})],
        doc="For each row of weights the categories in which u in [0, 1) times their sum falls.",
    )
)
_chosen_once: Op = register(
    Op(
        "categories_once",
        "index",
        run=_run_chosen_once,
        infer=lambda rows, _e, *, count: Aval((rows.shape[0], count), _INT64, rows.device),
        samples=lambda rng: [
            Sample((rng.uniform(0.1, 1.0, (2, 4)), rng.uniform(0.1, 0.9, (2, 4))), {"count": 3}),
        ],
        doc="For each row of weights w the categories with the smallest -log(e) / w, as if taken one after the other.",
    )
)


def categories(rows: Tensor, u: Tensor) -> Tensor:
    """For each row of weights the categories in which ``u`` in [0, 1) times their sum falls."""
    return apply(_chosen, (rows, u))


def categories_once(rows: Tensor, e: Tensor, count: int) -> Tensor:
    """For each row of weights ``count`` categories, none of them twice, chosen by ``e`` in (0, 1)."""
    return apply(_chosen_once, (rows, e), {"count": count})
