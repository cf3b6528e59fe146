"""Initial values other than those of the layers, as ``model.init`` asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torchlite import nn
from torchlite.autograd.grad_mode import no_grad
from torchlite.nn import Parameter
from torchlite.train.config.schema import Initial
from torchlite.train.patterns import matches

NEED_MATRICES = frozenset(
    {"xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "sparse", "eye", "dirac"}
)
"""The initializers that parameters of one dimension have no use for."""


def initialize(model: nn.Module, rules: Sequence[Initial]) -> None:
    """Give parameters the values that the first rule for them says, drawn in the order of their names in the model.

    A rule without a pattern is for the weights of two dimensions or more; what no rule is for keeps its values.
    """
    with no_grad():
        for rule, _, parameter in ruled(model, rules):
            rule.component.build(parameter)


def ruled(model: nn.Module, rules: Sequence[Initial]) -> Iterator[tuple[Initial, str, Parameter]]:
    """The parameters that a rule is for, with it and their names."""
    for name, parameter in model.named_parameters():
        rule = next((one for one in rules if _is_for(one, name, parameter)), None)
        if rule is not None:
            yield rule, name, parameter


def _is_for(rule: Initial, name: str, parameter: Parameter) -> bool:
    if rule.match is None:
        return parameter.ndim >= 2 and name.rpartition(".")[2].startswith("weight")
    return matches(rule.match, name)
