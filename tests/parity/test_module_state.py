"""Owning, saving, loading and moving of modules against PyTorch's: results, types and texts of errors, warnings."""

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from oracle import torch
from scenarios import Scenarios, assert_the_same, plain

import torchlite

scenario = Scenarios()


def net(T: Any) -> Any:
    """Small, with everything that a module can own."""

    class Block(T.nn.Module):  # type: ignore[misc, name-defined]
        _version = 3

        def __init__(self) -> None:
            super().__init__()
            self.weight = T.nn.Parameter(T.tensor([1.0, 2.0]))
            self.register_buffer("count", T.tensor(7))
            self.register_buffer("scratch", T.zeros(1), persistent=False)
            self.register_buffer("empty", None)
            self.register_parameter("nothing", None)

    class Net(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.scale = T.nn.Parameter(T.tensor(3.0))
            self.blocks = T.nn.ModuleList([Block(), Block()])
            self.tied = self.blocks[0]
            self.missing = None

    return Net()


def with_extra(T: Any) -> Any:
    class Extra(T.nn.Linear):  # type: ignore[misc, name-defined]
        told: Any = None

        def get_extra_state(self) -> Any:
            return {"told": 5}

        def set_extra_state(self, state: Any) -> None:
            self.told = state

    return Extra(1, 1)


def filled(T: Any, m: Any, value: float) -> Any:
    return OrderedDict((k, T.full(tuple(v.shape), value).to(v.dtype)) for k, v in m.state_dict().items())


@scenario
def metadata(T: Any) -> Any:
    m = net(T)
    state = m.state_dict(prefix="net.")
    kept = m.state_dict(keep_vars=True)
    return list(state), dict(state._metadata), [v.requires_grad for v in state.values()], kept["scale"] is m.scale


@scenario
def destination(T: Any) -> Any:
    target: Any = OrderedDict(first=1)
    result = T.nn.Linear(1, 1).state_dict(destination=target)
    return result is target, list(target), hasattr(target, "_metadata")


@scenario
def positional(T: Any) -> Any:
    target: Any = OrderedDict()
    m = T.nn.Linear(1, 1)
    return list(m.state_dict(target, "a.", True)), target["a.weight"] is m.weight


@scenario
def extra_state(T: Any) -> Any:
    m = T.nn.Sequential(with_extra(T))
    state = m.state_dict()
    m.load_state_dict(state)
    return list(state), state["0._extra_state"], m[0].told


@scenario
def extra_state_is_missing(T: Any) -> Any:
    m = T.nn.Sequential(with_extra(T))
    state = m.state_dict()
    del state["0._extra_state"]
    m.load_state_dict(state)


@scenario
def extra_state_is_unexpected(T: Any) -> Any:
    T.nn.Linear(1, 1).load_state_dict(with_extra(T).state_dict())


@scenario
def no_extra_state(T: Any) -> Any:
    T.nn.Linear(1, 1).get_extra_state()


@scenario
def no_extra_state_to_set(T: Any) -> Any:
    T.nn.Linear(1, 1).set_extra_state(1)


@scenario
def state_hooks(T: Any) -> Any:
    m, log = T.nn.Sequential(T.nn.Linear(1, 1, bias=False)), []
    m[0].register_state_dict_pre_hook(lambda m, prefix, keep: log.append([type(m).__name__, prefix, keep]))
    m[0].register_state_dict_post_hook(lambda m, state, prefix, meta: log.append([list(state), prefix, meta]))
    m._register_state_dict_hook(lambda m, state, prefix, meta: {k.upper(): 1 for k in state})
    return m.state_dict(), log


@scenario
def a_post_hook_that_returns_something(T: Any) -> Any:
    m = T.nn.Linear(1, 1)
    m.register_state_dict_post_hook(lambda *_: {})
    m.state_dict()


@scenario
def load_hooks(T: Any) -> Any:
    m, log = T.nn.Sequential(T.nn.Linear(1, 1, bias=False), T.nn.Linear(1, 1)), []

    def pre(
        m: Any, state: Any, prefix: str, meta: Any, strict: bool, missing: Any, unexpected: Any, errors: Any
    ) -> None:
        log.append([type(m).__name__, sorted(state), prefix, meta, strict])
        if prefix == "0.":
            state["0.weight"] = state.pop("0.old")

    m[0].register_load_state_dict_pre_hook(pre)
    m[0]._register_load_state_dict_pre_hook(lambda state, prefix, *_: log.append([prefix, sorted(state)]))
    m.register_load_state_dict_pre_hook(pre)
    m[1].register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    m.register_load_state_dict_post_hook(lambda m, keys: log.append([keys.missing_keys, keys.unexpected_keys]))
    state = OrderedDict({"0.old": T.ones(1, 1), "1.weight": T.ones(1, 1)})
    state._metadata = {"": {"version": 1}, "0": {"version": 9}}
    result = m.load_state_dict(state)
    return m[0].weight, m[1].weight, log, tuple(result), list(state)


@scenario
def a_load_hook_that_returns_something(T: Any) -> Any:
    m = T.nn.Linear(1, 1)
    m.register_load_state_dict_post_hook(lambda m, keys: keys)
    m.load_state_dict(m.state_dict())


@scenario
def a_load_of_its_own(T: Any) -> Any:
    class Old(T.nn.Linear):  # type: ignore[misc, name-defined]
        _version = 2

        def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
            if meta.get("version", 1) < 2:
                state[prefix + "weight"] = state[prefix + "weight"] * 10
            super()._load_from_state_dict(state, prefix, meta, *rest)

        def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[prefix + "bias"] = destination[prefix + "bias"] + 1

    m = T.nn.Sequential(Old(1, 1))
    state = filled(T, m, 2.0)
    m.load_state_dict(state)
    first = m[0].weight.item()
    m.load_state_dict(m.state_dict())
    return first, m[0].weight, m[0].bias


@scenario
def missing_and_unexpected(T: Any) -> Any:
    m = net(T)
    state = filled(T, m, 9.0)
    del state["scale"], state["blocks.1.count"]
    state.update(
        {"other": 1, "blocks.0.more": 2, "blocks.7.weight": 3, "nothing": 4, "blocks.0.scratch": 5, "missing.x": 6}
    )
    loose = m.load_state_dict(state, strict=False)
    m.load_state_dict(state)
    return loose


@scenario
def loose(T: Any) -> Any:
    m = net(T)
    state = filled(T, m, 9.0)
    del state["scale"]
    state["other.x"] = 1
    return tuple(m.load_state_dict(state, strict=False)), m.state_dict(), repr(m.load_state_dict(filled(T, m, 1.0)))


@scenario
def sizes(T: Any) -> Any:
    m = net(T)
    m.load_state_dict({**filled(T, m, 9.0), "scale": T.ones(2), "blocks.0.weight": T.ones(3), "blocks.1.weight": 5})


@scenario
def a_number_saved_as_a_vector(T: Any) -> Any:
    m = net(T)
    m.load_state_dict({**filled(T, m, 9.0), "scale": T.tensor([4.0])})
    return m.scale


@scenario
def no_mapping(T: Any) -> Any:
    net(T).load_state_dict([("scale", 1)])


@scenario
def assigning(T: Any) -> Any:
    m = net(T)
    m.blocks[1].requires_grad_(False)
    state = filled(T, m, 9.0)
    state["blocks.0.weight"] = T.nn.Parameter(T.tensor([4.0, 5.0], dtype=T.float64), requires_grad=False)
    m.load_state_dict(state, assign=True)
    return m.state_dict(keep_vars=True), m.blocks[0].count is state["tied.count"], m.tied.weight is state["tied.weight"]


@scenario
def loading_into_meta(T: Any) -> Any:
    m = T.nn.Linear(1, 1, device="meta")
    state = T.nn.Linear(1, 1).state_dict()
    m.load_state_dict(state)
    on_meta = m.weight.is_meta
    m.load_state_dict(state, assign=True)
    return on_meta, m.weight.is_meta, type(m.weight).__name__


@scenario
def loading_converts(T: Any) -> Any:
    m = T.nn.Linear(1, 1)
    m.load_state_dict({"weight": T.tensor([[2]]), "bias": T.tensor([0.5], dtype=T.float64)})
    return m.weight, m.bias


def refused(name: str, function: Callable[[Any, Any], Any]) -> None:
    scenario.refused(name, lambda T: function(T, net(T)))


class Plain:
    """Makes a module whose __init__ forgot super()."""

    def __new__(cls, T: Any, assign: Callable[[Any], None]) -> Any:
        class Forgetful(T.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                assign(self)

        return Forgetful()


refused("buffer name", lambda T, m: m.register_buffer(3, T.ones(1)))
refused("buffer dot", lambda T, m: m.register_buffer("a.b", T.ones(1)))
refused("buffer empty", lambda T, m: m.register_buffer("", T.ones(1)))
refused("buffer taken", lambda T, m: m.register_buffer("scale", T.ones(1)))
refused("buffer attribute", lambda T, m: m.register_buffer("training", T.ones(1)))
refused("buffer value", lambda T, m: m.register_buffer("b", 3))
refused("buffer assigned", lambda T, m: setattr(m.blocks[0], "count", 3))
refused("parameter name", lambda T, m: m.register_parameter(3, None))
refused("parameter dot", lambda T, m: m.register_parameter("a.b", None))
refused("parameter empty", lambda T, m: m.register_parameter("", None))
refused("parameter taken", lambda T, m: m.register_parameter("blocks", None))
refused("parameter value", lambda T, m: m.register_parameter("p", T.ones(1)))
refused("parameter assigned", lambda T, m: setattr(m, "scale", T.ones(1)))
refused("module name", lambda T, m: m.add_module(3, None))
refused("module dot", lambda T, m: m.add_module("a.b", None))
refused("module empty", lambda T, m: m.add_module("", None))
refused("module taken", lambda T, m: m.add_module("scale", None))
refused("module value", lambda T, m: m.register_module("m", 3))
refused("module assigned", lambda T, m: setattr(m, "blocks", 3))
refused("parameter before init", lambda T, m: Plain(T, lambda f: setattr(f, "p", T.nn.Parameter(T.ones(1)))))
refused("module before init", lambda T, m: Plain(T, lambda f: setattr(f, "m", T.nn.ReLU())))
refused("buffer before init", lambda T, m: Plain(T, lambda f: f.register_buffer("b", None)))
refused("arguments", lambda T, m: T.nn.Module(1, 2))
refused("keywords", lambda T, m: T.nn.Module(size=2))
refused("attribute", lambda T, m: m.nothing_here)
refused("deleted attribute", lambda T, m: delattr(m, "nothing_here"))
refused("submodule", lambda T, m: m.get_submodule("blocks.5"))
refused("submodule of a parameter", lambda T, m: m.get_submodule("scale"))
refused("parameter of a path", lambda T, m: m.get_parameter("blocks.0.other"))
refused("parameter that is a buffer", lambda T, m: m.get_parameter("blocks.0.count"))
refused("parameter that is None", lambda T, m: m.get_parameter("blocks.0.nothing"))
refused("buffer of a path", lambda T, m: m.get_buffer("blocks.0.other"))
refused("buffer that is a parameter", lambda T, m: m.get_buffer("blocks.0.weight"))
refused("submodule without a name", lambda T, m: m.set_submodule("", T.nn.ReLU()))
refused("submodule that is none", lambda T, m: m.set_submodule("blocks.0", 3))
refused("submodule in the place of a parameter", lambda T, m: m.set_submodule("scale", T.nn.ReLU()))
refused("submodule nowhere", lambda T, m: m.set_submodule("blocks.9.a", T.nn.ReLU()))
refused("new submodule", lambda T, m: m.set_submodule("blocks.0.a", T.nn.ReLU(), strict=True))
refused("mode", lambda T, m: m.train(1))
refused("integers", lambda T, m: m.to(T.int32))
refused("module in the place of a parameter", lambda T, m: setattr(m, "scale", T.nn.ReLU()))
refused("buffer in the place of a parameter", lambda T, m: setattr(m, "scale", T.nn.Buffer(T.ones(1))))
refused("complex", lambda T, m: [m.to(T.complex64), m.scale.dtype][1].is_complex)
refused("no forward", lambda T, m: m(1))
refused("out of meta", lambda T, m: T.nn.Linear(1, 1, device="meta").to("cpu"))


@scenario
def submodules(T: Any) -> Any:
    m = net(T)
    m.set_submodule("blocks.0", T.nn.ReLU())
    m.set_submodule("blocks.1.act", T.nn.Tanh())
    m.set_submodule("head", T.nn.Sigmoid(), strict=False)
    return repr(m), m.get_buffer("blocks.1.empty"), m.get_submodule("") is m, m.get_parameter("scale")


@scenario
def attributes(T: Any) -> Any:
    m = net(T)
    block = m.blocks[0]
    block.count = T.tensor(8)
    block.scratch = None
    block.plain = T.ones(1)
    block.made = T.nn.Buffer(T.ones(2), persistent=False)
    block.weight = None
    block.count = T.nn.Parameter(T.ones(1))
    m.tied = T.nn.ReLU()
    del block.nothing, m.blocks[1].scratch
    names = [n for n in dir(m.blocks) if not n.startswith("_")]
    return (
        m.state_dict(), [n for n, _ in m.named_buffers()], [n for n, _ in m.named_parameters()], "0" in names,
        [n for n, _ in m.named_children()], hasattr(m.blocks[1], "scratch"), block._non_persistent_buffers_set,
    )  # fmt: skip


@scenario
def iteration(T: Any) -> Any:
    m = net(T)
    return (
        [n for n, _ in m.named_modules()], [n for n, _ in m.named_modules(remove_duplicate=False, prefix="p")],
        len(list(m.modules())), len(list(m.modules(remove_duplicate=False))), len(list(m.children())),
        [n for n, _ in m.named_buffers(remove_duplicate=False, prefix="b")], [n for n, _ in m.named_buffers(recurse=False)],
        [n for n, _ in m.named_parameters(remove_duplicate=False)], len(list(m.buffers())), len(list(m.parameters(False))),
    )  # fmt: skip


@scenario
def kinds(T: Any) -> Any:
    class Mixed(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.real = T.nn.Parameter(T.ones(1))
            self.register_buffer("whole", T.tensor([3]))
            self.register_buffer("turn", T.tensor([1j]))

    seen = []
    for change in ("half", "bfloat16", "double", "float"):
        m = getattr(Mixed(), change)()
        seen.append([str(x.dtype).rpartition(".")[2] for x in (m.real, m.whole, m.turn)])
    seen.append([str(x.dtype).rpartition(".")[2] for x in Mixed().type(T.complex128)._buffers.values()])
    moved = Mixed()
    del moved.turn
    moved.real.grad = T.ones(1)
    kept = moved.real
    moved.to(T.float64)
    return seen, moved.real is kept, moved.real, moved.real.grad, Mixed().to_empty(device="meta").whole.is_meta


@scenario
def to_empty_of_itself_only(T: Any) -> Any:
    m = T.nn.Sequential(T.nn.Linear(1, 1))
    m.scale = T.nn.Parameter(T.ones(1))
    m.to_empty(device="meta", recurse=False)
    return m.scale.is_meta, m[0].weight.is_meta


@scenario
def modes(T: Any) -> Any:
    class Frozen(T.nn.ReLU):  # type: ignore[misc, name-defined]
        def train(self, mode: bool = True) -> Any:
            return super().train(False)

    m = T.nn.Sequential(Frozen(), T.nn.Tanh()).train()
    return [c.training for c in m.modules()], [c.training for c in m.eval().modules()], m.requires_grad_(False) is m


@scenario
def gradients(T: Any) -> Any:
    m = T.nn.Linear(1, 1)
    m.weight.grad = T.ones(1, 1) * m.bias
    before = m.weight.grad.requires_grad
    m.zero_grad(set_to_none=False)
    after = m.weight.grad
    m.zero_grad()
    return before, after, m.weight.grad


@scenario
def copies(T: Any) -> Any:
    m = net(T).eval()
    copied = copy.deepcopy(m)
    shallow = copy.copy(m)
    return (
        copied.state_dict(), copied.tied is copied.blocks[0], copied.scale is m.scale, shallow.scale is m.scale,
        copied.training, pickle.loads(pickle.dumps(T.nn.Linear(2, 2))).weight.shape == (2, 2),
    )  # fmt: skip


@scenario
def an_old_pickle(T: Any) -> Any:
    m = T.nn.Tanh()
    old = ("training", "_parameters", "_buffers", "_modules", "_backward_hooks", "_forward_hooks", "_forward_pre_hooks")
    state = {k: v for k, v in m.__dict__.items() if k in old}
    new = T.nn.Tanh.__new__(T.nn.Tanh)
    new.__setstate__(state)
    new.register_forward_hook(lambda m, args, out: out * 2)
    return new(T.zeros(1)), new.state_dict()


@scenario
def the_next_class(T: Any) -> Any:
    class Other:
        def __init__(self, size: int) -> None:
            self.size = size

    class Both(T.nn.Module, Other):  # type: ignore[misc, name-defined]
        call_super_init = True

        def __init__(self, size: int) -> None:
            super().__init__(size=size)

    return Both(4).size


@scenario
def texts(T: Any) -> Any:
    class Two(T.nn.Module):  # type: ignore[misc, name-defined]
        def extra_repr(self) -> str:
            return "one\ntwo"

    m = Two()
    alone = repr(m)
    m.child = Two()
    return alone, repr(m), m._get_name()


@scenario
def batch_norm_of_the_first_version(T: Any) -> Any:
    m = T.nn.Sequential(T.nn.BatchNorm1d(2))
    state = m.state_dict()
    del state["0.num_batches_tracked"]
    state._metadata["0"]["version"] = 1
    m[0].num_batches_tracked.fill_(5)
    m.load_state_dict(state)
    return m[0].num_batches_tracked


@pytest.mark.parametrize("name", scenario)
def test_the_same(name: str) -> None:
    assert_the_same(scenario[name])


def test_a_load_that_fails_changes_nothing() -> None:
    for change in ({"scale": torchlite.ones(2)}, {"more": torchlite.ones(1)}):
        m = net(torchlite)
        before = plain(m.state_dict())
        with pytest.raises(RuntimeError):
            m.load_state_dict({**filled(torchlite, m, 9.0), **change})
        assert plain(m.state_dict()) == before


def test_a_lazy_module_s_copy_is_complete() -> None:
    lazy = torchlite.nn.LazyConv2d(3, 1)
    copied = copy.deepcopy(lazy)
    copied(torchlite.ones(1, 2, 4, 4))
    assert type(copied) is torchlite.nn.Conv2d and type(lazy) is torchlite.nn.LazyConv2d
    assert not copied._forward_pre_hooks and len(lazy._forward_pre_hooks) == 1
    lazy(torchlite.ones(1, 5, 4, 4))
    assert lazy.in_channels == 5 and not lazy._forward_pre_hooks


def test_metadata_goes_into_files(tmp_path: Any) -> None:
    state = net(torchlite).state_dict()
    torchlite.save(state, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    assert loaded._metadata["blocks.0"] == {"version": 3}
    net(torch).load_state_dict(loaded)
    torch.save(net(torch).state_dict(), tmp_path / "theirs.pt")
    theirs = torchlite.load(tmp_path / "theirs.pt")
    assert theirs._metadata["blocks.1"] == {"version": 3}
    net(torchlite).load_state_dict(theirs)
