"""Write ``docs/operators.md``, the table of every operator: ``python tests/parity/operators_page.py``.

What a composite is made of is found by running op_db's samples of it and noting which primitives run.
"""

import inspect
import re
import sys
import types
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.op_db import DTYPES, OPERATORS, converted, full_name, recorded, torch
from parity.test_gradcheck import NAMES as CHECKED
from parity.test_gradcheck import SKIPPED

import torchlite
from torchlite import ir
from torchlite.autograd.profiler import profile

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
# Where functions live, and PyTorch's module of the same names.
PLACES = {
    "torchlite": torch,
    "torchlite.Tensor": torch.Tensor,
    "torchlite.nn.functional": torch.nn.functional,
    "torchlite.linalg": torch.linalg,
    "torchlite.fft": torch.fft,
    "torchlite.special": torch.special,
    "torchlite.signal.windows": torch.signal.windows,
    "torchlite.masked": torch.masked,
}
# Why names of PyTorch are not here: patterns of the names. The first that fits counts.
REASONS = {
    "internal, or no operator": "_.* unify.* parse_.* import_ir.* fork wait classes ops types typename Any Union Optional "
    "TYPE_.* Callable get_file_path init_num_threads merge_type.* prepare_multiprocessing.* profiler_.* storage_type "
    "get_device_module thread_safe_generator module_load is_storage has_torch_function.* handle_torch_function boolean_dispatch "
    "classproperty assert_int_or_pair",
    "sparse tensors are out of scope": ".*[Ss]parse.* .*_(csr|coo|csc|bsr|bsc).* .*coalesce.* (crow|ccol|col|row)_indices "
    "(row|col|crow|ccol|indices|values)(_indices)?_copy index indices values dense_dim to_dense smm hspmm dsmm hsmm spmm "
    "saddmm sspaddmm",
    "gone from PyTorch, where it only raises": "eig lstsq solve symeig matrix_rank reinforce",
    "a kernel under a public function": "batch_norm_.* native_.* embedding_bag frobenius_norm nuclear_norm slice_inverse "
    "segment_reduce",
    "a prototype in PyTorch": ".*masked_tensor",
    "NumPy has no complex numbers of halves": "chalf",
    "needs memory shared between processes, or streams": "from_file record_stream",
    "for one vendor's number formats": "(scaled_)?grouped_mm scaled_mm",
    "quantization has its own issue": ".*[Qq]uantize.* q_.* qscheme qu?int.* fbgemm.* .*fake_quant.* int_repr "
    "choose_qparams.*",
    "NumPy offers nothing to set": ".*interop_threads set_flush_denormal .*warn_always.*",
    "of one vendor's device": ".*(mkldnn|cudnn|miopen|nccl|_xla|xpu|mtia|mps|ipu|hpu|_maia|is_vulkan|is_ort).*",
    "capture and compilation have their own issue": "sym_.* Sym.* cond while_loop compile.* export fx jit.* Script.* "
    "Graph.* TracingState .*JIT.* .*_jit",
    "named dimensions, which PyTorch deprecates": ".*[Nn]amed.* names rename.* refine_names align_.* has_names",
    "legacy types": ".*(Storage|Tensor|Type)",
    "nested tensors are out of scope": ".*[Nn]ested.* to_padded_tensor",
}


def functions(place: Any) -> dict[str, Any]:
    """The public functions, methods and properties of a module or class."""
    found = {}
    for name in dir(place):
        value = inspect.getattr_static(place, name) if isinstance(place, type) else getattr(place, name)
        if name.startswith("_") or isinstance(value, type | types.ModuleType):
            continue
        if callable(value) or isinstance(value, property):
            found[name] = value
    return found


def located(path: str) -> Any:
    place = torchlite
    for part in path.split(".")[1:]:
        place = getattr(place, part)
    return place


def primitives_of(function: Any, entry: Any) -> set[str]:
    """The primitives that op_db's first samples of an entry run."""
    dtype = next((d for d in DTYPES if d in entry.supported_dtypes("cpu")), torch.complex128)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(islice(entry.sample_inputs("cpu", dtype, requires_grad=False), 4))
        with profile() as ran:
            for sample in samples:
                try:
                    function(*converted((sample.input, *sample.args)), **converted(sample.kwargs))
                except Exception:  # what differs from PyTorch stands in docs/parity.md
                    continue
    return {event.name for event in ran.function_events} & ir.REGISTRY.keys()


