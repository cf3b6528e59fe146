"""Pruning: parameters with a mask, by a hook before forward.

The parameter ``weight`` becomes ``weight_orig``, beside it stands the buffer ``weight_mask`` of ones and zeros, and
``weight`` is their product, computed anew before each call. What is pruned again is pruned further.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, TypeVar

from torchlite._tensor import Tensor
from torchlite.nn.module import Module
from torchlite.nn.utils.convert_parameters import parameters_to_vector
from torchlite.ops.creation import ones_like, zeros_like
from torchlite.ops.norms import vector_norm_of

M = TypeVar("M", bound=Module)


class BasePruningMethod(ABC):
    """A way to choose what is pruned; a subclass defines `compute_mask` and ``PRUNING_TYPE``.

    Attributes:
        PRUNING_TYPE: what it chooses among: "unstructured" elements, "structured" slices along ``self.dim``, or "global"
            all at once, the pruned included.
    """

    PRUNING_TYPE: ClassVar[Literal["unstructured", "structured", "global"]]
    _tensor_name: str | None = None

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for importances ``t`` of what ``default_mask`` has left."""

    def __call__(self, module: Module, _inputs: Any) -> None:
        """Compute the pruned tensor anew."""
        setattr(module, self._name_in(module), self.apply_mask(module))

    def _name_in(self, module: Module) -> str:
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        return self._tensor_name

    def apply_mask(self, module: Module) -> Tensor:
        """The original times the mask."""
        name = self._name_in(module)
        original: Tensor = getattr(module, f"{name}_orig")
        return getattr(module, f"{name}_mask").to(original.dtype) * original

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune ``module.<name>``, further where it is pruned already.

        Args:
            module, name: what to prune.
            args, kwargs: of the method's constructor.
            importance_scores: decide in the place of the parameter's values.

        Raises:
            AssertionError: for scores of another shape.
        """
        one = cls(*args, **kwargs)
        one._tensor_name = name
        method, key = _joined(module, name, one)
        original: Any = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != original.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, got "
                f"{importance_scores.shape} vs {original.shape}"
            )
        scores = original if importance_scores is None else importance_scores
        is_first = key is None
        left = ones_like(original) if is_first else getattr(module, f"{name}_mask").detach().clone()
        mask = method.compute_mask(scores.detach(), default_mask=left.detach())
        if is_first:
            module.register_parameter(f"{name}_orig", original)
            del module._parameters[name]
        else:
            del module._forward_pre_hooks[key]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A pruned copy of a tensor that belongs to no module.

        Args:
            t: the tensor.
            default_mask: what is pruned already.
            importance_scores: decide in the place of the tensor's values.
        """
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as tensor t, got {importance_scores.shape} vs {t.shape}"
            )
        mask = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(t if importance_scores is None else importance_scores, default_mask=mask)

    def remove(self, module: Module) -> None:
        """Make the pruned tensor the parameter again."""
        name = self._name_in(module)
        pruned = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        parameter: Any = module._parameters.pop(f"{name}_orig")
        del module._buffers[f"{name}_mask"]
        parameter.data = pruned.detach()
        setattr(module, name, parameter)


def _joined(module: Module, name: str, method: BasePruningMethod) -> tuple[BasePruningMethod, int | None]:
    """``method``, or the container of it and those before it; and the key of the hook that it takes the place of."""
    hooks = module._forward_pre_hooks.items()
    found = [(k, hook) for k, hook in hooks if isinstance(hook, BasePruningMethod) and hook._tensor_name == name]
    if not found:
        return method, None
    if len(found) > 1:
        raise AssertionError(
            f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a PruningContainer."
        )
    ((key, before),) = found
    container = PruningContainer(*(before if isinstance(before, PruningContainer) else (before,)))
    container._tensor_name = name
    container.add_pruning_method(method)
    return container, key


class PruningContainer(BasePruningMethod):
    """Pruning methods one after the other on one parameter."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Put a method at the end.

        Raises:
            TypeError: for something else.
            ValueError: for one of another parameter.
        """
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer "
                f"{self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of the last method, on what those before it have left."""
        method: Any = self._pruning_methods[-1]
        chosen = _left(method, t, default_mask)
        mask = default_mask.to(t.dtype, copy=True)
        mask[chosen] = method.compute_mask(t[chosen], default_mask=default_mask[chosen]).to(mask.dtype)
        return mask


def _left(method: Any, t: Tensor, mask: Tensor) -> Any:
    """The index of what a method still chooses among."""
    if method.PRUNING_TYPE == "unstructured":
        return mask == 1
    if method.PRUNING_TYPE == "structured":
        if not hasattr(method, "dim"):
            raise AttributeError(
                'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.'
            )
        dim = t._checked_dim(method.dim)
        kept = mask.sum([d for d in range(t.ndim) if d != dim]) != 0
        return (*[slice(None)] * dim, kept)
    if method.PRUNING_TYPE == "global":
        return ...
    raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")


