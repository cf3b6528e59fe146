"""Memory as PyTorch shows it: views by strides, storages, tensors that change their shape or dtype in place, formats."""

from typing import Any

import numpy as np
import pytest
from oracle import assert_same, attempt, same, torch

import torchlite
from torchlite.autograd import gradcheck, gradgradcheck


def compare(call: Any) -> None:
    theirs, error = attempt(lambda: call(torch))
    ours, our_error = attempt(lambda: call(torchlite))
    if error is None:
        if our_error is not None:
            raise our_error
        assert_same(ours, theirs)
    else:
        assert isinstance(our_error, type(error)), (ours, our_error, error)


def vector(T: Any) -> Any:
    return T.arange(6.0)


def history(T: Any, program: Any) -> Any:
    """The results of a program of a tensor with history, and the gradient of all of them."""
    leaf = T.arange(12.0, dtype=T.float64).requires_grad_()
    results = program(T, (leaf * 1).reshape(3, 4))
    weights = [T.arange(r.numel(), dtype=T.float64).reshape(r.shape) + 1 for r in results]
    T.autograd.backward(list(results), weights)
    return [*results, leaf.grad]


AS_STRIDED: dict[str, Any] = {
    "overlapping": lambda T: vector(T).as_strided((3, 3), (1, 1), 1),
    "beyond": lambda T: vector(T).as_strided((7,), (1,)),
    "beyond by offset": lambda T: vector(T).as_strided((2, 2), (1, 2), 3),
    "nothing beyond": lambda T: vector(T).as_strided((0,), (1,), 100),
    "negative stride": lambda T: vector(T).as_strided((2,), (-1,), 3),
    "negative offset": lambda T: vector(T).as_strided((2,), (1,), -1),
    "negative size": lambda T: vector(T).as_strided((-1,), (1,)),
    "unequal lengths": lambda T: vector(T).as_strided((2,), (1, 1)),
    "ints": lambda T: vector(T).as_strided(2, 1),
    "before the view it is taken from": lambda T: vector(T)[4:].as_strided((3,), (2,), 0),
    "from the view it is taken from": lambda T: vector(T)[2:].as_strided((2,), (2,)),
    "of a transposed tensor": lambda T: vector(T).view(2, 3).t().as_strided((2, 2), (1, 1)),
    "in place": lambda T: vector(T).as_strided_((2, 2), (2, 1), 1),
    "of a slice of NumPy's": lambda T: T.from_numpy(np.arange(6.0)[2:]).as_strided((2,), (1,), 0),
    "before a slice of NumPy's": lambda T: T.from_numpy(np.arange(6.0)[2:]).as_strided((5,), (1,), 0),
    "of strided memory of NumPy's": lambda T: T.from_numpy(np.arange(6.0)[::2]).as_strided((5,), (1,)),
    "beyond strided memory of NumPy's": lambda T: T.from_numpy(np.arange(6.0)[::2]).as_strided((6,), (1,)),
}


@pytest.mark.parametrize("function", ["from_numpy", "as_tensor", "tensor"])
def test_arrays_with_strides_that_tensors_do_not_have(function: str) -> None:
    packed = np.zeros(3, dtype=[("a", "f4"), ("b", "u1")])["a"]
    for array in (np.arange(3.0)[::-1], packed, np.arange(6.0).reshape(2, 3).T, np.arange(6.0)[1:5:2]):
        compare(lambda T, array=array: getattr(T, function)(array))


@pytest.mark.parametrize("name", AS_STRIDED)
def test_as_strided(name: str) -> None:
    compare(AS_STRIDED[name])


def read_overlapping(T: Any, h: Any) -> Any:
    return h.as_strided((3, 3), (2, 1), 1), h[1:].as_strided((2, 2), (1, 3), 5), h.t().as_strided((2, 3), (5, 1))


def read_of_expanded(T: Any, h: Any) -> Any:
    return (h[:, :1].expand(3, 4).as_strided((2, 2), (4, 0)),)


def written_through(T: Any, h: Any) -> Any:
    view = h.as_strided((2, 3), (5, 1), 1)
    rows = h[1]
    view.mul_(3)
    return h * h, view * 2, rows


