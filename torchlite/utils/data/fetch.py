"""How one batch is read from a dataset, in the main process and in workers alike."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torchlite.utils.data.collate import default_collate, default_convert
from torchlite.utils.data.dataset import IterableDataset, items_of

Fetch = Callable[[Any], Any]
"""From what the sampler says (indices, one index, or None for a stream) to a batch."""


class Exhausted(Exception):
    """A stream has no further batch."""


@dataclass(frozen=True)
class Fetcher:
    """What to read, and how samples become a batch; `open` starts a pass over the dataset.

    `batching` is whether samples are collected into batches (or the sampler's samples are taken singly).
    """

    dataset: Any
    collate_fn: Callable[[Any], Any]
    batching: bool
    batch_size: int | None
    drop_last: bool

    @property
    def streams(self) -> bool:
        """Whether the dataset is a stream, read from its beginning, and not by index."""
        return isinstance(self.dataset, IterableDataset)

    def open(self) -> Fetch:
        """A function that reads the next batch; for a stream it raises `Exhausted` after the last."""
        return self._open_stream() if self.streams else self._read

    def _read(self, indices: Any) -> Any:
        if not self.batching:
            return self.collate_fn(self.dataset[indices])
        if self.collate_fn is default_collate and hasattr(self.dataset, "get_batch"):
            return default_convert(self.dataset.get_batch(indices))
        return self.collate_fn(items_of(self.dataset, indices))

    def _open_stream(self) -> Fetch:
        samples = iter(self.dataset)

        def read(_: Any) -> Any:
            if not self.batching:
                for sample in samples:
                    return self.collate_fn(sample)
                raise Exhausted
            batch = list(itertools.islice(samples, self.batch_size))
            if not batch or (self.drop_last and len(batch) < (self.batch_size or 0)):
                raise Exhausted
            return self.collate_fn(batch)

        return read
