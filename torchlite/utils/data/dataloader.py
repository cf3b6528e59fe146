"""The DataLoader: samples of a dataset, in the order of a sampler, as batches."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeVar

from torchlite.backends.native.lines import at_lines
from torchlite.ops.generator import Generator
from torchlite.utils.data.collate import CollateFn, default_collate, default_convert
from torchlite.utils.data.dataset import Dataset, IterableDataset
from torchlite.utils.data.fetch import Exhausted, Fetcher
from torchlite.utils.data.pool import WorkerPool, default_context, describe
from torchlite.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed
from torchlite.utils.data.worker import Batch, End, Failure, Outcome

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Batches of a dataset, read here or by worker processes.

    Args:
        dataset: by index (``__getitem__`` and ``__len__``; any sequence will do) or an `IterableDataset`.
        batch_size: samples a batch; None takes samples (or what a sampler yields) singly.
        shuffle: a new random order in every pass.
        sampler: in which order to read; excludes `shuffle`.
        batch_sampler: yields lists of indices; excludes `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers: worker processes; 0 reads in this one.
        collate_fn: from a list of samples to a batch; `default_collate` unless given (`default_convert` for
            single samples). Where it is not given, a dataset with ``get_batch(indices)`` makes the batch
            itself.
        pin_memory: accepted for PyTorch's sake and without effect, as is `pin_memory_device`.
        drop_last: leave out a last batch that is not full.
        timeout: seconds to wait for a batch of a worker before giving up; 0 waits without limit.
        worker_init_fn: called in each worker with its number, after seeding, before reading.
        multiprocessing_context: a start method or context for the workers; see `torchlite.utils.data.pool`.
        generator: for the order and the workers' seeds; the global one unless given.
        prefetch_factor: batches read ahead by each worker, 2 unless given.
        persistent_workers: keep the workers from one pass to the next.
        in_order: whether batches keep the sampler's order, or come as workers finish them.

    The same batches come in the same order for any `num_workers` (an `IterableDataset` excepted, of which
    each worker has its own copy). Before each batch a worker's generators (`random`, ``numpy.random`` and
    torchlite's) are seeded from the pass and the batch's number, so random numbers in a dataset are the same
    for any number of workers from 1 on; with ``num_workers=0`` they come from this process's generators.

    A worker that dies is replaced and its batches are read again, at most 3 times for a batch. An exception
    in a worker is raised here with its type where possible, naming the batch, with the worker's traceback.

    Raises:
        ValueError: arguments that exclude each other or lie outside their range.
        RuntimeError: in iteration, for a timeout or a worker that died too often.

    >>> [batch.tolist() for batch in DataLoader([1, 2, 3, 4, 5], batch_size=2)]
    [[1, 2], [3, 4], [5]]
    """

    _FIXED = frozenset({"batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"})
    _initialized = False
    _pool: WorkerPool | None = None

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: CollateFn | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: BaseContext | str | None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_worker_arguments(num_workers, timeout, prefetch_factor, persistent_workers)
        streams = isinstance(dataset, IterableDataset)
        if streams:
            _check_stream_arguments(shuffle, sampler, batch_sampler)
        _check_batch_arguments(batch_size, shuffle, sampler, batch_sampler, drop_last)

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = _context(multiprocessing_context, num_workers)
        self.in_order = in_order
        self.generator = generator
        self.persistent_workers = persistent_workers
        self.drop_last = drop_last

        if sampler is None:
            sampler = _default_sampler(dataset, bool(shuffle), generator)
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            # A stream's batches need no indices.
            batch_sampler = itertools.repeat([]) if streams else BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in self._FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)  # type: ignore[arg-type]
        length = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        indices = iter(self._index_sampler)
        # Drawn whether or not there are workers, so that a shared generator is used up alike.
        seed = draw_seed(self.generator)
        if self.num_workers == 0:
            return self._read_here(indices)
        return self._read_in_workers(indices, seed)

    @property
    def _index_sampler(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _fetcher(self) -> Fetcher:
        return Fetcher(self.dataset, self.collate_fn, self.batch_sampler is not None, self.batch_size, self.drop_last)

    def _read_here(self, indices: Iterator[Any]) -> Iterator[Any]:
        fetch = self._fetcher().open()
        for index in indices:
            try:
                with at_lines():
                    batch = fetch(index)
            except Exhausted:
                return
            yield batch

    def _read_in_workers(self, indices: Iterator[Any], seed: int) -> Iterator[Any]:
        pool = self._pool or self._new_pool(seed)
        if self.persistent_workers:
            self._pool = pool
        try:
            yield from self._batches(pool, enumerate(indices), seed)
        finally:
            if pool is not self._pool:
                pool.close()

    def _new_pool(self, seed: int) -> WorkerPool:
        context = self.multiprocessing_context or default_context()
        return WorkerPool(self._fetcher(), self.num_workers, seed, self.worker_init_fn, context)

    def _batches(self, pool: WorkerPool, numbered: Iterator[tuple[int, Any]], seed: int) -> Iterator[Any]:
        epoch = pool.begin_epoch()
        ahead = (self.prefetch_factor or 1) * self.num_workers
        open_tasks: dict[int, Any] = {}  # number of each batch not yet yielded, in order → its indices
        outcomes: dict[int, Outcome] = {}
        ended: set[int] = set()  # workers whose stream has ended
        while True:
            if len(ended) < self.num_workers:
                for number, indices in itertools.islice(numbered, ahead - len(open_tasks)):
                    open_tasks[number] = indices
                    if number % self.num_workers in ended:
                        outcomes[number] = End()
                    else:
                        pool.submit(number, seed, indices)
            if not open_tasks:
                return
            # Also when the next batch is there: a worker waits until its last one is taken.
            timeout_s: float | None = 0
            while (next_up := self._next_up(open_tasks, outcomes)) is None or timeout_s == 0:
                if pool.epoch != epoch:
                    raise RuntimeError("a newer iterator of this DataLoader has taken over its persistent workers")
                answers = pool.receive(timeout_s)
                if not answers and timeout_s:
                    self._give_up(pool, open_tasks)
                for number, outcome in answers:
                    outcomes[number] = outcome
                    if isinstance(outcome, End):
                        ended.add(number % self.num_workers)
                timeout_s = self.timeout or None
            outcome, indices = outcomes.pop(next_up), open_tasks.pop(next_up)
            if isinstance(outcome, Failure):
                raise _error_of(outcome, next_up % self.num_workers, describe(next_up, indices))
            if isinstance(outcome, Batch):
                yield outcome.data

    def _next_up(self, open_tasks: dict[int, Any], outcomes: dict[int, Outcome]) -> int | None:
        """The number of the batch to yield next, if it is there."""
        candidates = itertools.islice(open_tasks, 1 if self.in_order else None)
        return next((number for number in candidates if number in outcomes), None)

    def _give_up(self, pool: WorkerPool, open_tasks: dict[int, Any]) -> None:
        pool.close(grace_s=0)
        self._pool = None
        batch = describe(*next(iter(open_tasks.items())))
        raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds, waiting for {batch}")


def _default_sampler(dataset: Any, shuffle: bool, generator: Generator | None) -> Iterable[Any]:
    if isinstance(dataset, IterableDataset):
        return itertools.repeat(None)
    return RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)


