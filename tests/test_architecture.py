"""The floors of the package: imports run only downward."""

import ast
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
# Installed names by where they lie in the repository.
PACKAGES = {"torchlite": ROOT / "torchlite", "torchlite.cli": ROOT / "cli", "torchlite.datasets": ROOT / "datasets"}

# Module prefixes by floor; the longest prefix that matches a module decides.
FLOORS = {
    "torchlite.ir": 0,
    "torchlite.errors": 0,
    "torchlite.extras": 0,
    "torchlite.devices": 0,
    "torchlite.dtypes": 0,
    "torchlite.batching": 0,
    "torchlite.batching.rules": 4,
    "torchlite.batching.vmap": 4,
    "torchlite.size": 0,
    "torchlite.integers": 0,
    "torchlite.layouts": 0,
    "torchlite.names_of_numpy": 0,
    "torchlite.return_types": 0,
    "torchlite.backends": 1,
    "torchlite.autograd": 2,
    "torchlite.autograd.engine": 4,
    "torchlite.autograd.forward_ad": 4,
    "torchlite.autograd.numeric": 4,
    "torchlite.autograd.tensor_hooks": 4,
    "torchlite.autograd.function": 4,
    "torchlite.autograd.functional": 4,
    "torchlite.autograd.profiler": 4,
    "torchlite.autograd.watching": 4,
    "torchlite._tensor": 2,
    "torchlite.autocasting": 2,
    "torchlite.dispatch": 2,
    "torchlite.printing": 2,
    "torchlite.ops": 3,
    "torchlite.random": 4,
    "torchlite.linalg": 4,
    "torchlite.fft": 4,
    "torchlite.special": 4,
    "torchlite.masked": 4,
    "torchlite.signal": 4,
    "torchlite.composites": 4,
    "torchlite.parameter": 4,
    "torchlite.cpu": 4,
    "torchlite.cpu.amp": 6,
    "torchlite.cuda": 4,
    "torchlite.cuda.amp": 6,
    "torchlite.tracing": 0,
    "torchlite.compiler": 5,
    "torchlite.compiler.module": 7,
    "torchlite.serialization": 5,
    "torchlite.distributions": 6,
    "torchlite.amp": 6,
    "torchlite.func": 6,
    "torchlite.nn": 6,
    "torchlite.optim": 6,
    "torchlite.utils": 6,
    "torchlite.vision": 7,
    "torchlite.audio": 7,
    "torchlite.onnx": 7,
    "torchlite.datasets": 7,
    "torchlite.namespace": 7,
    "torchlite.namespace_late": 7,
    "torchlite": 7,  # torchlite/__init__.py, which loads names on first use
    "torchlite.train": 8,
    "torchlite.serve": 9,
    "torchlite.cli": 9,
}

# (importing module, imported module): why this one may look up.
EXCEPTIONS = {
    ("torchlite.compiler", "torchlite.compiler.module"): "torch.compiler.compile is another name of torch.compile",
    ("torchlite", "torchlite.namespace"): "type checkers only",
    ("torchlite", "torchlite.namespace_late"): "type checkers only",
    ("torchlite.cpu", "torchlite.cpu.amp"): "type checkers only",
    ("torchlite.cuda", "torchlite.cuda.amp"): "type checkers only",
    ("torchlite.autograd", "torchlite.autograd.engine"): "type checkers only",
    ("torchlite.autograd", "torchlite.autograd.forward_ad"): "type checkers only",
    ("torchlite.autograd", "torchlite.autograd.numeric"): "type checkers only",
    ("torchlite.autograd", "torchlite.autograd.function"): "type checkers only",
    ("torchlite.autograd", "torchlite.autograd.functional"): "type checkers only",
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found.append((name, path))
    return found


def floor(module: str) -> int:
    prefix = module
    while prefix not in FLOORS:
        prefix = prefix.rpartition(".")[0]
    return FLOORS[prefix]


NAMES = {name for name, _ in modules()}


def imported(name: str, path: Path) -> list[tuple[str, int]]:
    """The modules of the package that a module imports, at its top or inside its functions, with the line."""
    result = []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([node.module] if node.module else [])])
            # `from package import module` imports the module; `from module import name` the module it names.
            targets = [f"{base}.{a.name}" if f"{base}.{a.name}" in NAMES else base for a in node.names]
        elif is_import_module(node):
            targets = [node.args[0].value]  # type: ignore[attr-defined]
        result += [(target, node.lineno) for target in targets if target.partition(".")[0] == "torchlite"]  # type: ignore[attr-defined]
    return result


def is_import_module(node: Any) -> bool:
    """``importlib.import_module("literal")``."""
    return (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "import_module"
        and isinstance(node.args[0], ast.Constant)
    )


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_run_downward(name: str, path: Path) -> None:
    for target, line in imported(name, path):
        upward = floor(target) > floor(name)
        assert not upward or (name, target) in EXCEPTIONS, (
            f"{path}:{line}: {name} (floor {floor(name)}) imports {target} (floor {floor(target)})"
        )


def test_every_exception_is_still_needed() -> None:
    used = {(name, target) for name, path in modules() for target, _ in imported(name, path)}
    assert set(EXCEPTIONS) <= used


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    for text in (
        "from torchlite.nn import Module", "def f():\n    import torchlite.train.loop", "from torchlite import nn",
        "import importlib\nimportlib.import_module('torchlite.cli.main')", "if True:\n    from torchlite.ops.views import view",
    ):  # fmt: skip
        path.write_text(text)
        assert any(
            floor(target) > floor("torchlite.backends.bad") for target, _ in imported("torchlite.backends.bad", path)
        )
    path.write_text("from . import erf\nfrom torchlite.ir import Aval\nimport numpy")
    assert all(floor(target) <= 1 for target, _ in imported("torchlite.backends.bad", path))


def test_importing_the_package_does_not_import_numpy() -> None:
    import subprocess
    import sys

    program = "import sys, torchlite; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_repository_s_folders_do_not_install_under_their_own_names() -> None:
    for name in ("cli", "datasets"):
        assert f"torchlite.{name}" in (ROOT / "pyproject.toml").read_text()


def test_the_operator_on_the_page_is_the_one_in_the_code() -> None:
    shown = (ROOT / "docs/architecture.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert shown
    assert shown in (ROOT / "torchlite/ops/pointwise.py").read_text()
