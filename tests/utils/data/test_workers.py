"""Worker processes: same batches, no hang, no orphan, whatever happens to them."""

import gc
import itertools
import multiprocessing
import os
import random
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import torchlite as torch
from torchlite.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

DEADLINE_S = 60


class Numbers(Dataset):
    """Sample i is i; subclasses do something on the way."""

    def __init__(self, length, folder=None):
        self.length = length
        self.folder = folder

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.on_read(index)
        return index

    def on_read(self, index):
        pass

    def first_time(self, event):
        """Whether `event` has not happened in any process yet."""
        try:
            Path(self.folder, event).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class DiesOnce(Numbers):
    """Kills the worker at every third index, once each."""

    def on_read(self, index):
        if index % 3 == 0 and self.first_time(f"died{index}"):
            os.kill(os.getpid(), signal.SIGKILL)


class AlwaysDies(Numbers):
    def on_read(self, index):
        if index == 5:
            Path(self.folder, f"{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Numbers):
    def on_read(self, index):
        if index >= 2:
            threading.Event().wait()


class Raises(Numbers):
    error = ValueError("planted")

    def on_read(self, index):
        if index == 5:
            raise self.error


class RaisesKeyError(Raises):
    error = KeyError("planted")


class RaisesStopIteration(Raises):
    error = StopIteration("planted")


class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


class RaisesAwkward(Raises):
    error = Awkward(1, 2)


class Unsendable(Numbers):
    def __getitem__(self, index):
        return threading.Lock()


class Random(Numbers):
    def __getitem__(self, index):
        return random.random(), np.random.rand(), torch.rand(()).item()


class RandomAndDies(Random):
    def __getitem__(self, index):
        if index == 4 and self.first_time("died"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Whoami(Numbers):
    def __getitem__(self, index):
        info = get_worker_info()
        return os.getpid(), info.id, info.num_workers, info.seed, len(info.dataset), getattr(self, "mark", -1)


class Methods(Numbers):
    """Uses tensor methods that no module of the loader needs."""

    def __init__(self, length):
        super().__init__(length)
        self.data = torch.arange(4.0)

    def __getitem__(self, index):
        return (self.data * index).exp().sum()


class Arrays(Numbers):
    def __getitem__(self, index):
        return np.full((64, 1024), index, np.float32), np.zeros((0, 3)), {"name": "a" * index}


class Share(IterableDataset):
    """Each worker has its own part of 0 … length - 1; worker 0 has three times as much as each other."""

    def __init__(self, length, folder=None):
        self.length = length
        self.folder = folder

    def __iter__(self):
        info = get_worker_info()
        for index in range(self.length):
            owner = max(0, index % (info.num_workers + 2) - 2)
            if owner == info.id:
                if self.folder is not None and index == 20 and Numbers.first_time(self, "died"):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield index + random.random()


def mark_dataset(worker_id):
    get_worker_info().dataset.mark = 100 + worker_id


def fail_to_start(worker_id):
    raise OSError("no database here")


def values(loader):
    return [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in loader]


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """No process of a loader outlives its test, and no test runs for ever."""
    watchdog = threading.Timer(DEADLINE_S, os.kill, (os.getpid(), signal.SIGABRT))
    watchdog.daemon = True
    watchdog.start()
    yield
    gc.collect()
    watchdog.cancel()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_any_number_of_workers_gives_the_same_batches(num_workers):
    def loader(num_workers):
        generator = torch.Generator().manual_seed(3)
        return DataLoader(Numbers(50), 4, shuffle=True, num_workers=num_workers, generator=generator)

    here, there = loader(0), loader(num_workers)
    assert [values(there), values(there)] == [values(here), values(here)]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_every_start_method_works(method):
    loader = DataLoader(Numbers(7), 2, num_workers=2, multiprocessing_context=method)
    assert values(loader) == [[0, 1], [2, 3], [4, 5], [6]]


def test_a_context_is_taken_as_it_is():
    context = multiprocessing.get_context("spawn")
    assert values(DataLoader(Numbers(2), 2, num_workers=1, multiprocessing_context=context)) == [[0, 1]]


def test_large_and_empty_arrays_and_plain_objects_arrive_writable():
    for index, (image, empty, named) in enumerate(DataLoader(Arrays(5), None, num_workers=2)):
        assert image.shape == (64, 1024) and (image == index).all()
        image += 1
        assert empty.shape == (0, 3) and empty.dtype == torch.float64
        assert named == {"name": "a" * index}


def test_tensors_are_sent_as_batches():
    dataset = TensorDataset(torch.arange(10.0), torch.arange(10))
    batches = list(DataLoader(dataset, 4, num_workers=2))
    assert [batch[0].dtype for batch in batches] == [torch.float32] * 3
    assert [batch[1].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_dataset_may_use_any_method_of_a_tensor():
    (batch,) = DataLoader(Methods(2), 2, num_workers=1)
    assert batch.tolist() == pytest.approx([4.0, sum(np.exp(range(4)))])


def test_large_batches_of_indices_do_not_block():
    loader = DataLoader(range(300_000), 100_000, num_workers=1, prefetch_factor=3)
    assert [len(batch) for batch in loader] == [100_000] * 3


def test_workers_know_who_they_are():
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(Whoami(6), None, num_workers=2, generator=generator, worker_init_fn=mark_dataset)
    pids, ids, counts, seeds, lengths, marks = zip(*loader, strict=True)
    assert ids == (0, 1) * 3 and set(counts) == {2} and set(lengths) == {6}
    assert len(set(pids)) == 2 and os.getpid() not in pids
    assert seeds[1] == seeds[0] + 1 and marks == (100, 101) * 3


@pytest.mark.slow
def test_random_numbers_in_a_dataset_do_not_depend_on_the_number_of_workers():
    def draws(num_workers):
        generator = torch.Generator().manual_seed(1)
        return values(DataLoader(Random(6), None, num_workers=num_workers, generator=generator))

    one = draws(1)
    assert draws(2) == draws(3) == one
    assert len({number for sample in one for number in sample}) == 18


def test_random_numbers_are_drawn_again_alike_after_a_death(tmp_path):
    def draws(kind):
        return values(DataLoader(kind(6, tmp_path), None, num_workers=1, generator=torch.Generator().manual_seed(1)))

    assert draws(RandomAndDies) == draws(Random)
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_batches_of_killed_workers_are_read_again(tmp_path, num_workers):
    loader = DataLoader(DiesOnce(12, str(tmp_path)), 2, num_workers=num_workers)
    assert values(loader) == [[index, index + 1] for index in range(0, 12, 2)]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_batch_that_kills_every_worker_is_given_up_and_named(tmp_path):
    loader = DataLoader(AlwaysDies(12, str(tmp_path)), 2, num_workers=2)
    message = r"exited unexpectedly \(exit code -9\) 4 times while reading batch 2, indices \[4, 5\]"
    with pytest.raises(RuntimeError, match=message):
        list(loader)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_hanging_worker_is_given_up_after_the_timeout():
    loader = DataLoader(Hangs(6), 2, num_workers=2, timeout=DEADLINE_S)
    batches = iter(loader)
    assert next(batches).tolist() == [0, 1]
    loader.timeout = 0.1
    with pytest.raises(RuntimeError, match=r"timed out after 0.1 seconds, waiting for batch 1, indices \[2, 3\]"):
        next(batches)


@pytest.mark.parametrize(
    "kind, raised, name",
    [
        (Raises, ValueError, "ValueError"),
        (RaisesKeyError, KeyError, "KeyError"),
        (RaisesStopIteration, RuntimeError, "StopIteration"),
        (RaisesAwkward, RuntimeError, "Awkward"),
    ],
)
def test_an_exception_names_type_worker_batch_and_the_line_that_raised_it(kind, raised, name):
    batches = iter(DataLoader(kind(12), 2, num_workers=2))
    assert [next(batches).tolist(), next(batches).tolist()] == [[0, 1], [2, 3]]
    with pytest.raises(raised) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith(
        f"Caught {name} in DataLoader worker process 0, reading batch 2, indices [4, 5].\n"
        "Original Traceback (most recent call last):"
    )
    assert "raise self.error" in text and str(kind.error) in text


def test_a_batch_that_cannot_be_sent_is_an_error():
    with pytest.raises(TypeError, match=r"(?s)Caught TypeError in DataLoader worker process 0.*cannot pickle"):
        list(DataLoader(Unsendable(2), None, num_workers=1))


def test_an_exception_of_worker_init_fn_is_an_error():
    with pytest.raises(OSError, match=r"(?s)Caught OSError in DataLoader worker process 0.*no database here"):
        list(DataLoader(Numbers(2), num_workers=1, worker_init_fn=fail_to_start))


def test_what_cannot_be_sent_to_a_worker_is_explained():
    message = r"the dataset \(Numbers\), collate_fn and worker_init_fn are sent .*'spawn'.*Define them at the top level"
    loader = DataLoader(Numbers(2), num_workers=1, collate_fn=lambda batch: batch, multiprocessing_context="spawn")
    with pytest.raises(TypeError, match=message):
        list(loader)


def test_persistent_workers_stay():
    loader = DataLoader(Whoami(4), None, num_workers=2, persistent_workers=True)
    passes = [[sample[0] for sample in loader] for _ in range(3)]
    assert len({pid for pids in passes for pid in pids}) == 2


def test_other_workers_do_not():
    loader = DataLoader(Whoami(4), None, num_workers=1)
    first = {sample[0] for sample in loader}
    assert multiprocessing.active_children() == []
    assert first.isdisjoint(sample[0] for sample in loader)


def test_a_pass_that_was_left_does_not_disturb_the_next_one():
    loader = DataLoader(Numbers(40), 2, num_workers=2, persistent_workers=True)
    for _ in range(2):
        assert next(iter(loader)).tolist() == [0, 1]
    assert values(loader) == [[index, index + 1] for index in range(0, 40, 2)]


def test_persistent_workers_serve_one_iterator_at_a_time():
    loader = DataLoader(Numbers(40), 2, num_workers=1, persistent_workers=True)
    first, second = iter(loader), iter(loader)
    assert next(first).tolist() == next(second).tolist() == [0, 1]
    with pytest.raises(RuntimeError, match="a newer iterator of this DataLoader has taken over"):
        list(first)
    assert len(list(second)) == 19


def test_persistent_workers_go_on_after_an_exception():
    loader = DataLoader(Raises(12), 2, num_workers=2, persistent_workers=True)
    for _ in range(2):
        with pytest.raises(ValueError, match="planted"):
            list(loader)


def test_persistent_workers_that_died_between_passes_are_replaced():
    loader = DataLoader(Whoami(4), None, num_workers=2, persistent_workers=True)
    first = [sample[0] for sample in loader]
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    second = [sample[0] for sample in loader]
    assert len(second) == 4 and set(first).isdisjoint(second)


def test_out_of_order_loses_nothing():
    loader = DataLoader(Numbers(30), 2, num_workers=3, in_order=False)
    assert sorted(values(loader)) == [[index, index + 1] for index in range(0, 30, 2)]


class SlowFirst(Numbers):
    def on_read(self, index):
        if index == 0:
            while not Path(self.folder, "go").exists():
                os.sched_yield()


def test_out_of_order_does_not_wait_for_a_slow_batch(tmp_path):
    loader = DataLoader(SlowFirst(4, str(tmp_path)), None, num_workers=2, in_order=False)
    samples = iter(loader)
    first = next(samples)
    (tmp_path / "go").touch()
    assert first == 1 and sorted(samples) == [0, 2, 3]


@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_streams_take_turns_until_all_have_ended(num_workers):
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(Share(30), 3, num_workers=num_workers, generator=generator)
    batches = [[int(value) for value in batch] for batch in values(loader)]
    assert sorted(itertools.chain(*batches)) == list(range(30))
    owners = [max(0, batch[0] % (num_workers + 2) - 2) for batch in batches]
    if num_workers == 3:
        assert owners == [0, 1, 2, 0, 1, 2, 0, 0, 0, 0]


class BrokenStream(Share):
    def __iter__(self):
        yield 0
        raise OSError("the stream broke")


def test_an_exception_of_a_stream_names_the_batch():
    batches = iter(DataLoader(BrokenStream(1), 1, num_workers=1))
    assert next(batches).tolist() == [0]
    with pytest.raises(OSError, match=r"(?s)worker process 0, reading batch 1\.\n.*the stream broke"):
        next(batches)


def test_a_stream_whose_worker_died_goes_on_where_it_was(tmp_path):
    def stream(folder):
        generator = torch.Generator().manual_seed(0)
        return values(DataLoader(Share(30, folder), 2, num_workers=2, generator=generator))

    assert stream(str(tmp_path)) == stream(None)
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("persistent", [False, True])
def test_leaving_a_pass_ends_the_workers(persistent):
    loader = DataLoader(Numbers(100), 2, num_workers=2, persistent_workers=persistent)
    for _ in loader:
        break
    assert len(multiprocessing.active_children()) == (2 if persistent else 0)
    del loader
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_hanging_workers_are_killed_when_a_pass_is_left():
    for _ in DataLoader(Hangs(6), 2, num_workers=2):
        break
    assert multiprocessing.active_children() == []


SCRIPT = """
import os, sys
from tests.utils.data.test_workers import Announces
from torchlite.utils.data import DataLoader

if __name__ == "__main__":
    loader = DataLoader(Announces(4), None, num_workers=2, multiprocessing_context=sys.argv[1])
    list(loader)
"""


class Announces(Numbers):
    """Tells the world which process reads it, and hangs."""

    def on_read(self, index):
        os.write(1, f"{os.getpid()}\n".encode())
        threading.Event().wait()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
@pytest.mark.parametrize(
    "method",
    ["forkserver", pytest.param("fork", marks=pytest.mark.slow), pytest.param("spawn", marks=pytest.mark.slow)],
)
def test_workers_do_not_outlive_a_main_process_that_was_killed(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    main = subprocess.Popen(
        [sys.executable, str(script), method],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    pids = [int(main.stdout.readline()) for _ in range(2)]
    watched = [os.pidfd_open(pid) for pid in pids]
    main.kill()
    main.wait()
    main.stdout.close()
    for pidfd in watched:
        ended, _, _ = select.select([pidfd], [], [], 20)
        assert ended, "a worker outlived its main process"
        os.close(pidfd)
