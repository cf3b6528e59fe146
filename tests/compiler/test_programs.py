"""Fifty steps of workloads and programs of the benchmarks, compiled and not: the same losses and weights.

In float64 a compiled step is shown to compute the same thing. In float32 fifty steps amplify the roundings in which sums of
another order differ: by little in some models, whose losses agree to 1e-5, and without bound in others, where sooner or later one
element of a ReLU is zero in one run and not in the other. There the yardstick is what float32 itself costs: eager in float32
beside eager in float64, and compiled execution may be away from eager by `MULTIPLE` times the most of that so far. A DCGAN's
first such branch comes after `FIRST_BRANCH` steps at the earliest, in eager float32 beside float64 as well; losses are held
to the same yardstick until then.
"""

import functools
import inspect
import tracemalloc
from importlib import import_module
from itertools import islice

import numpy as np
import pytest
from workloads import WORKLOADS

import torchlite as torch

STEPS = 50
RTOL = {"float32": 1e-5, "float64": 1e-10}
MULTIPLE = 16
FIRST_BRANCH = {"dcgan": 30}
BATCHES = {"mlp": 16, "conv_net": 2, "norm_net": 4, "resnet20": 4, "gpt": 1, "lstm": 2}
STEADY = {"mlp", "gpt", "lstm"}
"""Whose losses in float32 stay together by themselves."""
PROGRAMS = {"gpt": 2, "transformer": 4, "resnet18": 8, "dcgan": 4, "vae": 8}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads of NumPy's products, of which each test process would have as many as there are cores, wait busily."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def workload(name, dtype, compiled):
    """Losses, and weights and buffers, after fifty steps; the steps are one function."""
    torch.manual_seed(0)
    step = WORKLOADS[name].make(torch, dtype, batch=BATCHES[name])
    model = inspect.getclosurevars(step).nonlocals["model"]
    if compiled:
        step = torch.compile(step, fullgraph=True)
    losses = [float(step()) for _ in range(STEPS)]
    assert not compiled or len(step.variants) == 1
    return np.array(losses), state(model)


@functools.cache
def program(name, dtype, compiled):
    """The same of a program, the models of which are compiled in a loop that is not."""
    module = import_module(f"programs.{name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", PROGRAMS[name])
        torch.manual_seed(0)
        model = module.make(torch).to(getattr(torch, dtype))
        models = list(model.values()) if name == "dcgan" else [model]
        for one in models if compiled else ():
            one.compile(fullgraph=True)
        batches = (
            tuple(torch.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in batch)
            for batch in islice(module.batches(np.random.default_rng(0)), STEPS)
        )
        losses = np.array(list(module.train(torch, model, batches)))
    assert not compiled or all(one._compiled_call_impl.variants for one in models)
    return losses, state(model)


def state(model):
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def agree_in_float64(run):
    (losses, weights), (found, others) = run("float64", False), run("float64", True)
    np.testing.assert_allclose(found, losses, rtol=RTOL["float64"])
    for name, value in weights.items():
        scale = RTOL["float64"] * np.abs(value).max()
        np.testing.assert_allclose(others[name], value, rtol=RTOL["float64"], atol=scale, err_msg=name)


def agree_in_float32(run, *, steady, steps=STEPS):
    exact, losses, found = (run(*how)[0][:steps] for how in (("float64", False), ("float32", False), ("float32", True)))
    allowed = RTOL["float32"] * np.abs(losses)
    if not steady:
        allowed = np.maximum(allowed, MULTIPLE * np.maximum.accumulate(np.abs(losses - exact), axis=0))
    assert (np.abs(found - losses) <= allowed).all(), np.abs(found - losses) / allowed


@pytest.mark.parametrize("name", BATCHES)
def test_steps(name):
    run = functools.partial(workload, name)
    agree_in_float64(run)
    agree_in_float32(run, steady=name in STEADY)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    run = functools.partial(program, name)
    agree_in_float64(run)
    agree_in_float32(run, steady=False, steps=FIRST_BRANCH.get(name, STEPS))


@pytest.mark.filterwarnings("ignore:torchlite.compile")
def test_a_program_of_packed_sequences_runs_uncompiled():
    """The lengths of its sequences decide on shapes, in every batch on others."""
    module = import_module("programs.bilstm")
    torch.manual_seed(0)
    model, batches = module.make(torch), [*islice(module.batches(np.random.default_rng(0)), 4)]
    batches = [tuple(map(torch.tensor, batch)) for batch in batches]
    expected = [model(*batch[:2]).detach() for batch in batches]
    model.compile()
    for batch, out in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(model(*batch[:2]).detach().numpy(), out.numpy())
    assert "decides what happens next" in model._compiled_call_impl.refused


@pytest.mark.parametrize("name", BATCHES)
def test_steps_are_the_same_with_any_number_of_threads(name):
    results = []
    for threads in (1, 2):
        torch.manual_seed(0)
        step = WORKLOADS[name].make(torch, "float32", batch=BATCHES[name])
        model = inspect.getclosurevars(step).nonlocals["model"]
        step = torch.compile(step, fullgraph=True)
        step(), step()  # uncompiled
        torch.set_num_threads(threads)
        try:
            results.append(([float(step()) for _ in range(5)], state(model)))
        finally:
            torch.set_num_threads(1)
    (losses, weights), (found, others) = results
    assert found == losses
    for i, value in weights.items():
        np.testing.assert_array_equal(others[i], value, err_msg=i)


@pytest.mark.parametrize("name", BATCHES)
def test_a_compiled_step_allocates_no_arrays(name):
    """But for those of a few numbers, and lists of Python's; arrays of activations and weights take more."""
    step = torch.compile(WORKLOADS[name].make(torch, "float32", batch=BATCHES[name]), fullgraph=True)
    for _ in range(6):
        step()
    tracemalloc.start()
    try:
        step()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 32 * 1024
