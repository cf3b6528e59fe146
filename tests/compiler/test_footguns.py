"""Ways in which other compilers of this kind give wrong results, of which none may be one here.

What tinygrad lists in ``test_jit_footguns``, by its names, and where the test of it is where that is not here:

- output_buffer_reuse, output_buffer_workaround: `test_memory`, outputs of one call do not change with the next.
- graph_input_output_aliasing: `test_two_sessions_in_which_results_are_given_back`.
- multiple_outputs_same_intermediate: `test_a_part_of_a_result_beside_the_whole_that_is_given_back`.
- intra_kernel_output_input_aliasing: `test_half_of_what_is_given_back_moves_to_the_front`.
- slice_assign_works_without_realize: `test_a_cache_is_written_into_at_another_place_at_every_call`.
- symbolic_pad_view_frozen: `test_padding_to_a_fixed_length`.
- non_tensor_outputs_error: `test_results_that_are_no_tensors`.
- duplicate_inputs_fail: `test_the_same_tensor_for_several_arguments`.
- tensors_in_containers: `test_calls`, of the same name.
- nested_jit_fails_on_second_call: `test_modes`, compiled inside of compiled.
- implicit_inputs_need_realize: `test_a_closure_that_is_assigned_between_calls`.
- views_with_different_offsets_fail: `test_calls`, views with other offsets.
- shape_change_after_capture_fails: `test_ragged`.
- python_constants_frozen: `test_python_values`, a changed number in a closure, a global, an attribute.
- unrealized_const_input_error: `test_tensors_of_one_number_as_arguments`; there are no lazy constants here.
- conditional_branches_frozen: `test_an_argument_decides_on_a_branch`.
- positional_kwargs_cannot_mix, kwargs_order_doesnt_matter: `test_calls`, arguments by position and by name.
- class_method_shared_across_instances: `test_calls`, a compiled method of two instances.
- side_effects_only_during_capture: `test_python_values`, a list that grows, a counter.
- nothing_realized_fails: `test_calls`, functions without tensors.
- item_creates_unrealized_return, item_bakes_in_values, tolist_bakes_in_values: `test_numbers_of_tensors`.
- masked_select_static_size_jittable, nonzero_static_size_jittable: the sizes are numbers here, as in PyTorch:
  `test_numbers_of_tensors`, shapes that depend on numbers.
- random_regenerates: `test_random_streams`.
- unrealized_return_auto_realized: everything is computed when it is called.
- input_mutation_consistent: `test_memory`, writing into an input.

And what has been reported of MLX's ``compile``:

- the number and types of results are those of the first call: `test_an_argument_decides_on_the_structure_of_the_result`.
- another function's result, where one has its address: `test_functions_that_come_to_the_address_of_another`.
- random numbers are frozen in another thread than the compiling one: `test_random_numbers_in_another_thread`.
- states that are made inside, and those of a cache: `test_calls`, state that is made at the first call; here
  `test_a_cache_that_is_made_inside`.
- the learning rate and the state of Adam at the last batch: `test_schedules`, `test_ragged`.
- checkpointed functions: `test_checkpointed_parts_draw_the_same_numbers_again`.
- reductions of what has another length at every call: `test_sums_of_what_has_another_length`.
- more inputs than a kernel takes: `test_more_arrays_than_a_kernel_takes`; graphs of more than 100 operations: `test_calls`.
- max over several dimensions, compared with what it came from: `test_what_equals_its_maximum`.
- numbers as arguments fill the cache: `test_modes`, the number of compilations is limited.
- shapeless compilation: there is one program for each shape.
"""

import gc
import threading
import warnings

import numpy as np
import pytest
from eager_and_compiled import both, captured, falls_back, same

import torchlite as torch
from torchlite import nn
from torchlite.utils.checkpoint import checkpoint


def test_two_sessions_in_which_results_are_given_back():
    def program(compile_):
        step = compile_(lambda x: (x + 1) * 2)
        results = []
        for start in (10.0, 20.0, 100.0):
            x = torch.full((1,), start)
            for _ in range(3):
                x = step(x)
                results.append(x)
        return results

    (f,) = both(program)
    assert len(f.variants) == 1


def test_a_part_of_a_result_beside_the_whole_that_is_given_back():
    def program(compile_):
        def shift(buffer, frame):
            moved = torch.cat([buffer[1:], frame])
            return moved, moved[:1].clone()

        shift = compile_(shift)
        buffer, results = torch.arange(3.0).reshape(3, 1), []
        for i in range(6):
            buffer, first = shift(buffer, torch.full((1, 1), 10.0 + i))
            results.append([buffer, first])
        return results

    (f,) = both(program)
    assert captured(f)


