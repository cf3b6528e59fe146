"""Functions of images and volumes beyond what PyTorch's operator database samples."""

from typing import Any

import numpy as np
import pytest
from oracle import same, tensors, torch

import torchlite
from torchlite.autograd import gradgradcheck

RNG = np.random.default_rng(11)
LINES, IMAGES, VOLUMES = RNG.normal(size=(2, 4, 9)), RNG.normal(size=(2, 4, 7, 6)), RNG.normal(size=(2, 4, 5, 4, 3))


def F(T: Any) -> Any:
    return T.nn.functional


TRANSPOSED = {
    "output_padding below stride": ({"stride": 3, "output_padding": 2, "padding": 1}, (4, 2, 3, 2)),
    "output_padding below dilation": ({"dilation": 3, "output_padding": 2, "padding": 1}, (4, 2, 2, 2)),
    "output_padding beyond the reach": ({"dilation": (1, 4), "output_padding": (0, 3), "stride": (2, 1)}, (4, 2, 2, 2)),
    "groups": ({"groups": 2, "stride": (2, 1)}, (4, 3, 2, 3)),
    "padding beyond the kernel": ({"padding": (2, 3)}, (4, 2, 2, 3)),
    "output_padding too large": ({"output_padding": 1}, (4, 2, 2, 2)),
    "result too small": ({"padding": 5}, (4, 2, 2, 2)),
}


@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposed_convolution(case: str) -> None:
    arguments, shape = TRANSPOSED[case]
    weight = RNG.normal(size=shape)
    same(lambda T, x, w: F(T).conv_transpose2d(x, w, **arguments), IMAGES, weight)


def test_convolution_by_its_general_name() -> None:
    weight, bias = RNG.normal(size=(6, 2, 3)), RNG.normal(size=6)
    same(lambda T, x, w, b: T.convolution(x, w, b, [2], [1], [1], False, [0], 2), LINES, weight, bias)
    weight = RNG.normal(size=(4, 3, 2))
    same(lambda T, x, w: T.convolution(x, w, None, [2], [0], [1], True, [1], 1), LINES, weight)


def test_conv_tbc() -> None:
    same(
        lambda T, x, w, b: F(T).conv_tbc(x, w, b, 1),
        RNG.normal(size=(7, 2, 3)), RNG.normal(size=(3, 3, 4)), RNG.normal(size=4),
    )  # fmt: skip


def test_complex_convolution() -> None:
    def both(T: Any, xr: Any, xi: Any, wr: Any, wi: Any) -> Any:
        x, w = T.complex(xr, xi), T.complex(wr, wi)
        out = F(T).conv1d(x, w, stride=2) + F(T).conv_transpose1d(x, w.transpose(0, 1), padding=3)[..., :4]
        return T.view_as_real(out)

    same(both, LINES, LINES[::-1].copy(), RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 4, 2)))


