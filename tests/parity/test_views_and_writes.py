"""Views, in-place writes, version counters, conversions to other things, and how tensors print, as in PyTorch."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, assert_same, same, torch

import torchlite

X = np.random.default_rng(7).normal(size=(3, 4))


def add_to_column(T: Any, x: Any, y: Any) -> Any:
    h = x * 1
    h[:, 0] += y
    return h * h


def chained_views(T: Any, x: Any) -> Any:
    h = x * 2
    a = h.t()
    b = a[1:3].view(2, 3)
    b.mul_(3)
    return h.sum() + (a * a).sum() + (b * h[:2, :3]).sum(), h, a, b


def write_into_base(T: Any, x: Any) -> Any:
    h = x * 2
    view = h[1]
    flat = h.view(-1)
    h.mul_(x)
    return view * 2, flat.exp(), h


def overlapping_views(T: Any, x: Any) -> Any:
    h = x + 0
    a, b = h[:2], h[1:]
    a.add_(1)
    b.mul_(2)
    a.sub_(b[:2].clone())
    return a, b, h


def masked(T: Any, x: Any) -> Any:
    h = x * 1
    h[h > 0] = 0
    return h


def masked_product(T: Any, x: Any) -> Any:
    h = x * 1
    h[h > 0] *= 3
    return h


def fill_parts(T: Any, x: Any) -> Any:
    h = T.zeros(3, 4, dtype=T.float64)
    for i in range(3):
        h[i] = x[i] * (i + 1)
    return h.sum(0)


def in_place_chain(T: Any, x: Any) -> Any:
    return (x * 1).add_(1).mul_(x).neg_().div_(x + 5).sub_(x).sigmoid_()


def in_place_of_what_backward_needs_of_itself(T: Any, x: Any) -> Any:
    h = x * 1
    h.sin_()
    g = x * 1
    g.pow_(2)
    k = x * 1
    k.abs_()
    return h, g, k


def copied(T: Any, x: Any, y: Any) -> Any:
    h = T.empty(3, 4, dtype=T.float64)
    h.copy_(x)
    h[0].copy_(y)
    return h


def zeroed(T: Any, x: Any) -> Any:
    h = x * 3
    h[1].zero_()
    h[:, 2].fill_(5)
    return h


def written_with_history_from_elsewhere(T: Any, x: Any) -> Any:
    base = T.zeros(3, 4, dtype=T.float64)
    view = base[1:]
    view.copy_(x[1:])
    return base * 2, view, base.requires_grad, view.requires_grad


def detached_shares(T: Any, x: Any) -> Any:
    h = x * 1
    d = h.detach()
    d[0] = 9
    return h, d, d.requires_grad, h._version, d._version


def expanded(T: Any, x: Any) -> Any:
    return (x[:1].expand(3, 4) * x).sum(1), x[:, :1].expand(-1, 4).clone().mul_(2)


def views_of_views(T: Any, x: Any) -> Any:
    h = x * 1
    v = h.view(2, 6).t()[::2, 1].unsqueeze(0)
    v += 1
    v.squeeze(0)[0] = 7
    return h, v


def loops(T: Any, x: Any) -> Any:
    h = T.zeros(4, dtype=T.float64)
    for row in x:
        h = h + row
        h[0] = 0.5
    return h


def in_place_after_use_by_add(T: Any, x: Any) -> Any:
    h = x * 1
    y = h + 1
    h.mul_(2)
    return y, h


def split_and_write(T: Any, x: Any) -> Any:
    h = x * 1
    a, b = h.chunk(2, 1)
    return a * b, h


def hidden_state(T: Any, x: Any) -> Any:
    h = T.zeros(3, dtype=T.float64)
    outs = []
    for t in range(4):
        h = (h + x[:, t]).tanh()
        outs.append(h)
    return T.stack(outs, 1)


ONE = [
    chained_views, write_into_base, overlapping_views, masked, masked_product, fill_parts, in_place_chain, zeroed,
    in_place_of_what_backward_needs_of_itself, written_with_history_from_elsewhere, detached_shares, expanded,
    views_of_views, loops, in_place_after_use_by_add, split_and_write, hidden_state,
]  # fmt: skip


@pytest.mark.parametrize("program", ONE, ids=lambda f: f.__name__)
def test_programs_of_one_tensor(program: Any) -> None:
    same(program, X)


@pytest.mark.parametrize("program", [add_to_column, copied], ids=lambda f: f.__name__)
def test_programs_of_two_tensors(program: Any) -> None:
    same(program, X, np.arange(3.0) if program is add_to_column else np.arange(4.0))


REFUSED = {
    "leaf": lambda T: T.ones(2, requires_grad=True).add_(1),
    "leaf item": lambda T: T.ones(2, requires_grad=True).__setitem__(0, 1.0),
    "view of a leaf": lambda T: T.ones(2, requires_grad=True)[0].mul_(2),
    "leaf fill": lambda T: T.ones(2, requires_grad=True).zero_(),
    "growing": lambda T: T.ones(2).add_(T.ones(3, 2)),
    "cast down": lambda T: T.ones(2, dtype=T.int64).add_(1.5),
    "div of ints": lambda T: T.ones(2, dtype=T.int64).div_(2),
    "saved factor": lambda T: overwritten(T, lambda x, h: (h * h, h.add_(1))[0]),
    "saved result": lambda T: overwritten(T, lambda x, h: change(h.exp())),
    "saved view": lambda T: overwritten(T, lambda x, h: (h[0] * h[1], h.add_(1))[0]),
    "saved through detach": lambda T: overwritten(T, lambda x, h: (h * h, h.detach().add_(1))[0]),
    "no grad numpy": lambda T: T.ones(2, requires_grad=True).numpy(),
    "ints requiring grad": lambda T: T.ones(2, dtype=T.int64, requires_grad=True),
    "deepcopy of a result": lambda T: copy.deepcopy(T.ones(2, requires_grad=True) * 2),
    "flag of a result": lambda T: setattr(T.ones(2, requires_grad=True) * 2, "requires_grad", False),
    "grad of another shape": lambda T: setattr(T.ones(2), "grad", T.ones(3)),
    "grad that is none": lambda T: setattr(T.ones(2), "grad", 3.0),
}


def overwritten(T: Any, program: Any) -> None:
    x = T.ones(2, requires_grad=True)
    program(x, x * 2).sum().backward()


def change(y: Any) -> Any:
    out = y * 2
    y.add_(1)
    return out


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch)
    with pytest.raises(theirs.type) as ours:
        REFUSED[name](torchlite)
    assert len(str(ours.value)) > 20


def test_version_counters() -> None:
    def count(T: Any) -> list[int]:
        x = T.zeros(3, 4)
        seen = [x._version]
        v = x[0]
        v.add_(1)
        seen += [x._version, v._version]
        x[1] = 2
        x.view(-1)[0] = 3
        seen += [x._version, v._version, x.detach()._version, x.clone()._version, x.data._version]
        with T.no_grad():
            x.mul_(2)
        x.data.add_(1)
        return [*seen, x._version]

    assert count(torchlite) == count(torch)


def test_data_and_detach_share_memory() -> None:
    def run(T: Any) -> Any:
        x = T.ones(2, 2, requires_grad=True)
        x.data[0, 0] = 5
        with T.no_grad():
            x[1, 1] = 7
            x.add_(1)
        y = x * 2
        y.detach()[0] = 0
        x.data = T.zeros(3, requires_grad=False)
        return x, y, x.is_leaf, y.is_leaf, x.data.requires_grad

    assert_same(run(torchlite), run(torch))


def test_no_grad_forms() -> None:
    def run(T: Any) -> list[bool]:
        x = T.ones(2, requires_grad=True)

        @T.no_grad()
        def plain(y: Any) -> Any:
            return y * 2

        @T.no_grad
        def bare(y: Any) -> Any:
            return y * 2

        @T.enable_grad()
        def recorded(y: Any) -> Any:
            return y * 2

        flags = [plain(x).requires_grad, bare(x).requires_grad]
        with T.no_grad():
            flags += [(x * 2).requires_grad, recorded(x).requires_grad, T.is_grad_enabled()]
            with T.enable_grad():
                flags += [(x * 2).requires_grad]
            flags += [(x * 2).requires_grad, x.clone().requires_grad, T.zeros(1, requires_grad=True).requires_grad]
        with T.set_grad_enabled(False):
            flags += [(x * 2).requires_grad]
        T.set_grad_enabled(False)
        flags += [(x * 2).requires_grad]
        T.set_grad_enabled(True)
        with T.inference_mode():
            flags += [(x * 2).requires_grad]
        return [*flags, (x * 2).requires_grad]

    assert run(torchlite) == run(torch)


PRINTED: dict[str, Any] = {
    "float": lambda T: T.tensor([1.0, 2.5, -3.25]),
    "whole": lambda T: T.tensor([1.0, 2.0, 300.0]),
    "wide range": lambda T: T.tensor([1e-5, 1.0, 1000.0]),
    "large": lambda T: T.tensor([1e9, 1.0]),
    "large whole": lambda T: T.tensor([123456789.0, 2.0]),
    "small": lambda T: T.tensor([1e-7, 3e-6]),
    "special": lambda T: T.tensor([float("nan"), float("inf"), -float("inf"), 1.5]),
    "special only": lambda T: T.tensor([float("nan"), float("inf")]),
    "zeros": lambda T: T.zeros(2, 3),
    "negative zero": lambda T: T.tensor([-0.0, 1.0]),
    "scalar": lambda T: T.tensor(3.14159265),
    "scalar whole": lambda T: T.tensor(3.0),
    "scalar int": lambda T: T.tensor(7),
    "scalar bool": lambda T: T.tensor(True),
    "scalar nan": lambda T: T.tensor(float("nan")),
    "scalar tiny": lambda T: T.tensor(1e-10),
    "ints": lambda T: T.tensor([[1, -20], [300, 4]]),
    "bools": lambda T: T.tensor([True, False]),
    "int32": lambda T: T.tensor([1, 2], dtype=T.int32),
    "uint8": lambda T: T.tensor([1, 255], dtype=T.uint8),
    "double": lambda T: T.tensor([1.5], dtype=T.float64),
    "half": lambda T: T.tensor([1.5, 0.1], dtype=T.float16),
    "bfloat16": lambda T: T.tensor([1.5, 0.1], dtype=T.bfloat16),
    "complex": lambda T: T.tensor([1 + 2j, -0.5 - 1j]),
    "complex whole": lambda T: T.tensor([1 + 2j, 3 - 4j]),
    "empty": lambda T: T.zeros(0),
    "empty shape": lambda T: T.zeros(2, 0),
    "empty ints": lambda T: T.zeros(0, dtype=T.int64),
    "empty ints shape": lambda T: T.zeros(0, 3, dtype=T.int64),
    "three dims": lambda T: T.arange(24.0).view(2, 3, 4),
    "four dims": lambda T: T.arange(16).view(2, 2, 2, 2),
    "long": lambda T: T.arange(2000),
    "long matrix": lambda T: T.arange(3000.0).view(50, 60) / 7,
    "long three dims": lambda T: T.arange(8000).view(20, 20, 20),
    "wrapped": lambda T: T.arange(40.0) / 3,
    "wrapped ints": lambda T: T.arange(100),
    "leaf": lambda T: T.ones(2, requires_grad=True),
    "leaf double": lambda T: T.ones(2, requires_grad=True, dtype=T.float64),
    "meta": lambda T: T.zeros(2, 3, device="meta"),
    "meta half": lambda T: T.zeros(2, device="meta", dtype=T.float16),
    "long suffix": lambda T: T.full((9,), 1.123456, dtype=T.float64, requires_grad=True),
    "parameter": lambda T: T.nn.Parameter(T.ones(2, 2)),
    "frozen parameter": lambda T: T.nn.Parameter(T.ones(2), requires_grad=False),
    "size": lambda T: T.zeros(2, 3).shape,
    "size empty": lambda T: T.zeros(()).shape,
    "device": lambda T: [T.device("cpu"), T.device("cuda", 1), T.device("cuda:0"), str(T.device("cuda:1"))],
    "dtypes": lambda T: [T.float32, T.int64, T.bool, T.half, T.double],
    "text": lambda T: str(T.ones(2)),
    "list": lambda T: [T.ones(1), T.zeros(1)],
    "add": lambda T: T.ones(1, requires_grad=True) + 1,
    "mul": lambda T: T.ones(1, requires_grad=True) * 2,
    "sub": lambda T: T.ones(1, requires_grad=True) - 2,
    "div": lambda T: T.ones(1, requires_grad=True) / 2,
    "exp": lambda T: T.ones(1, requires_grad=True).exp(),
    "sum": lambda T: T.ones(1, requires_grad=True).sum(),
    "view": lambda T: T.ones(1, requires_grad=True).view(1, 1),
    "relu": lambda T: T.ones(1, requires_grad=True).relu(),
    "clone": lambda T: T.ones(1, requires_grad=True).clone(),
    "neg": lambda T: -T.ones(1, requires_grad=True),
    "leaf grad_fn": lambda T: T.ones(1, requires_grad=True).grad_fn,
}


@pytest.mark.parametrize("name", PRINTED)
def test_printing(name: str) -> None:
    ours, theirs = (repr(PRINTED[name](T)) for T in BOTH)
    assert ours == theirs


@pytest.mark.parametrize("seed", range(40))
def test_printing_of_random_tensors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 7, rng.integers(0, 4)))
    array = rng.normal(size=shape) * 10.0 ** rng.integers(-6, 7, shape if rng.random() < 0.5 else ())
    array = array if rng.random() < 0.7 else np.rint(array)
    for dtype in ("float32", "float64", "float16"):
        with np.errstate(all="ignore"):
            cast = np.asarray(array, dtype)
        assert repr(torchlite.tensor(cast)) == repr(torch.tensor(cast))


@pytest.mark.parametrize(
    "options",
    [{"precision": 2}, {"sci_mode": True}, {"sci_mode": False}, {"threshold": 5}, {"edgeitems": 1, "threshold": 5},
     {"linewidth": 40}, {"profile": "short"}, {"profile": "full"}],
    ids=str,
)  # fmt: skip
def test_print_options(options: dict[str, Any]) -> None:
    tensors = [lambda T: T.arange(30.0) / 7, lambda T: T.arange(48).view(4, 12), lambda T: T.tensor([1e-3, 12345.678])]
    try:
        for T in BOTH:
            T.set_printoptions(**options)
        for make in tensors:
            assert repr(make(torchlite)) == repr(make(torch))
    finally:
        for T in BOTH:
            T.set_printoptions(profile="default", sci_mode=None)


def test_numpy_interoperation() -> None:
    def run(T: Any) -> Any:
        x = T.arange(6.0).view(2, 3)
        n = x.numpy()
        n[0, 0] = 9
        shared = T.from_numpy(n)
        shared[1, 1] = -1
        array = np.asarray(x)
        return [
            x, shared, array.tolist(), np.add(n, 1).tolist(), np.asarray(x, dtype=np.float64).dtype.name,
            (x * np.float32(2)), (np.float64(2) * x), np.stack([x, x]).shape, x.tolist(),
            T.tensor(n[::-1].copy()), x == n, np.sum(n).item(), T.from_dlpack(x), np.from_dlpack(x).tolist(),
        ]  # fmt: skip

    ours, theirs = run(torchlite), run(torch)
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert_same(a, b, what=str(i))


def test_exchange_by_dlpack_shares_memory() -> None:
    theirs = torch.arange(4.0)
    ours = torchlite.from_dlpack(theirs)
    ours[0] = 7
    assert theirs[0].item() == 7
    back = torch.from_dlpack(torchlite.ones(2, 3))
    assert tuple(back.shape) == (2, 3)


def test_pickle_and_copies() -> None:
    def run(T: Any) -> Any:
        leaf = T.ones(2, requires_grad=True)
        leaf.grad = T.full((2,), 3.0)
        parameter = T.nn.Parameter(T.ones(2))
        pickled = pickle.loads(pickle.dumps(leaf))
        deep, shallow = copy.deepcopy(leaf), copy.copy(leaf)
        twice = copy.deepcopy([leaf, leaf])
        again = pickle.loads(pickle.dumps(parameter))
        buffer = io.BytesIO()
        pickle.dump({"x": T.arange(3, dtype=T.int32)}, buffer)
        return [
            pickled, pickled.requires_grad, pickled.grad is None, deep, deep.grad, deep.grad is leaf.grad, shallow,
            twice[0] is twice[1], type(again).__name__, again, pickle.loads(buffer.getvalue())["x"],
            pickle.loads(pickle.dumps(T.float16)), pickle.loads(pickle.dumps(T.bool)), list(pickle.loads(pickle.dumps(leaf.shape))),
            copy.deepcopy(parameter), type(copy.deepcopy(parameter)).__name__,
        ]  # fmt: skip

    assert_same(run(torchlite), run(torch))


def test_hashing_and_identity() -> None:
    def run(T: Any) -> Any:
        x, y = T.ones(1), T.ones(1)
        table = {x: 1, y: 2}
        return table[x], table[y], len({x, y, x}), x == None, x != None, x is x  # noqa: E711

    assert run(torchlite) == run(torch)
