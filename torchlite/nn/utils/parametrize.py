"""Parameters that are functions of others: ``module.weight`` is computed from what is trained whenever it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.nn.containers import ModuleDict, ModuleList
from torchlite.nn.module import Module
from torchlite.parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]


class _Cache:
    """What was computed since the outermost `cached` began, by module and name."""

    depth = 0
    values: dict[tuple[int, str], Tensor]

    def __init__(self) -> None:
        self.values = {}


_cache = _Cache()


@contextmanager
def cached() -> Iterator[None]:
    """Within this context every parametrized tensor is computed only when it is first read.

    >>> import torchlite as torch
    >>> from torchlite.nn.utils import parametrizations, parametrize
    >>> layer = parametrizations.weight_norm(torch.nn.Linear(2, 2))
    >>> with parametrize.cached():
    ...     layer.weight is layer.weight
    True
    """
    _cache.depth += 1
    try:
        yield
    finally:
        _cache.depth -= 1
        if not _cache.depth:
            _cache.values = {}


def caching() -> bool:
    """Whether this is within `cached`."""
    return _cache.depth > 0


class ParametrizationList(ModuleList):
    """The functions of one parametrized tensor, and the tensor or tensors that are trained in its place.

    Those are ``original``, or ``original0``, ``original1``… when the ``right_inverse`` of the first function gives
    several. Calling the list computes the tensor.

    Args:
        modules: the functions, applied in this order; their ``right_inverse``, where they have one, is applied backwards.
        original: the tensor so far.
        unsafe: whether shape and dtype may change.

    Raises:
        ValueError: for no functions, or when the tensor changes its shape or dtype.
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        before = original.detach()
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        continue
        self.is_tensor = isinstance(new, Tensor)
        parts = _as_tensors(new)
        self.ntensors = len(parts)
        if self.is_tensor:
            if new.dtype != original.dtype or new.device != original.device:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype or device: got "
                    f"{new.dtype} on {new.device}, expected {original.dtype} on {original.device}"
                )
            _replace(original, new)
            _own(self, "original", original)
        else:
            for i, part in enumerate(parts):
                kept = Parameter(part, original.requires_grad) if isinstance(original, Parameter) else part
                _own(self, f"original{i}", kept.requires_grad_(original.requires_grad))
        if not unsafe:
            _check_kind("Registering a parametrization", before, self())

    def right_inverse(self, value: Tensor) -> None:
        """Set what is trained so that the functions give ``value``.

        Raises:
            RuntimeError: when one of the functions has no ``right_inverse``.
            ValueError: when that gives something else than what is trained.
        """
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                new = module.right_inverse(new)
            if self.is_tensor and not isinstance(new, Tensor):
                raise ValueError(f"`right_inverse` should return a tensor. Got {type(new).__name__}")
            if not self.is_tensor and (isinstance(new, Tensor) or not isinstance(new, Sequence)):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}.")
            parts, originals = _as_tensors(new), self._originals()
            if len(parts) != len(originals):
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {len(originals)}. Got a sequence of "
                    f"length {len(parts)}."
                )
            for original, part in zip(originals, parts, strict=True):
                if part.dtype != original.dtype:
                    raise ValueError(
                        f"The tensor returned by `right_inverse` has dtype {part.dtype} while `original` has dtype "
                        f"{original.dtype}"
                    )
                _replace(original, part)

    def _originals(self) -> list[Tensor]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def forward(self) -> Tensor:
        """The tensor as it is now."""
        first, *others = self
        x = first(*self._originals())
        for module in others:
            x = module(x)
        return x


def _as_tensors(value: Any) -> list[Tensor]:
    parts = [value] if isinstance(value, Tensor) else list(value) if isinstance(value, Sequence) else None
    if parts is None:
        raise ValueError(
            f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got {type(value).__name__}"
        )
    for i, part in enumerate(parts):
        if not isinstance(part, Tensor):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                f"{i} of the sequence with type {type(part).__name__}."
            )
    return parts


def _replace(target: Tensor, source: Tensor) -> None:
    """Let ``target`` have the numbers, and the shape, of ``source``."""
    target.data = source.detach()


