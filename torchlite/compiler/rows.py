"""What is done to each of many rows of tensors, such as parameters with their gradients; a GPU does it to all in one launch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

from torchlite import backends
from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.tracing import active

Row = Sequence[Tensor]


def each(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows one after the other; on a GPU, as far as possible, one that stands for all.

    What is written into the tensors of a row has arrived when the next one is asked for.
    """
    left = yield from together(rows)
    yield from left


def together(rows: Sequence[Row]) -> Generator[Row, None, Sequence[Row]]:
    """One row that stands for all those of a GPU to which one kernel can do what is done to it, and gives back which are left.

    Tensors of that row have no numbers and one dimension: what is done must treat each element by itself.
    """
    if not _recordable(rows):
        return rows
    from torchlite.compiler.cuda.rules import Recording  # only where there is a GPU

    recording = Recording(rows)
    with recording as row:
        yield row
    recording.launch()
    return recording.left


def of_each(rule: Callable[[Tensor], Tensor], tensors: Sequence[Tensor]) -> Tensor | None:
    """The one number that ``rule`` gives for each tensor, as a tensor; None where there is no kernel that does it to all."""
    rows = [[x] for x in tensors]
    if not _recordable(rows):
        return None
    from torchlite.compiler.cuda.rules import Recording

    recording = Recording(rows)
    with recording as (x,):
        number = rule(x)
    found = recording.launch(number)
    return None if recording.left else wrap(found[0])


def _recordable(rows: Sequence[Row]) -> bool:
    """Whether these are rows of a GPU, and nothing else records what is done to them."""
    return (
        bool(rows)
        and active.tracer is None
        and not grad_mode.enabled
        and all(backends.on_gpu(x._data) for x in rows[0])
    )
