"""Functions whose course depends on the numbers of tensors, and exceptions."""

import pytest
from eager_and_compiled import both, captured, falls_back, same

import torchlite as torch
from torchlite import nn


def test_numbers_that_are_read_through_numpy():
    def program(compile_):
        f = compile_(lambda x: x * len(x.numpy()) + sum(float(v) for v in x.numpy()))
        return [f(torch.arange(float(n))) for n in (4, 4, 4, 4)]

    falls_back(program, "runs uncompiled")


def test_an_integer_that_becomes_a_number_of_times():
    def program(compile_):
        def f(x):
            for _ in range(int(x.sum())):
                x = x * 2
            return x - 1

        f = compile_(f)
        return [f(torch.full((2,), float(i))) for i in range(4)]

    falls_back(program, r"test_numbers_of_tensors\.py:\d+")


def test_item_as_a_result_is_no_reason_to_fall_back():
    def program(compile_):
        f = compile_(lambda x: (x.sum().item() * 2, 1))
        return [f(torch.full((2,), float(i))) for i in range(4)]

    (f,) = both(program)
    assert captured(f)


def test_shapes_that_depend_on_numbers():
    def program(compile_):
        f = compile_(lambda x: x[x > 0] * 2)
        return [f(torch.tensor([1.0, -1.0, float(i) - 1])) for i in range(4)]

    falls_back(program, "runs uncompiled")


def test_an_exception_of_the_function():
    def f(x):
        if x.shape[0] == 3:
            raise ValueError("three")
        return x * 2

    f = torch.compile(f)
    for n in (2, 2, 2):
        f(torch.ones(n))
    with pytest.raises(ValueError, match="three"):
        f(torch.ones(3))
    same(f(torch.ones(2)), torch.full((2,), 2.0))


def test_an_exception_while_tracing_leaves_everything_as_it_was():
    w = torch.ones(2, requires_grad=True)
    state = torch.zeros(2)

    def f(x):
        state.add_(1)
        (w * x).sum().backward()
        if x.shape[0] == 2 and torch.compiler.is_compiling():
            raise ValueError("while tracing")
        return x * state

    f = torch.compile(f)
    with pytest.warns(UserWarning, match="while tracing"):
        results = [f(torch.ones(2)) for _ in range(3)]
    same([r[0].item() for r in results], [1.0, 2.0, 3.0])
    same(w.grad, torch.full((2,), 3.0))
    assert state._version == 3


CHECKED = {
    "quantile": lambda x: x.quantile(torch.tensor([0.2, 0.5]), dim=-1),
    "cov": lambda x: x.cov(fweights=torch.tensor([1, 2, 3])),
    "normal": lambda x: torch.normal(x, x.abs()),
    "eigvals": lambda x: torch.linalg.eigvals(x).abs().sum(),
    "cholesky": lambda x: torch.linalg.cholesky(x @ x.mT + torch.eye(3)),
    "inv": lambda x: torch.linalg.inv(x @ x.mT + torch.eye(3)),
    "solve": lambda x: torch.linalg.solve(x @ x.mT + torch.eye(3), x),
    "det": lambda x: torch.linalg.det(x),
    "Normal": lambda x: torch.distributions.Normal(x, x.abs() + 1).log_prob(x),
    "Categorical": lambda x: torch.distributions.Categorical(logits=x).log_prob(torch.tensor([0, 1, 2])),
    "Geometric": lambda x: torch.distributions.Geometric(x.sigmoid()).log_prob(torch.ones(3, 3)),
    "MultivariateNormal": lambda x: torch.distributions.MultivariateNormal(x[0], x @ x.mT + torch.eye(3)).log_prob(
        x[1]
    ),
    "kl": lambda x: torch.distributions.kl_divergence(
        torch.distributions.Normal(x, x.abs() + 1), torch.distributions.Normal(x * 2, x.abs() + 2)
    ),
    "stft": lambda x: torch.stft(x, 2, hop_length=1, window=torch.ones(2), return_complex=True).abs(),
    "istft": lambda x: torch.istft(torch.complex(x, x), 4, hop_length=1, window=torch.ones(4)),
    "clip_grad_norm_": lambda x: nn.utils.get_total_norm([x], error_if_nonfinite=True),
    "fill_": lambda x: torch.zeros(3).fill_(x.sum().item()) + torch.full((3,), x.max().item()),
}


