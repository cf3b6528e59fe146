"""CUDA sources compile, checked where nvcc is installed; no GPU is needed for that."""

import shutil
import subprocess

import pytest

from torchlite.backends.philox import _KERNEL


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_the_philox_kernel_compiles(tmp_path):
    source = tmp_path / "philox.cu"
    source.write_text(_KERNEL)
    command = ["nvcc", "-arch=sm_90", "-Werror", "all-warnings", "-cubin", "-o", tmp_path / "philox.cubin", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
