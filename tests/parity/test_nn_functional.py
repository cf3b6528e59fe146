"""What the operator database does not ask of `torchlite.nn.functional`: edges, saturation, state and older arguments."""

import math
import tracemalloc

import numpy as np
import pytest
from oracle import same

import torchlite
import torchlite.nn.functional as F

RNG = np.random.default_rng(11)
EDGES = np.array([-np.inf, -1e30, -100.0, -6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 100.0, 1e30, np.inf, np.nan])  # fmt: skip
FINITE = EDGES[1:-2]

ACTIVATIONS = {
    "celu": {"alpha": 0.7}, "elu": {"alpha": 1.3}, "gelu": {}, "hardshrink": {}, "hardsigmoid": {}, "hardswish": {},
    "hardtanh": {}, "leaky_relu": {"negative_slope": 0.2}, "logsigmoid": {}, "mish": {}, "relu": {}, "relu6": {},
    "rrelu": {}, "selu": {}, "silu": {}, "softplus": {"beta": 2.0}, "softshrink": {}, "softsign": {},
    "tanhshrink": {}, "threshold": {"threshold": 0.5, "value": 20.0},
}  # fmt: skip
INPLACE = ["celu", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "relu6", "rrelu", "selu",
           "silu"]  # fmt: skip
UNDERSCORED = ["celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_at_kinks_and_for_huge_inputs(name):
    # PyTorch rounds 1/6 and 1/α to float32, and its float32 gelu is off by 1e-6 at -3 and gives NaN at infinity.
    def run(torch, x):
        return getattr(torch.nn.functional, name)(x, **ACTIVATIONS[name])

    same(run, FINITE, tolerance=1e-7)
    same(run, EDGES if name == "gelu" else EDGES.astype(np.float32))


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_activations_write_and_keep_the_gradient(name):
    def run(torch, x):
        h = x * 1
        out = getattr(torch.nn.functional, name)(h, inplace=True)
        return out, h, out is h

    same(run, RNG.normal(size=(3, 4)), tolerance=1e-7)


@pytest.mark.parametrize("name", UNDERSCORED)
def test_functions_with_an_underscore(name):
    same(lambda torch, x: getattr(torch.nn.functional, f"{name}_")(x * 1), RNG.normal(size=(3, 4)))


@pytest.mark.parametrize("name", ["celu", "selu", "relu", "rrelu"])
def test_inplace_functions_of_the_main_namespace(name):
    same(lambda torch, x: getattr(torch, f"{name}_")(x * 1), RNG.normal(size=5))


def test_methods_and_main_namespace():
    x = RNG.normal(size=(2, 3))
    same(lambda torch, x: (x.hardshrink(0.3), torch.hardshrink(x), torch.threshold(x, 0.1, 2.0)), x)
    same(lambda torch, x, w: (x.prelu(w), torch.prelu(x, w)), x, RNG.normal(size=3))
    same(lambda torch, x: torch.threshold_(x * 1, 0.1, 2.0), x)


@pytest.mark.parametrize("name", ["elu", "selu", "silu", "gelu", "leaky_relu", "hardswish", "softplus", "logsigmoid", "mish"])  # fmt: skip
def test_activations_refuse_integers(name):
    same(lambda torch, x: getattr(torch.nn.functional, name)(x), np.arange(3))


@pytest.mark.filterwarnings("ignore:Implicit dimension")
def test_softmax_without_a_dimension():
    for shape in ((3,), (2, 3), (2, 3, 4), (2, 2, 2, 2)):
        x = RNG.normal(size=shape)
        same(lambda torch, x: (torch.nn.functional.softmax(x), torch.nn.functional.log_softmax(x)), x)
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmin"):
        F.softmin(torchlite.ones(2))


def test_random_slopes_stay_between_their_bounds():
    x = torchlite.full((1000,), -2.0, requires_grad=True)
    out = F.rrelu(x, 0.1, 0.3, training=True)
    out.sum().backward()
    assert float(out.max()) <= -0.2 and float(out.min()) >= -0.6 and float(out.std()) > 0.1
    np.testing.assert_allclose(x.grad.numpy() * -2, out.detach().numpy(), rtol=1e-6)


def test_gumbel_softmax_draws_with_the_given_probabilities():
    logits = torchlite.tensor([0.2, 0.3, 0.5]).log().expand(20_000, 3).clone().requires_grad_()
    hard = F.gumbel_softmax(logits, hard=True)
    assert bool((hard.sum(-1) - 1).abs().max() < 1e-5)
    np.testing.assert_allclose(hard.detach().mean(0).numpy(), [0.2, 0.3, 0.5], atol=0.02)
    hard[:, 0].sum().backward()
    assert float(logits.grad.abs().max()) > 0


@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"])  # fmt: skip
def test_dropout_loses_what_it_should(name):
    ndim = {"dropout1d": 3, "dropout2d": 4, "dropout3d": 5}.get(name, 3)
    x = torchlite.randn(50, 40, *(3,) * (ndim - 2))
    out = getattr(F, name)(x, 0.25, training=True)
    by_element = name in ("dropout", "alpha_dropout")
    lost = (out - out.flatten()[0]).abs() < 0  # nothing yet
    if "alpha" in name:
        scale = 1 / math.sqrt((1.7580993408473766**2 * 0.25 + 1) * 0.75)
        low = -1.7580993408473766 * 0.75 * scale
        lost = (out - low).abs() < 1e-5
        assert abs(float(out.mean())) < 0.1 and abs(float(out.std()) - 1) < 0.15
    else:
        lost = out == 0
        np.testing.assert_allclose(out.numpy()[~lost.numpy()], x.numpy()[~lost.numpy()] / 0.75, rtol=1e-6)
    assert abs(float(lost.float().mean()) - 0.25) < 0.05
    of_channels = lost.flatten(2).float().mean(2)
    whole = bool(((of_channels == 0) | (of_channels == 1)).all())
    assert whole is not by_element
    assert getattr(F, name)(x, 0.25, training=False) is x
    assert getattr(F, name)(x, 0.25, True, True) is x


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_dropout_refuses_what_is_no_probability(p):
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"):
        with pytest.raises(ValueError, match="probability"):
            getattr(F, name)(torchlite.ones(2, 3, 4, 5), p)


PAIRS = ["mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits", "poisson_nll_loss",
         "hinge_embedding_loss"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:size_average")
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("old", [{"size_average": False}, {"size_average": True}, {"reduce": False}])
def test_older_names_of_reductions(name, old):
    x, y = RNG.normal(size=(3, 2)), RNG.choice([-1.0, 1.0], size=(3, 2))
    same(lambda torch, x, y: getattr(torch.nn.functional, name)(x, y, **old), x, y)


def test_older_names_warn():
    with pytest.warns(UserWarning, match="reduction='sum'"):
        F.mse_loss(torchlite.ones(2), torchlite.zeros(2), size_average=False)


def test_an_unknown_reduction_is_refused():
    x = RNG.normal(size=(3, 2))
    for name in PAIRS:
        same(lambda torch, x, y, name=name: getattr(torch.nn.functional, name)(x, y, reduction="average"), x, x)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_regression_losses(name, reduction):
    def run(torch, x, y, w):
        return getattr(torch.nn.functional, name)(x, y, weight=w, reduction=reduction)

    same(run, *RNG.uniform(1, 2, size=(3, 4, 2)))
    same(run, RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2)), RNG.normal(size=2))


