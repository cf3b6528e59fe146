"""Layers that do not keep what backward needs, but compute it again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torchlite.autograd.grad_mode import no_grad
from torchlite.nn.containers import Sequential
from torchlite.utils.checkpoint import Contexts, checkpoint


class Checkpointed(Sequential):
    """Modules called one after the other as one segment of `torchlite.utils.checkpoint`.

    Between forward and backward only the input is kept; backward runs the segment again, which costs one more forward.
    Random numbers are the same then, and buffers, such as running statistics, stay as the first run left them. The
    parameters have the names that they have in `Sequential`. PyTorch has no such module.

    >>> import torchlite as torch
    >>> layer = torch.nn.Checkpointed(torch.nn.Linear(3, 3), torch.nn.Tanh())
    >>> layer(torch.ones(2, 3)).sum().backward()
    >>> tuple(layer[0].weight.grad.shape)
    (3, 3)
    """

    def forward(self, input: Any) -> Any:
        """Pass ``input`` through every module in order."""
        return checkpoint(super().forward, input, use_reentrant=False, context_fn=self._contexts)

    def _contexts(self) -> Contexts:
        return contextlib.nullcontext(), self._buffers_kept()

    @contextlib.contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        """What the second run writes into buffers is undone."""
        before = [(buffer, buffer.clone()) for buffer in self.buffers()]
        try:
            yield
        finally:
            with no_grad():
                for buffer, value in before:
                    buffer.copy_(value)
