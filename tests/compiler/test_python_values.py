"""Python values around a compiled function, and arguments that are no tensors."""

import warnings

import numpy as np
from eager_and_compiled import both, captured, falls_back

import torchlite as torch
from torchlite import nn


def test_a_changed_number_in_a_closure_is_seen():
    def program(compile_):
        scale = 1.0

        def f(x):
            return x * scale

        f = compile_(f)
        results = []
        for i in range(5):
            results.append(f(torch.ones(2)))
            scale = 1.0 + i
        return results

    both(program)


SCALE = 1.0


def test_a_changed_global_number_is_seen():
    def program(compile_):
        global SCALE
        SCALE = 1.0
        f = compile_(lambda x: x * SCALE)
        results = []
        for i in range(5):
            results.append(f(torch.ones(2)))
            SCALE = float(i // 2)
        return results

    both(program)


data = [0]


def test_a_global_with_the_name_of_an_attribute_may_change():
    global data
    f = torch.compile(lambda x: x.data * 2)
    for i in range(5):
        assert f(torch.ones(2)).tolist() == [2, 2]
        data = [i]
    assert len(f.variants) == 1


def test_a_changed_attribute_is_seen():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 2
            self.options = {"shift": [1.0]}

        def forward(self, x):
            return x * self.scale + self.options["shift"][0]

    def program(compile_):
        module = Scaled()
        f = compile_(module)
        results = []
        for i in range(6):
            if i == 3:
                module.scale = 5
            if i == 4:
                module.options["shift"][0] = -1.0
            results.append(f(torch.ones(2)))
        return results

    both(program)


def test_python_arguments_decide():
    def program(compile_):
        f = compile_(lambda x, n, mode="a": x * n if mode == "a" else x - n)
        x = torch.ones(2)
        return [f(x, n, mode=m) for _ in range(2) for n in (1, 2, 2.5) for m in "ab"]

    both(program)


def test_a_list_that_grows():
    def program(compile_):
        seen = []

        def f(x):
            seen.append(x * 2)
            return x + len(seen)

        f = compile_(f)
        return [[f(torch.ones(1)) for _ in range(4)], seen]

    falls_back(program, "changes Python values")


def test_a_counter_that_is_an_attribute():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    def program(compile_):
        module = Counting()
        f = compile_(module)
        return [[f(torch.ones(1)) for _ in range(4)], module.calls]

    (f,) = both(program)
    assert len(f._call.variants) == 1


def test_an_iterator_inside():
    def program(compile_):
        data = iter([torch.full((2,), float(i)) for i in range(6)])

        def f():
            return next(data) * 2

        f = compile_(f)
        return [f() for _ in range(6)]

    falls_back(program, "iterator")


def test_an_array_of_numpy_inside():
    def program(compile_):
        array = np.zeros(2, np.float32)
        f = compile_(lambda x: x + torch.from_numpy(array))
        results = []
        for _ in range(4):
            results.append(f(torch.ones(2)))
            array += 1
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_a_changed_attribute_in_a_slot_is_seen():
    class Scale:
        __slots__ = ("factor",)

    def program(compile_):
        scale = Scale()
        scale.factor = 1.0
        f = compile_(lambda x: x * scale.factor)
        results = []
        for i in range(6):
            scale.factor = float(i // 3)
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    assert captured(f)


def test_what_is_taken_out_of_a_batch():
    def program(compile_):
        def step(batch, scale=1.0):
            labels = batch.pop("labels")
            if "weights" in batch:
                del batch["weights"]
            return batch["x"] * scale - labels

        step = compile_(step)
        results = []
        for i in range(6):
            batch = {"labels": torch.full((2,), float(i)), "x": torch.ones(2), "name": "a"}
            if i >= 4:
                batch["weights"] = 1.0
            results += [step(batch), list(batch), step({"x": torch.ones(2), "labels": torch.ones(2)}, scale=2.0)]
        return results

    (f,) = both(program)
    assert len(f.variants) == 3


def test_what_is_taken_out_of_a_batch_that_is_given_twice():
    def program(compile_):
        def step(a, b):
            return a.pop("x") + b.get("x", torch.zeros(2)) + b["y"]

        step = compile_(step)
        results = []
        for i in range(8):
            a, b = ({"x": torch.full((2,), float(i)), "y": torch.ones(2)} for _ in range(2))
            results += [step(a, b if i != 5 else a), list(a), list(b)]
        return results

    (f,) = both(program)
    assert len(f.variants) == 1


def test_what_is_taken_out_of_a_batch_that_is_also_around_the_function():
    def program(compile_):
        kept = {"x": torch.ones(2), "y": torch.ones(2)}

        def step(batch):
            batch.pop("x")
            return batch["y"] * len(kept)

        step = compile_(step)
        results = []
        for i in range(6):
            kept["x"] = torch.ones(2)
            results.append(step(kept if i == 4 else {"x": torch.ones(2), "y": torch.ones(2)}))
        return results

    both(program)


def test_what_is_taken_out_of_a_batch_and_put_back_elsewhere():
    def program(compile_):
        def step(batch):
            batch["z"] = batch.pop("x") * 2
            return batch["z"] + 1

        step = compile_(step)
        results = []
        for _ in range(4):
            batch = {"x": torch.ones(2)}
            results += [step(batch), batch]
        return results

    falls_back(program, "changes Python values")
