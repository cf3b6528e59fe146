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

    falls_back(program, "changes Python values")


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


def test_a_counter_in_a_slot():
    class Count:
        __slots__ = ("calls",)

    def program(compile_):
        count = Count()
        count.calls = 0

        def f(x):
            count.calls += 1
            return x * count.calls

        f = compile_(f)
        return [[f(torch.ones(1)) for _ in range(4)], count.calls]

    falls_back(program, "changes Python values")