class Identity(BasePruningMethod):
    """Prunes nothing, but makes mask and original."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:  # noqa: ARG002 - the same for all values
        """What was left."""
        return default_mask


class _Amount(BasePruningMethod):
    """A method that prunes a number, or a share, of what there is."""

    amount: float

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        if amount < 0 or (not isinstance(amount, numbers.Integral) and amount > 1):
            raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
        self.amount = amount

    def _number(self, size: int) -> int:
        """How many of ``size`` to prune."""
        number = int(self.amount) if isinstance(self.amount, numbers.Integral) else round(self.amount * size)
        if number > size:
            raise ValueError(f"amount={number} should be smaller than the number of parameters to prune={size}")
        return number


class _Unstructured(_Amount):
    PRUNING_TYPE = "unstructured"

    def _importance(self, t: Tensor) -> Tensor:
        """A number for each element of ``t``; the smallest are pruned."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """What was left without the least important elements."""
        number = self._number(t.numel())
        mask = default_mask.clone()
        if number:
            least = self._importance(t).reshape(-1).topk(number, largest=False).indices
            mask.view(-1)[least] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes random elements.

    Args:
        amount: how many, or as a float which share of them.
    """

    def _importance(self, t: Tensor) -> Tensor:
        return t.detach().new_empty(t.shape).uniform_()


class L1Unstructured(_Unstructured):
    """Prunes the elements nearest to 0.

    Args:
        amount: how many, or as a float which share of them.
    """

    def _importance(self, t: Tensor) -> Tensor:
        return t.abs()


class _Structured(_Amount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _importance(self, t: Tensor) -> Tensor:
        """A number for each slice of ``t`` along ``self.dim``; the slices with the smallest are pruned."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """What was left without the least important slices."""
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{t.shape} with {t.ndim} dims"
            )
        dim = t._checked_dim(self.dim)
        size = t.shape[dim]
        number = self._number(size)
        if not number:
            return default_mask
        mask = zeros_like(t)
        mask[(*[slice(None)] * dim, self._importance(t).topk(size - number).indices)] = 1
        return mask * default_mask.to(mask.dtype)


class RandomStructured(_Structured):
    """Prunes random slices along ``dim``.

    Args:
        amount: how many, or as a float which share of them.
        dim: along which.
    """

    def _importance(self, t: Tensor) -> Tensor:
        return t.detach().new_empty(t.shape[self.dim]).uniform_()


class LnStructured(_Structured):
    """Prunes the slices along ``dim`` with the smallest norm.

    Args:
        amount: how many, or as a float which share of them.
        n: the order of the norm.
        dim: along which.
    """

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _importance(self, t: Tensor) -> Tensor:
        dim = t._checked_dim(self.dim)
        return vector_norm_of("ln_structured", t, float(self.n), [d for d in range(t.ndim) if d != dim], False)


class CustomFromMask(BasePruningMethod):
    """Prunes where a given mask is 0."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:  # noqa: ARG002 - the same for all values
        """What was left and the mask allows."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"the mask has shape {list(self.mask.shape)} and the parameter {list(default_mask.shape)}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


def identity(module: M, name: str) -> M:
    """Make mask and original of ``module.<name>`` without pruning anything."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: M, name: str, amount: float) -> M:
    """Prune ``amount`` (a number, or a share where a float) random elements of ``module.<name>``."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: M, name: str, amount: float, importance_scores: Tensor | None = None) -> M:
    """Prune ``amount`` (a number, or a share where a float) of the elements of ``module.<name>`` nearest to 0.

    >>> import torchlite as torch
    >>> from torchlite.nn.utils import prune
    >>> layer = torch.nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 2.0], [-3.0, 4.0]]))
    >>> prune.l1_unstructured(layer, "weight", amount=0.5).weight
    tensor([[ 0.,  0.],
            [-3.,  4.]], grad_fn=<MulBackward0>)
    >>> prune.remove(layer, "weight").weight.requires_grad
    True
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: M, name: str, amount: float, dim: int) -> M:
    """Prune ``amount`` (a number, or a share where a float) random slices of ``module.<name>`` along ``dim``."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: M, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None) -> M:
    """Prune ``amount`` (a number, or a share) of the slices of ``module.<name>`` along ``dim`` with the smallest n-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: M, name: str, mask: Tensor) -> M:
    """Prune ``module.<name>`` where ``mask`` is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: (module, name) pairs.
        pruning_method: an unstructured method's class.
        importance_scores: scores by (module, name), in the place of the values.
        kwargs: of the method's constructor.

    Raises:
        TypeError: for a method of another type, parameters that are no iterable, scores that are no dict.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method {pruning_method} of type '
            f"{method.PRUNING_TYPE}"
        )
    places = list(parameters)
    tensors = [getattr(module, name) for module, name in places]
    values = [scores.get(place, x) for place, x in zip(places, tensors, strict=True)]
    masks = [getattr(module, f"{name}_mask", ones_like(x)) for (module, name), x in zip(places, tensors, strict=True)]
    whole = PruningContainer(method).compute_mask(
        parameters_to_vector(values).detach(), parameters_to_vector(masks).detach()
    )
    for (module, name), x, mask in zip(places, tensors, whole.split([x.numel() for x in tensors]), strict=True):
        custom_from_mask(module, name, mask.view_as(x))


def remove(module: M, name: str) -> M:
    """Make the pruned ``module.<name>`` the parameter again; what was pruned stays 0 until it is trained.

    Raises:
        ValueError: when it is not pruned.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    """Whether something in ``module`` is pruned."""
    return any(
        isinstance(hook, BasePruningMethod) for part in module.modules() for hook in part._forward_pre_hooks.values()
    )
