"""What is around a function, wherever it is kept: a change of it is seen."""

import array
import collections
import contextvars
import datetime
import functools
import gc
import logging
import os
import random
import sys
import threading
import time
import types
import weakref
from dataclasses import dataclass, field
from datetime import datetime as moment

import numpy as np
import pytest
from eager_and_compiled import both, captured, falls_back, net

import torchlite as torch
from torchlite import nn

perf_counter = time.perf_counter


class Private:
    __slots__ = ("__scale",)

    def set(self, scale):
        self.__scale = scale

    def get(self):
        return self.__scale


class Plain:
    pass


def in_slots():
    x = Private()
    return x.set, x.get


def behind_a_weak_reference():
    x = Plain()
    return lambda scale, x=x: setattr(x, "scale", scale), functools.partial(lambda to: to().scale, weakref.ref(x))


def in_an_array_of_python():
    x = array.array("d", [0.0])
    return functools.partial(x.__setitem__, 0), lambda: x[0]


def in_bytes():
    x = bytearray(1)
    return lambda scale: x.__setitem__(0, int(scale)), lambda: x[0]


def in_a_context_variable():
    x = contextvars.ContextVar("x")
    return x.set, lambda: x.get()


def of_a_thread():
    x = threading.local()
    return functools.partial(setattr, x, "scale"), lambda: x.scale


def in_the_environment():
    return lambda scale: os.environ.__setitem__("A_SCALE", str(scale)), lambda: float(os.environ["A_SCALE"])


def in_the_environment_by_getenv():
    return lambda scale: os.environ.__setitem__("A_SCALE", str(scale)), lambda: float(os.getenv("A_SCALE"))


def in_a_module_of_a_package():
    package, package.settings = types.ModuleType("some_package"), types.ModuleType("some_package.settings")
    scope = {"some_package": package}
    exec("def get():\n    return some_package.settings.scale", scope)
    return functools.partial(setattr, package.settings, "scale"), scope["get"]


def in_a_module_that_is_imported_inside():
    module = sys.modules["some_settings"] = types.ModuleType("some_settings")
    scope = {}
    exec("def get():\n    from some_settings import scale\n    return scale", scope)
    return functools.partial(setattr, module, "scale"), scope["get"]


def in_an_attribute_of_a_tensor():
    x = torch.ones(1)
    return functools.partial(setattr, x, "scale"), lambda: x.scale


def in_a_key():
    x = {}

    def put(scale):
        x.clear()
        x[int(scale)] = True

    return put, lambda: float(next(iter(x)))


def behind_a_bound_method():
    x = {}
    get = x.get
    return lambda scale: x.update(scale=scale), lambda: get("scale")


def in_another_dict():
    x = Plain()
    return lambda scale: setattr(x, "__dict__", {"scale": scale}), lambda: x.scale


def in_another_class():
    x, kinds = Plain(), [type("One", (Plain,), {"get": lambda _self, k=k: float(k)}) for k in range(3)]
    return lambda scale: setattr(x, "__class__", kinds[int(scale)]), lambda: x.get()


def in_the_code_of_a_function():
    def get():
        return 0.0

    others = [lambda: 0.0, lambda: 1.0, lambda: 2.0]
    return lambda scale: setattr(get, "__code__", others[int(scale)].__code__), lambda: get()


def in_defaults():
    def get(scale=0.0):
        return scale

    return lambda scale: setattr(get, "__defaults__", (scale,)), lambda: get()


def in_keyword_defaults():
    def get(*, scale=0.0):
        return scale

    return lambda scale: setattr(get, "__kwdefaults__", {"scale": scale}), lambda: get()


def in_a_global_that_comes():
    scope = {}
    exec("def get():\n    try:\n        return scale\n    except NameError:\n        return 0.0", scope)
    return lambda scale: scope.update(scale=scale) if scale else None, scope["get"]


