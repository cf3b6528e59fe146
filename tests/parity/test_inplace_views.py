"""In-place changes of shape against PyTorch: values, gradients, and what other views see."""

import numpy as np
import pytest
from oracle import BOTH, same

X = np.random.default_rng(0).normal(size=(1, 3, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.squeeze_(),
        lambda x: x.squeeze_(0),
        lambda x: x.unsqueeze_(-1),
        lambda x: x.transpose_(1, 2),
        lambda x: x.squeeze_().t_(),
        lambda x: x.swapaxes_(0, 2),
    ],
)
def test_shapes_and_gradients(change):
    def run(_, x):
        y = x * 2
        change(y)
        return y * y

    same(run, X)


def test_writes_reach_older_views_and_the_other_way_round():
    def run(_, x):
        y = x * 2
        older = y[0]
        y.squeeze_().t_()
        y[0] = 3.0
        older[1] *= 5
        return y * 2, older * older

    same(run, X)


def test_a_view_changes_shape_and_its_base_does_not():
    def run(_, x):
        base = x * 1
        part = base[:, 1:]
        part.squeeze_(0)
        part.mul_(4)
        return base, part

    same(run, X)


@pytest.mark.parametrize("library", BOTH)
def test_a_leaf_that_requires_a_gradient_refuses(library):
    x = library.tensor(X, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x.squeeze_()
