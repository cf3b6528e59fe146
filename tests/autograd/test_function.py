"""`autograd.Function`, anomaly mode and checkpointing: what can be said without PyTorch."""

import gc
import weakref

import numpy as np
import pytest

import torchlite as torch
from torchlite.autograd import Function, gradcheck, gradgradcheck
from torchlite.autograd.graph import Node
from torchlite.utils.checkpoint import checkpoint, checkpoint_sequential


class Exponential(Function):
    @staticmethod
    def forward(ctx, x):
        out = x.exp()
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    def backward(ctx, g):
        _, out = ctx.saved_tensors
        return g * out


def test_gradients_of_both_orders():
    x = torch.tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True)
    assert gradcheck(Exponential.apply, x)
    assert gradgradcheck(Exponential.apply, x)


def test_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        x = torch.ones(3, requires_grad=True)
        out = Exponential.apply(x)
        dead = weakref.ref(out), weakref.ref(out.grad_fn)
        del out
        assert [d() for d in dead] == [None, None]
    finally:
        gc.enable()


def test_the_node_is_named_and_linked():
    x = torch.ones(3, requires_grad=True)
    out = Exponential.apply(x * 2)
    assert out.grad_fn.name() == "ExponentialBackward"
    assert out.grad_fn.next_functions[0][0].name() == "MulBackward0"


def test_nothing_is_recorded_without_need():
    assert not Exponential.apply(torch.ones(3)).requires_grad
    with torch.no_grad():
        assert not Exponential.apply(torch.ones(3, requires_grad=True)).requires_grad


def test_materialized_gradients_can_be_switched_off():
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, g, h):
            seen.append(h)
            return g, None

    for materialize in (True, False):
        Two.apply(torch.ones(2, requires_grad=True), materialize)[0].sum().backward()
    assert seen[0].tolist() == [0.0, 0.0]
    assert seen[1] is None


def test_misuse_is_explained():
    with pytest.raises(RuntimeError, match=r"Exponential\.apply"):
        Exponential()

    class Saves(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)

    with pytest.raises(TypeError, match="argument 0 is of type int"):
        Saves.apply(torch.ones(1))


def test_a_dirty_leaf_is_refused():
    class Doubling(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        Doubling.apply(torch.ones(2, requires_grad=True))


def test_anomaly_mode_shows_the_line():
    x = torch.zeros(2, requires_grad=True)
    plain = Node.__init__
    with torch.autograd.set_detect_anomaly(True):
        y = x.sqrt()  # the line that makes the NaN
        with pytest.raises(RuntimeError, match=r"(?s)test_function\.py.*the line that makes the NaN"):
            (y * 0).sum().backward()
    assert Node.__init__ is plain
    (x.sqrt() * 0).sum().backward()
    assert x.grad.isnan().all()


def test_anomaly_mode_says_where_a_failing_operation_was_recorded():
    x = torch.ones(2, requires_grad=True)
    with torch.autograd.detect_anomaly():
        z = x * 1
        out = z.sin()
        z.add_(1)
        with pytest.raises(RuntimeError, match="inplace") as caught:
            out.sum().backward()
    assert "z.sin()" in caught.value.__notes__[0]


def test_checkpoint_gives_the_same_gradients_and_draws():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    x = torch.randn(3, 4, requires_grad=True)
    wanted = [x, *model.parameters()]
    runs = [
        model,
        lambda x: checkpoint(model, x, use_reentrant=False),
        lambda x: checkpoint_sequential(model, 2, x, use_reentrant=False),
    ]
    found = []
    for run in runs:
        torch.manual_seed(3)
        out = run(x * 1)
        found.append([out, *torch.autograd.grad((out**2).sum(), wanted), torch.rand(2)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)


def test_checkpoint_computes_again_in_backward_only():
    calls = []

    def segment(x):
        calls.append(1)
        return x.sin()

    x = torch.ones(2, requires_grad=True)
    out = checkpoint(segment, x, use_reentrant=False).sum()
    assert len(calls) == 1
    out.backward()
    assert len(calls) == 2
    np.testing.assert_allclose(x.grad.numpy(), np.cos([1, 1]), rtol=1e-6)
    with pytest.raises(ValueError, match="segments must be between 1 and 1, got 2"):
        checkpoint_sequential([segment], 2, x, use_reentrant=False)
