"""Snippets that PyTorch users type first, run as they are."""

import subprocess
import sys

import pytest

SNIPPETS = {
    "autograd": """
import torchlite as torch
x = torch.tensor(2.0, requires_grad=True)
y = x**2 + 3*x
y.backward()
assert x.grad == 7
print(x.grad)
""",
    "network": """
import torchlite as torch
import torchlite.nn as nn
import torchlite.optim as optim

class MyTinyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        return self.fc2(x)

model = MyTinyNet()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(64, 784)
labels = torch.randint(0, 10, (64,))
losses = []
for epoch in range(10):
    optimizer.zero_grad()
    loss = criterion(model(inputs), labels)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0]
print(model)
""",
    "device": """
import torchlite as torch
from torchlite import nn
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(2, 1).to(device)
print(model(torch.ones(1, 2).to(device)).shape)
""",
    "as torch": """
import torchlite as torch
from torchlite import nn
import torchlite.nn.functional as F
x = torch.arange(6, dtype=torch.float32).view(2, 3)
print(F.softmax(x, dim=1).sum().item(), torch.nn.Linear is nn.Linear)
with torch.no_grad():
    print((x @ x.T).shape, x.mean().item())
""",
}
PRINTED = {
    "autograd": "tensor(7.)\n",
    "network": (
        "MyTinyNet(\n  (fc1): Linear(in_features=784, out_features=128, bias=True)\n"
        "  (fc2): Linear(in_features=128, out_features=10, bias=True)\n)\n"
    ),
    "device": "torch.Size([1, 1])\n",
    "as torch": "2.0 True\ntorch.Size([2, 2]) 2.5\n",
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_snippet(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SNIPPETS[name]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == PRINTED[name]
