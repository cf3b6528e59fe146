"""Modules, losses, initial values and state_dicts against PyTorch's."""

import re
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, assert_same, same, tensors, torch

import torchlite

rng = np.random.default_rng(21)
IMAGES, ROWS, TOKENS = rng.normal(size=(2, 4, 6, 7)), rng.normal(size=(5, 6)), rng.integers(0, 10, (3, 4))

MODULES: list[tuple[str, Any, Any]] = [
    ("Linear", lambda nn: nn.Linear(6, 3), ROWS),
    ("Linear without bias", lambda nn: nn.Linear(6, 3, bias=False), ROWS),
    ("Linear of many dims", lambda nn: nn.Linear(7, 3), IMAGES),
    ("Linear of one dim", lambda nn: nn.Linear(6, 3), ROWS[0]),
    ("Embedding", lambda nn: nn.Embedding(10, 4), TOKENS),
    ("Embedding padded", lambda nn: nn.Embedding(10, 4, padding_idx=3), TOKENS),
    ("Embedding padded from the end", lambda nn: nn.Embedding(10, 4, padding_idx=-1), TOKENS),
    ("Identity", lambda nn: nn.Identity(5, extra=1), ROWS),
    ("Conv2d", lambda nn: nn.Conv2d(4, 6, 3), IMAGES),
    ("Conv2d padded", lambda nn: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2)), IMAGES),
    ("Conv2d dilated", lambda nn: nn.Conv2d(4, 2, 2, dilation=2, bias=False), IMAGES),
    ("Conv2d groups", lambda nn: nn.Conv2d(4, 8, 3, groups=2, padding=1), IMAGES),
    ("Conv2d depthwise", lambda nn: nn.Conv2d(4, 4, 3, groups=4), IMAGES),
    ("Conv2d same", lambda nn: nn.Conv2d(4, 2, 4, padding="same"), IMAGES),
    ("Conv2d valid", lambda nn: nn.Conv2d(4, 2, 3, padding="valid"), IMAGES),
    ("Conv2d one image", lambda nn: nn.Conv2d(4, 2, 3), IMAGES[0]),
    ("Conv2d pointwise", lambda nn: nn.Conv2d(4, 2, 1, stride=2), IMAGES),
    ("MaxPool2d", lambda nn: nn.MaxPool2d(2), IMAGES),
    ("MaxPool2d overlapping", lambda nn: nn.MaxPool2d(3, stride=1, padding=1), IMAGES),
    ("MaxPool2d pair", lambda nn: nn.MaxPool2d((2, 3), (1, 2), dilation=(2, 1)), IMAGES),
    ("MaxPool2d ceil", lambda nn: nn.MaxPool2d(3, 2, ceil_mode=True), IMAGES),
    ("MaxPool2d ceil padded", lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True), IMAGES),
    ("MaxPool2d indices", lambda nn: nn.MaxPool2d(3, 2, 1, return_indices=True), IMAGES),
    ("MaxPool2d one image", lambda nn: nn.MaxPool2d(2), IMAGES[0]),
    ("AdaptiveAvgPool2d", lambda nn: nn.AdaptiveAvgPool2d(1), IMAGES),
    ("AdaptiveAvgPool2d uneven", lambda nn: nn.AdaptiveAvgPool2d((4, 3)), IMAGES),
    ("AdaptiveAvgPool2d kept", lambda nn: nn.AdaptiveAvgPool2d((None, 2)), IMAGES),
    ("AdaptiveAvgPool2d larger", lambda nn: nn.AdaptiveAvgPool2d((8, 9)), IMAGES),
    ("BatchNorm2d", lambda nn: nn.BatchNorm2d(4), IMAGES),
    ("BatchNorm2d plain", lambda nn: nn.BatchNorm2d(4, affine=False), IMAGES),
    ("BatchNorm2d untracked", lambda nn: nn.BatchNorm2d(4, track_running_stats=False), IMAGES),
    ("BatchNorm2d cumulative", lambda nn: nn.BatchNorm2d(4, momentum=None, eps=1e-3), IMAGES),
    ("BatchNorm2d evaluating", lambda nn: nn.BatchNorm2d(4).eval(), IMAGES),
    ("LayerNorm", lambda nn: nn.LayerNorm(7), IMAGES),
    ("LayerNorm of several", lambda nn: nn.LayerNorm([6, 7], eps=1e-3), IMAGES),
    ("LayerNorm plain", lambda nn: nn.LayerNorm(7, elementwise_affine=False), IMAGES),
    ("LayerNorm without bias", lambda nn: nn.LayerNorm((7,), bias=False), IMAGES),
    ("ReLU", lambda nn: nn.ReLU(), ROWS),
    ("ReLU in place", lambda nn: nn.Sequential(nn.Linear(6, 2), nn.ReLU(inplace=True)), ROWS),
    ("GELU", lambda nn: nn.GELU(), ROWS),
    ("GELU tanh", lambda nn: nn.GELU(approximate="tanh"), ROWS),
    ("Tanh", lambda nn: nn.Tanh(), ROWS),
    ("Sigmoid", lambda nn: nn.Sigmoid(), ROWS),
    ("Softmax", lambda nn: nn.Softmax(dim=1), ROWS),
    ("Dropout evaluating", lambda nn: nn.Dropout(0.3).eval(), ROWS),
    ("Dropout none", lambda nn: nn.Dropout(0.0), ROWS),
    ("Dropout all", lambda nn: nn.Dropout(1.0), ROWS),
    ("Flatten", lambda nn: nn.Flatten(), IMAGES),
    ("Flatten some", lambda nn: nn.Flatten(0, 2), IMAGES),
    ("Sequential", lambda nn: nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 2), nn.GELU())), ROWS),
    ("network", lambda nn: nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.0), nn.Linear(72, 10)), IMAGES),
]  # fmt: skip