@pytest.mark.parametrize("name", CHECKED)
def test_checks_of_arguments_are_captured(name):
    def program(compile_):
        f = compile_(CHECKED[name])
        g = torch.Generator().manual_seed(4)
        return [f(torch.randn(3, 3, generator=g)) for _ in range(4)]

    (f,) = both(program)
    assert captured(f)
    assert len(f.variants) == 1


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda x: x.quantile(x[0]), RuntimeError),
        (lambda x: torch.distributions.Normal(x, x).log_prob(x), ValueError),
        (lambda x: torch.linalg.cholesky(x.diag()), torch.linalg.LinAlgError),
        (lambda x: nn.utils.get_total_norm([x.log()], error_if_nonfinite=True), RuntimeError),
    ],
)
def test_a_check_that_fails_is_the_same_error(function, error):
    f = torch.compile(function)
    right, wrong = torch.full((2,), 0.5), torch.full((2,), -3.0)
    for _ in range(3):
        f(right)
    assert captured(f)
    with pytest.raises(error) as expected:
        function(wrong)
    with pytest.raises(error) as got:
        f(wrong)
    assert str(got.value) == str(expected.value)
    f(right)


JOINED = {
    "tensors": lambda x: torch.tensor([x.sum(), x[0] * 2, x[:1]]),
    "tensors and numbers": lambda x: torch.tensor([x.sum(), 1.0, 2, True]),
    "numbers": lambda x: torch.tensor([x.sum().item(), x[1].item(), 3.0]),
    "integers": lambda x: torch.tensor([(x > 1).sum(), (x > 2).sum().item(), 4]),
    "integers and floats": lambda x: torch.tensor([(x > 1).sum().item(), x.sum().item()]),
    "nested": lambda x: torch.tensor([[x.sum(), 1.0], (x[0], x[1].item())]),
    "rows": lambda x: torch.as_tensor([[*x], [*(x * 2)]]),
    "of another dtype": lambda x: torch.tensor([x.sum(), 2], dtype=torch.float64),
    "of wider numbers": lambda x: torch.tensor([x.double().sum(), x.sum()]),
    "a leaf": lambda x: torch.tensor([x.sum(), x.sum().item()], requires_grad=True),
    "without its history": lambda x: torch.tensor([(x * torch.ones(2, requires_grad=True)).sum()]),
}


@pytest.mark.parametrize("how", JOINED)
def test_numbers_of_tensors_become_a_tensor(how):
    def program(compile_):
        f = compile_(JOINED[how])
        return [f(torch.tensor([1.0 * i, 3.0 - i])) for i in range(4)]

    (f,) = both(program)
    assert captured(f)


@pytest.mark.filterwarnings("ignore:torchlite.compile")
def test_numbers_of_tensors_that_become_integers():
    """What does not fit is an error."""

    def program(compile_):
        f = compile_(lambda x: torch.tensor([x.sum(), 3.5], dtype=torch.uint8))
        results = []
        for i in range(4):
            try:
                results.append(f(torch.tensor([1.0 * i, 100.0 * i])))
            except RuntimeError as error:
                results.append(str(error))
        return results

    both(program)


def test_elements_that_a_mask_chooses_are_replaced():
    """As many as there are true elements, which a replay looks at; where they do not fit, it is the error of uncompiled code."""

    def program(compile_):
        def f(mask, values):
            out = torch.zeros(4)
            out[mask] = values.amax(1)
            return out * 2

        f = compile_(f)
        results = []
        for i in range(8):
            mask = torch.tensor([True, i % 2 == 0, False, i % 2 == 1])
            try:
                results.append(f(mask, torch.arange(4.0 if i != 5 else 6.0).reshape(-1, 2) + i))
            except RuntimeError as error:
                results.append(str(error))
        mask[:3] = True
        try:
            f(mask, torch.zeros(2, 2))
        except RuntimeError as error:
            results.append(str(error))
        return results

    (f,) = both(program)
    assert captured(f)


