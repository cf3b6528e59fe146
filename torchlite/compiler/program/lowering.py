"""Which operations have a kernel in C of their own, and what such a kernel has to say."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from torchlite.compiler.graph import Node
from torchlite.compiler.program.places import Order

if TYPE_CHECKING:
    from torchlite.compiler.program.writer import Writer


class Lowering(Protocol):
    """How an operation becomes C."""

    headers: tuple[str, ...]
    """Files of ``backends/native`` that the C text needs, in order."""

    anywhere: bool
    """Whether results may have any strides, as long as rows are dense."""

    fails: bool
    """Whether it may end the program, before anything is overwritten."""

    summed: int
    """The dimension of its first result for whose elements it can sum up all positions: 1 of images, -1 of rows."""

    def condition(self, node: Node) -> object:
        """What has to hold where it may end the program; it does not where an earlier operation has had the same condition."""

    def continues(self, node: Node) -> bool:
        """Whether elementwise operations on the first result can be done where it is stored."""

    def computes(self, node: Node, number: int) -> bool:
        """Whether it can compute the elements of this input itself, a row of positions at a time."""

    def covers(self, node: Node, number: int) -> bool:
        """Whether it then computes each of them, and once, so that they can be stored as well."""

    def together(self, node: Node) -> int:
        """How many positions of its first result one thread hands over, from the first of them on, so that it can sum them up; or 0."""

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:
        """In which order each input has to lie, densely; None for any strides. ``orders`` says how they lie (None: not densely)."""

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:
        """In which order each result lies; None for the order of its dimensions."""

    def scratch(self, node: Node) -> int:
        """Bytes of memory that it needs while it runs."""

    def write(self, node: Node, writer: Writer) -> None:
        """Write the C of the operation and of the loop that continues it, which ``writer.step.unit`` has."""


class Plain:
    """What most lowerings say: nothing is continued, inputs lie in the order of their dimensions, and no scratch memory."""

    headers: tuple[str, ...] = ()
    anywhere = False
    fails = False
    summed = 1

    def condition(self, node: Node) -> object:
        """One of its own."""
        return node

    def continues(self, node: Node) -> bool:  # noqa: ARG002
        """No."""
        return False

    def computes(self, node: Node, number: int) -> bool:  # noqa: ARG002
        """No."""
        return False

    def covers(self, node: Node, number: int) -> bool:  # noqa: ARG002
        """No."""
        return False

    def together(self, node: Node) -> int:  # noqa: ARG002
        """None."""
        return 0

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """The order of the dimensions."""
        return [tuple(range(v.aval.ndim)) if v.aval is not None else None for v in node.inputs]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """The order of the dimensions."""
        return [None for _ in node.outputs]

    def scratch(self, node: Node) -> int:  # noqa: ARG002
        """None."""
        return 0


# The modules here that have a function `lowered(node)`, which gives a Lowering or None, with the operators that each knows.
_OPERATORS = {
    "attention": "attention attention_grad",
    "convolutions": "convolution convolution_input_grad convolution_weight_grad",
    "copies": "cat view_scatter embed_view",
    "embeddings": "index index_add",
    "normalization": "moments standardize_grad",
    "pooling": "max_pool spread_to_windows",
    "products": "linear matmul",
    "recurrent": "lstm lstm_of_inputs lstm_of_rows lstm_grad lstm_grad_inputs lstm_grad_sums gru gru_grad",
    "rows": "cross_entropy cross_entropy_grad layer_norm layer_norm_grad log_softmax log_softmax_grad softmax softmax_grad",
}
_MODULES = {operator: module for module, operators in _OPERATORS.items() for operator in operators.split()}


def lowering(node: Node) -> Lowering | None:
    """The lowering of an operation; None where it has no kernel of its own."""
    module = _MODULES.get(node.op.name)
    if module is None or node.lifted:
        return None
    lowered: Callable[[Node], Lowering | None]
    lowered = importlib.import_module(f"torchlite.compiler.program.{module}").lowered
    return lowered(node)
