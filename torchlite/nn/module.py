"""The base of all modules: what it owns, how it is called, moved and printed."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.composites.properties import share_memory_
from torchlite.devices import Device
from torchlite.nn.module_hooks import ModuleHooks, call_with_hooks, of_all_modules, registered
from torchlite.nn.module_state import ModuleState
from torchlite.ops.tensor_types import type_
from torchlite.parameter import Buffer, Parameter, is_lazy

M = TypeVar("M", bound="Module")

_STORES = ("_parameters", "_buffers", "_modules")
_HOOKS = (
    "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


class Module(ModuleHooks, ModuleState):
    """A part of a model: it owns parameters, buffers and other modules, and computes something in ``forward``.

    Assigning a `Parameter` or a `Module` to an attribute registers it.

    >>> import torchlite as torch
    >>> from torchlite import nn
    >>> class Double(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = nn.Parameter(torch.tensor(2.0))
    ...
    ...     def forward(self, x):
    ...         return x * self.scale
    >>> Double()(torch.tensor(3.0)).item()
    6.0
    """

    training: bool
    _modules: dict[str, Module | None]
    inferred: ClassVar[Mapping[str, int | tuple[int, int]]] = {}
    """Constructor arguments that the shape of the input decides, and the dimension that does (for configurations).

    Where it is not the first input's, a pair: which input, which dimension.
    """

    _compiled_call_impl: Callable[..., Any] | None = None
    call_super_init: ClassVar[bool] = False
    """Whether the constructor goes on to the next class in the order of inheritance, with its arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            got = (
                f"got an unexpected keyword argument '{next(iter(kwargs))}'"
                if kwargs
                else (f"takes 1 positional argument but {len(args) + 1} were given")
            )
            raise TypeError(f"{type(self).__name__}.__init__() {got}")
        set_ = object.__setattr__
        set_(self, "training", True)
        for name in _STORES:
            set_(self, name, {})
        set_(self, "_non_persistent_buffers_set", set())
        set_(self, "_is_full_backward_hook", None)
        for name in _HOOKS:
            set_(self, name, OrderedDict())
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    if TYPE_CHECKING:
        forward: Callable[..., Any]
    else:

        def forward(self, *_args, **_kwargs):
            """Compute the result; every module overrides this."""
            raise NotImplementedError(
                f'Module [{type(self).__name__}] is missing the required "forward" function: define '
                "forward(self, ...) in its class"
            )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the calls of this module in place; arguments are those of `torchlite.compile`.

        >>> import torchlite as torch
        >>> model = torch.nn.Linear(2, 1)
        >>> model.compile()
        >>> model(torch.ones(3, 2)).shape
        torch.Size([3, 1])
        """
        from torchlite.compiler import compile

        self.__dict__["_compiled_call_impl"] = compile(self._call_impl, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, with the hooks around it."""
        if (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or of_all_modules.calls
            or self._compiled_call_impl is not None
        ):
            return (self._compiled_call_impl or self._call_impl)(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return call_with_hooks(self, args, kwargs)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Own ``param`` under ``name``; None keeps the name without a value."""
        self._check_name(name, "parameter")
        if param is None:
            self._parameters[name] = None
            return
        if not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' (nn.Parameter or None required)"
            )
        if param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. To "
                f"express '{name}' as a function of another Tensor, compute the value in the forward() method."
            )
        self._parameters[name] = registered("parameter", self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Own a tensor that is not trained: it moves and, when persistent, is saved with the module."""
        self._check_name(name, "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (Tensor or None required)"
            )
        self._buffers[name] = registered("buffer", self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Own ``module`` under ``name``."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name(name, "module")
        self._modules[name] = registered("module", self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """Own ``module`` under ``name``."""
        self.add_module(name, module)

    def _check_name(self, name: str, kind: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"cannot assign {kind} before Module.__init__() call: call super().__init__() in "
                f"{type(self).__name__}.__init__() before assigning '{name}'"
            )
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in self.__dict__[f"_{kind}s"] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' (nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            self._forget(name, keep="_modules")
            self.add_module(name, value)
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' (nn.Module or None expected)"
                )
            own["_modules"][name] = registered("module", self, name, None)
        elif isinstance(value, Buffer):
            self._forget(name, keep="_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in own.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._non_persistent_buffers_set)
        else:
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_compiled_call_impl"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _HOOKS:  # one saved by an older version
            self.__dict__.setdefault(name, OrderedDict())
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        self.__dict__.setdefault("_is_full_backward_hook", None)

    def _forget(self, name: str, *, keep: str) -> None:
        """Drop what ``name`` was, except in the store ``keep``, where the new value takes its place in the order."""
        self.__dict__.pop(name, None)
        for store in _STORES:
            if store != keep:
                self.__dict__.get(store, {}).pop(name, None)
        if keep != "_buffers":
            self.__dict__.get("_non_persistent_buffers_set", set()).discard(name)

    def __getattr__(self, name: str) -> Any:
        for store in _STORES:
            owned = self.__dict__.get(store)
            if owned is not None and name in owned:
                return owned[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for store in _STORES:
            if name in self.__dict__.get(store, {}):
                del self.__dict__[store][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*object.__dir__(self), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[:1].isdigit())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(name, module) of this module and all below it, each once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}{'.' if prefix else ''}{name}", remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once unless not ``remove_duplicate``."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly owned."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly owned."""
        return (module for _, module in self.named_children())

    def _named_owned(self, store: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in owners:
            for name, tensor in getattr(module, store).items():
                if tensor is None or (remove_duplicate and id(tensor) in seen):
                    continue
                seen.add(id(tensor))
                yield f"{path}{'.' if path else ''}{name}", tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of all parameters, each once."""
        return self._named_owned("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer) of all buffers, each once."""
        return self._named_owned("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at the dotted path ``target``.

        Raises:
            AttributeError: naming the step of the path that leads nowhere.
        """
        module = self
        for part in target.split(".") if target else []:
            if not hasattr(module, part):
                raise AttributeError(f"{module._get_name()} has no attribute `{part}`")
            module = getattr(module, part)
            if not isinstance(module, Module):
                raise AttributeError(f"`{part}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put ``module`` at the dotted path ``target``.

        Args:
            target: a path whose last step may be new.
            module: what to put there.
            strict: the last step may not be new.

        Raises:
            ValueError: for an empty path or something that is no module.
            AttributeError: naming the step of the path that leads nowhere, or to something else than a module.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if strict or hasattr(owner, name):
            owner.get_submodule(name)
        setattr(owner, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path ``target``.

        Raises:
            AttributeError: when there is none.
        """
        owner, name = self._owner(target)
        parameter = getattr(owner, name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path ``target``.

        Raises:
            AttributeError: when there is none.
        """
        owner, name = self._owner(target)
        if name not in owner._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(owner, name)

    def _owner(self, target: str) -> tuple[Module, str]:
        """The module that has the attribute at the dotted path ``target``, and its name there."""
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{owner._get_name()} has no attribute `{name}`")
        return owner, name

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` on every module below this one and then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Behave as in training (dropout, batch statistics), or not."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Behave as in evaluation; ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Whether the parameters are trained."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget (or set to 0) the gradients of all parameters."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                with no_grad():
                    parameter.grad.detach_().zero_()

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        """Replace the numbers of every parameter, its gradient and every buffer; the parameters stay the same objects."""
        for child in self.children() if recurse else ():
            child._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    gradient = parameter.grad
                    parameter.grad = None
                    parameter.data = fn(parameter.data)
                    if gradient is not None:
                        parameter.grad = fn(gradient.data)
            for name, buffer in self._buffers.items():
                if is_lazy(buffer):
                    buffer.data = fn(buffer.data)  # type: ignore[union-attr]
                elif buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move to a device and convert floating-point parameters and buffers: ``to(device)``, ``to(dtype)``, both.

        ``to(memory_format=torchlite.channels_last)`` changes how those of four dimensions lie in memory.

        Raises:
            DeviceError: when the device is not available here.
            TypeError: for a dtype that is not floating point.
        """
        from torchlite.ops.conversion import _target

        dtype, device, _, order = _target(args, dict(kwargs))
        if dtype is not None and dtypes.category(dtype) < 2:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        if dtype is not None and dtype.is_complex:
            warnings.warn(
                "Complex modules are a new feature under active development: some modules might not work as expected when "
                "using complex tensors as parameters or buffers.",
                stacklevel=2,
            )

        def convert(x: Tensor) -> Tensor:
            wanted = dtype if x.is_floating_point() or x.is_complex() else None
            if x.is_meta and device is not None and device.type != "meta":
                raise NotImplementedError(
                    "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                )
            fits = len(order.order) in (0, x.ndim)
            return x.to(device=device, dtype=wanted, memory_format=order if fits else None)

        return self._apply(convert)

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Move to a device with uninitialised parameters and buffers."""
        target = Device(device)
        return self._apply(lambda x: x.new_empty(x.shape, device=target), recurse=recurse)

    def cpu(self: M) -> M:
        """Move to host memory."""
        return self.to("cpu")

    def cuda(self: M, device: Any = None) -> M:
        """Move to a GPU."""
        return self.to("cuda" if device is None else device)

    def share_memory(self: M) -> M:
        """Move all parameters and buffers to memory that processes forked from this one share."""
        return self._apply(share_memory_)

    def type(self: M, dst_type: Any) -> M:
        """Convert all parameters and buffers, integers included, to ``dst_type``."""
        return self._apply(lambda x: type_(x, dst_type))

    def _convert(self: M, dtype: dtypes.dtype) -> M:
        return self._apply(lambda x: x.to(dtype) if x.is_floating_point() else x)

    def float(self: M) -> M:
        """Convert floating-point parameters and buffers to float32."""
        return self._convert(dtypes.float32)

    def double(self: M) -> M:
        """Convert floating-point parameters and buffers to float64."""
        return self._convert(dtypes.float64)

    def half(self: M) -> M:
        """Convert floating-point parameters and buffers to float16."""
        return self._convert(dtypes.float16)

    def bfloat16(self: M) -> M:
        """Convert floating-point parameters and buffers to bfloat16."""
        return self._convert(dtypes.bfloat16)

    def extra_repr(self) -> str:
        """What stands between the parentheses of this module's line in ``print(model)``."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({''.join(lines)})"
        return f"{self._get_name()}(\n  " + "\n  ".join([*lines, *children]) + "\n)"


def indented(text: str) -> str:
    """``text`` with every line but the first moved in."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(f"  {line}" for line in rest)])
