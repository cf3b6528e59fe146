"""Settings of the whole package: a function that is captured under one is captured again under another."""

import pytest
from eager_and_compiled import both, falls_back

import torchlite as torch
from torchlite import nn
from torchlite.distributions import Distribution, Normal
from torchlite.nn.utils import parametrizations, parametrize

cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn


def of(holder, name):
    return lambda value: setattr(holder, name, value), lambda: getattr(holder, name)


def autocast_dtype():
    return (lambda value: torch.set_autocast_dtype("cpu", value)), lambda: torch.get_autocast_dtype("cpu")


def cuda_autocast_dtype():
    return (lambda value: torch.set_autocast_dtype("cuda", value)), lambda: torch.get_autocast_dtype("cuda")


def autocasting():
    return (lambda value: torch.set_autocast_enabled("cpu", value)), lambda: torch.is_autocast_enabled("cpu")


SETTINGS = {
    "set_default_dtype": (torch.set_default_dtype, torch.get_default_dtype, torch.float32, torch.float64),
    "set_default_device": (torch.set_default_device, torch.get_default_device, "cpu", "meta"),
    "set_grad_enabled": (torch.set_grad_enabled, torch.is_grad_enabled, True, False),
    "use_deterministic_algorithms": (
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled,
        False,
        True,
    ),
    "set_deterministic_debug_mode": (torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode, 0, 1),
    "set_float32_matmul_precision": (
        torch.set_float32_matmul_precision,
        torch.get_float32_matmul_precision,
        "highest",
        "high",
    ),
    "mkldnn.matmul.fp32_precision": (*of(mkldnn.matmul, "fp32_precision"), "none", "ieee"),
    "mkldnn.conv.fp32_precision": (*of(mkldnn.conv, "fp32_precision"), "none", "ieee"),
    "cuda.matmul.allow_tf32": (*of(cuda.matmul, "allow_tf32"), False, True),
    "cuda.matmul.allow_fp16_accumulation": (*of(cuda.matmul, "allow_fp16_accumulation"), False, True),
    "cudnn.enabled": (*of(cudnn, "enabled"), True, False),
    "cudnn.benchmark": (*of(cudnn, "benchmark"), False, True),
    "cudnn.benchmark_limit": (*of(cudnn, "benchmark_limit"), 10, 0),
    "cudnn.deterministic": (*of(cudnn, "deterministic"), False, True),
    "cudnn.allow_tf32": (*of(cudnn, "allow_tf32"), True, False),
    "mkldnn.enabled": (*of(mkldnn, "enabled"), True, False),
    "mkldnn.deterministic": (*of(mkldnn, "deterministic"), False, True),
    "mkldnn.allow_tf32": (*of(mkldnn, "allow_tf32"), True, False),
    "enable_flash_sdp": (cuda.enable_flash_sdp, cuda.flash_sdp_enabled, True, False),
    "enable_math_sdp": (cuda.enable_math_sdp, cuda.math_sdp_enabled, True, False),
    "enable_mem_efficient_sdp": (cuda.enable_mem_efficient_sdp, cuda.mem_efficient_sdp_enabled, True, False),
    "enable_cudnn_sdp": (cuda.enable_cudnn_sdp, cuda.cudnn_sdp_enabled, True, False),
    "set_autocast_dtype": (*autocast_dtype(), torch.bfloat16, torch.float16),
    "set_autocast_dtype of a GPU": (*cuda_autocast_dtype(), torch.float16, torch.bfloat16),
    "set_autocast_enabled": (*autocasting(), False, True),
    "set_autocast_cache_enabled": (torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled, True, False),
    "set_num_threads": (torch.set_num_threads, torch.get_num_threads, torch.get_num_threads(), 1),
    "set_default_validate_args": (
        Distribution.set_default_validate_args,
        lambda: Normal(0.0, 1.0)._validate_args,
        True,
        False,
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_changed_is_seen(name):
    put, get, before, other = SETTINGS[name]
    cpu = torch.device("cpu")

    def program(compile_):
        f = compile_(lambda x: x * (1.0 if get() in (before, cpu) else 2.0))
        results = []
        x = torch.ones(2, device="cpu")
        try:
            for i in range(9):
                put(other if i // 3 == 1 else before)
                results.append(f(x))
        finally:
            put(before)
        return results

    (f,) = both(program)
    assert len(f.variants) == 2


@pytest.mark.parametrize("name", ["use_deterministic_algorithms", "cudnn.benchmark", "set_default_validate_args"])
def test_a_setting_that_the_function_changes(name):
    put, get, before, other = SETTINGS[name]

    def program(compile_):
        def f(x):
            put(other if get() == before else before)
            return x * (1.0 if get() == before else 2.0)

        f = compile_(f)
        try:
            return [f(torch.ones(2)) for _ in range(5)]
        finally:
            put(before)

    falls_back(program, "changes Python values")


def test_arguments_of_distributions_are_checked_from_when_that_is_asked_for():
    f = torch.compile(lambda scale: Normal(0.0, scale).log_prob(torch.ones(2)))
    try:
        Distribution.set_default_validate_args(False)
        for _ in range(3):
            f(torch.tensor(-1.0))
    finally:
        Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="scale"):
        f(torch.tensor(-1.0))


def test_parametrized_weights_that_are_kept_meanwhile():
    """What is kept within `cached` is neither of a trace, nor is it computed again."""

    def program(compile_):
        torch.manual_seed(0)
        layer = parametrizations.weight_norm(nn.Linear(3, 2))
        f = compile_(layer)
        results = []
        for i in range(4):
            results.append(f(torch.ones(1, 3)))
            with torch.no_grad():
                layer.bias += i
            with parametrize.cached():
                results += [f(torch.ones(1, 3)), layer.weight]
                with torch.no_grad():
                    layer.parametrizations.weight.original0 *= 2
                results += [f(torch.ones(1, 3)), layer.weight, layer(torch.ones(1, 3))]
        return [result.detach() for result in results]

    both(program)
