import itertools

import numpy as np
import pytest

import torchlite as torch
from torchlite.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
)


class Items(Dataset):
    def __init__(self, values):
        self.values = values

    def __getitem__(self, index):
        return self.values[index]

    def __len__(self):
        return len(self.values)


class Bulk(Items):
    """Notes how it is read."""

    def __init__(self, values):
        super().__init__(values)
        self.calls = []

    def __getitems__(self, indices):
        self.calls.append(indices)
        return [self.values[index] for index in indices]


class Batched(Bulk):
    def get_batch(self, indices):
        self.calls.append(("batch", indices))
        return np.array([self.values[index] for index in indices]), "meta"


class Stream(IterableDataset):
    def __init__(self, length):
        self.length = length

    def __iter__(self):
        return iter(range(self.length))

    def __len__(self):
        return self.length


def values(loader):
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("items", [[1, 2, 3, 4], [torch.tensor(1), torch.tensor(2), torch.tensor(3), torch.tensor(4)]])
def test_the_simplest_use(items):
    batches = list(DataLoader(Items(items), batch_size=2))
    assert all(isinstance(batch, torch.Tensor) and batch.dtype == torch.int64 for batch in batches)
    assert [batch.tolist() for batch in batches] == [[1, 2], [3, 4]]


def test_batches_of_one_by_default_and_a_ragged_end():
    assert values(DataLoader([1, 2])) == [[1], [2]]
    loader = DataLoader([1, 2, 3], batch_size=2)
    assert values(loader) == [[1, 2], [3]] and len(loader) == 2
    loader = DataLoader([1, 2, 3], batch_size=2, drop_last=True)
    assert values(loader) == [[1, 2]] and len(loader) == 1
    assert values(DataLoader([], batch_size=2)) == []


def test_tensors_come_as_batches_of_inputs_and_targets():
    dataset = TensorDataset(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 2]))
    inputs, targets = next(iter(DataLoader(dataset, batch_size=3)))
    assert inputs.shape == (3, 2) and inputs.dtype == torch.float32 and targets.tolist() == [0, 1, 2]


def test_without_batching_samples_come_singly():
    loader = DataLoader([np.array([1, 2]), 3, "a"], batch_size=None)
    first, second, third = loader
    assert first.tolist() == [1, 2] and (second, third) == (3, "a") and len(loader) == 3
    assert values(DataLoader(np.arange(10), batch_size=None, sampler=[[1, 2], [3]])) == [[1, 2], [3]]


def test_shuffling_is_new_in_each_pass_and_decided_by_the_generator():
    def loader(seed):
        return DataLoader(range(20), 4, shuffle=True, generator=torch.Generator().manual_seed(seed))

    one = loader(0)
    first, second = values(one), values(one)
    assert first != second and sorted(itertools.chain(*first)) == list(range(20))
    again = loader(0)
    assert [values(again), values(again)] == [first, second]
    assert values(loader(1)) != first
    torch.manual_seed(9)
    order = values(DataLoader(range(20), 4, shuffle=True))
    torch.manual_seed(9)
    assert values(DataLoader(range(20), 4, shuffle=True)) == order


def test_samplers_decide_what_is_read():
    assert values(DataLoader(range(10), 2, sampler=[5, 3, 1])) == [[5, 3], [1]]
    batches = BatchSampler(SequentialSampler(range(5)), 2, drop_last=True)
    loader = DataLoader(range(10), batch_sampler=batches)
    assert values(loader) == [[0, 1], [2, 3]] and len(loader) == 2 and loader.batch_size is None
    weighted = WeightedRandomSampler([0, 0, 1], 4)
    assert values(DataLoader(range(3), 4, sampler=weighted)) == [[2, 2, 2, 2]]


def test_a_collate_function_of_ones_own():
    assert list(DataLoader([1, 2, 3], 2, collate_fn=sum)) == [3, 3]
    assert list(DataLoader([1, 2], None, collate_fn=str)) == ["1", "2"]


def test_getitems_reads_a_batch_at_once():
    dataset = Bulk(range(5))
    assert values(DataLoader(dataset, 3)) == [[0, 1, 2], [3, 4]]
    assert dataset.calls == [[0, 1, 2], [3, 4]]


