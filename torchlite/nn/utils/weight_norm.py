"""A weight as length times direction, by a hook before forward; `parametrizations.weight_norm` has taken its place."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from torchlite._tensor import Tensor
from torchlite.nn.functional.main_namespace import norm_except_dim
from torchlite.nn.module import Module
from torchlite.parameter import Parameter, is_lazy

M = TypeVar("M", bound=Module)


def normalized(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """g v / ‖v‖."""
    return v * (g / norm_except_dim(v, 2, dim))


class WeightNorm:
    """The hook: sets ``module.<name>`` from ``<name>_g`` and ``<name>_v`` before each call."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """g v / ‖v‖."""
        return normalized(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Replace the parameter ``name`` by two and register the hook.

        Raises:
            RuntimeError: when it has the hook already.
            ValueError: when it has no shape yet.
        """
        warnings.warn(
            "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
            FutureWarning,
            stacklevel=3,
        )
        if any(isinstance(hook, WeightNorm) and hook.name == name for hook in module._forward_pre_hooks.values()):
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `WeightNorm` can't have uninitialized parameters: call it with an input first"
            )
        del module._parameters[name]
        module.register_parameter(f"{name}_g", Parameter(norm_except_dim(weight, 2, hook.dim).detach()))
        module.register_parameter(f"{name}_v", Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Make the present weight a parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[f"{self.name}_g"], module._parameters[f"{self.name}_v"]
        setattr(module, self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, _inputs: Any) -> None:
        """Compute the weight anew."""
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train length and direction of a weight apart: w = g v / ‖v‖ (Salimans & Kingma, 2016); deprecated.

    Args:
        module: has the parameter.
        name: of the parameter; ``<name>_g`` and ``<name>_v`` take its place.
        dim: along which each index has a length of its own; one length for all where None.
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo `weight_norm`; the weight keeps its present value.

    Raises:
        ValueError: when there is nothing to undo.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
