"""Places in the graph as PyTorch names them: a node and the number of its result."""

from __future__ import annotations

from typing import Any, NamedTuple

from torchlite._tensor import Tensor
from torchlite.autograd.graph import Selected


class GradientEdge(NamedTuple):
    """A place where a gradient arrives; `torchlite.autograd.grad` takes it in place of the tensor, which may be gone.

    Attributes:
        node: the recorded operation, or the end of the graph at a leaf.
        output_nr: which of the operation's results.
        ownership_token: what keeps the place alive.
    """

    node: Any
    output_nr: int
    ownership_token: Any = None

    @property
    def _node(self) -> Any:
        return self.node if self.ownership_token is None else self.ownership_token


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The place in the graph at which the gradient of ``tensor`` arrives.

    Raises:
        RuntimeError: when the tensor requires no gradient.
    """
    node = tensor._node
    if node is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(node.parent, node.index, node) if type(node) is Selected else GradientEdge(node, 0)


def increment_version(tensor: Any) -> None:
    """Count an in-place write that was made behind the back of the library, in one tensor or several."""
    for x in (tensor,) if isinstance(tensor, Tensor) else tensor:
        x._storage.written()