def test_losses_of_different_shapes_warn_and_broadcast():
    with pytest.warns(UserWarning, match="different to the input size"):
        assert F.mse_loss(torchlite.ones(2, 1), torchlite.zeros(3)).item() == 1


@pytest.mark.parametrize("name", ["smooth_l1_loss", "huber_loss"])
def test_where_quadratic_meets_linear(name):
    x = np.array([-2.0, -1.0, -0.3, 0.0, 1.0, 5.0])
    same(lambda torch, x, y: getattr(torch.nn.functional, name)(x, y, reduction="none"), x, np.zeros(6))


@pytest.mark.parametrize("name", ["smooth_l1_loss", "huber_loss"])
def test_distances_of_complex_numbers_are_refused(name):
    z = np.array([1 + 2j, 3.0])
    same(lambda torch, z: getattr(torch.nn.functional, name)(z, z * 2), z)


def test_binary_cross_entropy_at_certainty():
    p, y = np.array([0.0, 0.0, 1.0, 1.0, 1e-30, 0.5]), np.array([0.0, 1.0, 0.0, 1.0, 0.3, 0.5])
    same(lambda torch, p, y: torch.nn.functional.binary_cross_entropy(p, y, reduction="none"), p, y, tolerance=1e-7)
    same(lambda torch, p, y: torch.nn.functional.binary_cross_entropy(p, y), p + 0.5, y)


