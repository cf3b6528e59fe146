"""How long it takes from starting a program to the first step of the optimizer: a configuration, and the same script in PyTorch.

    python benchmarks/first_step.py [--quick] [--pytorch PYTHON]

Seconds of wall-clock time from the start of a fresh process until it says that the first step is done, taken in turns, with the
bundled digits, the network of configs/digits_mlp.yaml and AdamW on both sides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alternating import print_table

ROOT = Path(__file__).resolve().parents[1]

PYTORCH = """\
import gzip, sys
import numpy as np
import torch
from torch import nn

def idx(name, header):
    return np.frombuffer(gzip.open(f"{sys.argv[1]}/{name}").read(), np.uint8, offset=header)

images, labels = idx("digits-images-idx3-ubyte.gz", 16).reshape(-1, 1, 8, 8), idx("digits-labels-idx1-ubyte.gz", 8)
torch.manual_seed(42)
x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels, dtype=torch.int64)
data = torch.utils.data.TensorDataset(x[:1150], y[:1150])
loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
loss_of = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
for inputs, targets in loader:
    optimizer.zero_grad()
    loss_of(model(inputs), targets).backward()
    optimizer.step()
    print("step", flush=True)
    break
"""

# With compiled bytecode kept, as on a user's machine, whatever this shell says.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds_to(sign: str, command: list[str]) -> float:
    """Seconds from the start of a program until a line that it prints holds ``sign``; the program is ended then."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        for line in program.stdout:
            if sign in line:
                taken = time.perf_counter() - start
                program.kill()
                return taken
        raise RuntimeError(f"{command} ended without a step:\n{program.stderr.read()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--pytorch", default=sys.executable, help="the Python that has PyTorch; this one where unset")
    options = parser.parse_args()
    rounds = 2 if options.quick else 5

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text(PYTORCH)
        run = "from torchlite.cli.main import main; main()"
        config = str(ROOT / "configs" / "digits_mlp.yaml")
        sides = {
            "torchlite": ('"event": "step"', [sys.executable, "-c", run, "train", config, "--json", "--runs", folder]),
            "PyTorch": ("step", [options.pytorch, str(script), str(ROOT / "datasets" / "bundled")]),
        }
        figures: dict[str, list[float]] = {name: [] for name in sides}
        for sign, command in sides.values():
            seconds_to(sign, command)
        for _ in range(rounds):
            for name, (sign, command) in sides.items():
                figures[name].append(seconds_to(sign, command))
    rows = [[name, f"{statistics.median(taken):.3f}", f"{min(taken):.3f}"] for name, taken in figures.items()]
    print_table(["seconds to the first step", "median", "min"], rows)


if __name__ == "__main__":
    main()
