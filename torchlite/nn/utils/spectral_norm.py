"""A weight over its largest singular value, by a hook before forward; `parametrizations.spectral_norm` has taken its place."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.nn.module import Module
from torchlite.parameter import Parameter, is_lazy

M = TypeVar("M", bound=Module)


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """``weight`` with dimension ``dim`` as rows and all others as columns."""
    return weight.movedim(dim, 0).flatten(1) if dim else weight.flatten(1)


def unit(x: Tensor, eps: float) -> Tensor:
    """x / max(‖x‖, eps)."""
    return x / x.norm().clamp(min=eps)


def random_direction(matrix: Tensor, length: int, eps: float) -> Tensor:
    """A random vector of length 1 of the kind of ``matrix``."""
    return unit(matrix.detach().new_empty(length).normal_(), eps)


def output_dim(module: Module, dim: int | None) -> int:
    """``dim``, or where None the dimension of the outputs in the weight of ``module``."""
    if dim is not None:
        return dim
    convolution = import_module("torchlite.nn.convolution")
    transposed = tuple(getattr(convolution, f"ConvTranspose{n}d") for n in (1, 2, 3))
    return 1 if isinstance(module, transposed) else 0


class SpectralNorm:
    """The hook: sets ``module.<name>`` from ``<name>_orig`` before each call.

    The buffers ``<name>_u`` and ``<name>_v`` approach the singular vectors by a power iteration in training.
    """

    _version = 1

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """``weight`` with the dimension of the outputs as rows."""
        return as_matrix(weight, self.dim)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """W / σ with σ = uᵀ W v, after moving u and v on when wanted."""
        weight, u, v = (getattr(module, self.name + suffix) for suffix in ("_orig", "_u", "_v"))
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(unit(matrix.t() @ u, self.eps))
                    u.copy_(unit(matrix @ v, self.eps))
        u, v = u.clone(), v.clone()  # backward may come after the next call
        return weight / u.dot(matrix @ v)

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Put the hook in the place of the parameter ``name``.

        Raises:
            RuntimeError: when it has the hook already.
            ValueError: when it is None or has no shape yet.
        """
        if any(isinstance(hook, SpectralNorm) and hook.name == name for hook in module._forward_pre_hooks.values()):
            raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `SpectralNorm` can't have uninitialized parameters: call it with an input first"
            )
        matrix = hook.reshape_weight_to_matrix(weight)
        u, v = (random_direction(matrix, n, eps) for n in matrix.shape)
        delattr(module, name)
        module.register_parameter(f"{name}_orig", weight)
        setattr(module, name, weight.detach())
        module.register_buffer(f"{name}_u", u)
        module.register_buffer(f"{name}_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(hook))
        return hook

    def remove(self, module: Module) -> None:
        """Make the present weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight))

    def __call__(self, module: Module, _inputs: Any) -> None:
        """Compute the weight anew, in training after a power iteration."""
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


class SpectralNormStateDictHook:
    """Notes the version of the hook in the metadata of a saved state."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    def __call__(self, _module: Module, _state: Any, _prefix: str, local_metadata: dict[str, Any]) -> None:
        """Note the version."""
        versions = local_metadata.setdefault("spectral_norm", {})
        key = f"{self.fn.name}.version"
        if key in versions:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        versions[key] = self.fn._version


class SpectralNormLoadStateDictPreHook:
    """Finds v in states of the first version, which kept u and the computed weight W / σ."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    def __call__(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        *_rest: Any,
    ) -> None:
        """Put v into ``state_dict`` where it is missing."""
        name = prefix + self.fn.name
        version = local_metadata.get("spectral_norm", {}).get(f"{self.fn.name}.version")
        is_new = (
            version is None and name not in state_dict and all(name + s in state_dict for s in ("_orig", "_u", "_v"))
        )
        if is_new or (version is not None and version >= 1):
            return
        missing = [name + suffix for suffix in ("_orig", "", "_u") if name + suffix not in state_dict]
        if missing:
            missing_keys.extend(missing if strict else ())
            return
        with no_grad():
            original, u = state_dict[f"{name}_orig"], state_dict[f"{name}_u"]
            sigma = (original / state_dict.pop(name)).mean()
            matrix = self.fn.reshape_weight_to_matrix(original)
            # u = W v / σ': the v of least length, scaled so that uᵀ W v = σ
            v = (matrix.t() @ matrix).pinverse() @ (matrix.t() @ u)
            state_dict[f"{name}_v"] = v * (sigma / u.dot(matrix @ v))


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide a weight by its largest singular value (Miyato et al., 2018).

    Args:
        module: has the parameter.
        name: of the parameter; ``<name>_orig`` takes its place.
        n_power_iterations: steps towards the singular vectors in each call in training.
        eps: smallest length that is divided by.
        dim: of the outputs in the weight; 1 for transposed convolutions and 0 otherwise where None.
    """
    SpectralNorm.apply(module, name, n_power_iterations, output_dim(module, dim), eps)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo `spectral_norm`; the weight keeps its present value.

    Raises:
        ValueError: when there is nothing to undo.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            break
    else:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    kinds = (SpectralNormStateDictHook, SpectralNormLoadStateDictPreHook)
    for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        for key in [k for k, hook in hooks.items() if isinstance(hook, kinds) and hook.fn.name == name]:
            del hooks[key]
    return module