def test_binary_cross_entropy_of_huge_logits():
    x = np.array([-1e4, -50.0, 0.0, 50.0, 1e4])
    for y in (np.zeros(5), np.ones(5), np.full(5, 0.3)):
        same(lambda torch, x, y: torch.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none"), x, y)
        same(lambda torch, x, y: torch.nn.functional.multilabel_soft_margin_loss(x, y), x, y)


def ctc(torch, lp, targets, input_lengths, target_lengths, **options):
    lp = lp.log_softmax(-1)
    return torch.nn.functional.ctc_loss(lp, targets, input_lengths, target_lengths, **options)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_of_ragged_batches(reduction, blank):
    labels = np.array([label for label in range(5) if label != blank])
    targets = RNG.choice(labels, size=(4, 6))
    targets[0, :4] = targets[0, 0]  # repetitions need a blank between them
    lengths, sizes = (12, 9, 12, 3), (4, 6, 0, 2)
    x = RNG.normal(size=(12, 4, 5))
    same(lambda torch, x, t: ctc(torch, x, t, lengths, sizes, blank=blank, reduction=reduction), x, targets)
    flat = np.concatenate([row[:n] for row, n in zip(targets, sizes, strict=True)])
    same(lambda torch, x, t: ctc(torch, x, t, lengths, sizes, blank=blank, reduction=reduction), x, flat)


def test_ctc_of_targets_that_do_not_fit():
    x, t = RNG.normal(size=(3, 2, 4)), np.array([[1, 1, 2], [1, 2, 3]])
    same(lambda torch, x, t: ctc(torch, x, t, (3, 3), (3, 3), reduction="none", zero_infinity=True), x, t)
    loss = ctc(torchlite, torchlite.tensor(x), torchlite.tensor(t), (3, 3), (3, 3), reduction="none")
    assert loss[0].item() == math.inf and math.isfinite(loss[1].item())


def test_ctc_without_a_batch_and_of_huge_log_probabilities():
    x, t = RNG.normal(size=(9, 4)) * 400, np.array([1, 3, 3])
    same(lambda torch, x, t: ctc(torch, x, t, torch.tensor(9), torch.tensor(3), reduction="sum"), x, t)


def test_ctc_refuses():
    x, t = RNG.normal(size=(3, 2, 4)), np.ones((2, 2), np.int64)
    same(lambda torch, x, t: ctc(torch, x, t, (4, 3), (2, 2)), x, t)
    same(lambda torch, x, t: ctc(torch, x, t, (3, 3), (2, 5)), x, t)
    same(lambda torch, x, t: ctc(torch, x, t, (3, 3), (2, 2), blank=9), x, t)
    same(lambda torch, x, t: ctc(torch, x, t, (3,), (2, 2)), x, t)


@pytest.mark.parametrize("options", [{"padding_idx": 1}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}])  # fmt: skip
def test_gradients_of_embeddings(options):
    index = np.array([[1, 3, 1], [0, 4, 1]])

    def run(torch, w):
        i = torch.tensor(index)
        table = w * 1 if "max_norm" in options else w
        if "max_norm" in options:
            table = table.detach().requires_grad_()
        return torch.nn.functional.embedding(i, table, **options), table * 2

    same(run, RNG.normal(size=(5, 3)))


