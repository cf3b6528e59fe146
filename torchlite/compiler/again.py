"""What ends a trace that has found out something about its function which the next trace has to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchlite.compiler.learned import Learned


class Again(BaseException):
    """A reason to trace the function once more; no ``except Exception`` in it may swallow it."""

    def tell(self, learned: Learned) -> None:
        """Let the next trace know."""
        raise NotImplementedError
