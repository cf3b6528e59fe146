"""What a run was made of besides its configuration: versions, machine, the state of the working tree, the user's code."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from torchlite import __version__
from torchlite.backends.threads import get_num_threads
from torchlite.train.config.own_data import OWN_DATA
from torchlite.train.config.schema import Config

_BIGGEST_UNTRACKED = 1 << 20
CODE_SUMS = "SHA256"


def environment(folder: Path) -> dict[str, Any]:
    """What the result may depend on: versions, machine, threads, and the working tree around ``folder``."""
    packages = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {
        "torchlite": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cpus": usable_cpus(),
        "threads": {"used": get_num_threads()} | {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
        "git": git_state(folder),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def blas() -> str:
    """The library that NumPy multiplies matrices with."""
    found = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def usable_cpus() -> int | None:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor() -> str:
    """The model of the processor, as far as the system says it."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.processor() or platform.machine()


def git_state(folder: Path) -> dict[str, Any]:
    """The repository around ``folder``: its root, the folder's place in it, the commit, and whether anything differs from it."""
    lines = git(folder, "rev-parse", "--show-toplevel", "--show-prefix", "HEAD").decode(errors="replace").splitlines()
    root, prefix, commit = lines if len(lines) == 3 else ("", "", "")
    return {"root": root, "prefix": prefix, "commit": commit, "dirty": bool(git(folder, "status", "--porcelain"))}


def git(folder: Path, *arguments: str, okay: tuple[int, ...] = (0,)) -> bytes:
    """What a git command prints in ``folder``; nothing where it fails or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode in okay else b""


def working_patch(config: Config) -> bytes:
    """What ``git apply`` makes of the commit to have the tree as it is: its changes, and files of the configuration that
    git does not know, up to a megabyte each."""
    folder = config.path.parent
    root = git(folder, "rev-parse", "--show-toplevel").decode(errors="replace").strip()
    if not root:
        return b""
    patch = git(folder, "diff", "--binary", "HEAD")
    for file in named_files(config):
        inside = file.is_file() and file.is_relative_to(root) and file.stat().st_size <= _BIGGEST_UNTRACKED
        if inside and git(Path(root), "ls-files", "--others", "--", str(file)):
            name = str(file.relative_to(root))
            patch += git(Path(root), "diff", "--binary", "--no-index", "--", os.devnull, name, okay=(1,))
    return patch


def named_files(config: Config) -> list[Path]:
    """The files that a configuration consists of and names: itself, those that it extends, code, and data of one's own."""
    written = {origin.rpartition(":")[0] for origin in config.origins.values() if not origin.startswith("command line")}
    found = [config.path, *(Path(name) for name in sorted(written) if name)]
    found += [config.path.parent / name for name in config.code]
    if config.data.type in OWN_DATA:
        for key in ("train", "test", "files"):
            names = getattr(config.data, key, None) or []
            found += [config.path.parent / name for name in ([names] if isinstance(names, str) else names)]
    return list(dict.fromkeys(file.resolve() for file in found))


def copy_code(config: Config, folder: Path) -> None:
    """Copy the user's files into ``folder``, with their sums as ``sha256sum -c`` reads them."""
    if not config.code:
        return
    folder.mkdir()
    for file in config.code:
        shutil.copy2(config.path.parent / file, folder / Path(file).name)
    names = sorted({Path(file).name for file in config.code})
    (folder / CODE_SUMS).write_text("".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))


def changed_code(folder: Path) -> list[str]:
    """The copied files that are no more what they were."""
    try:
        lines = (folder / CODE_SUMS).read_text().splitlines()
    except OSError:
        return []
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    return [name for name, digest in sums.items() if not _is(folder / name, digest)]


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_of(file) == digest


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