def test_the_embedding_of_a_single_number_is_no_view():
    def run(torch, w):
        rows = torch.nn.functional.embedding(torch.tensor(1), w.detach())
        rows.mul_(2)
        return rows, w.detach(), torch.nn.functional.embedding(torch.tensor(2), w)

    same(run, RNG.normal(size=(5, 3)))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_gradients_of_bags_with_an_empty_one(mode, padding_idx):
    def run(torch, w):
        i, offsets = torch.tensor([2, 0, 4, 2, 2, 1]), torch.tensor([0, 3, 3, 5])
        return torch.nn.functional.embedding_bag(i, w, offsets, mode=mode, padding_idx=padding_idx)

    same(run, RNG.normal(size=(5, 3)))


def test_weighted_bags():
    def run(torch, w, s):
        i = torch.tensor([[2, 0, 2], [1, 1, 2]])
        return torch.nn.functional.embedding_bag(i, w, mode="sum", per_sample_weights=s)

    same(run, RNG.normal(size=(5, 3)), RNG.normal(size=(2, 3)))


def test_the_gradient_of_bags_by_frequency():
    # PyTorch divides by the count of another row where rows are named in disorder.
    weight = torchlite.ones(5, 2, dtype=torchlite.float64, requires_grad=True)
    index = torchlite.tensor([[2, 0, 2], [1, 1, 2]])
    F.embedding_bag(index, weight, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert weight.grad[:, 0].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("call", [
    lambda torch, i, w: torch.nn.functional.embedding(i, w, padding_idx=9),
    lambda torch, i, w: torch.nn.functional.embedding(i.double(), w),
    lambda torch, i, w: torch.nn.functional.embedding(i + 9, w),
    lambda torch, i, w: torch.nn.functional.embedding(i - 9, w),
    lambda torch, i, w: torch.nn.functional.embedding_bag(i, w),
    lambda torch, i, w: torch.nn.functional.embedding_bag(i, w, torch.tensor([1, 2])),
    lambda torch, i, w: torch.nn.functional.embedding_bag(i, w, torch.tensor([0, 2]), mode="median"),
    lambda torch, i, w: torch.nn.functional.embedding_bag(i, w, torch.tensor([0, 2]), mode="mean", per_sample_weights=w[0, :2]),
    lambda torch, i, w: torch.nn.functional.one_hot(i.int(), 5),
    lambda torch, i, w: torch.nn.functional.one_hot(i[:0]),
])  # fmt: skip
def test_embeddings_refuse(call):
    same(call, np.array([0, 1]), RNG.normal(size=(3, 2)))


def test_running_statistics():
    def run(torch, x, w, b):
        mean, var = torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype)
        with torch.no_grad():
            torch.nn.functional.batch_norm(x, mean, var, w, b, True, 0.3, 1e-3)
            torch.nn.functional.instance_norm(x, mean, var, w, b, True, 0.2)
        fixed = torch.nn.functional.instance_norm(x, mean, var, w, b, False)
        return fixed, torch.nn.functional.batch_norm(x, mean, var, w), mean, var

    same(run, RNG.normal(size=(4, 3, 5)), RNG.normal(size=3), RNG.normal(size=3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("call", [
    lambda torch, x: torch.nn.functional.layer_norm(x, (16,)),
    lambda torch, x: torch.nn.functional.rms_norm(x, (16,)),
    lambda torch, x: torch.nn.functional.group_norm(x, 2),
])  # fmt: skip
def test_norms_of_half_precision_accumulate_wider(call, dtype):
    same(lambda torch, x: call(torch, (x * 3 + 100).to(getattr(torch, dtype))), RNG.normal(size=(2, 4, 16)).astype(np.float32))  # fmt: skip


@pytest.mark.parametrize("call", [
    lambda torch, x: torch.nn.functional.batch_norm(x[:1, :, 0], None, None, training=True),
    lambda torch, x: torch.nn.functional.batch_norm(x, torch.zeros(9), torch.ones(9)),
    lambda torch, x: torch.nn.functional.batch_norm(x, None, None, training=True, eps=0.0),
    lambda torch, x: torch.nn.functional.instance_norm(x[:, :, :1]),
    lambda torch, x: torch.nn.functional.instance_norm(x, use_input_stats=False),
    lambda torch, x: torch.nn.functional.group_norm(x, 4),
    lambda torch, x: torch.nn.functional.layer_norm(x, (2,)),
    lambda torch, x: torch.nn.functional.local_response_norm(x[0], 2),
    lambda torch, x: torch.pdist(x),
    lambda torch, x: torch.bilinear(x, x[:, 0], x),
])  # fmt: skip
def test_norms_and_distances_refuse(call):
    same(call, RNG.normal(size=(2, 3, 4)))


def test_similarities_of_zero_vectors():
    x, y = np.zeros((2, 3)), RNG.normal(size=(2, 3))
    same(lambda torch, x, y: (torch.cosine_similarity(x, y), torch.pairwise_distance(x, x)), x, y)
    same(lambda torch, x: torch.nn.functional.normalize(x), x)
    same(lambda torch, x: torch.pdist(x), x)


def attention(torch, q, k, v, **options):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)


def test_attention_where_nothing_may_be_attended_to():
    q, k, v = RNG.normal(size=(3, 2, 4, 8))
    mask = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]], bool)
    added = np.where(mask, 0.5, -np.inf).astype(np.float32)
    same(lambda torch, q, k, v, m: attention(torch, q, k, v, attn_mask=m), q, k, v, mask)
    same(lambda torch, q, k, v, m: attention(torch, q, k, v, attn_mask=m.double()), q, k, v, added)