ERRORS = {
    "channels": lambda T, x: F(T).conv2d(x, T.zeros(3, 5, 2, 2, dtype=x.dtype)),
    "weight of another number of dimensions": lambda T, x: F(T).conv2d(x, T.zeros(3, 4, 2, dtype=x.dtype)),
    "stride of another length": lambda T, x: F(T).conv2d(x, T.zeros(3, 4, 2, 2, dtype=x.dtype), stride=(1, 1, 1)),
    "stride that is no number": lambda T, x: F(T).max_pool2d(x, 2, stride="2"),
    "padding name": lambda T, x: F(T).conv2d(x, T.zeros(3, 4, 2, 2, dtype=x.dtype), padding="full"),
    "kernel too large": lambda T, x: F(T).max_pool2d(x, 12),
    "transposed channels": lambda T, x: F(T).conv_transpose2d(x, T.zeros(3, 4, 2, 2, dtype=x.dtype)),
    "odd padding": lambda T, x: F(T).pad(x, (1, 2, 3)),
    "too much padding": lambda T, x: F(T).pad(x, (1,) * 10),
    "reflection too wide": lambda T, x: F(T).pad(x, (6, 0, 0, 0), "reflect"),
    "circular too wide": lambda T, x: F(T).pad(x, (7, 0, 0, 0), "circular"),
    "negative size": lambda T, x: F(T).pad(x, (-4, -4)),
    "value without constant": lambda T, x: F(T).pad(x, (1, 1), "reflect", 2.0),
    "padding mode": lambda T, x: F(T).pad(x, (1, 1, 1, 1), "mirror"),
    "mode": lambda T, x: F(T).interpolate(x, 3, mode="linear"),
    "unknown mode": lambda T, x: F(T).interpolate(x, 3, mode="sharp"),
    "size and scale": lambda T, x: F(T).interpolate(x, 3, 2.0),
    "neither": lambda T, x: F(T).interpolate(x),
    "size of another length": lambda T, x: F(T).interpolate(x, (3, 3, 3)),
    "size no integer": lambda T, x: F(T).interpolate(x, (3.5, 3)),
    "size zero": lambda T, x: F(T).interpolate(x, 0),
    "corners": lambda T, x: F(T).interpolate(x, 3, align_corners=True),
    "antialias": lambda T, x: F(T).interpolate(x, 3, mode="nearest", antialias=True),
    "grid of another batch": lambda T, x: F(T).grid_sample(x, T.zeros(3, 2, 2, 2, dtype=x.dtype), align_corners=True),
    "grid mode": lambda T, x: F(T).grid_sample(x, T.zeros(2, 2, 2, 2, dtype=x.dtype), "area", align_corners=True),
    "grid dtype": lambda T, x: F(T).grid_sample(x, T.zeros(2, 2, 2, 2, dtype=T.float32), align_corners=True),
    "affine shape": lambda T, x: F(T).affine_grid(x, (2, 1, 3, 3), align_corners=True),
    "unfold too large": lambda T, x: F(T).unfold(x, 9),
    "fold rows": lambda T, x: F(T).fold(x[0], (4, 4), 3),
    "fold columns": lambda T, x: F(T).fold(x.reshape(2, 4, 42), (4, 4), 2),
    "shuffle": lambda T, x: F(T).pixel_shuffle(x, 3),
    "unshuffle": lambda T, x: F(T).pixel_unshuffle(x, 4),
    "channels by groups": lambda T, x: F(T).channel_shuffle(x, 3),
    "unpool shape": lambda T, x: F(T).max_unpool2d(x, T.zeros(2, 4, 3, 3, dtype=T.int64), 2),
    "unpool dtype": lambda T, x: F(T).max_unpool2d(x, T.zeros(2, 4, 7, 6, dtype=T.int32), 2),
    "unpool size": lambda T, x: F(T).max_unpool2d(x, T.zeros(2, 4, 7, 6, dtype=T.int64), 2, output_size=(3, 3)),
    "fractional without a size": lambda T, x: F(T).fractional_max_pool2d(x, 2),
    "fractional too large": lambda T, x: F(T).fractional_max_pool2d(x, 4, output_size=6),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_misuse_raises_the_same_type_of_error(case: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - `same` compares the type
        ERRORS[case](torch, torch.tensor(IMAGES))
    same(ERRORS[case], IMAGES)


RESIZED = {
    "antialiased bilinear": {"size": (3, 4), "mode": "bilinear", "antialias": True},
    "antialiased bilinear up": {"size": (9, 4), "mode": "bilinear", "antialias": True},
    "antialiased corners": {"size": (3, 9), "mode": "bilinear", "antialias": True, "align_corners": True},
    "antialiased bicubic": {"scale_factor": (0.6, 1.5), "mode": "bicubic", "antialias": True},
    "lanczos": {"size": (4, 13), "mode": "lanczos", "antialias": True},
    "equal length, other scale": {"scale_factor": 1.1, "mode": "bilinear"},
    "equal length, other scale, nearest": {"scale_factor": 1.1},
    "equal length, other scale, exact": {"scale_factor": 1.1, "mode": "nearest-exact"},
    "doubled": {"scale_factor": 2},
    "the same size": {"size": (7, 6), "mode": "bilinear"},
    "one element": {"size": (1, 1), "mode": "bicubic", "align_corners": True},
    "area": {"size": (3, 8), "mode": "area"},
}


@pytest.mark.parametrize("case", RESIZED)
def test_interpolate(case: str) -> None:
    same(lambda T, x: F(T).interpolate(x, **RESIZED[case]), IMAGES)


def test_scale_factors_that_keep_the_length_still_count() -> None:
    # Without gradients: PyTorch's are those of a copy here.
    for mode in ("nearest", "nearest-exact"):
        same(lambda T, x, mode=mode: F(T).interpolate(x.detach(), scale_factor=1.1, mode=mode), LINES)
    same(lambda T, x: F(T).interpolate(x.detach(), scale_factor=1.1, mode="bicubic"), IMAGES)
    same(lambda T, x: F(T).interpolate(x, scale_factor=(2.1, 1.1)), IMAGES)


def test_nearest_of_many_sizes_rounds_as_torch_does() -> None:
    line = np.arange(23.0)[None, None]
    for size in range(1, 70):
        same(lambda T, x, size=size: F(T).interpolate(x, size), line)
        same(lambda T, x, size=size: F(T).interpolate(x, size, mode="nearest-exact"), line)


def test_what_is_not_finite_stays_where_it_is() -> None:
    images = IMAGES.copy()
    images[0, 0, 0, 0], images[0, 1, 3, 3] = np.nan, np.inf
    for mode in ("bilinear", "nearest", "area"):
        same(lambda T, x, mode=mode: T.isfinite(F(T).interpolate(x, (5, 4), mode=mode)), images)
    grid = RNG.uniform(-1.5, 1.5, (2, 5, 5, 2))
    same(lambda T, x, g: T.isfinite(F(T).grid_sample(x, g, align_corners=False)), images, grid)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_grid_sample_at_the_edges(padding_mode: str, align_corners: bool) -> None:
    line = np.linspace(-3, 3, 13)
    grid = np.stack(np.meshgrid(line, line), -1)[None].repeat(2, 0)
    for mode in ("bilinear", "bicubic"):
        same(
            lambda T, x, g, mode=mode: F(T).grid_sample(x, g, mode, padding_mode, align_corners), IMAGES, grid,
        )  # fmt: skip


@pytest.mark.parametrize("align_corners", [True, False])
def test_affine_grid(align_corners: bool) -> None:
    same(lambda T, m: F(T).affine_grid(m, (2, 3, 4, 5), align_corners), RNG.normal(size=(2, 2, 3)))
    same(lambda T, m: F(T).affine_grid(m, (2, 3, 4, 1, 5), align_corners), RNG.normal(size=(2, 3, 4)))


def test_default_corners_are_warned_of() -> None:
    x, grid = torchlite.tensor(IMAGES), torchlite.zeros(2, 2, 2, 2, dtype=torchlite.float64)
    with pytest.warns(UserWarning, match="align_corners"):
        torchlite.nn.functional.grid_sample(x, grid)
    with pytest.warns(UserWarning, match="align_corners"):
        torchlite.nn.functional.affine_grid(torchlite.ones(1, 2, 3), (1, 1, 2, 2))


def test_circular_padding_without_a_batch() -> None:
    same(lambda T, x: F(T).pad(x[0], (1, 2, 3, -1), "circular"), IMAGES)


def test_fold_and_unfold() -> None:
    arguments = {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)}
    same(lambda T, x: F(T).unfold(x, **arguments), IMAGES)
    same(lambda T, x: F(T).unfold(x, **arguments), IMAGES[0])
    same(lambda T, x: F(T).fold(x, (7, 6), **arguments), RNG.normal(size=(2, 12, 16)))
    same(lambda T, x: F(T).fold(x, 7, 3, padding=1, stride=2), RNG.normal(size=(18, 16)))


@pytest.mark.parametrize("n", [2, 3])
def test_fractional_max_pool(n: int) -> None:
    x, samples = RNG.normal(size=(2, 4, 7, 6, 5)[: n + 2]), RNG.random(size=(2, 4, n))
    name = f"fractional_max_pool{n}d"
    for sizes in ({"output_size": 2}, {"output_ratio": (0.6,) * n}, {"output_size": 1}):
        same(
            lambda T, x, s, sizes=sizes: getattr(F(T), name)(
                x, 2, **sizes, return_indices=True, _random_samples=s.detach()
            ),
            x, samples,
        )  # fmt: skip
    same(lambda T, x, s: getattr(F(T), name)(x[0], 2, 2, _random_samples=s.detach()[:1]), x, samples)


def test_lp_pool() -> None:
    for norm in (1, 2, 3.0, float("inf"), float("-inf")):
        same(lambda T, x, norm=norm: F(T).lp_pool1d(x, norm, 3, 2), np.abs(LINES))
        same(lambda T, x, norm=norm: F(T).lp_pool2d(x, norm, (3, 2), ceil_mode=True), np.abs(IMAGES))
        same(lambda T, x, norm=norm: F(T).lp_pool3d(x, norm, 2), np.abs(VOLUMES))


def test_pooling_of_minus_infinity_points_inside() -> None:
    images = np.full((1, 1, 4, 4), -np.inf)
    same(lambda T, x: F(T).max_pool2d(x, 3, 1, 1, return_indices=True), images)
    same(lambda T, x: F(T).max_pool2d(x, (3, 2), 2, (1, 1), 2, return_indices=True), images)


def test_pooling_of_integers() -> None:
    images = RNG.integers(-9, 9, (1, 2, 5, 5))
    same(lambda T, x: F(T).avg_pool2d(x, 2, 1, 1, count_include_pad=False), images)
    same(lambda T, x: F(T).max_pool2d(x, 3, 2, 1, ceil_mode=True, return_indices=True), images)


def test_adaptive_pooling_to_nothing_and_to_itself() -> None:
    for function in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        for size in ((0, 3), (7, 6), (None, 2), (9, 11)):
            same(lambda T, x, size=size, function=function: getattr(F(T), function)(x, size), IMAGES)


def test_results_are_new_tensors() -> None:
    x = torchlite.zeros(1, 1, 4, 4)
    functional = torchlite.nn.functional
    for same_size in (
        functional.interpolate(x, (4, 4)), functional.adaptive_avg_pool2d(x, 4), functional.pad(x, (0, 0)),
        functional.pad(x, (0, 0, 0, 0), "reflect"),
    ):  # fmt: skip
        same_size.add_(1.0)
    assert not x.any()


SECOND_ORDER = {
    "bilinear": lambda F, x: F.interpolate(x, (3, 7), mode="bilinear"),
    "bicubic": lambda F, x: F.interpolate(x, (3, 7), mode="bicubic"),
    "pad": lambda F, x: F.pad(x, (1, 2, -1, 1), "reflect"),
    "transposed": lambda F, x: F.conv_transpose2d(x, x[:, :, :2, :2].transpose(0, 1), stride=2),
    "average": lambda F, x: F.avg_pool2d(x, 3, 2, 1, True, False),
    "adaptive": lambda F, x: F.adaptive_avg_pool2d(x, (2, 3)),
}


@pytest.mark.parametrize("case", SECOND_ORDER)
def test_gradients_of_second_order(case: str) -> None:
    x, _ = tensors(RNG.normal(size=(1, 1, 4, 4)), requires_grad=True)
    assert gradgradcheck(lambda x: SECOND_ORDER[case](torchlite.nn.functional, x * x), (x,))


def test_shapes_without_data() -> None:
    x = torchlite.empty(2, 4, 8, 6, device="meta")
    functional = torchlite.nn.functional
    grid = torchlite.empty(2, 3, 5, 2, device="meta")
    for out, shape in (
        (functional.interpolate(x, (3, 5), mode="bicubic"), (2, 4, 3, 5)),
        (functional.grid_sample(x, grid, align_corners=False), (2, 4, 3, 5)),
        (functional.adaptive_max_pool2d(x, (3, 4)), (2, 4, 3, 4)),
        (functional.adaptive_avg_pool2d(x, (3, 4)), (2, 4, 3, 4)),
        (functional.max_pool2d(x, 2, return_indices=True)[1], (2, 4, 4, 3)),
        (functional.fold(functional.unfold(x, 2), (8, 6), 2), (2, 4, 8, 6)),
        (functional.pad(x, (1, 1, 2, 2), "circular"), (2, 4, 12, 8)),
        (functional.pixel_shuffle(x, 2), (2, 1, 16, 12)),
    ):
        assert out.is_meta and tuple(out.shape) == shape


def test_fractional_max_pool_of_an_empty_batch() -> None:
    x = torchlite.zeros(0, 2, 5, 4)
    assert torchlite.nn.functional.fractional_max_pool2d(x, 2, (3, 2)).shape == (0, 2, 3, 2)


HALVES = {
    "convolution": lambda F, x, w: F.conv2d(x, w, padding=1),
    "transposed": lambda F, x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2),
    "depthwise": lambda F, x, w: F.conv2d(x, w[:4, :1], groups=4),
    "average": lambda F, x, w: F.avg_pool2d(x, 3, 2, 1),
    "adaptive": lambda F, x, w: F.adaptive_avg_pool2d(x, (3, 4)),
    "overlapping maxima": lambda F, x, w: F.max_pool2d(x, 3, 1),
    "bilinear": lambda F, x, w: F.interpolate(x, (5, 11), mode="bilinear"),
    "bicubic": lambda F, x, w: F.interpolate(x, (5, 11), mode="bicubic"),
    "fold": lambda F, x, w: F.fold(F.unfold(x, 3), (7, 6), 3),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", HALVES)
def test_half_types_are_rounded_once(case: str, dtype: str) -> None:
    weight = RNG.normal(size=(6, 4, 3, 3))

    def both(T: Any, x: Any, w: Any) -> Any:
        half = getattr(T, dtype)
        x, w = x.to(half), w.to(half)
        if T is torch:  # whose kernels round partial sums on some processors
            x, w = x.double(), w.double()
        return HALVES[case](F(T), x, w).to(half).double()

    same(both, IMAGES, weight, tolerance={"float16": 2e-3, "bfloat16": 1.6e-2}[dtype])