def twins(make: Any, dtype: str = "float64") -> tuple[Any, Any]:
    """The module of each library with the same weights, which are PyTorch's."""
    torch.manual_seed(0)
    theirs, ours = make(torch.nn), make(torchlite.nn)
    ours.load_state_dict({k: torchlite.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return getattr(ours, dtype.replace("float64", "double").replace("float32", "float"))(), (
        theirs.double() if dtype == "float64" else theirs
    )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(("name", "make", "x"), MODULES, ids=[m[0] for m in MODULES])
def test_forward_and_gradients(name: str, make: Any, x: Any) -> None:
    for dtype in ("float64", "float32"):
        ours, theirs = twins(make, dtype)
        integral = x.dtype == np.int64
        a, b = tensors(x if integral else x.astype(dtype), requires_grad=not integral)
        for _ in range(2):  # batch norm has a past the second time
            out_a, out_b = ours(a), theirs(b)
            assert_same(out_a, out_b, what=name, tolerance=1e-9 if dtype == "float64" else 1e-4)
            first_a, first_b = (o[0] if isinstance(o, tuple) else o for o in (out_a, out_b))
            if first_b.requires_grad:
                g_a, g_b = tensors(rng.normal(size=tuple(first_b.shape)).astype(dtype))
                first_a.backward(g_a)
                first_b.backward(g_b)
        if not integral:
            assert_same(a.grad, b.grad, what="input", tolerance=1e-9 if dtype == "float64" else 1e-3)
        for (key, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert_same(p.grad, q.grad, what=key, tolerance=1e-9 if dtype == "float64" else 1e-3)
        for (key, p), (_, q) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
            assert_same(p, q, what=key, tolerance=1e-9 if dtype == "float64" else 1e-4)
        ours.eval()
        theirs.eval()
        assert_same(ours(a), theirs(b), what=name, tolerance=1e-9 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize(("name", "make", "x"), MODULES, ids=[m[0] for m in MODULES])
def test_names_shapes_and_text(name: str, make: Any, x: Any) -> None:
    ours, theirs = make(torchlite.nn), make(torch.nn)
    assert [(k, tuple(v.shape), str(v.dtype)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape), str(v.dtype)) for k, v in theirs.state_dict().items()
    ]
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert repr(ours) == repr(theirs)
    assert {k for k in vars(theirs) if not k.startswith("_")} <= {
        k for k in vars(ours) if not k.startswith("_")
    } | NOT_KEPT


# Attributes of PyTorch's modules that belong to features which are not here.
NOT_KEPT = {"output_padding", "transposed", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"}


class Nested:
    """The same nested model for each library."""

    def __new__(cls, T: Any) -> Any:
        class Block(T.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.linear = T.nn.Linear(2, 2)
                self.register_buffer("count", T.zeros(1))
                self.register_buffer("scratch", T.zeros(1), persistent=False)
                self.register_parameter("nothing", None)

            def forward(self, x: Any) -> Any:
                return self.linear(x)

        class Model(T.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.blocks = T.nn.ModuleList([Block(), Block()])
                self.by_name = T.nn.ModuleDict({"a": T.nn.ReLU(), "b": T.nn.Linear(2, 1)})
                self.scale = T.nn.Parameter(T.ones(2))
                self.shared = self.blocks[0].linear
                self.head = None

            def forward(self, x: Any) -> Any:
                for block in self.blocks:
                    x = self.by_name["a"](block(x)) * self.scale
                return self.by_name["b"](x)

        return Model()


def test_nested_modules() -> None:
    def seen(T: Any) -> Any:
        model = Nested(T)
        order: list[str] = []
        model.apply(lambda m: order.append(type(m).__name__))
        return [
            list(model.state_dict()), [n for n, _ in model.named_parameters()], [n for n, _ in model.named_buffers()],
            [n for n, _ in model.named_modules()], [n for n, _ in model.named_children()], repr(model), order,
            len(list(model.modules())), len(list(model.parameters())), [n for n, _ in model.named_parameters(recurse=False)],
            model.get_submodule("blocks.1.linear").in_features, tuple(model.get_parameter("by_name.b.weight").shape),
            tuple(model.get_buffer("blocks.0.count").shape), list(model.state_dict(prefix="x.")),
            [n for n, _ in model.named_parameters(prefix="m")], model.train().training, model.eval().blocks[0].training,
            [p.requires_grad for p in model.requires_grad_(False).parameters()],
            [n for n, _ in model.named_parameters(remove_duplicate=False)], "blocks" in dir(model), "scale" in dir(model),
        ]  # fmt: skip

    ours, theirs = seen(torchlite), seen(torch)
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert a == b, i


def container_operations(T: Any) -> list[Any]:
    nn = T.nn
    chain = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    chain.append(nn.Linear(2, 3))
    chain.extend([nn.Tanh()])
    chain.insert(1, nn.Identity())
    items = nn.ModuleList([nn.Linear(1, 1)])
    items += [nn.ReLU()]
    items.insert(0, nn.Tanh())
    named = nn.ModuleDict({"a": nn.ReLU()})
    named["b"] = nn.Tanh()
    named.update({"c": nn.Sigmoid()})
    seen = [repr(chain), len(chain), repr(chain[1:3]), repr(chain[-1]), repr(items), len(items), repr(items[0:2]), repr(named),
            list(named.keys()), "a" in named, [type(v).__name__ for v in named.values()], [type(m).__name__ for m in chain]]  # fmt: skip
    del chain[0], items[1], named["a"]
    chain[0] = nn.Flatten()
    seen += [repr(chain), repr(items), repr(named), list(chain.state_dict())]
    from collections import OrderedDict

    seen += [repr(nn.Sequential(OrderedDict([("first", nn.Linear(1, 1)), ("second", nn.ReLU())])))]
    seen += [
        repr(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()])),
        repr(nn.Sequential()),
        repr(nn.ModuleList()),
    ]
    return seen


def test_containers() -> None:
    for i, (a, b) in enumerate(zip(container_operations(torchlite), container_operations(torch), strict=True)):
        assert a == b, i


LOGITS, CLASSES, PLANES = rng.normal(size=(6, 5)), rng.integers(0, 5, 6), rng.normal(size=(2, 5, 3, 4))
PLANE_CLASSES = rng.integers(0, 5, (2, 3, 4))
DISTRIBUTION = np.abs(rng.normal(size=(6, 5)))
DISTRIBUTION /= DISTRIBUTION.sum(1, keepdims=True)
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 0.0, 1.5])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [-100, 2, -1])
def test_cross_entropy(reduction: str, smoothing: float, weighted: bool, ignore: int) -> None:
    def loss(T: Any, x: Any, target: Any) -> Any:
        weight = T.tensor(CLASS_WEIGHTS) if weighted else None
        options = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignore, "weight": weight}
        return T.nn.CrossEntropyLoss(**options)(x, target), T.nn.functional.cross_entropy(x, target, **options)

    with_ignored = np.where(np.arange(6) == 2, ignore if ignore < 0 else CLASSES, CLASSES)
    same(loss, LOGITS, with_ignored)
    same(loss, PLANES, PLANE_CLASSES)
    same(loss, LOGITS[0], np.array(3))
    if ignore == -100:
        same(loss, LOGITS, DISTRIBUTION)


