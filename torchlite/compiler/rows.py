"""What is done to each of many rows of tensors, such as parameters with their gradients; a GPU does it to all in one launch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.tracing import active

Row = Sequence[Tensor]


def each(rows: Sequence[Row]) -> Iterable[Row]:
    """The rows one after the other; on a GPU, as far as possible, one that stands for all.

    What is written into the tensors of a row has arrived when the next one is asked for.
    """
    return _each(rows) if rows and stands_for_all(rows[0]) else rows


def _each(rows: Sequence[Row]) -> Iterator[Row]:
    left = yield from together(rows)
    yield from left


def together(rows: Sequence[Row]) -> Generator[Row, None, Sequence[Row]]:
    """One row that stands for all those to which one kernel can do what is done to it, and gives back which are left.

    Tensors of that row have no numbers and one dimension: what is done must treat each element by itself.

    Args:
        rows: of which the first `stands_for_all`.
    """
    from torchlite.compiler.cuda.rules import RowRecording  # only where there is a GPU

    recording = RowRecording(rows)
    with recording as row:
        yield row
    recording.launch()
    return recording.left


def of_each(rule: Callable[[Tensor], Tensor], tensors: Sequence[Tensor]) -> Tensor | None:
    """The one number that ``rule`` gives for each tensor, as a tensor; None where there is no kernel that does it to all."""
    if not stands_for_all(tensors[:1]):
        return None
    from torchlite.compiler.cuda.rules import RowRecording

    recording = RowRecording([[x] for x in tensors])
    with recording as (x,):
        number = rule(x)
    found = recording.launch(number)
    return None if recording.left else wrap(found[0])


def stands_for_all(row: Row) -> bool:
    """Whether a row is one of a GPU, and nothing else records what is done to it."""
    if active.tracer is not None or type(row[0]._data) is np.ndarray:
        return False
    return not grad_mode.enabled and all(backends.on_gpu(x._data) for x in row)
