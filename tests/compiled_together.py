"""Several functions compiled as one program, which compiles once what they have in common."""

import re

import torchlite as torch
from torchlite.backends.native import toolchain


def with_gradients(function):
    """A function of tensors as one of the result and all gradients, from a cotangent of its size."""

    def both(*given):
        leaves = [t.detach().requires_grad_() for t in given]
        out = function(*leaves)
        (out * torch.linspace(-1.0, 1.0, out.numel()).view(out.shape)).sum().backward()
        return (out.detach(), *(leaf.grad for leaf in leaves))

    return both


def run(cases):
    """What each of the functions gives for its tensors, compiled, and the C text of all."""
    functions, given = zip(*cases, strict=True)
    compiled = torch.compile(one_of(functions), fullgraph=True)
    for _ in range(3):
        results = compiled(*given)
    return results, compiled.source


def one_of(functions):
    """Several functions as one of the tensors of each."""

    def together(*given):
        return [function(*tensors) for function, tensors in zip(functions, given, strict=True)]

    return together


def check(cases, close, kernels=()):
    """Compare results and gradients with uncompiled ones, and what the program calls with names of functions in C.

    Args:
        cases: functions, each with its tensors.
        close: takes an array and the expected one.
        kernels: each is in as many steps of the program as there are functions, or in more.
    """
    cases = [(with_gradients(function), tensors) for function, tensors in cases]
    results, source = run(cases)
    for all_got, (function, tensors) in zip(results, cases, strict=True):
        for got, expected in zip(all_got, function(*tensors), strict=True):
            assert got.shape == expected.shape
            close(got.numpy(), expected.numpy())
    if toolchain.enabled():
        for kernel in kernels:
            assert steps_with(kernel, source) >= len(cases), source


def steps_with(kernel, source):
    """How many steps of a program call a function in C, or one that has it in it."""
    names = {kernel, *(name for name, body in _functions(source) if f"{kernel}(" in body)}
    names |= set(re.findall(rf"^{kernel}\((\w+)", source, re.MULTILINE))
    return sum(not names.isdisjoint(re.findall(r"\w+", step)) for step in steps(source))


def steps(source):
    """The lines of what a program does, one call after the other."""
    return "".join(body for name, body in _functions(source) if name.startswith("segment")).splitlines()


def _functions(source):
    """The name and the body of each."""
    return re.findall(r"^\w[^\n;]*?(\w+)\([^\n;]*\) \{\n(.*?)^\}", source, re.MULTILINE | re.DOTALL)
