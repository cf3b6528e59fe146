"""`GradScaler` beside PyTorch's, step by step."""

import copy
import pickle

import numpy as np
import pytest
from oracle import BOTH, same

import torchlite

INFINITE = {3, 4, 9, 15, 16, 17, 29}


def _run(library, *, injected, steps=40):
    """Scales, whether each step was taken, and the weights, of two optimizers with one scaler."""
    rng = np.random.default_rng(0)
    models = [library.nn.Linear(4, 2), library.nn.Linear(4, 1)]
    with library.no_grad():
        for model in models:
            model.weight.copy_(library.tensor(rng.normal(size=tuple(model.weight.shape)).astype(np.float32)))
            model.bias.zero_()
    optimizers = [
        library.optim.Adam(models[0].parameters(), lr=0.1),
        library.optim.SGD(models[1].parameters(), lr=0.1, momentum=0.9),
    ]
    scaler = library.amp.GradScaler("cpu", init_scale=1024.0, growth_factor=3.0, backoff_factor=0.3, growth_interval=4)
    log = []
    for step in range(steps):
        x = library.tensor(rng.normal(size=(8, 4)).astype(np.float32))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = sum(model(x).square().mean() for model in models)
        scaler.scale(loss).backward()
        if step in injected:
            with library.no_grad():
                models[step % 2].weight.grad[0, 1] = float("inf") if step % 3 else float("nan")
        if step % 5 == 0:
            scaler.unscale_(optimizers[0])
            library.nn.utils.clip_grad_norm_(models[0].parameters(), 1.0)
        before = [model.weight.detach().clone() for model in models]
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
        taken = [not bool((model.weight == w).all()) for model, w in zip(models, before, strict=True)]
        log.append((scaler.get_scale(), taken, [model.weight.tolist() for model in models]))
        if step == 20:  # goes on from a saved state, with another interval
            state = scaler.state_dict()
            scaler = library.amp.GradScaler("cpu")
            scaler.load_state_dict(state)
            scaler.set_growth_interval(5)
    return log, scaler.state_dict()


def test_exactly_the_steps_with_infinite_gradients_are_skipped():
    (ours, our_state), (theirs, their_state) = (_run(library, injected=INFINITE) for library in BOTH)
    assert our_state == their_state
    for step, ((scale, taken, weights), (their_scale, their_taken, their_weights)) in enumerate(
        zip(ours, theirs, strict=True)
    ):
        assert scale == their_scale
        assert taken == their_taken == [step not in INFINITE or step % 2 == 1, step not in INFINITE or step % 2 == 0]
        for a, b in zip(weights, their_weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_scales_of_all_that_can_be_scaled():
    def scaled(t, x):
        scaler = t.amp.GradScaler("cpu", init_scale=4.0)
        several = scaler.scale((x, [x.half(), x.double()]))
        return [scaler.scale(x), several[0], *several[1], *scaler.scale(y for y in (x, x))]

    same(scaled, np.array([1.0, 20000.0], np.float32))


def _stepped(t):
    model = t.nn.Linear(2, 1)
    optimizer = t.optim.SGD(model.parameters(), lr=0.1)
    scaler = t.amp.GradScaler("cpu")
    scaler.scale(model(t.ones(1, 2)).sum()).backward()
    return scaler, optimizer


def _after(t, *calls):
    scaler, optimizer = _stepped(t)
    for call in calls:
        getattr(scaler, call)(*(() if call == "update" else (optimizer,)))


def _half_gradients(t):
    model = t.nn.Linear(2, 1).half()
    scaler = t.amp.GradScaler("cpu")
    scaler.scale(model(t.ones(1, 2).half()).sum()).backward()
    scaler.unscale_(t.optim.SGD(model.parameters(), lr=0.1))


def _no_gradients(t):
    scaler, _ = _stepped(t)
    scaler.step(t.optim.SGD(t.nn.Linear(2, 1).parameters(), lr=0.1))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda t: t.amp.GradScaler("cpu", growth_factor=1.0),
        lambda t: t.amp.GradScaler("cpu", backoff_factor=1.0),
        lambda t: t.amp.GradScaler("cpu").scale(1.0),
        lambda t: t.amp.GradScaler("cpu").update(),
        lambda t: t.amp.GradScaler("cpu").unscale_(None),
        lambda t: t.amp.GradScaler("cpu").load_state_dict({}),
        lambda t: _after(t, "update"),
        lambda t: _after(t, "unscale_", "unscale_"),
        lambda t: _after(t, "step", "step"),
        lambda t: _after(t, "step", "unscale_"),
        lambda t: _after(t, "step", "update", "step", "update"),
        lambda t: _stepped(t)[0].step(_stepped(t)[1], closure=lambda: 1.0),
        lambda t: _stepped(t)[0].update(t.ones(2)),
        lambda t: _stepped(t)[0].update(t.tensor(2.0, requires_grad=True)),
        _half_gradients,
        _no_gradients,
    ],
)
def test_misuse(misuse):
    same(misuse)


def test_a_new_scale_takes_the_place_of_the_old():
    def replaced(t):
        scales = []
        for new in (3.5, t.tensor(7.0).double()):
            scaler, optimizer = _stepped(t)
            scaler.step(optimizer)
            scaler.update(new)
            scales.append(scaler.get_scale())
        return scales

    same(replaced)


def test_the_scale_does_not_grow_beyond_float32():
    def grown(t):
        scaler, optimizer = _stepped(t)
        scaler = t.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
        scaler.scale(t.ones(1))
        scaler.step(optimizer)
        scaler.update()
        return scaler.get_scale()

    same(grown)


def test_a_disabled_scaler_does_nothing():
    def disabled(t):
        model = t.nn.Linear(2, 1)
        optimizer = t.optim.SGD(model.parameters(), lr=0.1)
        scaler = t.amp.GradScaler("cpu", enabled=False)
        loss = model(t.ones(1, 2)).sum()
        assert scaler.scale(loss) is loss
        loss.backward()
        scaler.unscale_(optimizer)
        assert scaler.step(optimizer, closure=lambda: 5.0) == 5.0
        scaler.update()
        scaler.load_state_dict({"whatever": 1})
        return scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()

    same(disabled)


def test_it_is_pickled_between_iterations_only():
    scaler, optimizer = _stepped(torchlite)
    scaler.unscale_(optimizer)
    with pytest.raises(AssertionError, match="may only be pickled"):
        pickle.dumps(scaler)
    scaler.step(optimizer)
    scaler.update()
    twin = pickle.loads(pickle.dumps(scaler))
    assert twin.state_dict() == scaler.state_dict() == copy.deepcopy(scaler).state_dict()


def test_states_go_from_one_library_to_the_other():
    for here, there in (BOTH, BOTH[::-1]):
        scaler = there.amp.GradScaler("cpu")
        scaler.load_state_dict(here.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3).state_dict())
        assert scaler.get_scale() == 8.0
        assert scaler.get_growth_interval() == 3


def test_torch_agrees_that_the_first_step_of_all_may_be_skipped():
    def skipped(t):
        scaler, optimizer = _stepped(t)
        optimizer.param_groups[0]["params"][0].grad.fill_(float("inf"))
        assert scaler.step(optimizer) is None
        scaler.update()
        return scaler.get_scale(), scaler.state_dict()

    same(skipped)