def test_half_of_what_is_given_back_moves_to_the_front():
    def program(compile_):
        length = 1 << 16
        shift = compile_(lambda buffer, new: torch.cat([buffer[length // 2 :], new]))
        buffer, results = torch.zeros(length, dtype=torch.int32), []
        for i in range(6):
            buffer = shift(buffer, torch.full((length // 2,), i + 1, dtype=torch.int32))
            results.append(buffer[:: length // 8])
        return results

    (f,) = both(program)
    assert captured(f)


def test_a_cache_is_written_into_at_another_place_at_every_call():
    def program(compile_):
        cache = torch.zeros(4, 4)

        def write(place):
            cache[place] = 1.0
            return cache.sum()

        by_tensor, by_number = compile_(write), compile_(write)
        results = []
        for i in range(4):
            cache.zero_()
            results += [by_tensor(torch.tensor([i])), by_number(i), cache.clone()]
        return results

    both(program)


def test_padding_to_a_fixed_length():
    def program(compile_):
        f = compile_(lambda x: nn.functional.pad(x + 1, (0, 10 - x.shape[1])))
        x = torch.ones(3, 10)
        return [f(x[:, :n]) for n in (1, 2, 3, 4, 2, 4)]

    (f,) = both(program)
    assert len(f.variants) == 3


def test_results_that_are_no_tensors():
    def program(compile_):
        f = compile_(lambda x, n: (x * 2, n * 10, "text", None, x.dtype, x.device, x.shape, np.float32(n), {1, 2}))
        return [f(torch.full((2,), float(i)), i // 2) for i in range(6)]

    (f,) = both(program)
    assert captured(f)


def test_the_same_tensor_for_several_arguments():
    """Each pattern of which is which has a capture of its own, whichever comes first."""

    def program(compile_):
        results = []
        for order in (("ab", "aa"), ("aa", "ab")):
            f = compile_(lambda x, y: x * 2 if x is y else x + y)
            tensors = {"a": torch.ones(2), "b": torch.full((2,), 5.0)}
            results += [f(*(tensors[name] for name in names)) for _ in range(3) for names in order]
        return results

    for f in both(program):
        assert len(f.variants) == 2


def test_a_closure_that_is_assigned_between_calls():
    def program(compile_):
        x = torch.zeros(1)
        f = compile_(lambda: x * 2)
        results = []
        for i in range(5):
            x.fill_(i)
            results.append(f())
        x = torch.full((1,), 7.0)
        return [*results, f()]

    both(program)


def test_tensors_of_one_number_as_arguments():
    def program(compile_):
        f = compile_(lambda x, y: x * y)
        return [f(torch.tensor([1, 2, 3]), torch.tensor(i)) for i in range(5)]

    (f,) = both(program)
    assert len(f.variants) == 1


def test_an_argument_decides_on_a_branch():
    def program(compile_):
        f = compile_(lambda x, square: x * x if square else x * 2)
        return [f(torch.full((1,), 3.0), square) for square in (True, False, True, False)]

    (f,) = both(program)
    assert len(f.variants) == 2


def test_an_argument_decides_on_the_structure_of_the_result():
    def program(compile_):
        f = compile_(lambda x, y: (x + 1, x) if y is None else (x, None) if y else x)
        return [f(torch.ones(2), y) for y in (0, None, 1, None, 1, 0, None)]

    both(program)


def test_functions_that_come_to_the_address_of_another():
    for k in range(5):
        f = torch.compile(lambda x, k=k: x + k)
        for _ in range(3):
            assert f(torch.zeros(1)).item() == k
        del f
        gc.collect()


def test_random_numbers_in_another_thread():
    f = torch.compile(lambda x: x + torch.rand(4))
    drawn = [f(torch.zeros(4)).tolist() for _ in range(3)]

    def work():
        drawn.extend(f(torch.zeros(4)).tolist() for _ in range(3))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(set(map(tuple, drawn))) == 6


def test_a_cache_that_is_made_inside():
    class Cache:
        content = None

        def update(self, x):
            if self.content is None:
                self.content = torch.zeros(8, 4)
            self.content[:1] = x
            return self.content[:1]

    def program(compile_):
        cache = Cache()
        f = compile_(lambda x: x * cache.update(x))
        return [[f(torch.full((1, 4), float(i))), cache.content.clone()] for i in range(5)]

    (f,) = both(program)
    assert captured(f)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_parts_draw_the_same_numbers_again(reentrant):
    def program(compile_):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def step(x):
            optimizer.zero_grad()
            hidden = checkpoint(model, x.clone().requires_grad_(True), use_reentrant=reentrant)
            loss = (hidden * torch.rand(3)).square().sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = compile_(step)
        return [step(torch.ones(2, 6)) for _ in range(6)], torch.rand(2), [p.detach() for p in model.parameters()]

    (step,) = both(program)
    assert captured(step)


def test_random_numbers_apart_from_the_others():
    def program(compile_):
        def f(x):
            with torch.random.fork_rng():
                apart = torch.rand(2)
            return x + apart, torch.rand(2)

        f = compile_(f)
        return [f(torch.ones(2)) for _ in range(5)]

    (f,) = both(program)
    assert captured(f)


def test_sums_of_what_has_another_length():
    def program(compile_):
        f = compile_(lambda buffer, index: buffer[index].sum())
        return [f(torch.arange(5.0) * 10, torch.arange(n)) for n in (1, 2, 3, 4, 2, 1)]

    both(program)


def test_more_arrays_than_a_kernel_takes():
    def program(compile_):
        f = compile_(lambda *arrays: sum((i + 1) * x for i, x in enumerate(arrays)) * arrays[0])
        return [f(*(torch.full((3,), float(i + k)) for k in range(80))) for i in range(3)]

    (f,) = both(program)
    assert captured(f)


def test_what_equals_its_maximum():
    def program(compile_):
        f = compile_(lambda x: x == x.amax((2, 4), keepdim=True))
        generator = torch.Generator().manual_seed(0)
        return [f(torch.rand(1, 2, 2, 2, 2, 16, generator=generator)) for _ in range(3)]

    (f,) = both(program)
    assert captured(f)


def test_arguments_that_the_function_changes():
    """Lists and dicts among the arguments: a step that takes something out of its batch, or puts something in."""

    def program(compile_):
        def pop(batch):
            return batch["x"] * batch.pop("y")

        def put(batch, seen):
            batch["y"] = batch["x"] * 2
            seen.append(batch["y"])

        pop, put = compile_(pop), compile_(put)
        results, seen = [], []
        for i in range(5):
            batch = {"x": torch.full((2,), float(i)), "y": torch.ones(2)}
            results += [pop(batch), dict(batch)]
            put(batch, seen)
            results.append(batch)
        return results, seen

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pop, _ = both(program)
    assert all("it changes Python values, which a replay would not: an argument" in str(w.message) for w in caught)
    assert len(caught) == 1
    assert captured(pop)


def test_a_bare_except_swallows_no_refusal():
    def program(compile_):
        def f(x):
            try:
                factor = 1 if int(x.sum()) > 1 else 2
            except:  # noqa: E722
                factor = 7
            return x * factor

        f = compile_(f)
        return [f(torch.full((2,), float(i))) for i in range(4)]

    falls_back(program, "decides what happens next.*test_footguns")


def test_a_number_of_the_optimizer_is_asked_for_its_type():
    def program(compile_):
        parameter = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([parameter], 0.5)

        def step():
            optimizer.zero_grad()
            parameter.square().sum().backward()
            optimizer.step()
            group = optimizer.param_groups[0]
            return {k: v for k, v in group.items() if isinstance(v, float)}, isinstance(group["lr"], int)

        step = compile_(step)
        return [step() for _ in range(4)]

    (step,) = both(program)
    assert captured(step)


def test_gradients_that_results_keep():
    def program(compile_):
        weight = nn.Parameter(torch.ones(2))

        def f(x):
            y = x * weight
            y.retain_grad()
            return y

        f = compile_(f)
        results = []
        for _ in range(4):
            y = f(torch.ones(2))
            y.sum().backward()
            results.append(y.grad)
        return results

    falls_back(program, "retain_grad")


def test_eager_threads_beside_one_that_captures():
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(12)]).eval()
    x = torch.ones(3, 8)
    with torch.no_grad():
        expected = model(x)
    wrong, done = [], threading.Event()

    def work():
        with torch.no_grad():
            while not done.is_set():
                try:
                    same(model(x), expected)
                except BaseException as error:
                    wrong.append(error)
                    return

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        f = torch.compile(model)
        for n in range(1, 5):
            for _ in range(2):
                f(torch.ones(n, 8))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong


def test_threads_whose_first_call_is_the_first():
    f = torch.compile(lambda x: (x * 2).exp())
    x, results = torch.ones(3), []

    def work():
        results.extend(f(x) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        same(result, (x * 2).exp())
    assert len(f.variants) == 1


def test_arrays_of_numpy_that_are_others_at_every_call():
    """They are not captured one by one until there are captures enough."""

    def program(compile_):
        f = compile_(lambda x, chosen: x[chosen] * 2)
        return [f(torch.arange(4.0), np.array([i % 4, 1])) for i in range(12)]

    (f,) = falls_back(program, "array of NumPy that is another at every call")
    assert len(f.variants) <= 2
