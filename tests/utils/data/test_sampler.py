import numpy as np
import pytest

import torchlite as torch
from torchlite.utils.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


RANDOM = {
    "permutation": lambda g: RandomSampler(range(100), generator=g),
    "replacement": lambda g: RandomSampler(range(100), replacement=True, generator=g),
    "subset": lambda g: SubsetRandomSampler(list(range(100)), generator=g),
    "weighted": lambda g: WeightedRandomSampler([1.0] * 100, 100, generator=g),
    "weighted once": lambda g: WeightedRandomSampler([1.0] * 100, 100, replacement=False, generator=g),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_the_generator_decides_the_order_and_each_pass_is_new(make):
    sampler = make(generator())
    first, second = list(sampler), list(sampler)
    assert len(first) == len(second) == len(sampler) == 100
    assert first != second
    assert list(make(generator())) == first
    assert list(make(generator(1))) != first
    assert all(type(index) is int for index in first)


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_without_a_generator_the_global_one_decides(make):
    torch.manual_seed(5)
    first = list(make(None))
    torch.manual_seed(5)
    assert list(make(None)) == first


@pytest.mark.parametrize("replacement", [False, True])
def test_a_pass_is_not_changed_by_draws_from_the_global_generator_in_between(replacement):
    def order(disturbed):
        torch.manual_seed(5)
        indices = []
        for index in RandomSampler(range(100), replacement, num_samples=250):
            indices.append(index)
            if disturbed:
                torch.rand(3)
        return indices

    assert order(True) == order(False)


def test_sequential():
    assert list(SequentialSampler("abc")) == [0, 1, 2] and len(SequentialSampler("abc")) == 3


def test_random_without_replacement_is_permutations_in_a_row():
    assert sorted(RandomSampler(range(10), generator=generator())) == list(range(10))
    indices = list(RandomSampler(range(10), num_samples=25, generator=generator()))
    assert sorted(indices[:10]) == sorted(indices[10:20]) == list(range(10))
    assert len(set(indices[20:])) == 5
    assert len(set(RandomSampler(range(10), num_samples=4, generator=generator()))) == 4


def test_random_with_replacement_is_uniform():
    counts = np.bincount(list(RandomSampler(range(10), True, 20_000, generator())), minlength=10)
    assert counts.sum() == 20_000 and np.abs(counts - 2000).max() < 250


def test_subset_yields_each_of_its_indices_once():
    assert sorted(SubsetRandomSampler([7, 3, 9], generator())) == [3, 7, 9]


def test_weighted_with_replacement_follows_the_weights():
    weights = [0.0, 1.0, 3.0, 0.0, 6.0, 0.0]
    counts = np.bincount(list(WeightedRandomSampler(weights, 20_000, generator=generator())), minlength=6)
    assert counts[[0, 3, 5]].tolist() == [0, 0, 0]
    assert np.abs(counts / 20_000 - np.array(weights) / 10).max() < 0.015


def test_weighted_without_replacement_is_drawing_one_after_the_other():
    weights, g = torch.tensor([1.0, 2.0, 0.0, 5.0]), generator()
    draws = [tuple(WeightedRandomSampler(weights, 2, replacement=False, generator=g)) for _ in range(4000)]
    assert all(len(set(draw)) == 2 and 2 not in draw for draw in draws)
    share = np.mean([draw == (3, 1) for draw in draws])
    assert abs(share - 5 / 8 * 2 / 3) < 0.03
    assert sorted(WeightedRandomSampler(weights, 3, replacement=False)) == [0, 1, 3]


def test_batches_of_indices():
    batches = BatchSampler(SequentialSampler(range(7)), 3, drop_last=False)
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6]] and len(batches) == 3
    batches = BatchSampler(range(7), 3, drop_last=True)
    assert list(batches) == [[0, 1, 2], [3, 4, 5]] and len(batches) == 2
    assert list(BatchSampler([], 3, drop_last=False)) == []


@pytest.mark.parametrize(
    "make, kind, message",
    [
        (lambda: RandomSampler(range(3), replacement=1), TypeError, "replacement should be a boolean"),
        (lambda: RandomSampler(range(3), num_samples=0), ValueError, "num_samples should be a positive integer"),
        (
            lambda: RandomSampler([]),
            ValueError,
            "num_samples should be a positive integer value, but got num_samples=0",
        ),
        (lambda: WeightedRandomSampler([1.0], True), ValueError, "num_samples should be a positive"),
        (lambda: WeightedRandomSampler([1.0], 1, replacement=1), ValueError, "replacement should be"),
        (lambda: WeightedRandomSampler([[1.0]], 1), ValueError, r"weights should be a 1d sequence.*got \(1, 1\)"),
        (lambda: WeightedRandomSampler([1.0, -1.0], 1), ValueError, "non-negative"),
        (lambda: WeightedRandomSampler([0.0, 0.0], 1), ValueError, "positive sum"),
        (lambda: WeightedRandomSampler([1.0, float("nan")], 1), ValueError, "finite"),
        (lambda: WeightedRandomSampler([1.0, 0.0], 2, replacement=False), ValueError, "cannot draw 2 .* from 1"),
        (lambda: BatchSampler([], 0, False), ValueError, "batch_size should be a positive integer"),
        (lambda: BatchSampler([], True, False), ValueError, "batch_size should be a positive integer"),
        (lambda: BatchSampler([], 1, 1), ValueError, "drop_last should be a boolean"),
        (lambda: iter(Sampler()), NotImplementedError, "Sampler must define __iter__"),
    ],
)
def test_bad_arguments_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
