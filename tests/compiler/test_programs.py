"""Fifty steps of workloads and programs of the benchmarks, compiled and not: the same losses and weights."""

import inspect
from importlib import import_module
from itertools import islice

import numpy as np
import pytest
from workloads import WORKLOADS

import torchlite as torch

STEPS = 50
PROGRAMS = ("vae",)
RTOL = {"float32": 1e-4, "float64": 1e-10}  # rounding of float32 grows in the course of fifty steps

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")]


def agree(eager, compiled, dtype):
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(b, a, rtol=RTOL[dtype], atol=RTOL[dtype] * np.abs(a).max())


def workload(name, compile_):
    """Losses and weights after fifty steps; the steps are one function."""
    torch.manual_seed(0)
    step = WORKLOADS[name].make(torch, "float32")
    model = inspect.getclosurevars(step).nonlocals["model"]
    step = compile_(step)
    losses = [float(step()) for _ in range(STEPS)]
    return [np.array(losses), *(p.detach().numpy() for p in model.parameters())], step


@pytest.mark.parametrize("name", ["mlp", "gpt", "lstm"])
def test_steps_in_float32(name):
    eager, _ = workload(name, lambda step: step)
    compiled, step = workload(name, lambda step: torch.compile(step, fullgraph=True))
    agree(eager[:1], compiled[:1], "float32")
    assert len(step.variants) == 1


def program(name, dtype, compile_):
    """Losses and weights after fifty steps of a program whose model is compiled."""
    module = import_module(f"programs.{name}")
    torch.manual_seed(0)
    model = module.make(torch).to(getattr(torch, dtype))
    if compile_:
        model.compile(fullgraph=True)
    batches = (
        tuple(torch.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in batch)
        for batch in islice(module.batches(np.random.default_rng(0)), STEPS)
    )
    losses = np.array(list(module.train(torch, model, batches)))
    assert not compile_ or model._compiled_call_impl.variants
    return [losses, *(p.detach().numpy() for p in model.parameters())]


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_in_float64(name):
    agree(program(name, "float64", False), program(name, "float64", True), "float64")


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