def in_a_module_in_a_closure():
    module = types.ModuleType("some_settings")
    return functools.partial(setattr, module, "scale"), lambda: module.scale


def in_a_module_that_is_an_attribute():
    x = Plain()
    x.module = types.ModuleType("some_settings")
    return functools.partial(setattr, x.module, "scale"), lambda: x.module.scale


def in_the_order_of_a_dict():
    x = dict.fromkeys(range(3))

    def put(scale):
        value = x.pop(int(scale))
        x[int(scale)] = value

    return put, lambda: float([*x][-1])


def behind_a_view_of_a_dict():
    x = {"scale": 0.0}
    values = x.values()
    return lambda scale: x.update(scale=scale), lambda: sum(values)


class Content(dict):
    def __getattr__(self, name):
        return self[name]


class Elements(list):
    pass


class Number(float):
    pass


def in_an_attribute_that_is_a_key():
    x = Content()
    return lambda scale: x.update(scale=scale), lambda: x.scale


def in_an_attribute_of_a_list():
    x = Elements()
    return functools.partial(setattr, x, "scale"), lambda: x.scale


def in_an_attribute_of_a_number():
    x = Number(1.0)
    return functools.partial(setattr, x, "scale"), lambda: x.scale


def in_a_method_of_a_tuple():
    x, scales = collections.namedtuple("Pair", "a b")(1, 2), [0.0]
    kind = type("Pairs", (type(x),), {"get": lambda _self: scales[0]})(*x)
    return lambda scale: scales.__setitem__(0, scale), lambda: kind.get()


def behind_a_hook_of_a_tensor():
    x, scales = nn.Parameter(torch.ones(1)), [0.0]
    x.register_hook(lambda gradient: gradient * scales[0])

    def get():
        x.grad = None
        (x * 2).sum().backward()
        return x.grad

    return lambda scale: scales.__setitem__(0, scale), get


def behind_a_hook_that_is_there_or_not():
    x, handles = nn.Parameter(torch.ones(1)), {}

    def put(scale):
        if scale not in handles:
            for handle in handles.values():
                handle.remove()
            handles[scale] = x.register_hook(lambda gradient: gradient * scale)

    def get():
        x.grad = None
        (x * 2).sum().backward()
        return x.grad

    return put, get


def in_whether_a_tensor_is_trained():
    x, y = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def put(scale):
        x.requires_grad_(scale == 1)
        y.requires_grad_(scale == 2)

    return put, lambda: x.requires_grad + 2.0 * y.requires_grad


def in_a_seed():
    return lambda scale: torch.manual_seed(int(scale)), lambda: float(torch.initial_seed())


@pytest.fixture(autouse=True)
def no_traces(monkeypatch):
    monkeypatch.setenv("A_SCALE", "0")
    yield
    sys.modules.pop("some_settings", None)


# What can be exchanged while the function is traced is an input of the programs once it has changed.
BECOME_INPUTS = (
    in_slots,
    behind_a_weak_reference,
    in_a_module_of_a_package,
    in_a_module_that_is_imported_inside,
    behind_a_bound_method,
    in_a_module_in_a_closure,
    in_an_attribute_that_is_a_key,
    in_an_attribute_of_a_list,
    in_an_attribute_of_a_number,
    in_a_method_of_a_tuple,
    behind_a_hook_of_a_tensor,
)


