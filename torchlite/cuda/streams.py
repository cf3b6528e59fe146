"""Queues of work on a GPU and marks in them, by PyTorch's names, on CuPy's."""

from __future__ import annotations

from typing import Any, Self

from torchlite import backends


class Stream:
    """A queue of work; what is launched inside ``with torchlite.cuda.stream(s):`` runs in its order.

    Args:
        device, priority: PyTorch's signature; a stream belongs to the current GPU.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, queue: Any = None) -> None:  # noqa: ARG002
        self.queue = backends.cupy().cuda.Stream(non_blocking=True) if queue is None else queue

    def __enter__(self) -> Self:
        self.queue.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.queue.__exit__(*exc)

    def synchronize(self) -> None:
        """Wait until all its work is done."""
        self.queue.synchronize()

    def query(self) -> bool:
        """Whether all its work is done."""
        return bool(self.queue.done)

    def record_event(self, event: Event | None = None) -> Event:
        """Put a mark behind the work so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let work that is launched from now on wait for a mark."""
        self.queue.wait_event(event.mark)

    def wait_stream(self, stream: Stream) -> None:
        """Let work that is launched from now on wait for all that another stream has been given."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.queue == other.queue

    def __hash__(self) -> int:
        return hash(self.queue.ptr)

    def __repr__(self) -> str:
        return f"<torchlite.cuda.Stream cuda_stream={self.queue.ptr:#x}>"


class Event:
    """A mark in a stream, for waiting and for measuring time.

    Args:
        enable_timing: whether `elapsed_time` is wanted.
        blocking: whether waiting lets the processor do other things.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self.mark = backends.cupy().cuda.Event(block=blocking, disable_timing=not enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark behind what a stream, or the current one, has been given."""
        self.mark.record(current_stream().queue if stream is None else stream.queue)

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream, or the current one, wait for the mark."""
        (current_stream() if stream is None else stream).wait_event(self)

    def synchronize(self) -> None:
        """Wait until the work before the mark is done."""
        self.mark.synchronize()

    def query(self) -> bool:
        """Whether the work before the mark is done."""
        return bool(self.mark.done)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to another; both need ``enable_timing``."""
        return float(backends.cupy().cuda.get_elapsed_time(self.mark, end_event.mark))


def current_stream(device: Any = None) -> Stream:  # noqa: ARG001 - PyTorch's signature
    """The stream that work is launched in now."""
    return Stream(queue=backends.cupy().cuda.get_current_stream())


def default_stream(device: Any = None) -> Stream:  # noqa: ARG001 - PyTorch's signature
    """The stream that work is launched in where nothing else was chosen."""
    return Stream(queue=backends.cupy().cuda.Stream.null)


def stream(stream: Stream) -> Stream:
    """``stream`` as the current one inside a ``with`` block."""
    return stream