def test_cross_entropy_of_strange_targets() -> None:
    loss = lambda T, x, t: T.nn.functional.cross_entropy(x, t)  # noqa: E731
    same(loss, LOGITS, np.full(6, -100))
    same(loss, LOGITS, np.full(6, 7))
    same(loss, LOGITS, np.full(6, -1))
    same(loss, LOGITS, CLASSES[:4])
    same(loss, np.zeros((0, 5)), np.zeros(0, np.int64))
    same(loss, LOGITS.astype(np.float32) * 1e4, CLASSES)
    same(lambda T, x, t: T.nn.functional.cross_entropy(x, t, reduction="median"), LOGITS, CLASSES)
    same(lambda T, x, t: T.nn.functional.nll_loss(x.log_softmax(1), t), LOGITS, CLASSES)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_other_losses(reduction: str) -> None:
    x, y = rng.normal(size=(4, 3)), rng.random((4, 3))
    same(lambda T, x, y: T.nn.MSELoss(reduction=reduction)(x, y), x, y)
    for weight in (None, [0.5, 1.0, 2.0]):
        for positive in (None, [1.0, 3.0, 0.2]):

            def loss(T: Any, x: Any, y: Any, weight: Any = weight, positive: Any = positive) -> Any:
                of = lambda v: None if v is None else T.tensor(v, dtype=T.float64)  # noqa: E731
                return T.nn.BCEWithLogitsLoss(of(weight), reduction=reduction, pos_weight=of(positive))(x, y)

            same(loss, x * 50, y)
            same(loss, x, y.round())
    same(lambda T, x, y: T.nn.BCEWithLogitsLoss()(x, y), x, y[:2])