@pytest.mark.parametrize(
    "kept",
    [
        in_slots,
        behind_a_weak_reference,
        in_an_array_of_python,
        in_bytes,
        in_a_context_variable,
        of_a_thread,
        in_the_environment,
        in_the_environment_by_getenv,
        in_a_module_of_a_package,
        in_a_module_that_is_imported_inside,
        in_an_attribute_of_a_tensor,
        in_a_key,
        behind_a_bound_method,
        in_another_dict,
        in_another_class,
        in_the_code_of_a_function,
        in_defaults,
        in_keyword_defaults,
        in_a_global_that_comes,
        in_a_module_in_a_closure,
        in_a_module_that_is_an_attribute,
        in_the_order_of_a_dict,
        behind_a_view_of_a_dict,
        in_an_attribute_that_is_a_key,
        in_an_attribute_of_a_list,
        in_an_attribute_of_a_number,
        in_a_method_of_a_tuple,
        behind_a_hook_of_a_tensor,
        behind_a_hook_that_is_there_or_not,
        in_whether_a_tensor_is_trained,
        in_a_seed,
    ],
)
def test_a_changed_number_is_seen(kept):
    def program(compile_):
        put, get = kept()
        put(0.0)
        f = compile_(lambda x: x * get())
        results = []
        for i in range(6):
            put(float(i // 2))
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    assert len(f.variants) == (2 if kept in BECOME_INPUTS else 3)


def test_a_key_with_another_name():
    def program(compile_):
        options = {"double": True}
        f = compile_(lambda x: x * 2 if "double" in options else x)
        results = [f(torch.ones(2)) for _ in range(3)]
        options["other"] = options.pop("double")
        return [*results, f(torch.ones(2))]

    both(program)


def test_an_attribute_of_an_argument():
    def program(compile_):
        f = compile_(lambda x: x * getattr(x, "scale", 1.0))
        results = []
        for i in range(6):
            x = torch.ones(2)
            if i % 3:
                x.scale = float(i // 3)
            results.append(f(x))
        return results

    both(program)


def test_hooks_of_everything():
    def program(compile_):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = compile_(step)
        results = [step(torch.ones(2, 6)) for _ in range(3)]
        of_modules = nn.modules.module.register_module_forward_hook(lambda _module, _given, out: out * 2)
        results += [step(torch.ones(2, 6)) for _ in range(2)]
        of_modules.remove()

        def halve(optimizer, _args, _kwargs):
            with torch.no_grad():
                for p in optimizer.param_groups[0]["params"]:
                    p.grad.mul_(0.5)

        of_optimizers = torch.optim.optimizer.register_optimizer_step_pre_hook(halve)
        results += [step(torch.ones(2, 6)) for _ in range(2)]
        of_optimizers.remove()
        return [*results, step(torch.ones(2, 6))]

    (step,) = both(program)
    assert captured(step)


@pytest.mark.parametrize(
    ("stream", "draw"),
    [
        (lambda: random.Random(0), lambda r: r.random()),
        (lambda: np.random.default_rng(0), lambda r: float(r.random())),
        (lambda: np.random.RandomState(0), lambda r: float(r.rand())),
    ],
)
def test_random_streams_of_ones_own(stream, draw):
    def program(compile_):
        mine = stream()
        f = compile_(lambda x: x * draw(mine))
        return [f(torch.ones(2)) for _ in range(5)], draw(mine)

    falls_back(program, "the state of a")


def test_what_is_remembered_by_a_cache():
    """A tensor that is made while tracing must not stay in it."""

    def program(compile_):
        @functools.lru_cache
        def mask(n):
            return torch.tril(torch.ones(n, n))

        f = compile_(lambda x: x @ mask(x.shape[1]))
        return [f(torch.ones(2, n)) for n in (2, 2, 3, 3, 3, 4, 2, 3)] + [mask(3) + mask(4)[1:, 1:]]

    (f,) = both(program)
    assert captured(f)


@dataclass
class Batch:
    x: torch.Tensor
    y: torch.Tensor
    names: list = field(default_factory=list)


Pair = collections.namedtuple("Pair", ["x", "y"])


@pytest.mark.parametrize(
    "batch",
    [
        lambda x, y: Batch(x, y, ["a"]),
        Pair,
        lambda x, y: collections.OrderedDict(x=x, y=y),
        lambda x, y: collections.defaultdict(list, x=x, y=y),
    ],
)
def test_batches_of_every_kind_are_captured_once(batch):
    def program(compile_):
        def f(b):
            x, y = (b.x, b.y) if hasattr(b, "x") else (b["x"], b["y"])
            return type(b)(x=x * y, y=x) if hasattr(b, "x") else {"x": x * y}

        f = compile_(f)
        results = [f(batch(torch.full((2,), float(i)), torch.ones(2))) for i in range(5)]
        return [result["x"] if isinstance(result, dict) else result.x for result in results]

    (f,) = both(program)
    assert len(f.variants) == 1


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda _path: time.perf_counter(), "reads the clock"),
        (lambda _path: perf_counter(), "reads the clock"),
        (lambda _path: time.localtime(), "reads the clock"),
        (lambda _path: datetime.datetime.now(), "reads the clock"),
        (lambda _path: moment.utcnow() if sys.version_info < (3, 12) else moment.now(), "reads the clock"),
        (lambda _path: datetime.date.today(), "reads the clock"),
        (lambda path: path.exists(), "asks for files or changes some"),
        (lambda path: os.path.getsize(path.parent), "asks for files or changes some"),
        (lambda path: os.listdir(path.parent), "asks for files or changes some"),
        (lambda path: path.parent.joinpath("folder").mkdir(exist_ok=True), "asks for files or changes some"),
        (lambda _path: os.system("true"), "runs another program"),
        (lambda _path: time.sleep(0), "waits"),
        (lambda path: path.open("a").close(), "opens a file"),
        (lambda _path: os.urandom(4), "asks the operating system for random bytes"),
        (lambda _path: os.getcwd(), "asks for the current folder"),
        (lambda _path: gc.isenabled(), "asks whether garbage is collected"),
        (lambda _path: sys.getrecursionlimit(), "asks how deep calls may go"),
        (lambda _path: logging.getLogger("test").error("an error"), "logs"),
    ],
)
def test_what_a_replay_would_not_do(act, told, tmp_path):
    f = torch.compile(lambda x: (act(tmp_path / "file"), x * 2)[1])
    with pytest.warns(UserWarning, match=f"it {told}.*test_surroundings"):
        for _ in range(3):
            f(torch.ones(2))
    assert not f.variants
    assert time.perf_counter is perf_counter
    assert not hasattr(logging.Logger.makeRecord, "__wrapped__")


