"""The base of all modules: what it owns, how it is called, moved, saved and printed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.autograd.hooks import RemovableHandle
from torchlite.devices import Device
from torchlite.parameter import Buffer, Parameter, is_lazy

M = TypeVar("M", bound="Module")


class IncompatibleKeys(NamedTuple):
    """What did not match in `Module.load_state_dict`."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
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
    inferred: ClassVar[Mapping[str, int]] = {}
    """Constructor arguments that the shape of the input decides, and the input dimension that does (for configs)."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "training", True)
        for name in ("_parameters", "_buffers", "_modules"):
            set_(self, name, {})
        set_(self, "_non_persistent", set())
        for name in (
            "_forward_pre_hooks", "_forward_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks", "_backward_hooks",
        ):  # fmt: skip
            set_(self, name, OrderedDict())

    if TYPE_CHECKING:
        forward: Callable[..., Any]
    else:

        def forward(self, *_args, **_kwargs):
            """Compute the result; every module overrides this."""
            raise TypeError(
                f'Module [{type(self).__name__}] is missing the required "forward" function: define '
                "forward(self, ...) in its class"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, with the hooks around it."""
        if not (self._forward_pre_hooks or self._forward_hooks or self._backward_hooks):
            return self.forward(*args, **kwargs)
        return self._call_with_hooks(args, kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook, with_kwargs in tuple(self._forward_pre_hooks.values()):
            if with_kwargs:
                replaced = hook(self, args, kwargs)
                if replaced is not None:
                    args, kwargs = replaced
            else:
                replaced = hook(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)
        result = self.forward(*args, **kwargs)
        for hook, with_kwargs in tuple(self._forward_hooks.values()):
            replaced = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            result = result if replaced is None else replaced
        if self._backward_hooks:
            self._watch_backward(args, result)
        return result

    def _watch_backward(self, args: tuple[Any, ...], result: Any) -> None:
        """Call the backward hooks once the gradient of the (first) result is known."""
        outs = [r for r in (result if isinstance(result, tuple) else (result,)) if isinstance(r, Tensor)]
        inputs = [a for a in args if isinstance(a, Tensor)]
        if not outs or not outs[0].requires_grad:
            return
        grad_output: list[Any] = [None] * len(outs)
        grad_input: list[Any] = [None] * len(inputs)

        def remember(store: list[Any], place: int) -> Callable[[Tensor], None]:
            def hook(g: Tensor) -> None:
                store[place] = g

            return hook

        def finish(g: Tensor) -> Any:
            grad_input[0] = g
            for user_hook in tuple(self._backward_hooks.values()):
                replaced = user_hook(self, tuple(grad_input), tuple(grad_output))
                if replaced is not None:
                    grad_input[0] = replaced[0] if isinstance(replaced, tuple) else replaced
            return grad_input[0]

        def finish_without_input(g: Tensor) -> None:
            grad_output[0] = g
            for user_hook in tuple(self._backward_hooks.values()):
                user_hook(self, tuple(grad_input), tuple(grad_output))

        if inputs and inputs[0].requires_grad:
            for i, out in enumerate(outs):
                if out.requires_grad:
                    out.register_hook(remember(grad_output, i))
            for i, x in enumerate(inputs[1:], 1):
                if x.requires_grad:
                    x.register_hook(remember(grad_input, i))
            inputs[0].register_hook(finish)
        else:
            outs[0].register_hook(finish_without_input)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns replaces the arguments."""
        return RemovableHandle(self._forward_pre_hooks, (hook, with_kwargs), prepend=prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; what it returns replaces the output."""
        return RemovableHandle(self._forward_hooks, (hook, with_kwargs), prepend=prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` in backward; a result replaces the gradient of the first input."""
        return RemovableHandle(self._backward_hooks, hook, prepend=prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` when this module's state has been gathered."""
        return RemovableHandle(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)`` before loading."""
        return RemovableHandle(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading."""
        return RemovableHandle(self._load_state_dict_post_hooks, hook)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Own ``param`` under ``name``; None keeps the name without a value."""
        self._check_name(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' (nn.Parameter or None required)"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Own a tensor that is not trained: it moves and, when persistent, is saved with the module."""
        self._check_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (Tensor or None required)"
            )
        self._buffers[name] = tensor
        self._non_persistent.discard(name) if persistent else self._non_persistent.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Own ``module`` under ``name``."""
        self._check_name(name, "_modules")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, name: str, store: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"call super().__init__() in {type(self).__name__}.__init__() before assigning '{name}'"
            )
        if not isinstance(name, str):
            raise TypeError(f"a name must be a string, got {type(name).__name__}")
        if "." in name or name == "":
            raise KeyError(f"a name can't be empty or contain '.', got {name!r}")
        if name not in self.__dict__[store] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def __setattr__(self, name: str, value: Any) -> None:
        stores = [self.__dict__.get(s) for s in ("_parameters", "_buffers", "_modules")]
        parameters, buffers, modules = stores
        if isinstance(value, Parameter):
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, keep="_modules")
            self.add_module(name, value)
        elif isinstance(value, Buffer):
            self._forget(name, keep="_buffers")
            self.register_buffer(name, value, value.persistent)
        elif parameters is not None and name in parameters:
            self.register_parameter(name, value)
        elif modules is not None and name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' (nn.Module or None expected)"
                )
            modules[name] = None
        elif buffers is not None and name in buffers:
            self.register_buffer(name, value, name not in self._non_persistent)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, *, keep: str) -> None:
        """Drop what ``name`` was, except in the store ``keep``, where the new value takes its place in the order."""
        self.__dict__.pop(name, None)
        for store in ("_parameters", "_buffers", "_modules"):
            if store != keep:
                self.__dict__.get(store, {}).pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for store in ("_parameters", "_buffers", "_modules"):
            owned = self.__dict__.get(store)
            if owned is not None and name in owned:
                return owned[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for store in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(store, {}):
                del self.__dict__[store][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._parameters, *self._buffers, *self._modules})

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

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

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
                raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
            module = getattr(module, part)
            if not isinstance(module, Module):
                raise AttributeError(f"`{part}` is not an nn.Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path ``target``."""
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if owner._parameters.get(name) is None:
            raise AttributeError(f"{type(owner).__name__} has no parameter `{name}`")
        return owner._parameters[name]  # type: ignore[return-value]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path ``target``."""
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if owner._buffers.get(name) is None:
            raise AttributeError(f"{type(owner).__name__} has no buffer `{name}`")
        return owner._buffers[name]  # type: ignore[return-value]

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
        for module in self.modules():
            object.__setattr__(module, "training", mode)
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

    def _convert(self: M, convert: Callable[[Tensor], Tensor]) -> M:
        """Replace the numbers of every parameter, its gradient and every buffer; the objects stay the same."""
        with no_grad():
            for module in self.modules():
                for parameter in module._parameters.values():
                    if parameter is not None:
                        parameter.data = convert(parameter.data)
                        if parameter.grad is not None:
                            gradient = convert(parameter.grad.data)
                            parameter.grad = None
                            parameter.grad = gradient
                for name, buffer in module._buffers.items():
                    if is_lazy(buffer):
                        buffer.data = convert(buffer.data)  # type: ignore[union-attr]
                    elif buffer is not None:
                        module._buffers[name] = convert(buffer)
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

        def convert(x: Tensor) -> Tensor:
            wanted = dtype if x.is_floating_point() or x.is_complex() else None
            if x.is_meta and device is not None and device.type != "meta":
                raise RuntimeError("can't copy out of a meta tensor: it has no data; use to_empty(device=...) instead")
            fits = len(order.order) in (0, x.ndim)
            return x.to(device=device, dtype=wanted, memory_format=order if fits else None)

        return self._convert(convert)

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:  # noqa: ARG002 - PyTorch's signature
        """Move to a device with uninitialised parameters and buffers."""
        target = Device(device)
        return self._convert(lambda x: x.new_empty(x.shape, device=target))

    def cpu(self: M) -> M:
        """Move to host memory."""
        return self.to("cpu")

    def cuda(self: M, device: Any = None) -> M:
        """Move to a GPU."""
        return self.to("cuda" if device is None else device)

    def float(self: M) -> M:
        """Convert floating-point parameters and buffers to float32."""
        return self.to(dtypes.float32)

    def double(self: M) -> M:
        """Convert floating-point parameters and buffers to float64."""
        return self.to(dtypes.float64)

    def half(self: M) -> M:
        """Convert floating-point parameters and buffers to float16."""
        return self.to(dtypes.float16)

    def bfloat16(self: M) -> M:
        """Convert floating-point parameters and buffers to bfloat16."""
        return self.to(dtypes.bfloat16)

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """All parameters and persistent buffers by name; the tensors share memory with the module's."""
        state: Any = OrderedDict() if destination is None else destination
        local_metadata: dict[str, Any] = {"version": getattr(self, "_version", 1)}
        for name, parameter in self._parameters.items():
            if parameter is not None:
                state[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent:
                state[prefix + name] = buffer if keep_vars else buffer.detach()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in tuple(self._state_dict_hooks.values()):
            hook(self, state, prefix, local_metadata)
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy parameters and buffers from ``state_dict`` by name.

        Args:
            state_dict: names to tensors, as `state_dict` gives them.
            strict: every name must be there and no other.
            assign: take the tensors themselves instead of copying their numbers.

        Raises:
            RuntimeError: listing every missing and unexpected name and every shape that differs; then nothing
                has been changed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        state = OrderedDict(state_dict)
        keys = IncompatibleKeys([], [])
        errors: list[str] = []
        copies: list[tuple[Module, str, str, Tensor]] = []
        expected: set[str] = set()
        for path, module in self.named_modules(remove_duplicate=False):
            prefix = f"{path}." if path else ""
            for hook in tuple(module._load_state_dict_pre_hooks.values()):
                hook(module, state, prefix, {}, strict, keys.missing_keys, keys.unexpected_keys, errors)
            for store in ("_parameters", "_buffers"):
                for name, own in getattr(module, store).items():
                    if own is None or (store == "_buffers" and name in module._non_persistent):
                        continue
                    expected.add(prefix + name)
                    if prefix + name not in state:
                        keys.missing_keys.append(prefix + name)
                        continue
                    given = state[prefix + name]
                    if not isinstance(given, Tensor):
                        errors.append(
                            f'While copying "{prefix + name}": expected a Tensor, got {type(given).__name__}.'
                        )
                    elif given.shape != own.shape:
                        errors.append(
                            f"size mismatch for {prefix + name}: copying a param with shape {given.shape} from checkpoint, "
                            f"the shape in current model is {own.shape}."
                        )
                    else:
                        copies.append((module, store, name, given))
        keys.unexpected_keys.extend(key for key in state if key not in expected)
        if strict:
            if keys.unexpected_keys:
                errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}.")
            if keys.missing_keys:
                errors.insert(0, f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}.")
        if errors:
            listed = "\n\t".join(errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{listed}")
        with no_grad():
            for module, store, name, given in copies:
                own = getattr(module, store)[name]
                if not assign:
                    own.copy_(given)
                elif store == "_parameters":
                    module._parameters[name] = Parameter(given.detach(), requires_grad=own.requires_grad)
                else:
                    module._buffers[name] = given
        for module in self.modules():
            for hook in tuple(module._load_state_dict_post_hooks.values()):
                hook(module, keys)
        return keys

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


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
