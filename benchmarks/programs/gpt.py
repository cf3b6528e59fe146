"""A GPT learns sums as text, "27+35=062;": causal attention, tied weights, AdamW that decays matrices only."""

import numpy as np

BATCH, CONTEXT, WIDTH, HEADS, LAYERS = 8, 40, 96, 4, 3
CHARACTERS = "0123456789+=;"


def make(torch):
    """The model, with the modules of ``torch``: PyTorch, or torchlite under that name."""
    nn, F = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x):  # (N, T, C)
            heads = self.qkv(x).unflatten(-1, (3, HEADS, -1))  # (N, T, 3, H, C/H)
            q, k, v = heads.permute(2, 0, 3, 1, 4).unbind()  # (N, H, T, C/H)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(mixed.transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
            self.norm2 = nn.LayerNorm(WIDTH)
            self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Embedding(len(CHARACTERS), WIDTH)
            self.position = nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, len(CHARACTERS), bias=False)
            nn.init.normal_(self.token.weight, std=0.02)
            self.head.weight = self.token.weight

        def forward(self, characters):  # (N, T)
            x = self.token(characters) + self.position(torch.arange(characters.shape[1]))
            return self.head(self.norm(self.blocks(x)))  # (N, T, CHARACTERS)

    return GPT()


def batches(rng):
    """Stretches of CONTEXT + 1 characters out of random sums, without end."""
    while True:
        terms = rng.integers(0, 100, (BATCH, 5, 2))
        texts = ["".join(f"{a:02}+{b:02}={a + b:03};" for a, b in row)[: CONTEXT + 1] for row in terms]
        yield (np.array([[CHARACTERS.index(c) for c in text] for text in texts]),)


def train(torch, model, batches):
    """Train on every batch, and yield its loss."""
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))
    for (characters,) in batches:
        optimizer.zero_grad()
        logits = model(characters[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), characters[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()