def _own(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_kind(what: str, before: Tensor, after: Any) -> None:
    if not isinstance(after, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    if after.dtype != before.dtype or after.shape != before.shape:
        raise ValueError(
            f"{what} may not change the dtype or shape of the tensor, unless `unsafe` flag is enabled: from "
            f"{before.dtype}, {list(before.shape)} to {after.dtype}, {list(after.shape)}"
        )


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make ``module.<tensor_name>`` be ``parametrization(original)`` from now on; what is trained is the original.

    Another parametrization of the same tensor is applied after the first. ``right_inverse(tensor)`` of a
    parametrization, where there is one, gives the original to begin with and is used to assign to the tensor; otherwise
    the original is the tensor itself.

    Args:
        module: has the tensor as a parameter or buffer.
        tensor_name: its name.
        parametrization: from the original, or originals, to the tensor.
        unsafe: whether shape and dtype may change; nothing is then checked.

    Raises:
        ValueError: when there is no such tensor, or its shape or dtype changes.

    >>> import torchlite as torch
    >>> from torchlite.nn.utils import parametrize
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = parametrize.register_parametrization(torch.nn.Linear(3, 3), "weight", Symmetric())
    >>> torch.equal(layer.weight, layer.weight.mT)
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        functions: Any = module.parametrizations[tensor_name]
        if not unsafe:
            _check_another(module, tensor_name, parametrization)
        functions.append(parametrization)
        functions.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        functions = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(type(module), tensor_name)
        module.parametrizations[tensor_name] = functions
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    return module


def _check_another(module: Module, name: str, parametrization: Module) -> None:
    """Whether one more function keeps the kind of the tensor, and its right inverse that of its argument."""
    before = getattr(module, name)
    after = parametrization(before)
    _check_kind("Registering a parametrization", before, after)
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except NotImplementedError:
            return
        if not isinstance(back, Tensor):
            raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}")
        _check_kind("parametrization.right_inverse", before, back)


def _inject_class(module: Module) -> None:
    """Give ``module`` a class of its own, where properties stand for the parametrized tensors."""
    cls = type(module)

    def getstate(self: Module) -> Any:
        raise RuntimeError(
            f"{type(self).__name__}: serialization of parametrized modules is only supported through state_dict()"
        )

    def copied(self: Module, memo: dict[int, Any]) -> Any:
        replica = memo[id(self)] = type(self).__new__(type(self))
        replica.__dict__.update(deepcopy(self.__dict__, memo))
        return replica

    members: dict[str, Any] = {"__getstate__": getstate}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = copied
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _inject_property(cls: type[Module], name: str) -> None:
    def read(self: Any) -> Tensor:
        if not _cache.depth:
            return self.parametrizations[name]()
        key = id(self), name
        if key not in _cache.values:
            _cache.values[key] = self.parametrizations[name]()
        return _cache.values[key]

    def write(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(cls, name, property(read, write))


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether ``module`` has a parametrization, or one of the tensor ``tensor_name``."""
    functions = getattr(module, "parametrizations", None)
    if not isinstance(functions, ModuleDict):
        return False
    return len(functions) > 0 if tensor_name is None else tensor_name in functions


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make ``module.<tensor_name>`` a parameter (or buffer) again.

    Args:
        module: the module.
        tensor_name: which tensor.
        leave_parametrized: whether it keeps its present value, or goes back to that of the original.

    Raises:
        ValueError: when it is not parametrized, or has several originals to go back to.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    functions: Any = module.parametrizations[tensor_name]
    if not functions.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence "
            "of tensors."
        )
    with no_grad():
        present = getattr(module, tensor_name)
    if functions.is_tensor:
        tensor = functions.original
        if leave_parametrized:
            _replace(tensor, present)
    else:
        trained = any(x.requires_grad for x in functions._originals())
        tensor = Parameter(present) if trained else present
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _own(module, tensor_name, tensor)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that ``module`` had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give ``to_module`` the parametrizations, and the originals, of ``from_module``.

    Args:
        from_module, to_module: from where, and to where.
        tensor_name: of this tensor only.
    """
    for name in (
        (from_module.parametrizations if tensor_name is None else [tensor_name]) if is_parametrized(from_module) else ()
    ):
        functions: Any = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for function in functions:
            register_parametrization(to_module, name, function)
        for kept in ("original",) if functions.is_tensor else (f"original{i}" for i in range(functions.ntensors)):
            setattr(to_module.parametrizations[name], kept, getattr(functions, kept))
    return to_module