def test_moments_that_are_given():
    """Only the clock is refused; `datetime` is otherwise what it is."""

    def f(x):
        then = moment(2026, 1, 2, 3)
        same = isinstance(then, moment) and then == datetime.datetime.fromisoformat("2026-01-02T03:00:00")
        return x * then.hour if same and type(then + datetime.timedelta(1)) is type(then) else x

    f = torch.compile(f)
    for _ in range(3):
        assert f(torch.ones(2)).tolist() == [3, 3]
    assert captured(f)
    assert moment is datetime.datetime


def test_a_logger_that_is_not_used():
    logger = logging.getLogger("test")

    def f(x):
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("called")
        return x * 2

    f = torch.compile(f)
    for _ in range(3):
        f(torch.ones(2))
    assert captured(f)


def test_the_id_of_an_argument():
    """Which one it is, is different at every call; that of what is around the function is not."""

    def program(compile_):
        weight, seen = torch.ones(2), set()
        f = compile_(lambda x: x * (2 if id(x) in seen else 3))
        g = compile_(lambda x: x * (2 if id(weight) in seen else 3))
        batches = [torch.ones(2) for _ in range(3)]
        seen.update((id(batches[1]), id(weight)))
        return [h(batches[i % 3]) for i in range(6) for h in (f, g)]

    _, g = falls_back(program, "the id of an argument.*test_surroundings")
    assert captured(g)


Hook = collections.abc.Callable[[int], str]


def test_a_type_of_a_callable():
    def program(compile_):
        def f(x):
            def doubled(x, hook: Hook | None = None):
                return x * 2

            return doubled(x)

        f = compile_(f)
        return [f(torch.full((2,), float(i))) for i in range(3)]

    (f,) = both(program)
    assert captured(f)