def rows() -> Iterator[tuple[str, list[str]]]:
    """A row for each public function, by where it is."""
    entries: dict[str, list[Any]] = {}
    for info in OPERATORS.values():
        for name in (info.name, *(alias.name for alias in info.aliases)):
            entries.setdefault(name, []).append(info)
    counts = recorded()
    top = functions(torchlite)
    for path in PLACES:
        for name, function in functions(located(path)).items():
            if path == "torchlite.Tensor" and name.removesuffix("_") in top:
                continue
            qualified = f"{path}.{name}".removeprefix("torchlite.").removeprefix("Tensor.")
            found = entries.get(qualified, [])
            yield path, [f"`{name}`", *described(name, function, found, counts)]


def described(name: str, function: Any, entries: list[Any], counts: Any) -> list[str]:
    """Kind, agreement with PyTorch, and what covers the operator."""
    first = getattr(function, "__name__", name)
    own = ir.REGISTRY.get(name)
    used = set()
    for info in entries[:1]:
        if callable(function):
            used = primitives_of(function, info)
    if first != name and first.isidentifier():
        kind = f"`{first}`"
    elif own is not None and used <= {name}:
        kind = f"primitive, {own.kind}"
    else:
        kind = "composite" if used else "function"
    ops = [ir.REGISTRY[n] for n in used]
    names = [full_name(info) for info in entries]
    equal, of = (sum(counts[n][i] for n in names if n in counts) for i in (0, 1))
    gradients, of_gradients = (sum(counts[n][i] for n in names if n in counts) for i in (2, 3))
    second = any(n in CHECKED and n not in SKIPPED and OPERATORS[n].supports_gradgrad for n in names)
    return [
        kind,
        f"{equal}/{of}" if of else "",
        "yes" if callable(function) else "",
        f"{gradients}/{of_gradients}" if of_gradients else "",
        "yes" if second else "",
        "yes" if ops and all(op.onnx for op in ops) else "",
        "yes" if ops and all(op.scalar or op.kind == "view" for op in ops) else "",
    ]


def absent() -> Iterator[tuple[str, str, str]]:
    """Names of PyTorch that torchlite lacks, with where they are and why."""
    for path, theirs in PLACES.items():
        ours = located(path)
        for name in functions(theirs):
            if not hasattr(ours, name):
                yield path, name, reason(name)


def reason(name: str) -> str:
    return next(
        (why for why, known in REASONS.items() if any(re.fullmatch(p, name) for p in known.split())), "not written yet"
    )


def page() -> str:
    """The whole page."""
    lines = [
        "# Operators",
        "",
        "Written by `python tests/parity/operators_page.py`; do not edit. Every public function, with",
        "",
        "- **kind**: a primitive is one record in `torchlite/ops/`; a composite is written with primitives; a function runs none",
        "  in the samples of PyTorch's operator database, or has no entry there; another name's function is that name;",
        "- **NumPy**: how many of the database's samples equal PyTorch's results, and **gradient**: how many gradients do;",
        "- **CuPy**: the same code runs with CuPy's arrays; see [gpu.md](gpu.md) for what has been run on a GPU;",
        "- **second**: gradients of gradients agree with finite differences;",
        "- **ONNX** and **compile**: every primitive that runs has an ONNX operator, and a C expression or none needed (a view).",
        "",
    ]
    for path, group in grouped(rows()):
        lines += [
            f"## {path}", "",
            "| name | kind | NumPy | CuPy | gradient | second | ONNX | compile |", "|---|---|---:|---|---:|---|---|---|",
            *(f"| {' | '.join(cells)} |" for (cells,) in group), "",
        ]  # fmt: skip
    lines += ["## Names of PyTorch that are not here", ""]
    for path, group in grouped(absent()):
        by_reason: dict[str, list[str]] = {}
        for name, why in group:
            by_reason.setdefault(why, []).append(f"`{name}`")
        lines += [f"### {path.replace('torchlite', 'torch')}", ""]
        lines += [f"- {why}: {', '.join(names)}" for why, names in by_reason.items()]
        lines += [""]
    return "\n".join(lines)


def grouped(items: Iterator[Any]) -> Iterator[tuple[str, list[Any]]]:
    groups: dict[str, list[Any]] = {}
    for path, *rest in items:
        groups.setdefault(path, []).append(rest)
    yield from groups.items()


if __name__ == "__main__":
    PAGE.write_text(page())