FUNCTIONS: dict[str, Any] = {
    "relu": lambda F, x: F.relu(x),
    "gelu": lambda F, x: (F.gelu(x), F.gelu(x, approximate="tanh")),
    "softmax": lambda F, x: (F.softmax(x, dim=-1), F.log_softmax(x, 0)),
    "pad": lambda F, x: (F.pad(x, (1, 2)), F.pad(x, (0, 1, 2, 0), value=1.5), F.pad(x, (-1, 1))),
    "pad odd": lambda F, x: F.pad(x, (1, 2, 3)),
    "linear": lambda F, x: F.linear(x, x[:2], x[:2, 0]),
    "layer_norm": lambda F, x: F.layer_norm(x, (6,)),
    "dropout": lambda F, x: (F.dropout(x, 0.5, training=False), F.dropout(x, 0.0)),
    "bad dropout": lambda F, x: F.dropout(x, 1.5),
    "tanh": lambda F, x: (F.tanh(x), F.sigmoid(x)),
    "mse": lambda F, x: F.mse_loss(x, x * 2),
    "adaptive": lambda F, x: F.adaptive_avg_pool2d(x[None, None], (2, 2)),
    "max_pool2d": lambda F, x: F.max_pool2d(x[None, None], 2, return_indices=True),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional(name: str) -> None:
    same(lambda T, x: FUNCTIONS[name](T.nn.functional, x), ROWS)


def test_one_hot() -> None:
    same(lambda T, x: (T.nn.functional.one_hot(x), T.nn.functional.one_hot(x, 12)), TOKENS)
    same(lambda T, x: T.nn.functional.one_hot(x, 2), TOKENS)


def test_clipping_gradients() -> None:
    for norm_type in (2.0, 1.0, float("inf"), 3.0):
        for limit in (0.5, 1e6):
            results = []
            for T in BOTH:
                ps = [T.nn.Parameter(T.ones(3)), T.nn.Parameter(T.ones(2, 2)), T.nn.Parameter(T.ones(1))]
                ps[0].grad, ps[1].grad = T.tensor([1.0, -2.0, 3.0]), T.full((2, 2), 0.5)
                total = T.nn.utils.clip_grad_norm_(ps, limit, norm_type=norm_type)
                results.append([total, ps[0].grad, ps[1].grad, ps[2].grad is None])
                T.nn.utils.clip_grad_value_(ps, 0.3)
                results[-1] += [ps[0].grad]
            assert_same(*results, tolerance=1e-6)


def test_initial_values_have_pytorch_s_distribution() -> None:
    for make in (
        lambda nn: nn.Linear(300, 200), lambda nn: nn.Conv2d(16, 32, 5, groups=2), lambda nn: nn.Embedding(400, 100),
    ):  # fmt: skip
        torch.manual_seed(1)
        torchlite.manual_seed(1)
        ours, theirs = make(torchlite.nn), make(torch.nn)
        for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            a, b = a.detach().numpy(), b.detach().numpy()
            spread = b.std() if a.size > 1000 else np.abs(b).max()
            assert abs(a.mean() - b.mean()) < 6 * spread / np.sqrt(a.size), name
            assert abs(a.std() / b.std() - 1) < 6 / np.sqrt(a.size), name
            if type(theirs).__name__ != "Embedding":
                assert np.abs(a).max() <= np.abs(b).max() * 1.2, name


def test_init_functions_have_pytorch_s_distribution() -> None:
    calls: list[Any] = [
        lambda init, w: init.uniform_(w, -1, 2), lambda init, w: init.normal_(w, 1, 0.5), lambda init, w: init.constant_(w, 3),
        lambda init, w: init.ones_(w), lambda init, w: init.zeros_(w), lambda init, w: init.xavier_uniform_(w, gain=2),
        lambda init, w: init.xavier_normal_(w), lambda init, w: init.kaiming_uniform_(w, a=1, mode="fan_out"),
        lambda init, w: init.kaiming_normal_(w, nonlinearity="relu"),
    ]  # fmt: skip
    for i, call in enumerate(calls):
        moments = []
        for T in BOTH:
            T.manual_seed(i)
            w = T.empty(60, 40, 3, 3)
            assert call(T.nn.init, w) is w
            moments.append((w.mean().item(), w.std().item(), w.abs().max().item()))
        n = 60 * 40 * 9
        (mean_a, std_a, top_a), (mean_b, std_b, top_b) = moments
        assert mean_a == pytest.approx(mean_b, abs=8 * max(std_b, 1e-9) / n**0.5), i
        assert std_a == pytest.approx(std_b, rel=0.03), i
        assert top_a == pytest.approx(top_b, rel=0.3), i
    for nonlinearity in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert torchlite.nn.init.calculate_gain(nonlinearity) == torch.nn.init.calculate_gain(nonlinearity)
    assert torchlite.nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)


