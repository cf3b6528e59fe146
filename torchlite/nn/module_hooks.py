"""Functions that a call of a module, its backward, or the registration of what it owns calls on the way."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torchlite._tensor import Tensor
from torchlite.autograd.function import Function
from torchlite.autograd.grad_mode import grad_mode
from torchlite.autograd.hooks import Hooks, RemovableHandle, of_everything
from torchlite.ops.creation import zeros

if TYPE_CHECKING:
    from torchlite.nn.module import Module


class Hook(NamedTuple):
    """A function that wants more than usual; the others stand in the dictionaries of hooks as they are."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


def _hook(function: Callable[..., Any], with_kwargs: bool, always_call: bool = False) -> Any:
    return Hook(function, with_kwargs, always_call) if with_kwargs or always_call else function


def _as_hook(hook: Any) -> Hook:
    return hook if type(hook) is Hook else Hook(hook)


Kind = Literal["forward_pre", "forward", "backward_pre", "backward"]


class _OfAllModules:
    """Hooks of every module there is; they come before a module's own."""

    def __init__(self) -> None:
        self.calls = of_everything["modules"]  # (kind, hook): all in one, so that a call asks one dictionary
        self.backward_is_full = True
        self.registration: dict[str, Hooks] = {kind: OrderedDict() for kind in ("parameter", "buffer", "module")}

    def of(self, kind: Kind) -> list[Any]:
        """The hooks of one kind."""
        return [hook for its_kind, hook in self.calls.values() if its_kind == kind]


of_all_modules = _OfAllModules()


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module; what it returns replaces the arguments."""
    return RemovableHandle(of_all_modules.calls, ("forward_pre", hook))


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module; see `Module.register_forward_hook`."""
    return RemovableHandle(of_all_modules.calls, ("forward", _hook(hook, with_kwargs, always_call)))


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` for every module; see `Module.register_full_backward_pre_hook`."""
    return RemovableHandle(of_all_modules.calls, ("backward_pre", hook))


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` for every module; see `Module.register_full_backward_hook`."""
    return _register_backward_hook_of_all(hook, full=True)


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """The old form of `register_module_full_backward_hook`; see `Module.register_backward_hook`."""
    return _register_backward_hook_of_all(hook, full=False)


def _register_backward_hook_of_all(hook: Callable[..., Any], *, full: bool) -> RemovableHandle:
    if of_all_modules.of("backward") and of_all_modules.backward_is_full is not full:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module hook. Please use only one "
            "of them."
        )
    of_all_modules.backward_is_full = full
    return RemovableHandle(of_all_modules.calls, ("backward", hook))


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, parameter)`` when a module gets one; what it returns is registered instead."""
    return RemovableHandle(of_all_modules.registration["parameter"], hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` when a module gets one; what it returns is registered instead."""
    return RemovableHandle(of_all_modules.registration["buffer"], hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` when a module gets one; what it returns is registered instead."""
    return RemovableHandle(of_all_modules.registration["module"], hook)


def registered(kind: str, module: Any, name: str, value: Any) -> Any:
    """What is registered in the end: ``value``, or what the last hook that returned something made of it."""
    for hook in of_all_modules.registration[kind].values():
        replaced = hook(module, name, value)
        value = value if replaced is None else replaced
    return value


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` with all hooks around it."""
    after = [_as_hook(hook) for hook in (*of_all_modules.of("forward"), *module._forward_hooks.values())]
    pending = [hook for hook in after if hook.always_call]
    result = None

    def run_after(hook: Hook) -> None:
        nonlocal result
        replaced = (
            hook.function(module, args, kwargs, result) if hook.with_kwargs else hook.function(module, args, result)
        )
        result = result if replaced is None else replaced

    try:
        args, kwargs = _arguments(module, args, kwargs)
        watch = _watch(module)
        args = args if watch is None else watch.inputs(args)
        result = module.forward(*args, **kwargs)
        for hook in after:
            if hook.always_call:
                pending.remove(hook)
            run_after(hook)
        result = result if watch is None else watch.outputs(result)
        _hook_node(module, args, result)
    except Exception:
        for hook in pending:
            try:
                run_after(hook)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was silenced as another error "
                    f"was raised in forward: {error}",
                    stacklevel=3,
                )
        raise
    return result


