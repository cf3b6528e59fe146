"""Recording switched on and off, and inference tensors, against PyTorch."""

from typing import Any

import pytest
from oracle import same


def made_in_inference(T: Any) -> Any:
    with T.inference_mode():
        return T.ones(2)


def test_contexts_and_decorators() -> None:
    def program(T: Any) -> Any:
        seen = []
        for mode in (T.no_grad, T.enable_grad, T.inference_mode):
            with mode():
                seen.append((T.is_grad_enabled(), (T.ones(1, requires_grad=True) * 2).requires_grad))

            @mode()
            def called() -> Any:
                return T.is_grad_enabled(), T.is_inference_mode_enabled()

            @mode
            def bare() -> Any:
                return T.is_grad_enabled(), T.is_inference_mode_enabled()

            seen += [called(), bare(), T.is_grad_enabled()]

        @T.set_grad_enabled(False)
        def off() -> Any:
            return T.is_grad_enabled()

        seen += [T.is_grad_enabled(), off(), T.is_grad_enabled()]
        T.set_grad_enabled(False)
        seen.append(T.is_grad_enabled())
        T.set_grad_enabled(True)
        with T.set_grad_enabled(False), T.enable_grad():
            seen.append(T.is_grad_enabled())
        with T.inference_mode(), T.inference_mode(False):
            x = T.ones(2, requires_grad=True)
            seen += [(x * 2).requires_grad, x.is_inference(), T.is_inference_mode_enabled(), T.is_grad_enabled()]
        with T.inference_mode(), T.enable_grad():
            seen.append((T.ones(2, requires_grad=True) * 2).requires_grad)
        return seen

    same(program)


def test_decorated_generators() -> None:
    def program(T: Any) -> Any:
        @T.no_grad()
        def steps() -> Any:
            got = yield T.is_grad_enabled()
            try:
                while True:
                    got = yield got, T.is_grad_enabled()
            except ValueError:
                yield "caught", T.is_grad_enabled()
            return "done"

        steps_ = steps()
        seen = [next(steps_), T.is_grad_enabled(), steps_.send(5), T.is_grad_enabled(), steps_.throw(ValueError())]
        try:
            next(steps_)
        except StopIteration as stop:
            seen.append(stop.value)
        closing: list[Any] = []

        @T.inference_mode()
        def closed() -> Any:
            try:
                yield
            finally:
                closing.append(T.is_grad_enabled())

        generator = closed()
        next(generator)
        generator.close()
        return seen, closing, T.is_grad_enabled()

    same(program)


def test_inference_tensors() -> None:
    def program(T: Any) -> Any:
        x, normal = made_in_inference(T), T.ones(2)
        with T.inference_mode():
            inside = [T.ones(2).requires_grad_().requires_grad, (normal + 1).is_inference(), normal[0].is_inference()]
            normal.add_(1)
            inside += [normal._version, normal.is_inference(), T.zeros(1).add_(1)]
        outside = [x.is_inference(), x.clone().is_inference(), x[0].is_inference(), x.detach().is_inference()]
        outside += [(x + 1).is_inference(), T.is_inference(x), normal.add_(x), x.tolist()]
        leaf = x.clone().requires_grad_()
        (leaf * leaf).sum().backward()
        other = T.ones(2, requires_grad=True)
        (other + x).sum().backward()
        return inside, outside, leaf.grad, other.grad

    same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda T: (T.ones(2, requires_grad=True) * made_in_inference(T)).sum().backward(),
        lambda T: made_in_inference(T).add_(1),
        lambda T: made_in_inference(T).requires_grad_(),
        lambda T: made_in_inference(T)._version,
    ],
)
def test_misuse_of_inference_tensors(program: Any) -> None:
    same(program)
