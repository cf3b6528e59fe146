"""A Transformer (encoder and decoder) learns to write a sequence backwards: AdamW with a warm-up."""

import numpy as np

BATCH, LONGEST, VOCABULARY, WIDTH = 16, 10, 20, 64
PADDING, START, END = 0, 1, 2


def make(torch):
    """The model, with the modules of ``torch``: PyTorch, or torchlite under that name."""
    nn = torch.nn

    class Reverser(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.position = nn.Embedding(LONGEST + 1, WIDTH)
            self.transformer = nn.Transformer(
                WIDTH, nhead=4, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=4 * WIDTH,
                dropout=0.0, activation="gelu", batch_first=True, norm_first=True,
            )  # fmt: skip
            self.head = nn.Linear(WIDTH, VOCABULARY)

        def embed(self, words):
            return self.embedding(words) + self.position(torch.arange(words.shape[1]))

        def forward(self, source, target):  # (N, S), (N, T)
            out = self.transformer(
                self.embed(source),
                self.embed(target),
                tgt_mask=torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1),
                src_key_padding_mask=source == PADDING,
                memory_key_padding_mask=source == PADDING,
                tgt_key_padding_mask=target == PADDING,
            )
            return self.head(out)  # (N, T, VOCABULARY)

    return Reverser()


def batches(rng):
    """Sequences of several lengths, padded, and the same backwards between START and END; without end."""
    while True:
        source = rng.integers(3, VOCABULARY, (BATCH, LONGEST))
        target = np.full((BATCH, LONGEST + 2), PADDING)
        target[:, 0] = START
        for row, backwards, length in zip(source, target, rng.integers(4, LONGEST + 1, BATCH), strict=True):
            row[length:] = PADDING
            backwards[1 : length + 1], backwards[length + 1] = row[:length][::-1], END
        yield source, target


def train(torch, model, batches):
    """Train on every batch, and yield its loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 50))
    for source, target in batches:
        optimizer.zero_grad()
        logits = model(source, target[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PADDING)
        loss.backward()
        optimizer.step()
        warmup.step()
        yield loss.item()