def written_through_a_view_of_a_view(T: Any, h: Any) -> Any:
    part = h[1:]
    view = part.as_strided((4,), (2,), 0)
    view[1:].add_(view[:1].clone())
    return h * h, part, view


def written_into_transposed(T: Any, h: Any) -> Any:
    turned = (h.t() * 2).t()
    turned.as_strided((3,), (4,), 2).mul_(5)
    return (turned * turned,)


def base_written_after(T: Any, h: Any) -> Any:
    view = h.as_strided((2, 2), (4, 1), 2)
    h.mul_(h.detach() + 1)
    return view * 2, h


PROGRAMS = [read_overlapping, read_of_expanded, written_through, written_through_a_view_of_a_view, written_into_transposed,
            base_written_after]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_history_of_views_by_strides(program: Any) -> None:
    assert_same(history(torchlite, program), history(torch, program))


def test_gradients_of_scattering_by_strides() -> None:
    """PyTorch's own gradient of ``as_strided_scatter`` is that of the part it replaces, so there is no oracle."""
    x = torchlite.randn(3, 4, dtype=torchlite.float64, requires_grad=True)
    y = torchlite.randn(2, 3, dtype=torchlite.float64, requires_grad=True)
    for program in (
        lambda x, y: x.as_strided_scatter(y, (2, 3), (5, 1), 2),
        lambda x, y: (x.t() * 1).as_strided_scatter(y, (2, 3), (1, 3), 2),
    ):
        assert gradcheck(program, (x, y))
        assert gradgradcheck(program, (x, y))


def described(x: Any) -> list[Any]:
    return [list(x.shape), list(x.stride()), x.storage_offset(), x.untyped_storage().nbytes(), x.tolist()]