def _error_of(failure: Failure, worker_id: int, batch: str) -> BaseException:
    """An exception of the type that the worker raised, where one can be made from a message alone."""
    message = (
        f"Caught {failure.name} in DataLoader worker process {worker_id}, reading {batch}.\n"
        f"Original {failure.traceback}"
    )
    if failure.kind is None or issubclass(failure.kind, StopIteration):
        return RuntimeError(message)
    if issubclass(failure.kind, KeyError):
        return failure.kind(_Verbatim(message))
    try:
        return failure.kind(message)
    except Exception:
        return RuntimeError(message)


class _Verbatim(str):
    """A message that KeyError, which shows the repr of its argument, prints as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def _check_worker_arguments(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(f"num_workers option should be non-negative (0 reads in this process), got {num_workers}")
    if timeout < 0:
        raise ValueError(f"timeout option should be non-negative, got {timeout}")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(f"prefetch_factor option should be at least 1, got {prefetch_factor}")
    if num_workers == 0:
        for name, given in (
            ("prefetch_factor", prefetch_factor is not None),
            ("persistent_workers", persistent_workers),
            ("timeout", timeout > 0),
        ):
            if given:
                raise ValueError(f"{name} option needs num_workers > 0")


def _check_stream_arguments(shuffle: bool | None, sampler: Any, batch_sampler: Any) -> None:
    for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )


def _check_batch_arguments(
    batch_size: int | None, shuffle: bool | None, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
    if batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")


def _context(context: BaseContext | str | None, num_workers: int) -> BaseContext | None:
    if context is None:
        return None
    if num_workers == 0:
        raise ValueError("multiprocessing_context option needs num_workers > 0")
    if isinstance(context, str):
        methods = multiprocessing.get_all_start_methods()
        if context not in methods:
            raise ValueError(f"multiprocessing_context option should be a start method of {methods}, got {context!r}")
        return multiprocessing.get_context(context)
    if not isinstance(context, BaseContext):
        raise TypeError(f"multiprocessing_context option should be a start method or a context, got {context!r}")
    return context
