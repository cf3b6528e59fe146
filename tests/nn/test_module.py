"""What modules promise beyond what the comparison with PyTorch shows."""

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest

import torchlite as torch
from torchlite import nn


def test_replacing_a_parameter_or_module_keeps_its_place() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    setattr(model, "0", nn.Linear(2, 2, bias=False))
    model[0].weight = nn.Parameter(torch.zeros(2, 2))
    assert list(model.state_dict()) == ["0.weight", "2.weight", "2.bias"]
    linear = nn.Linear(2, 2)
    linear.weight = nn.Parameter(torch.ones(2, 2))
    assert [n for n, _ in linear.named_parameters()] == ["weight", "bias"]


def test_a_name_changes_what_it_is() -> None:
    module = nn.Module()
    module.thing = 3
    module.thing = nn.Parameter(torch.ones(1))
    assert list(module.state_dict()) == ["thing"]
    del module.thing
    module.thing = nn.ReLU()
    assert list(module.state_dict()) == []
    assert len(list(module.children())) == 1
    del module.thing
    assert not hasattr(module, "thing")
    module.buffer = nn.Buffer(torch.ones(1))
    module.scratch = nn.Buffer(torch.ones(1), persistent=False)
    assert list(module.state_dict()) == ["buffer"]
    assert [n for n, _ in module.named_buffers()] == ["buffer", "scratch"]


def test_assigning_before_init_says_so() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(1, 1)
            super().__init__()

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Early()


def test_nothing_is_loaded_when_something_does_not_fit() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = {k: torch.zeros_like(v) for k, v in before.items()}
    state["1.weight"] = torch.zeros(1, 4)
    with pytest.raises(RuntimeError, match=r"size mismatch for 1\.weight: .*\[1, 4\].*\[1, 3\]"):
        model.load_state_dict(state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_state_dict_shares_memory_and_loading_keeps_the_objects() -> None:
    model = nn.Linear(2, 2)
    weight = model.weight
    state = model.state_dict()
    with torch.no_grad():
        model.weight.fill_(3)
    assert state["weight"].tolist() == [[3.0, 3.0], [3.0, 3.0]]
    model.load_state_dict({"weight": torch.zeros(2, 2, dtype=torch.float64), "bias": torch.ones(2)})
    assert model.weight is weight
    assert weight.dtype is torch.float32
    assert weight.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_moving_keeps_parameters_the_same_objects() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(2))
    weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.double()
    assert model[0].weight is weight and optimizer.param_groups[0]["params"][0] is weight
    assert weight.dtype is torch.float64
    assert model[1].running_mean.dtype is torch.float64
    assert model[1].num_batches_tracked.dtype is torch.int64
    weight.grad = torch.ones(2, 2, dtype=torch.float64)
    model.float()
    assert weight.grad.dtype is torch.float32
    meta = nn.Linear(2, 2, device="meta")
    with pytest.raises(RuntimeError, match="to_empty"):
        meta.to("cpu")
    assert not meta.to_empty(device="cpu").weight.is_meta


def test_tied_weights_are_one_parameter() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.embedding.weight

    model = Tied()
    assert len(list(model.parameters())) == 1
    assert list(model.state_dict()) == ["embedding.weight", "head.weight"]
    copied = copy.deepcopy(model)
    assert copied.head.weight is copied.embedding.weight
    assert copied.head.weight is not model.head.weight


def test_copies_and_pickles_are_whole_and_apart() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.1), nn.BatchNorm2d(3)).eval()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(other) == repr(model)
        assert not other.training
        assert type(other[0].weight) is nn.Parameter
        assert other[0].weight.requires_grad
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)
        with torch.no_grad():
            other[0].weight.fill_(9)
        assert not torch.equal(model[0].weight, other[0].weight)


def test_zero_grad() -> None:
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    model.zero_grad(set_to_none=False)
    assert model.weight.grad.tolist() == [[0.0, 0.0]]
    model.zero_grad()
    assert model.weight.grad is None


def test_state_dict_hooks() -> None:
    model = nn.Linear(1, 1)
    model.register_state_dict_post_hook(
        lambda m, state, prefix, meta: state.__setitem__(prefix + "extra", torch.ones(1))
    )
    state = model.state_dict(prefix="m.")
    assert list(state) == ["m.weight", "m.bias", "m.extra"]
    seen: list[Any] = []
    model.register_load_state_dict_pre_hook(lambda m, state, *rest: state.pop("old", None))
    model.register_load_state_dict_post_hook(lambda m, keys: seen.append(keys.missing_keys))
    given = {"weight": torch.ones(1, 1), "bias": torch.ones(1), "old": torch.ones(1)}
    model.load_state_dict(given)
    assert seen == [[]]
    assert "old" in given, "the caller's dict is not changed"


def test_hooks_are_removed_by_their_context() -> None:
    model, calls = nn.ReLU(), []
    with model.register_forward_hook(lambda m, args, out: calls.append(1)):
        model(torch.ones(1))
    model(torch.ones(1))
    assert calls == [1]


def test_a_call_replaced_by_hooks() -> None:
    model = nn.Identity()
    model.register_forward_pre_hook(lambda m, args, kwargs: ((args[0] + 1,), kwargs), with_kwargs=True)
    model.register_forward_hook(lambda m, args, kwargs, out: out * 10, with_kwargs=True)
    assert model(torch.ones(1)).tolist() == [20.0]


def test_modules_die_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        model(torch.ones(1, 2)).sum().backward()
        refs = [weakref.ref(model), weakref.ref(model[0]), weakref.ref(model[0].weight)]
        del model
        assert [r() for r in refs] == [None] * 3
    finally:
        gc.enable()


def test_batch_norm_learns_the_statistics_of_its_data() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    for _ in range(100):
        norm(torch.randn(16, 2, 4, 4) * 3 + 5)
    assert norm.running_mean.tolist() == pytest.approx([5, 5], abs=0.3)
    assert norm.running_var.tolist() == pytest.approx([9, 9], rel=0.1)
    assert norm.num_batches_tracked.item() == 100


def test_embedding_from_pretrained_vectors() -> None:
    vectors = torch.arange(6.0).view(3, 2)
    table = nn.Embedding.from_pretrained(vectors)
    assert table(torch.tensor([2, 0])).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert not table.weight.requires_grad
    assert nn.Embedding.from_pretrained(vectors, freeze=False).weight.requires_grad
