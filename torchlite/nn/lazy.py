"""Modules whose parameters get their shapes from the first input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.nn.module import Module
from torchlite.parameter import is_lazy

if TYPE_CHECKING:
    _Base = Module
else:
    _Base = object


class LazyModuleMixin(_Base):
    """Stands before the class that a lazy module becomes once its first input, or a state_dict, has given the shapes.

    The constructor registers `UninitializedParameter` and `UninitializedBuffer` in the places of what is not known yet,
    and `initialize_parameters` makes them.
    """

    cls_to_become: ClassVar[type[Module] | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self.register_load_state_dict_pre_hook(_materialize_for)
        self._initialize_hook = self.register_forward_pre_hook(_infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *_args: Any, **_kwargs: Any) -> None:
        """Make the parameters from the arguments of the first call; every lazy module overrides this."""
        raise RuntimeError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether some parameter or buffer has no shape yet."""
        return any(is_lazy(tensor) for _, tensor in _owned(self))


def _owned(module: Module) -> Iterator[tuple[str, Tensor]]:
    for store in (module._parameters, module._buffers):
        for name, tensor in store.items():
            if tensor is not None:
                yield name, tensor


def _infer_parameters(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Make the parameters before the first call, and be a usual module from then on."""
    module.initialize_parameters(*args, **kwargs)
    if module.has_uninitialized_params():
        raise RuntimeError(f"module {type(module).__name__} has not been fully initialized")
    module._initialize_hook.remove()
    module._load_hook.remove()
    del module._initialize_hook, module._load_hook
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become


def _materialize_for(module: Module, state_dict: dict[str, Any], prefix: str, *_rest: Any) -> None:
    """Take the shapes from a state that is about to be loaded."""
    for name, tensor in _owned(module):
        given = state_dict.get(prefix + name)
        if is_lazy(tensor) and given is not None and not is_lazy(given):
            tensor.materialize(given.shape)