def _arguments(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments after the hooks that come before forward."""
    for hook in map(_as_hook, (*of_all_modules.of("forward_pre"), *module._forward_pre_hooks.values())):
        if not hook.with_kwargs:
            replaced = hook.function(module, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
            continue
        replaced = hook.function(module, args, kwargs)
        if replaced is not None:
            if not isinstance(replaced, tuple) or len(replaced) != 2:
                raise RuntimeError(
                    f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                )
            args, kwargs = replaced
    return args, kwargs


class _PassOn(Function):
    """Tensors as they are, with one node that sees all their gradients."""

    @staticmethod
    def forward(ctx: Any, *tensors: Any) -> Any:
        ctx.mark_non_differentiable(*(x for x in tensors if not x.requires_grad))
        return tensors

    @staticmethod
    def backward(_ctx: Any, *grads: Any) -> Any:
        return grads


class _BackwardWatch:
    """The backward hooks of one call of a module.

    What goes into the module passes a node, and what comes out another. The gradients that arrive at the second are
    grad_output, those that leave the first grad_input; None stands for whatever is no tensor or has no gradient.
    """

    def __init__(self, module: Module, pre_hooks: list[Any], hooks: list[Any]) -> None:
        self.module = module
        self.pre_hooks = pre_hooks
        self.hooks = hooks
        self.grad_output: Any = None
        self.n_inputs = 0
        self.watches_inputs = False

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of forward, behind the node whose backward ends that of the module."""
        self.n_inputs = len(args)
        args, places, node = _behind_a_node(args)
        self.watches_inputs = node is not None
        kinds = [(args[i].shape, args[i].dtype, args[i].device) for i in places]

        def finish(grads: tuple[Any, ...], _: Any) -> Any:
            if self.grad_output is None:  # the gradient came another way than through the module's result
                return None
            known = [
                zeros(shape, dtype=dtype, device=device) if g is None else g  # of one that requires no gradient
                for g, (shape, dtype, device) in zip(grads, kinds, strict=True)
            ]
            grad_input = self._after_hooks(_spread(known, places, self.n_inputs))
            return tuple(grad_input[i] for i in places)

        if node is not None:
            node.register_hook(finish)
        return args

    def outputs(self, result: Any) -> Any:
        """The result of forward, behind the node whose backward begins that of the module."""
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                f"{type(result)}",
                stacklevel=5,
            )
            return result
        several = result if isinstance(result, tuple) else (result,)
        behind, places, node = _behind_a_node(several)

        def begin(grads: tuple[Any, ...]) -> Any:
            self.grad_output = grad_output = self._after_pre_hooks(_spread(grads, places, len(several)))
            if not self.watches_inputs:
                self._finish_without_inputs()
            return tuple(grad_output[i] for i in places)

        if node is not None:
            node.register_prehook(begin)
        return behind if isinstance(result, tuple) else behind[0]

    def _after_pre_hooks(self, grad_output: Any) -> Any:
        for hook in self.pre_hooks:
            replaced = hook(self.module, grad_output)
            if replaced is not None:
                if len(replaced) != len(grad_output):
                    raise RuntimeError(
                        f"Backward pre hook returned an invalid number of grad_output, got {len(replaced)}, but expected "
                        f"{len(grad_output)}"
                    )
                grad_output = replaced
        return grad_output

    def _after_hooks(self, grad_input: Any) -> Any:
        for hook in self.hooks:
            replaced = hook(self.module, grad_input, self.grad_output)
            if replaced is not None:
                if len(replaced) != len(grad_input):
                    raise RuntimeError(
                        f"Backward hook returned an invalid number of grad_input, got {len(replaced)}, but expected "
                        f"{len(grad_input)}"
                    )
                grad_input = replaced
        self.grad_output = None
        return grad_input

    def _finish_without_inputs(self) -> None:
        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
            "require gradients.",
            stacklevel=5,
        )
        for hook in self.hooks:
            replaced = hook(self.module, (None,) * self.n_inputs, self.grad_output)
            if replaced is not None and not (isinstance(replaced, tuple) and all(g is None for g in replaced)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for all "
                    "gradients."
                )
        self.grad_output = None


def _behind_a_node(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int], Any]:
    """``values`` with the tensors passed on by one operation, the places of these, and its node; None without one."""
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not grad_mode.enabled or not any(values[i].requires_grad for i in places):
        return values, places, None
    passed = _PassOn.apply(*(values[i] for i in places))
    new = list(values)
    for i, x in zip(places, passed, strict=True):
        new[i] = x
    return tuple(new), places, next(x.grad_fn for x in passed if x.grad_fn is not None)