def test_state_dicts_go_both_ways() -> None:
    make = MODULES[-1][1]
    ours, theirs = make(torchlite.nn), make(torch.nn)
    ours(torchlite.tensor(IMAGES, dtype=torchlite.float32))
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    for (_, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert_same(a, b)
    ours.eval()
    theirs.eval()
    x = IMAGES.astype(np.float32)
    assert_same(ours(torchlite.tensor(x)), theirs(torch.tensor(x)), tolerance=1e-5)


def loading_error(T: Any) -> str:
    model = T.nn.Sequential(T.nn.Linear(3, 2), T.nn.BatchNorm2d(2))
    state = dict(model.state_dict())
    del state["0.bias"]
    state["extra"] = T.zeros(1)
    state["0.weight"] = T.zeros(2, 4)
    with pytest.raises(RuntimeError) as error:
        model.load_state_dict(state)
    return str(error.value)


def test_loading_errors_say_the_same() -> None:
    normalized = [re.sub(r"\s+", " ", loading_error(T)).strip() for T in BOTH]
    assert normalized[0] == normalized[1]


def test_loading_loosely_and_by_assignment() -> None:
    def run(T: Any) -> Any:
        model = T.nn.Linear(2, 2)
        keys = model.load_state_dict({"weight": T.ones(2, 2), "other": T.zeros(1)}, strict=False)
        weight = T.full((2, 2), 5.0, dtype=T.float64)
        model.load_state_dict({"weight": weight, "bias": T.zeros(2)}, assign=True)
        return [list(keys.missing_keys), list(keys.unexpected_keys), model.weight, type(model.weight).__name__]

    assert_same(run(torchlite), run(torch))


def test_hooks() -> None:
    def run(T: Any) -> Any:
        seen: list[Any] = []
        model = T.nn.Linear(2, 2)
        with T.no_grad():
            model.weight.copy_(T.tensor([[1.0, 2.0], [3.0, 4.0]]))
            model.bias.zero_()
        handles = [
            model.register_forward_pre_hook(lambda m, args: seen.append("pre") or (args[0] * 2,)),
            model.register_forward_hook(lambda m, args, out: seen.append(("post", args[0].tolist())) or out + 1),
            model.register_forward_hook(lambda m, args, out: seen.append("first"), prepend=True),
            model.register_full_backward_hook(lambda m, gi, go: seen.append([g.tolist() for g in (*gi, *go)])),
            model.register_forward_pre_hook(lambda m, a, k: seen.append(sorted(k)), with_kwargs=True),
        ]
        x = T.ones(1, 2, requires_grad=True)
        out = model(x)
        out.sum().backward()
        for handle in handles:
            handle.remove()
        return [seen, out, x.grad, model(x)]

    ours, theirs = run(torchlite), run(torch)
    assert_same(ours, theirs)


REFUSED: dict[str, Any] = {
    "conv channels": lambda T: T.nn.Conv2d(3, 2, 3)(T.zeros(1, 4, 5, 5)),
    "conv kernel": lambda T: T.nn.Conv2d(3, 2, 9)(T.zeros(1, 3, 5, 5)),
    "conv dims": lambda T: T.nn.Conv2d(3, 2, 3)(T.zeros(5, 5)),
    "conv groups": lambda T: T.nn.Conv2d(3, 4, 3, groups=2),
    "conv dtype": lambda T: T.nn.Conv2d(3, 2, 3)(T.zeros(1, 3, 5, 5, dtype=T.float64)),
    "conv padding": lambda T: T.nn.Conv2d(3, 2, 3, padding="some"),
    "conv same strided": lambda T: T.nn.Conv2d(3, 2, 3, padding="same", stride=2),
    "linear": lambda T: T.nn.Linear(3, 2)(T.zeros(4, 5)),
    "linear dtype": lambda T: T.nn.Linear(3, 2)(T.zeros(4, 3, dtype=T.int64)),
    "embedding range": lambda T: T.nn.Embedding(3, 2)(T.tensor([3])),
    "embedding negative": lambda T: T.nn.Embedding(3, 2)(T.tensor([-1])),
    "embedding dtype": lambda T: T.nn.Embedding(3, 2)(T.tensor([0.5])),
    "batch norm dims": lambda T: T.nn.BatchNorm2d(3)(T.zeros(2, 3)),
    "batch norm channels": lambda T: T.nn.BatchNorm2d(3)(T.zeros(2, 4, 2, 2)),
    "batch norm single": lambda T: T.nn.BatchNorm2d(3)(T.zeros(1, 3, 1, 1)),
    "layer norm": lambda T: T.nn.LayerNorm(3)(T.zeros(2, 4)),
    "pool padding": lambda T: T.nn.MaxPool2d(2, padding=2)(T.zeros(1, 1, 4, 4)),
    "dropout": lambda T: T.nn.Dropout(1.1),
    "name": lambda T: T.nn.Module().register_buffer("a.b", None),
    "taken name": lambda T: T.nn.Linear(1, 1).register_buffer("weight", None),
    "no forward": lambda T: T.nn.Module()(1),
    "parameter": lambda T: setattr(T.nn.Linear(1, 1), "weight", T.zeros(1, 1)),
    "module": lambda T: setattr(T.nn.Sequential(T.nn.ReLU()), "0", 3),
    "attribute": lambda T: T.nn.Linear(1, 1).wieght,
    "submodule": lambda T: T.nn.Linear(1, 1).get_submodule("a.b"),
    "to int": lambda T: T.nn.Linear(1, 1).to(T.int64),
    "list index": lambda T: T.nn.ModuleList([T.nn.ReLU()])[2],
    "list forward": lambda T: T.nn.ModuleList([])(1),
    "sequential index": lambda T: T.nn.Sequential()[0],
    "state": lambda T: T.nn.Linear(1, 1).load_state_dict([1]),
    "mode": lambda T: T.nn.Linear(1, 1).train("yes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch)
    with pytest.raises(theirs.type) as ours:
        REFUSED[name](torchlite)
    assert len(str(ours.value)) > 15