def test_attention_with_shared_heads_a_scale_and_more_keys_than_queries():
    q, kv = RNG.normal(size=(2, 4, 3, 8)), RNG.normal(size=(2, 2, 5, 8))
    same(lambda torch, q, k: attention(torch, q, k, k, enable_gqa=True, scale=0.3), q, kv)
    same(lambda torch, q, k: attention(torch, q[:, :2], k, k, is_causal=True), q, kv)
    f32 = [array.astype(np.float32) for array in (q[:, :2], kv, RNG.normal(size=(3, 5)))]
    same(lambda torch, q, k, m: attention(torch, q, k, k, attn_mask=m, is_causal=True), *f32)


def test_attention_drops_weights_and_keeps_the_mean():
    q, v = torchlite.zeros(1, 200, 4), torchlite.ones(1, 50, 3)
    out = F.scaled_dot_product_attention(q, torchlite.zeros(1, 50, 4), v, dropout_p=0.4)
    assert abs(float(out.mean()) - 1) < 0.05 and float(out.std()) > 0.05


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batched", [True, False])
def test_multi_head_attention_of_one_sequence(need_weights, batched):
    def run(torch, x, w, b, o, extra):
        x = x if batched else x[:, 0]
        pad = torch.tensor([[False, True, False, False], [False, False, False, True]])
        return torch.nn.functional.multi_head_attention_forward(
            x, x, x, 6, 2, w, b, extra, extra * 2, True, 0.0, o, None, key_padding_mask=pad if batched else pad[0],
            need_weights=need_weights, attn_mask=torch.ones(4, 4, dtype=torch.bool).triu(1), average_attn_weights=False,
        )  # fmt: skip

    arrays = [RNG.normal(size=s) for s in ((4, 2, 6), (18, 6), (18,), (6, 6), (1, 1, 6))]
    same(run, *arrays)


