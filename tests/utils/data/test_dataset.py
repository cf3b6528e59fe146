import numpy as np
import pytest

import torchlite as torch
from torchlite.utils.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)


class Squares(Dataset):
    def __init__(self, length):
        self.length = length

    def __getitem__(self, index):
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return index**2

    def __len__(self):
        return self.length


class Bulk(Squares):
    def __getitems__(self, indices):
        return [index**2 for index in indices]


class Wrong(Squares):
    def __getitems__(self, indices):
        return [0]


class Stream(IterableDataset):
    def __init__(self, *values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def __len__(self):
        return len(self.values)


def test_a_dataset_must_define_its_items():
    with pytest.raises(NotImplementedError, match="Dataset must define __getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="IterableDataset must define __iter__"):
        iter(IterableDataset())


def test_tensor_dataset_has_rows_of_all_tensors():
    dataset = TensorDataset(torch.arange(6).reshape(3, 2), torch.tensor([5, 6, 7]))
    assert len(dataset) == 3
    row, label = dataset[1]
    assert row.tolist() == [2, 3] and label.item() == 6
    batch = dataset.get_batch([2, 0])
    assert batch[0].tolist() == [[4, 5], [0, 1]] and batch[1].tolist() == [7, 5]


def test_tensor_dataset_takes_arrays_too():
    dataset = TensorDataset(np.arange(3), np.arange(6).reshape(3, 2))
    assert dataset[2][1].tolist() == [4, 5]
    assert dataset.get_batch([1, 1])[0].tolist() == [1, 1]


def test_tensor_dataset_refuses_unequal_lengths():
    with pytest.raises(ValueError, match=r"Size mismatch between tensors: their lengths are \[3, 2\]"):
        TensorDataset(torch.zeros(3), torch.zeros(2))


def test_concat_dataset_counts_through_its_parts():
    dataset = ConcatDataset([Squares(2), Squares(0), Squares(3)])
    assert [dataset[index] for index in range(len(dataset))] == [0, 1, 0, 1, 4]
    assert dataset[-1] == 4 and dataset[-5] == 0
    assert dataset.cumulative_sizes == [2, 2, 5]
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"index {index} is out of range for a dataset of 5 samples"):
            dataset[index]


def test_adding_datasets_concatenates_them():
    both = Squares(2) + Squares(1)
    assert isinstance(both, ConcatDataset) and [both[index] for index in range(3)] == [0, 1, 0]
    assert list(Stream(1, 2) + Stream(3)) == [1, 2, 3]


def test_concat_dataset_refuses_nothing_and_streams():
    with pytest.raises(ValueError, match="empty"):
        ConcatDataset([])
    with pytest.raises(ValueError, match="does not support IterableDataset"):
        ConcatDataset([Squares(1), Stream(1)])


def test_chain_dataset_streams_one_after_the_other():
    chained = ChainDataset([Stream(1, 2), Stream(3)])
    assert list(chained) == [1, 2, 3] and len(chained) == 3
    with pytest.raises(TypeError, match="only supports IterableDataset, got Squares"):
        list(ChainDataset([Squares(1)]))


def test_subset_keeps_the_order_of_its_indices():
    subset = Subset(Squares(10), [7, 2, 5])
    assert len(subset) == 3 and [subset[0], subset[1], subset[-1]] == [49, 4, 25]
    assert subset.__getitems__([2, 0]) == [25, 49]
    assert Subset(Bulk(10), [7, 2, 5]).__getitems__([2, 0]) == [25, 49]
    assert Subset(TensorDataset(torch.arange(9)), [7, 2, 5])[[0, 2]][0].tolist() == [7, 5]


@pytest.mark.parametrize("dataset", [Squares(10), Bulk(10), TensorDataset(torch.arange(10) ** 2)], ids=type)
def test_subset_makes_the_batch_that_collating_its_samples_makes(dataset):
    subset = Subset(Subset(dataset, list(range(9, -1, -1))), [1, 3, 5, 7])
    expected = default_collate([subset[index] for index in (3, 0, 2)])
    batch = subset.get_batch([3, 0, 2])
    for part, expected_part in zip(np.atleast_2d(batch), np.atleast_2d(expected), strict=True):
        assert part.tolist() == expected_part.tolist() == [4, 64, 16]


def test_getitems_must_return_a_sample_for_each_index():
    with pytest.raises(ValueError, match=r"Wrong.__getitems__ returned 1 samples for 2 indices"):
        Subset(Wrong(5), [1, 2]).__getitems__([0, 1])


def test_stack_dataset_by_position_and_by_name():
    by_position, by_name = StackDataset(Squares(3), Bulk(3)), StackDataset(x=Squares(3), y=Bulk(3))
    assert len(by_position) == len(by_name) == 3
    assert by_position[2] == (4, 4) and by_name[2] == {"x": 4, "y": 4}
    assert by_position.__getitems__([0, 2]) == [(0, 0), (4, 4)]
    assert by_name.__getitems__([2]) == [{"x": 4, "y": 4}]


@pytest.mark.parametrize(
    "args, kwargs, message",
    [
        ((), {}, "at least one"),
        ((Squares(1),), {"x": Squares(1)}, "either by position or by name"),
        ((Squares(1), Squares(2)), {}, r"their lengths are \[1, 2\]"),
    ],
)
def test_stack_dataset_refuses(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        StackDataset(*args, **kwargs)


def split(lengths, length=10, seed=0):
    return random_split(Squares(length), lengths, generator=torch.Generator().manual_seed(seed))


def test_random_split_is_a_partition_that_the_generator_decides():
    parts = split([3, 7])
    assert [len(part) for part in parts] == [3, 7]
    assert sorted(index for part in parts for index in part.indices) == list(range(10))
    assert [part.indices for part in split([3, 7])] == [part.indices for part in parts]
    assert [part.indices for part in split([3, 7], seed=1)] != [part.indices for part in parts]


@pytest.mark.parametrize(
    "fractions, length, lengths",
    [([0.5, 0.5], 10, [5, 5]), ([0.3, 0.3, 0.4], 11, [4, 3, 4]), ([1 / 3] * 3, 10, [4, 3, 3])],
)
def test_random_split_by_fractions_hands_out_the_remainder_in_turn(fractions, length, lengths):
    assert [len(part) for part in split(fractions, length)] == lengths


def test_random_split_warns_of_an_empty_part():
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        split([1.0, 0.0])


def test_random_split_refuses():
    with pytest.raises(ValueError, match=r"Sum of input lengths does not equal.*\[3, 6\] for 10"):
        split([3, 6])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1"):
        split([-0.5, 1.5])


def test_random_split_draws_from_the_global_generator_by_default():
    torch.manual_seed(3)
    first = random_split(Squares(50), [25, 25])[0].indices
    torch.manual_seed(3)
    assert random_split(Squares(50), [25, 25])[0].indices == first
    assert random_split(Squares(50), [25, 25])[0].indices != first