def _spread(grads: Sequence[Any], places: list[int], count: int) -> tuple[Any, ...]:
    """``grads`` at their places among ``count`` values, with None at the others."""
    by_place = dict(zip(places, grads, strict=True))
    return tuple(by_place.get(i) for i in range(count))


def _watch(module: Any) -> _BackwardWatch | None:
    """A watch for this call when backward hooks are there that need one."""
    pre_hooks = [*of_all_modules.of("backward_pre"), *module._backward_pre_hooks.values()]
    hooks = [
        *(of_all_modules.of("backward") if of_all_modules.backward_is_full else ()),
        *(module._backward_hooks.values() if module._is_full_backward_hook else ()),
    ]
    return _BackwardWatch(module, pre_hooks, hooks) if pre_hooks or hooks else None


def _hook_node(module: Any, args: tuple[Any, ...], result: Any) -> None:
    """Hang backward hooks of the old form on the node of the (first) result: they see what the last operation sees."""
    hooks = [
        *(() if of_all_modules.backward_is_full else of_all_modules.of("backward")),
        *(() if module._is_full_backward_hook else module._backward_hooks.values()),
    ]
    if not hooks:
        return
    first = result
    while not isinstance(first, Tensor):
        first = next(v for v in first.values() if isinstance(v, Tensor)) if isinstance(first, dict) else first[0]
    node = first.grad_fn
    if node is not None:
        for hook in hooks:
            node.register_hook(lambda grad_input, grad_output, hook=hook: hook(module, grad_input, grad_output))
        _warn_of_what_is_missed(args, result, node)


def _warn_of_what_is_missed(args: tuple[Any, ...], result: Any, node: Any) -> None:
    outs = result if isinstance(result, tuple) else (result,)
    nodes = {x.grad_fn for x in outs if isinstance(x, Tensor) and x.grad_fn is not None}
    if not all(isinstance(x, Tensor) for x in outs):
        use = "non-full backward hooks on a Module that does not return a single Tensor or a tuple of Tensors"
    elif not all(isinstance(x, Tensor) for x in args):
        use = "non-full backward hooks on a Module that does not take as input a single Tensor or a tuple of Tensors"
    elif len(nodes) > 1:
        use = "a non-full backward hook when outputs are generated by different autograd Nodes"
    elif {x.grad_fn for x in args if x.grad_fn is not None} != {edge for edge, _ in node.next_functions}:
        use = "a non-full backward hook when the forward contains multiple autograd Nodes"
    else:
        return
    warnings.warn(
        f"Using {use} is deprecated and will be removed in future versions. This hook will be missing some gradients. Please "
        "use register_full_backward_hook to get the documented behavior.",
        FutureWarning,
        stacklevel=5,
    )


class ModuleHooks:
    """What a module offers to register hooks of its calls and of their backward."""

    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: Hooks
    _backward_hooks: Hooks
    _is_full_backward_hook: bool | None

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns replaces the arguments.

        Args:
            hook: with ``with_kwargs`` it is called ``hook(module, args, kwargs)`` and returns (args, kwargs) or None.
            prepend: come before the module's other hooks.
            with_kwargs: whether the hook sees keyword arguments.
        """
        return RemovableHandle(self._forward_pre_hooks, _hook(hook, with_kwargs), prepend=prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; what it returns replaces the output.

        Args:
            hook: with ``with_kwargs`` it is called ``hook(module, args, kwargs, output)``.
            prepend: come before the module's other hooks.
            with_kwargs: whether the hook sees keyword arguments.
            always_call: whether it is called also when forward raises, then with the output None.
        """
        return RemovableHandle(self._forward_hooks, _hook(hook, with_kwargs, always_call), prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when backward reaches the module; what it returns replaces grad_output."""
        return RemovableHandle(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known.

        Both are tuples with None for what is no tensor or has no gradient; a tuple that the hook returns replaces
        grad_input.

        Raises:
            RuntimeError: when the module has backward hooks of the old form.
        """
        self._decide_form(full=True)
        return RemovableHandle(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` with what the last operation of forward gets and gives.

        Deprecated in favour of `register_full_backward_hook`.

        Raises:
            RuntimeError: when the module has full backward hooks.
        """
        self._decide_form(full=False)
        return RemovableHandle(self._backward_hooks, hook)

    def _decide_form(self, *, full: bool) -> None:
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one of "
                "them."
            )
        self._is_full_backward_hook = full