LAYOUTS: dict[str, Any] = {
    "slices": lambda T: vector(T).view(2, 3)[1:, ::2],
    "transposed": lambda T: vector(T).view(2, 3).t()[1],
    "detached": lambda T: vector(T)[2:].detach(),
    "windows": lambda T: vector(T).unfold(0, 3, 2)[1],
    "expanded": lambda T: vector(T)[1:2].expand(3, 4)[1],
    "diagonal": lambda T: T.arange(9.0).view(3, 3).diagonal(1)[1:],
    "real parts": lambda T: T.view_as_real(T.tensor([1 + 2j, 3 - 1j]))[1, 1:],
    "imaginary": lambda T: T.tensor([1 + 2j, 3 - 1j]).imag[1:],
    "clone of transposed": lambda T: vector(T).view(2, 3).t().clone(),
    "clone of expanded": lambda T: vector(T)[:2].expand(3, 2).clone(),
    "clone of a column": lambda T: vector(T).view(2, 3)[:, 1].clone(),
    "contiguous": lambda T: vector(T).view(2, 3).t().contiguous(),
    "clone in a row": lambda T: vector(T).view(2, 3).t().clone(memory_format=T.contiguous_format),
    "channels last": lambda T: T.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=T.channels_last),
    "clone of channels last": lambda T: T.arange(24.0).view(1, 2, 3, 4).to(memory_format=T.channels_last).clone(),
    "channels last in 3-d": lambda T: T.arange(24.0).view(1, 2, 3, 4, 1).to(memory_format=T.channels_last_3d),
    "channels last of a matrix": lambda T: vector(T).view(2, 3).contiguous(memory_format=T.channels_last),
    "preserve": lambda T: vector(T).view(2, 3).t().contiguous(memory_format=T.preserve_format),
    "float of channels last": lambda T: T.arange(24).view(1, 2, 3, 4).float(memory_format=T.channels_last),
    "strided": lambda T: T.empty_strided((2, 3), (1, 4)).zero_(),
    "strided like": lambda T: vector(T).new_empty_strided((2, 0), (7, 3)),
    "permuted": lambda T: T.empty_permuted((2, 3, 4), (1, 2, 0)).zero_(),
    "strides of others": lambda T: T.empty_strided((2, 3), (1,)),
    "bits": lambda T: vector(T).view(T.int32),
    "halves of bits": lambda T: vector(T).view(3, 2)[1:].view(T.int16),
    "pairs": lambda T: vector(T)[2:].view(T.float64),
    "pairs of rows": lambda T: T.arange(8.0).view(2, 4)[:, 2:].view(dtype=T.int64),
    "pairs at an odd place": lambda T: vector(T)[1:5].view(T.float64),
    "pairs of odd rows": lambda T: T.arange(6.0).view(2, 3)[:, :2].view(T.float64),
    "pairs of three": lambda T: vector(T)[:3].view(T.float64),
    "pairs of columns": lambda T: vector(T).view(3, 2).t().view(T.float64),
    "bits of columns": lambda T: vector(T).view(3, 2).t().view(T.int32),
    "bits of a number": lambda T: T.tensor(1.5).view(T.int32),
    "halves of a number": lambda T: T.tensor(1.5).view(T.int16),
    "complex pairs": lambda T: T.view_as_complex(T.arange(8.0).view(2, 2, 2)[1]),
    "complex pairs at an odd place": lambda T: T.view_as_complex(T.arange(5.0)[1:].view(2, 2)),
    "complex pairs of odd rows": lambda T: T.view_as_complex(T.arange(6.0).view(2, 3)[:, :2]),
    "complex pairs across": lambda T: T.view_as_complex(T.arange(6.0).view(2, 3).t()),
    "resized smaller": lambda T: vector(T).resize_(2, 2),
    "resized to a number": lambda T: vector(T).resize_(()),
    "resized within its storage": lambda T: vector(T)[2:4].resize_(3),
    "resized as": lambda T: vector(T).resize_as_(T.zeros(2, 2).t()),
    "resized as channels last": lambda T: T.zeros(24).resize_as_(
        T.zeros(1, 2, 3, 4).to(memory_format=T.channels_last), memory_format=T.preserve_format
    ),
    "resized to nothing": lambda T: vector(T).resize_(),
    "resized to less than nothing": lambda T: vector(T).resize_(2, -1),
    "resized with history": lambda T: vector(T).requires_grad_().resize_(2),
    "set": lambda T: T.zeros(2).set_(vector(T)),
    "set to a part": lambda T: T.zeros(2).set_(vector(T), 1, (2,), (2,)),
    "set to a storage": lambda T: T.zeros(2).set_(vector(T).untyped_storage()),
    "set to a typed storage": lambda T: T.zeros(2).set_(vector(T).untyped_storage(), 2, (2, 2), (1, 2)),
    "set to nothing": lambda T: vector(T).set_(),
    "set to another dtype": lambda T: vector(T).set_(T.zeros(2, dtype=T.int64)),
    "set with history": lambda T: vector(T).requires_grad_().set_(vector(T)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    compare(lambda T: described(LAYOUTS[name](T)))


def test_what_is_contiguous_in_which_format() -> None:
    def seen(T: Any) -> Any:
        image = T.zeros(2, 3, 4, 5)
        formats = (T.contiguous_format, T.channels_last, T.preserve_format)
        tensors = (
            image,
            image.to(memory_format=T.channels_last),
            image[:, :, 1:],
            T.zeros(2, 1, 4, 4),
            T.zeros(3, 2).t(),
        )
        return (
            [[x.is_contiguous(memory_format=f) for f in formats] for x in tensors],
            str(T.channels_last),
            str(T.strided),
        )

    assert seen(torchlite) == seen(torch)


def test_creation_in_the_order_of_others() -> None:
    def seen(T: Any) -> Any:
        image, columns = T.zeros(2, 3, 4, 5).to(memory_format=T.channels_last), T.zeros(3, 4).t()
        made = [
            T.empty_like(image), T.zeros_like(columns), T.full_like(columns, 2), T.ones_like(columns, dtype=T.int64),
            T.ones_like(image, memory_format=T.contiguous_format), T.empty(1, 2, 3, 4, memory_format=T.channels_last),
            T.zeros(2, layout=T.strided, pin_memory=False), T.eye(2, layout=T.strided), columns.new_zeros(2, layout=T.strided),
            T.zeros_like(image, memory_format=T.preserve_format, requires_grad=True), image + 1, columns.double(),
        ]  # fmt: skip
        return [(list(x.shape), list(x.stride()), str(x.dtype), x.is_leaf, x.requires_grad) for x in made]

    assert seen(torchlite) == seen(torch)


def test_storages_are_shared_by_views_and_nothing_else() -> None:
    def seen(T: Any) -> Any:
        x = vector(T)
        others = [x[2:], x.view(2, 3).t(), x.detach(), x.data, x.view(T.int32), x.clone(), x + 0, x[[0, 1]], T.zeros(6)]
        shared = [x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr() for y in others]
        storage = x[2:].untyped_storage()
        same_place = [x.is_set_to(x[:]), x.is_set_to(x[1:]), x.is_set_to(x.clone()), x.is_set_to(x.view(2, 3))]
        return [shared, len(storage), storage.nbytes(), storage.tolist(), storage[7], repr(storage), same_place,
                storage.data_ptr() == x.data_ptr(), storage.element_size(), str(storage.device)]  # fmt: skip

    assert seen(torchlite) == seen(torch)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_storages_with_a_dtype() -> None:
    def seen(T: Any) -> Any:
        storage = vector(T)[2:].storage()
        return [storage.size(), len(storage), storage.nbytes(), storage.tolist(), storage[1], storage.element_size(),
                str(storage.dtype), storage.untyped().nbytes()]  # fmt: skip

    assert seen(torchlite) == seen(torch)


def test_growing_keeps_views_together() -> None:
    def run(T: Any) -> Any:
        x = vector(T)
        view, row = x[:2], x.view(2, 3)[1]
        x.resize_(10)
        x[0], x[4] = 7, 8
        return view, row, x[:6], x._version

    assert_same(run(torchlite), run(torch))


def test_a_set_tensor_follows_its_source() -> None:
    def run(T: Any) -> Any:
        x, y = vector(T), T.zeros(2)
        y.set_(x, 1, (2,), (3,))
        y.add_(10)
        return x, y

    assert_same(run(torchlite), run(torch))


def test_writes_of_other_dtypes_count_as_writes() -> None:
    def run(T: Any) -> Any:
        x = vector(T)
        x.view(T.int32)[0] = 1065353216
        return x, x._version, x.requires_grad_().view(T.int32).requires_grad

    assert_same(run(torchlite), run(torch))


def test_results_stored_in_views() -> None:
    def run(T: Any) -> Any:
        base, wide = T.zeros(3, 4), T.zeros(3, 4).t()
        T.add(T.ones(4), 1, out=base[1])
        T.mul(T.arange(12.0).view(4, 3), 2, out=wide)
        T.cumsum(T.ones(3), 0, out=base[:, 2])
        return base, base._version, wide

    assert_same(run(torchlite), run(torch))


def test_saved_tensors_notice_writes_through_every_view() -> None:
    def overwritten(T: Any, write: Any) -> None:
        h = T.ones(3, 4, requires_grad=True) * 2
        loss = (h * h).sum()
        write(T, h)
        loss.backward()

    writes: list[Any] = [
        lambda T, h: h.as_strided((2,), (3,), 1).zero_(),
        lambda T, h: h.detach()[0].add_(1),
        lambda T, h: h.t()[1].detach().resize_(2).zero_(),
        lambda T, h: h.view(-1)[2:5].fill_(1),
        lambda T, h: h.__setitem__(h > 1, 0.0),
        lambda T, h: h[0].__setitem__([0, 1], 3.0),
        lambda T, h: T.add(T.ones(4), 1, out=h.detach()[1]),
        lambda T, h: h.detach().view(T.int32).zero_(),
    ]
    for write in writes:
        for T in (torch, torchlite):
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                overwritten(T, write)


def test_rows_added_to_in_place() -> None:
    def run(T: Any, x: Any, y: Any) -> Any:
        h = x * 1
        h[0] += y
        h[:, 1] *= y[:3]
        h[[1, 2]] -= y
        h[h > 1] /= 2
        h[..., -1] **= 2
        return h, h._version

    same(run, np.random.default_rng(0).normal(size=(3, 4)), np.arange(4.0))