def test_the_line_of_an_error_while_tracing_is_named():
    def program(compile_):
        f = compile_(lambda x: x[x > 0] * 2)
        return [f(torch.tensor([1.0, -1.0, float(i) - 1])) for i in range(4)]

    falls_back(program, r"depends on the numbers in the mask.*test_numbers_of_tensors\.py:\d+")


MASKED = {
    "a mask": lambda x, mask: x[mask] * 2,
    "of a gradient": lambda x, mask: (x[mask].square().sum().backward(), x.grad)[1],
    "behind another dimension": lambda x, mask: x.T[:, mask] * 2,
    "and an integer": lambda x, mask: x[mask, 1] * 2,
    "its opposite": lambda x, mask: x[~mask].sum(0),
    "of two dimensions": lambda x, mask: x[mask[:, None] & torch.tensor([True, False, True])] * 2,
    "twice": lambda x, mask: nn.functional.mse_loss(x[mask], (x * 2)[mask]),
}


@pytest.mark.parametrize("how", MASKED)
def test_a_mask_around_the_function(how):
    """As the nodes of a graph that are trained on: how many it chooses is a condition."""

    def program(compile_):
        data = {"mask": torch.tensor([True, False, True, True])}
        f = compile_(lambda x: MASKED[how](x, data["mask"]))
        results = []
        for i in range(12):
            if i in (5, 9):
                data["mask"][i % 4] ^= True
            x = (torch.arange(12.0).reshape(4, 3) + i).requires_grad_(how == "of a gradient")
            results.append(f(x))
            results.append(x.grad)
        return results

    (f,) = both(program)
    assert captured(f) and f.refused is None


@pytest.mark.parametrize("which", [lambda x: x > 0, lambda x: torch.rand(3) > 0.5], ids=["of an argument", "random"])
def test_a_mask_that_is_another_at_every_call(which):
    def program(compile_):
        f = compile_(lambda x: x[which(x)] * 2)
        return [f(torch.tensor([1.0, -1.0, float(i) - 1])) for i in range(4)]

    falls_back(program, "depends on the numbers in the mask")


AT_TENSORS = {
    "a row": lambda x, i: x[i] * 2,
    "a column": lambda x, i: x[:, i] + x[i, 1:].sum(),
    "an element": lambda x, i: x[1, i] * x[i, -1] * x[..., 0].sum(),
    "behind a new dimension": lambda x, i: x[None, :, i] * 2,
    "from behind": lambda x, i: x[i - 3] * 2,
    "the best": lambda x, i: x[x.sum(1).argmax()] * 2,
    "a gradient": lambda x, i: (x[i].square().sum().backward(), x.grad)[1],
    "set": lambda x, i: (y := x.detach() * 2, y.__setitem__(i, x.sum(0).detach()), y.sum(1))[2],
    "set to a number": lambda x, i: (y := x.detach() * 2, y.__setitem__((slice(None), i), 7), y.sum(1))[2],
    "beside another tensor": lambda x, i: x[i, torch.tensor([0, 2])] * 2,
    "out of bounds": lambda x, i: x[i + 2] * 2,
}
VIEWS = {
    "written into": lambda x, i: (y := x.detach() * 2, y[i].add_(1), y)[2],
    "read after a write": lambda x, i: (y := x.detach() * 2, row := y[i], y.add_(1), row * 3)[3],
    "returned": lambda x, i: (x.detach() * 2)[i],
}


@pytest.mark.parametrize("how", AT_TENSORS | VIEWS)
@pytest.mark.filterwarnings("ignore:torchlite.compile")
def test_a_position_that_is_a_tensor(how):
    def program(compile_):
        f = compile_((AT_TENSORS | VIEWS)[how])
        results = []
        for i in range(8):
            x = (torch.arange(9.0).reshape(3, 3).cos() + i).requires_grad_(how == "a gradient")
            try:
                results.append(f(x, torch.tensor(i % 3)))
            except IndexError as error:
                results.append(str(error))
        return results

    (f,) = both(program)
    assert bool(f.variants) == (how in AT_TENSORS and how != "beside another tensor")
