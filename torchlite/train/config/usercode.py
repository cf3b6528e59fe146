"""Classes from the user's own files: found by parsing the source, imported only to be used."""

import ast
import importlib.util
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchlite.errors import TorchliteError, UserCodeError
from torchlite.train.config.diagnostics import Findings, suggestion
from torchlite.train.config.document import MAX_BYTES, nearly
from torchlite.train.config.location import Location
from torchlite.train.registry import Parameter, Signature

_PACKAGE = "torchlite_user_code."
_ANNOTATIONS: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True, slots=True)
class UserClass:
    """A class in a user's file: its name as ``module:Class``, and what its constructor takes."""

    name: str
    file: Path
    signature: Signature


@dataclass
class UserCode:
    """The files that a configuration lists under `code`; classes come from these and no others."""

    files: dict[str, Path] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    classes: dict[Path, dict[str, ast.ClassDef]] = field(default_factory=dict)

    def add(self, path: Path, at: Location, findings: Findings) -> None:
        """Reads a listed file; reports at `at` where that is impossible."""
        module = path.stem
        try:
            if path.suffix != ".py":
                raise ValueError("it is not a .py file")
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
            tree = ast.parse(path.read_bytes(), filename=str(path))
        except FileNotFoundError:
            hint = nearly(path, str(path)) or "paths are relative to the configuration"
            findings.report("TL307", at, f"there is no file '{path}'", key="code", hint=hint)
            self.broken.add(module)
        except SyntaxError as error:
            message = f"'{path}' is not Python: {error.msg}, line {error.lineno or 1}"
            findings.report("TL307", at, message, key="code")
            self.broken.add(module)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            findings.report("TL307", at, f"'{path}' cannot be used: {error}", key="code")
            self.broken.add(module)
        else:
            self.files[module] = path
            self.classes[path] = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

    def find(self, name: str, at: Location, findings: Findings) -> UserClass | None:
        """The class ``module:Class``; reports at `at` where there is none."""
        module, _, wanted = name.partition(":")
        if module in self.broken:
            return None
        path = self.files.get(module)
        if path is None:
            best, hint = suggestion(module, self.files, what="`code` lists")
            message = f"'{module}' is not among the files listed under `code`"
            findings.report("TL307", at, message, hint=hint or f"add it: code: [{module or 'file'}.py]")
            if best is None:
                return None
            module, path = best, self.files[best]
        classes = self.classes[path]
        if wanted not in classes:
            best, hint = suggestion(wanted, classes, what=f"{path.name} has")
            replacement = f"{module}:{best}" if best else None
            message = f"'{path}' has no class '{wanted}'"
            findings.report("TL307", at, message, hint=hint, replacement=replacement)
            if best is None:
                return None
            wanted = best
        return UserClass(f"{module}:{wanted}", path, _signature(wanted, classes))


def _signature(name: str, classes: dict[str, ast.ClassDef]) -> Signature:
    """What the constructor of a class takes; anything at all where it is inherited from elsewhere."""
    seen: set[str] = set()
    while name in classes and name not in seen:
        seen.add(name)
        definition = classes[name]
        for statement in definition.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return _of_function(statement.args, _inferred(definition))
        if definition.decorator_list or len(definition.bases) != 1:
            break
        base = definition.bases[0]
        if isinstance(base, ast.Attribute) and base.attr == "Module":
            return Signature(())
        if not isinstance(base, ast.Name):
            break
        name = base.id
    return Signature((), takes_any_keyword=True)


def _inferred(definition: ast.ClassDef) -> frozenset[str]:
    for statement in definition.body:
        target: ast.expr | None = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and target.id == "inferred" and isinstance(value, ast.Dict):
            keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
            return frozenset(key for key in keys if isinstance(key, str))
    return frozenset()


def _of_function(arguments: ast.arguments, inferred: frozenset[str]) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args][1:]
    optional_from = len(positional) - len(arguments.defaults)
    parameters = [
        Parameter(one.arg, index < optional_from, _annotation(one.annotation)) for index, one in enumerate(positional)
    ]
    parameters += [
        Parameter(one.arg, default is None, _annotation(one.annotation), positional=False)
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return Signature(tuple(parameters), inferred, takes_any_keyword=arguments.kwarg is not None)


def _annotation(expression: ast.expr | None) -> Any:
    return _ANNOTATIONS.get(expression.id, Any) if isinstance(expression, ast.Name) else Any


def import_class(file: Path, name: str) -> type:
    """The class `name` of the user's `file`, which is imported once a process.

    Raises: UserCodeError where the file raises an exception or does not define the class.
    """
    module_name = f"{_PACKAGE}{file.resolve()}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, file)
        if spec is None or spec.loader is None:
            raise UserCodeError(f"'{file}' cannot be imported as Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise UserCodeError(f"importing '{file}' raised {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise UserCodeError(f"'{file}' defines no class '{name}'")
    return found


def attributed(error: BaseException) -> BaseException:
    """A UserCodeError that says where, for an exception that passed through code of the user's; any other one as it is."""
    if not isinstance(error, Exception) or isinstance(error, TorchliteError | MemoryError):
        return error
    own = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(_PACKAGE)
    ]
    if not own:
        return error
    code, line = own[-1]
    where = f"{Path(code.co_filename).name}, line {line}, in {code.co_name}"
    return UserCodeError(f"{where}: {type(error).__name__}: {error}").with_traceback(error.__traceback__)
