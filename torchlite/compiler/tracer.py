"""Tracing: a function runs with tensors that have no numbers, and what it does to them becomes a graph.

A tensor from outside is given a symbol in the place of its array when it is touched first (`attributes`), so nothing can
read numbers past the tracer; what it was is put back in the end. Writes into memory become values of the graph.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from operator import is_
from pathlib import Path
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.graph import Leaf
from torchlite.backends import device_of, is_array
from torchlite.backends.philox import blocks_for
from torchlite.compiler.branches import BRANCH, Answers, Branches, OtherBranch
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.numbers import ALIKE_IN_NUMPY, ARITHMETIC, HostNumber, as_array, host, item
from torchlite.compiler.state import Derived, State
from torchlite.compiler.symbols import Memory, Symbol, ghost_of
from torchlite.devices import CPU, META
from torchlite.dispatch import common_device, on_device
from torchlite.ir import REGISTRY, Aval, Op
from torchlite.ops.mutation import view_scatter
from torchlite.tracing import Uncapturable

Site = tuple[str, int]
_PACKAGE = str(Path(__file__).parent.parent)


@dataclass(eq=False)
class External:
    """A tensor that was there before.

    Attributes:
        tensor: the tensor.
        symbol: what stands for its array.
        before: its attributes.
        storage: the attributes of its storage.
        hooks: on its gradient.
        owner: for a gradient found at the beginning: the tensor whose gradient it is.
        writes: how often it is written into.
        input: the value that it has at the beginning.
    """

    tensor: Tensor
    symbol: Symbol
    before: dict[str, Any]
    storage: dict[str, Any]
    hooks: dict[str, Any]
    owner: Tensor | None = None

    writes: int = 0
    input: Value = field(init=False)

    @property
    def written(self) -> bool:
        """Whether its memory is overwritten."""
        return self.symbol.memory.value is not self.input


class Tracer:
    """Records what happens to tensors in this thread.

    Attributes:
        nodes: the operations so far.
        arithmetic: of numbers: operation, operands and the value that stands for the result.
        externals: tensors from outside by id, in the order in which they were touched.
        conditions: what was asked about numbers from outside, with how to ask again and the answer.
        state: the numbers from outside that change from call to call.
        gradients: tensors whose ``.grad`` was looked at or changed, what was there at the beginning, and whether that
            was looked at.
        generators: the random streams from which numbers are taken.
        doubted: places that have relied on a condition in vain.
        answers: to questions about numbers of tensors.
        given: ids of the tensors that each call has others of.
        in_backward: whether what is traced runs in a backward pass of its own, where there is no way back to the function.
        refusal: the first reason why the function can't be captured.
    """

    def __init__(self, doubted: set[Site], branches: Branches | None = None) -> None:
        self.nodes: list[Node] = []
        self.arithmetic: list[tuple[Op, Sequence[Any], Value]] = []
        self.externals: dict[int, External] = {}
        self.conditions: dict[Any, tuple[Callable[[], Any], Any]] = {}
        self.state = State(self, (), set())
        self.gradients: dict[int, tuple[Tensor, Tensor | None, bool]] = {}
        self.generators: list[Any] = []
        self.doubted = doubted
        self.answers = Answers(self, branches or Branches(wanted=False))
        self.given: Collection[int] = ()
        self.in_backward = False
        self.refusal: Uncapturable | None = None

    # Tensors from outside

    def symbol(self, tensor: Tensor) -> Any:
        """What stands for the array of ``tensor``."""
        data = tensor.__dict__["_data"]
        return data if isinstance(data, Aval) else self.external(tensor).symbol

    def external(self, tensor: Tensor) -> External:
        """Take note of a tensor from outside."""
        found = self.externals.get(id(tensor))
        if found is not None:
            return found
        attributes = tensor.__dict__
        array = attributes["_data"]
        if not is_array(array):
            raise Uncapturable("vmap works on tensors of one example, which are not captured")
        value = Value(Aval(array.shape, array.dtype, device_of(array)))
        memory = Memory(value)
        symbol = Symbol.of(memory, array.shape, array.dtype, ghost=ghost_of(array))
        storage = attributes["_storage"]
        node = attributes.get("_node")
        hooks = hooks_of(node)
        memory.external = external = External(tensor, symbol, dict(attributes), dict(vars(storage)), hooks)
        external.input = value
        self.externals[id(tensor)] = external
        attributes.pop("_base", None)
        attributes.pop("_recipe", None)
        if node is not None and type(node) is not Leaf:
            attributes["_node"] = Leaf(tensor)
        return external

    def gradient(self, tensor: Tensor) -> Tensor | None:
        """``tensor._grad``."""
        self._note_gradient(tensor, read=True)
        found: Tensor | None = tensor.__dict__.get("_grad")
        return found

    def set_gradient(self, tensor: Tensor, value: Tensor | None) -> None:
        """``tensor._grad = value``."""
        self._note_gradient(tensor, read=False)
        external = self.externals.get(id(tensor))
        if external is not None and type(external.before.get("_node")) not in (Leaf, type(None)) and value is not None:
            raise Uncapturable("backward reaches a tensor that was computed before the captured function began")
        tensor.__dict__["_grad"] = value

    def _note_gradient(self, tensor: Tensor, *, read: bool) -> None:
        data = tensor.__dict__.get("_data")
        if is_array(data):
            self.external(tensor)
        if id(tensor) in self.externals and id(tensor) not in self.gradients:
            before = self.externals[id(tensor)].before.get("_grad")
            self.gradients[id(tensor)] = (tensor, before, read)
            if before is not None and read and id(before) not in self.externals:
                self.external(before).owner = tensor

    def restore(self) -> None:
        """Put back what the tensors from outside were."""
        for external in self.externals.values():
            attributes = external.tensor.__dict__
            _put_back(attributes, external.before)
            for name, hooks in external.hooks.items():
                now = getattr(attributes["_node"], name)
                if now is None or hooks is None:
                    setattr(attributes["_node"], name, hooks)
                elif list(now.items()) != list(hooks.items()):  # what removes a hook knows the dict
                    now.clear()
                    now.update(hooks)
            _put_back(vars(attributes["_storage"]), external.storage)
            external.before.clear()  # a capture must not keep the gradients of that call

    # Operations

    def record(self, op: Op, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
        """What `apply` runs instead of an operator."""
        device = common_device(op, arrays) if arrays else CPU
        if device == META:
            return on_device(op.infer(*arrays, **params), device)
        params = {name: _settled(value) for name, value in params.items()}
        if op.kind == "view":
            return self._view(op, arrays[0], params)
        fixed = {k: v for k, v in params.items() if not isinstance(v, HostNumber)}
        lifted = {k: v.value for k, v in params.items() if isinstance(v, HostNumber)}
        given = fixed | dict.fromkeys(lifted, 0)
        avals = [Aval(a.shape, a.dtype, a.device) for a in arrays]
        inferred = op.infer(*avals, **given)
        inputs = tuple(self.read(a) for a in arrays)
        several = type(inferred) is tuple
        device = params.get("device", device)  # of what is copied or drawn
        results = tuple(Aval(tuple(r.shape), np.dtype(r.dtype), device) for r in (inferred if several else (inferred,)))
        values = self.emit(op, inputs, fixed, results, lifted=lifted, several=several)
        known = all(a.known and a.flags.c_contiguous for a in arrays) or (
            op.kind == "contract" and len(results[0].shape) < 3
        )
        doubtful = op.name == "clone" and params["order"] is not None and not all(a.known for a in arrays)
        symbols = []
        for value, aval in zip(values, results, strict=True):
            memory = Memory(value, known=known)
            memory.doubtful = doubtful
            symbols.append(Symbol.of(memory, aval.shape, aval.dtype))
        return tuple(symbols) if several else symbols[0]

    def emit(
        self,
        op: Op,
        inputs: Sequence[Value],
        params: dict[str, Any],
        results: Sequence[Aval | None],
        *,
        lifted: dict[str, Value] | None = None,
        several: bool = False,
    ) -> tuple[Value, ...]:
        """Append an operation to the graph."""
        node = Node(op, tuple(inputs), params, lifted=lifted or {}, several=several, line=self.user_line())
        node.outputs = tuple(Value(aval, node) for aval in results)
        self.nodes.append(node)
        return node.outputs

    def user_line(self) -> str:
        """Where the code is that asks for an operation."""
        return user_line()

    def _view(self, op: Op, x: Symbol, params: dict[str, Any]) -> Symbol:
        if "own" in params:
            raise Uncapturable("as_strided looks at memory, of which a captured function has none")
        aval = op.infer(Aval(x.shape, x.dtype), **params)
        ghost = None
        if x.known:
            ghost = op.run(np, x.ghost, **params)
            ghost = ghost if isinstance(ghost, np.ndarray) else np.asarray(ghost)
        return Symbol.of(x.memory, aval.shape, aval.dtype, (*x.recipe, (op, params)), ghost)

    def read(self, x: Symbol) -> Value:
        """The value that a symbol has at the moment."""
        value, part_of = x.memory.value, x.memory.part_of
        if part_of is not None and part_of[0].value is not part_of[1]:
            raise Uncapturable("a part at a position that is a tensor is read after the whole has changed")
        if not x.recipe:
            return value
        if x.seen is not None and x.seen[0] is value:
            return x.seen[1]
        seen = value
        for op, params in x.recipe:
            assert seen.aval is not None
            aval = op.infer(seen.aval, **params)
            (seen,) = self.emit(op, (seen,), params, [Aval(tuple(aval.shape), np.dtype(aval.dtype), x.device)])
        x.seen = (value, seen)
        return seen

    def write(self, target: Any, source: Any) -> None:
        """``target[...] = source``: from now on the memory has another value."""
        if not isinstance(target, Symbol):
            return  # on the device meta
        if not isinstance(source, Symbol):
            raise RuntimeError("can't copy out of a tensor on device 'meta': it has a shape and a dtype but no data")
        memory = target.memory
        if memory.doubtful:
            raise Uncapturable("a write into what may be a copy or not, depending on how it lies in memory")
        if target.known and not target.ghost.flags.writeable:
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory location"
            )
        value = self.read(source)
        if source.dtype != target.dtype:
            aval = Aval(source.shape, target.dtype, source.device)
            (value,) = self.emit(REGISTRY["cast"], (value,), {"dtype": target.dtype}, [aval])
        if source.device != target.device:
            aval = Aval(source.shape, target.dtype, target.device)
            (value,) = self.emit(REGISTRY["to_device"], (value,), {"device": target.device}, [aval])
        if source.shape != target.shape:
            aval = REGISTRY["expand"].infer(Aval(source.shape, target.dtype, target.device), shape=target.shape)
            (value,) = self.emit(REGISTRY["expand"], (value,), {"shape": target.shape}, [aval])
        if target.recipe:
            base = memory.value
            (value,) = self.emit(view_scatter, (base, value), {"recipe": target.recipe}, [base.aval])
        memory.value = value

    # Numbers

    def constant(self, array: Any) -> Symbol:
        """A symbol for an array that was made while tracing."""
        if array.base is not None or not array.flags.owndata:
            raise Uncapturable("an array that is part of another one becomes a tensor")
        value = Value(Aval(array.shape, array.dtype, device_of(array)), constant=array.copy(order="K"))
        return Symbol.of(Memory(value), array.shape, array.dtype, ghost=ghost_of(array))

    def tensor_of(self, number: Any, dtype: Any) -> Tensor:
        """A number as a tensor without dimensions."""
        if not isinstance(number, HostNumber):
            made: Tensor = wrap(as_array.run(number, dtype=dtype))
            return made
        if number.now is not None and np.dtype(dtype).kind == "f":
            number = self.state.as_float(number)
        (value,) = self.emit(as_array, (number.value,), {"dtype": np.dtype(dtype)}, [Aval((), np.dtype(dtype))])
        lifted: Tensor = wrap(Symbol.of(Memory(value), (), dtype))
        return lifted

    def number(self, data: Any) -> Any:
        """``tensor.item()``."""
        if not isinstance(data, Symbol):
            raise RuntimeError("can't copy out of a tensor on device 'meta': it has a shape and a dtype but no data")
        kind = {"b": bool, "i": int, "u": int, "c": complex}.get(data.dtype.kind, float)
        (value,) = self.emit(item, (self.read(data),), {}, [None])
        return HostNumber(self, value, kind)

    def compute_number(self, op: Op, operands: Sequence[Any], kind: type[Any]) -> HostNumber:
        """Arithmetic of numbers."""
        numbers = [x for x in operands if isinstance(x, HostNumber)]
        known = all(x.now is not None for x in numbers)
        if known and (kind is not float or op not in ARITHMETIC.values() or any(x.kind is not float for x in numbers)):
            result = self.state.derive(op, operands, kind)
        else:
            if kind is float or (kind is np.float64 and op in ALIKE_IN_NUMPY):
                operands = [self._as_float(x) for x in operands]
            values = [x.value if isinstance(x, HostNumber) else Value(None, constant=x) for x in operands]
            (value,) = self.emit(op, values, {}, [None])
            result = HostNumber(self, value, kind, Derived(op, operands, kind).read if known else None)
        self.arithmetic.append((op, operands, result.value))
        return result

    def _as_float(self, x: Any) -> Any:
        """An operand of what is computed in floats, which C knows as one where Python need not."""
        if isinstance(x, HostNumber):
            return x if x.now is None else self.state.as_float(x)
        return float(x) if type(x) is np.float64 else x

    def condition(self, key: Any, answer: Callable[[], Any]) -> Any:
        """An answer about numbers from outside, which has to be the same in every replay."""
        if key not in self.conditions:
            self.conditions[key] = (answer, answer())
        return self.conditions[key][1]

    def part(self, tensor: Tensor, whole: Tensor) -> None:
        """Take note that uncompiled code makes ``tensor`` a view of ``whole``, where a replay makes it a copy."""
        memory = whole._data.memory
        tensor._data.memory.doubtful = True
        tensor._data.memory.part_of = memory, memory.value

    def count_of(self, mask: Tensor) -> int | None:
        """How many elements of a mask are true, where each replay can rely on that."""
        return self.answers.count(mask)

    def effect(self, owner: Any, method: Any, args: Any, kwargs: Any) -> Any:
        """Let every replay call a method that only changes Python numbers."""
        return self.state.call(owner, method, args, kwargs)

    # Random streams and checks

    def take(self, generator: Any, words: int) -> tuple[Any, Any]:
        """The seed and the offset that the next ``words`` random words will have in each replay."""
        return self._of_stream(_take, generator, blocks=blocks_for(words))

    def state_of(self, generator: Any) -> tuple[Any, Any]:
        """The seed and the offset that a random stream will have here in each replay."""
        return self._of_stream(_state, generator)

    def go_on_from(self, generator: Any, state: tuple[Any, Any]) -> None:
        """Let every replay set a random stream back."""
        numbers = [x.value if isinstance(x, HostNumber) else Value(None, constant=int(x)) for x in state]
        self._of_stream(_restore, generator, *numbers)

    def _of_stream(self, op: Op, generator: Any, *numbers: Value, **params: Any) -> tuple[Any, Any]:
        if generator not in self.generators:
            self.generators.append(generator)
        inputs = (Value(None, constant=generator), *numbers)
        seed, offset = self.emit(op, inputs, params, [None, None], several=True)
        return HostNumber(self, seed, int), HostNumber(self, offset, int)

    def expect(self, condition: Tensor, site: Site) -> bool:
        """Rely on a condition, unless that was wrong before."""
        if site in self.doubted or self.in_backward:
            return False
        self.check(condition, site)
        return True

    def check(self, condition: Tensor, site: Site | str | None) -> None:
        """Let every replay end where the condition does not hold."""
        if self.in_backward:
            raise Uncapturable("backward checks values")
        self.emit(check, (self.read(condition._data),), {"site": site}, [None])


def _is_known_integer(x: Any) -> bool:
    return isinstance(x, HostNumber) and x.now is not None and x.kind is int


def _settled(parameter: Any) -> Any:
    """A parameter of an operator without numbers that shapes may depend on: they are asked for."""
    if isinstance(parameter, (tuple, list)):
        settled = [x._known() if isinstance(x, HostNumber) else _settled(x) for x in parameter]
        return parameter if all(map(is_, settled, parameter)) else type(parameter)(settled)
    if isinstance(parameter, slice):
        return slice(*map(_settled, (parameter.start, parameter.stop, parameter.step)))
    return parameter._known() if _is_known_integer(parameter) else parameter


def _put_back(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    """Let attributes be as before; those that are stay, for other threads read them meanwhile."""
    attributes.update(before)
    for name in attributes.keys() - before.keys():
        del attributes[name]


def hooks_of(node: Any) -> dict[str, Any]:
    """The hooks of a node by attribute, copied."""
    names = ("hooks", "after") if type(node) is Leaf else () if node is None else ("hooks",)
    return {name: copy(getattr(node, name)) for name in names}


class Doubted(RuntimeError):
    """A condition does not hold: one that the place ``site`` in the code relied on, or the check of an argument."""

    def __init__(self, site: Any) -> None:
        super().__init__(site)
        self.site = site


def _checked(holds: Any, *, site: Site | str | None) -> None:
    if not holds:
        raise OtherBranch if site == BRANCH else Doubted(site)


check = host("check", _checked)


def _taken(generator: Any, *, blocks: int) -> tuple[int, int]:
    seed, offset = generator.state()
    generator.restore((seed, offset + blocks))
    return seed, offset


def _restored(generator: Any, seed: int, offset: int) -> tuple[int, int]:
    generator.restore((seed, offset))
    return seed, offset


_take = host("take", _taken)
_state = host("state", lambda generator: generator.state())
_restore = host("restore", _restored)


def user_line() -> str:
    """The innermost line of code outside of this package."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else ""