def test_get_batch_makes_the_batch_where_collation_is_the_default():
    dataset = Batched(range(5))
    (first, meta), _ = DataLoader(dataset, 3)
    assert isinstance(first, torch.Tensor) and first.tolist() == [0, 1, 2] and meta == "meta"
    assert dataset.calls == [("batch", [0, 1, 2]), ("batch", [3, 4])]
    dataset.calls.clear()
    assert list(DataLoader(dataset, 3, collate_fn=sum)) == [3, 7]
    assert dataset.calls == [[0, 1, 2], [3, 4]]


def test_get_batch_equals_collated_samples():
    dataset = TensorDataset(torch.arange(14).reshape(7, 2), torch.arange(7.0))
    for source in (dataset, Subset(dataset, [6, 2, 4, 1])):
        fast = list(DataLoader(source, 3))
        plain = list(DataLoader(source, 3, collate_fn=lambda samples: default_collate(samples)))
        assert [type(batch) for batch in fast] == [type(batch) for batch in plain]
        for fast_parts, plain_parts in zip(fast, plain, strict=True):
            for fast_part, plain_part in zip(fast_parts, plain_parts, strict=True):
                assert fast_part.dtype == plain_part.dtype and fast_part.tolist() == plain_part.tolist()


def test_streams():
    loader = DataLoader(Stream(7), batch_size=3)
    assert values(loader) == [[0, 1, 2], [3, 4, 5], [6]] and len(loader) == 3
    assert values(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    loader = DataLoader(Stream(7), batch_size=3, drop_last=True)
    assert values(loader) == [[0, 1, 2], [3, 4, 5]] and len(loader) == 2
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    assert len(DataLoader(Stream(3), batch_size=None)) == 3


def test_two_iterators_of_one_loader_are_independent():
    loader = DataLoader(range(4), 2)
    one, other = iter(loader), iter(loader)
    assert [next(one).tolist(), next(other).tolist(), next(one).tolist()] == [[0, 1], [0, 1], [2, 3]]


def test_exceptions_of_the_dataset_come_as_they_are():
    with pytest.raises(IndexError, match="list index out of range"):
        list(DataLoader([1, 2], sampler=[5]))


def test_there_is_no_worker_info_in_the_main_process():
    assert get_worker_info() is None


def test_pinning_is_accepted():
    assert values(DataLoader([1], pin_memory=True, pin_memory_device="cuda")) == [[1]]


@pytest.mark.parametrize(
    "name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"]
)
def test_what_the_loader_was_built_on_cannot_be_changed(name):
    with pytest.raises(ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"):
        setattr(DataLoader([1]), name, None)


@pytest.mark.parametrize(
    "arguments, kind, message",
    [
        ({"num_workers": -1}, ValueError, "num_workers option should be non-negative"),
        ({"timeout": -1}, ValueError, "timeout option should be non-negative"),
        ({"timeout": 1}, ValueError, "timeout option needs num_workers > 0"),
        ({"prefetch_factor": 2}, ValueError, "prefetch_factor option needs num_workers > 0"),
        ({"prefetch_factor": 0, "num_workers": 1}, ValueError, "prefetch_factor option should be at least 1"),
        ({"persistent_workers": True}, ValueError, "persistent_workers option needs num_workers > 0"),
        ({"multiprocessing_context": "spawn"}, ValueError, "multiprocessing_context option needs num_workers > 0"),
        ({"multiprocessing_context": "x", "num_workers": 1}, ValueError, "should be a start method of .*, got 'x'"),
        ({"multiprocessing_context": 3, "num_workers": 1}, TypeError, "a start method or a context, got 3"),
        ({"shuffle": True, "sampler": [0]}, ValueError, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, ValueError, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "drop_last": True}, ValueError, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, ValueError, "batch_size=None option disables auto-batching"),
        ({"batch_size": 0}, ValueError, "batch_size should be a positive integer"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        DataLoader([1, 2, 3], **arguments)


@pytest.mark.parametrize("arguments", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}])
def test_a_stream_has_an_order_of_its_own(arguments):
    with pytest.raises(ValueError, match=f"expected unspecified {next(iter(arguments))} option"):
        DataLoader(Stream(3), **arguments)
    assert values(DataLoader(Stream(1), shuffle=False)) == [[0]]