@pytest.mark.parametrize("size", [None, 2])
def test_chunks_of_the_linear_cross_entropy(size):
    def run(torch, x, w, b, t):
        options = (
            torch.nn.LinearCrossEntropyOptions(batch_chunk_size=size) if size else torch.nn.LinearCrossEntropyOptions()
        )
        return torch.nn.functional.linear_cross_entropy(x, w, t, linear_bias=b, options=options, ignore_index=3)

    same(run, RNG.normal(size=(7, 4)), RNG.normal(size=(9, 4)), RNG.normal(size=9), RNG.integers(0, 9, 7))


def test_the_logits_of_chunks_are_not_kept():
    x, w = torchlite.randn(64, 4, requires_grad=True), torchlite.randn(20_000, 4, requires_grad=True)
    target = torchlite.randint(0, 20_000, (64,))
    options = torchlite.nn.LinearCrossEntropyOptions(batch_chunk_size=4)
    peaks = []
    for chosen in (None, options):
        tracemalloc.start()
        F.linear_cross_entropy(x, w, target, options=chosen).backward()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 0.4 * peaks[0]


MAIN_NAMESPACE = {
    "batch_norm": lambda torch, x, w: torch.batch_norm(x, w, w, None, None, True, 0.1, 1e-5, False),
    "instance_norm": lambda torch, x, w: torch.instance_norm(x, w, None, None, None, True, 0.1, 1e-5, False),
    "norm_except_dim": lambda torch, x, w: (torch.norm_except_dim(x, 2, 1), torch.norm_except_dim(x, 1, -1)),
    "embedding": lambda torch, x, w: torch.embedding(x[0], torch.tensor([2, 0, 2]), 2),
    "bce": lambda torch, x, w: torch.binary_cross_entropy_with_logits(x, x.detach().sigmoid(), None, None, 2),
    "kl_div": lambda torch, x, w: torch.kl_div(x, x.detach().abs(), 0),
    "poisson_nll_loss": lambda torch, x, w: torch.poisson_nll_loss(x, x.detach().abs(), True, False, 1e-8, 1),
    "hinge_embedding_loss": lambda torch, x, w: torch.hinge_embedding_loss(x, x.detach().sign(), 0.5, 0),
    "margin_ranking_loss": lambda torch, x, w: torch.margin_ranking_loss(x, x * 2, x.detach().sign(), 0.5, 2),
    "cosine_embedding_loss": lambda torch, x, w: torch.cosine_embedding_loss(x[0], x[1], w.detach().sign(), 0.1, 0),
    "triplet_margin_loss": lambda torch, x, w: torch.triplet_margin_loss(x[0], x[1], x[1] * 2, swap=True, reduction=0),
    "ctc_loss": lambda torch, x, w: torch.ctc_loss(x.log_softmax(2), torch.tensor([[1], [2], [1]]), (2,) * 3, (1,) * 3, 0, 2),
    "no dropout": lambda torch, x, w: (torch.dropout(x, 0.5, False), torch.feature_dropout(x, 0.5, False)),
    "all dropped": lambda torch, x, w: (torch.alpha_dropout(x, 1.0, True), torch.native_dropout(x, 1.0, True)),
    "native_dropout": lambda torch, x, w: torch.native_dropout(x, 0.5, False),
    "in place": lambda torch, x, w: torch.dropout_(x * 1, 1.0, True),
}  # fmt: skip


@pytest.mark.parametrize("name", MAIN_NAMESPACE)
def test_functions_of_the_main_namespace_with_other_arguments(name):
    same(MAIN_NAMESPACE[name], RNG.normal(size=(2, 3, 4)), RNG.normal(size=3))


def test_rows_scaled_down_in_place():
    def run(torch, table):
        table = table.detach()
        return torch.embedding_renorm_(table, torch.tensor([0, 2, 0]), 0.5, 2.0)

    same(run, RNG.normal(size=(4, 3)))


def test_dropout_of_a_number():
    out = torchlite.stack([F.dropout(torchlite.tensor(1.0), 0.5) for _ in range(64)])
    assert set(out.tolist()) == {0.0, 2.0}
