"""The random streams: reproducible, resumable and rightly distributed."""

import pickle
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite.backends.philox import WORDS_PER_BLOCK, blocks_for, random_words


def test_words_are_numpy_s_philox() -> None:
    words = random_words(np, 8, seed=0)
    assert words.dtype == np.uint32
    generator = np.random.Philox(counter=0, key=np.zeros(2, np.uint64))
    assert words.view(np.uint64).tolist() == generator.random_raw(4).tolist()


def test_words_of_a_seed_never_change() -> None:
    assert random_words(np, 8, seed=42).tolist() == KNOWN_WORDS


# Saved runs resume from (seed, offset), so these are for ever.
KNOWN_WORDS = [1298302990, 3522724221, 1556642174, 812803766, 4035243267, 3726574823, 2026708569, 1694714510]


@pytest.mark.parametrize("start", [0, 1, 5, 1000])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 64])
def test_a_slice_of_a_stream_is_the_slice_of_the_whole(start: int, count: int) -> None:
    whole = random_words(np, (start + blocks_for(count)) * WORDS_PER_BLOCK, seed=3, stream=2, epoch=1)
    part = random_words(np, count, seed=3, offset=start, stream=2, epoch=1)
    np.testing.assert_array_equal(part, whole[start * WORDS_PER_BLOCK :][:count])


def test_seeds_streams_and_epochs_are_different() -> None:
    streams = [
        random_words(np, 64, seed=s, stream=t, epoch=e).tobytes() for s in (0, 1) for t in (0, 1) for e in (0, 1)
    ]
    assert len(set(streams)) == 8
    assert len({random_words(np, 64, seed=s).tobytes() for s in (-1, 2**64 - 1)}) == 1


DRAWS: dict[str, Any] = {
    "rand": lambda **k: torch.rand(5, **k),
    "rand64": lambda **k: torch.rand(5, dtype=torch.float64, **k),
    "randn": lambda **k: torch.randn(5, **k),
    "randint": lambda **k: torch.randint(0, 100, (5,), **k),
    "randperm": lambda **k: torch.randperm(9, **k),
    "bernoulli": lambda **k: torch.bernoulli(torch.full((9,), 0.5), **k),
    "uniform_": lambda **k: torch.empty(5).uniform_(-1, 1, **k),
    "normal_": lambda **k: torch.empty(5).normal_(2, 3, **k),
    "bernoulli_": lambda **k: torch.empty(5).bernoulli_(0.5, **k),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_repeat_with_the_seed_and_move_on(name: str) -> None:
    torch.manual_seed(11)
    first, second = DRAWS[name](), DRAWS[name]()
    torch.manual_seed(11)
    assert torch.equal(DRAWS[name](), first)
    assert torch.equal(DRAWS[name](), second)
    assert not torch.equal(first, second)
    generator = torch.Generator().manual_seed(11)
    assert torch.equal(DRAWS[name](generator=generator), first)


@pytest.mark.parametrize("name", DRAWS)
def test_a_saved_state_resumes(name: str) -> None:
    torch.manual_seed(5)
    torch.rand(3)
    state = torch.get_rng_state()
    rest = [DRAWS[name]() for _ in range(3)]
    torch.manual_seed(0)
    torch.set_rng_state(state)
    for expected in rest:
        assert torch.equal(DRAWS[name](), expected)


def test_generators() -> None:
    generator = torch.Generator().manual_seed(2**64 + 5)
    assert generator.initial_seed() == 5
    torch.rand(3, generator=generator)
    other = torch.Generator()
    other.set_state(generator.get_state())
    copied = pickle.loads(pickle.dumps(generator))
    expected = torch.rand(4, generator=generator)
    assert torch.equal(torch.rand(4, generator=other), expected)
    assert torch.equal(torch.rand(4, generator=copied), expected)
    assert generator.seed() == generator.initial_seed() != 5
    with pytest.raises(RuntimeError, match=r"16 bytes.*\[3\]"):
        generator.set_state(torch.zeros(3))
    torch.manual_seed(77)
    assert torch.initial_seed() == 77


def test_a_large_draw_begins_like_a_small_one() -> None:
    for draw in (torch.rand, torch.randn):
        torch.manual_seed(9)
        small = draw(100)
        torch.manual_seed(9)
        np.testing.assert_array_equal(draw(10_000)[:100].numpy(), small.numpy())


def test_shapes_do_not_change_the_numbers() -> None:
    torch.manual_seed(1)
    flat = torch.randn(24)
    torch.manual_seed(1)
    assert torch.equal(torch.randn(2, 3, 4).reshape(-1), flat)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_moments(dtype: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(200_000, dtype=getattr(torch, dtype)).double().numpy()
    assert x.min() >= 0 and x.max() <= 1
    assert abs(x.mean() - 0.5) < 0.003
    assert abs(x.var() - 1 / 12) < 0.001
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.01
    if dtype in ("float32", "float64"):
        assert x.max() < 1
        assert np.histogram(x, 20, (0, 1))[0].std() < 300


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_moments(dtype: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(200_001, dtype=getattr(torch, dtype)).double().numpy()
    assert np.isfinite(x).all()
    for power, expected in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert abs((x**power).mean() - expected) < 0.06, power
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.01
    assert abs((np.abs(x) < 1.96).mean() - 0.95) < 0.003


def test_integers_and_permutations() -> None:
    torch.manual_seed(0)
    x = torch.randint(-3, 4, (70_000,)).numpy()
    counts = np.bincount(x + 3)
    assert len(counts) == 7
    assert np.abs(counts - 10_000).max() < 500
    assert sorted(torch.randperm(1000).tolist()) == list(range(1000))
    assert torch.randint(5, (2, 3), dtype=torch.int32).dtype is torch.int32
    assert torch.randperm(0).shape == (0,)
    assert torch.randint(5, (2,), dtype=torch.uint8, device="meta").dtype is torch.uint8
    with pytest.raises(RuntimeError, match="from=3 >= to=3"):
        torch.randint(3, 3, (1,))
    with pytest.raises(RuntimeError, match="dtype"):
        torch.rand(2, dtype=torch.int64)


def test_bernoulli_and_dropout_rates() -> None:
    torch.manual_seed(0)
    p = torch.linspace(0, 1, 5).unsqueeze(1).expand(5, 20_000)
    np.testing.assert_allclose(torch.bernoulli(p).mean(1).numpy(), [0, 0.25, 0.5, 0.75, 1], atol=0.015)
    x = torch.ones(100_000, requires_grad=True)
    y = torch.nn.functional.dropout(x, 0.25)
    assert np.unique(y.detach().numpy()).tolist() == pytest.approx([0.0, 4 / 3])
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_like_functions_and_meta() -> None:
    x = torch.zeros(2, 3, dtype=torch.float64)
    assert (torch.rand_like(x).dtype, tuple(torch.randn_like(x).shape)) == (torch.float64, (2, 3))
    before = torch.get_rng_state()
    assert torch.randn(4, device="meta").is_meta
    assert torch.equal(torch.get_rng_state(), before)
