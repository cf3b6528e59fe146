"""Train one of the programs beside this file and print its losses; see ``__init__``."""

import argparse
import importlib
from itertools import islice
from pathlib import Path

import numpy as np

programs = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("program", choices=programs)
parser.add_argument("--library", choices=["torchlite", "torch"], default="torchlite")
parser.add_argument("--steps", type=int, default=200)
arguments = parser.parse_args()

torch = importlib.import_module(arguments.library)
program = importlib.import_module(arguments.program)
torch.manual_seed(0)
batches = (
    tuple(torch.from_numpy(a.astype("float32") if a.dtype.kind == "f" else a) for a in batch)
    for batch in program.batches(np.random.default_rng(0))
)
losses = program.train(torch, program.make(torch), batches)
for step, loss in enumerate(islice(losses, arguments.steps), start=1):
    print(step, loss)
