"""Passes: small pure functions from a graph to a graph."""

from torchlite.compiler.graph import Graph
from torchlite.compiler.passes.constants import fold_constants
from torchlite.compiler.passes.dead_code import without_dead_code
from torchlite.compiler.passes.duplicates import without_duplicates
from torchlite.compiler.passes.gate_cotangents import multiply_cotangents
from torchlite.compiler.passes.gate_products import multiply_inputs
from torchlite.compiler.passes.gate_rows import take_gate_rows
from torchlite.compiler.passes.gate_sums import sum_gates
from torchlite.compiler.passes.parts import join_parts
from torchlite.compiler.passes.pooled import mask_before_spreading, sum_before_spreading
from torchlite.compiler.passes.row_order import leave_rows
from torchlite.compiler.passes.scaled_weights import scale_weights
from torchlite.compiler.passes.shared_sums import share_sums
from torchlite.compiler.passes.slopes import keep_slopes
from torchlite.compiler.passes.tables import multiply_tables, sum_tables
from torchlite.compiler.passes.views import cancel_copies, cancel_views
from torchlite.compiler.passes.widening import widen
from torchlite.compiler.passes.zero_states import leave_out_zero_states

PASSES = (
    without_dead_code,
    widen,
    fold_constants,
    cancel_views,
    cancel_copies,
    join_parts,
    multiply_tables,
    without_duplicates,
    sum_tables,
    leave_rows,
    share_sums,
    mask_before_spreading,
    sum_before_spreading,
    keep_slopes,
    sum_gates,
    leave_out_zero_states,
    take_gate_rows,
    multiply_inputs,
    multiply_cotangents,
    without_dead_code,
)


def optimized(graph: Graph) -> Graph:
    """The graph after all passes, in their order."""
    for one in PASSES:
        graph = one(graph)
    return graph


__all__ = [
    "PASSES",
    "cancel_copies",
    "cancel_views",
    "fold_constants",
    "join_parts",
    "keep_slopes",
    "leave_out_zero_states",
    "leave_rows",
    "mask_before_spreading",
    "multiply_cotangents",
    "multiply_inputs",
    "multiply_tables",
    "optimized",
    "scale_weights",
    "share_sums",
    "sum_before_spreading",
    "sum_gates",
    "sum_tables",
    "take_gate_rows",
    "widen",
    "without_dead_code",
    "without_duplicates",
]
