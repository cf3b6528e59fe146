"""A bidirectional LSTM reads packed sequences of several lengths and says which of two words came first: Adam, clipped."""

import numpy as np

BATCH, LONGEST, VOCABULARY, WIDTH = 16, 20, 30, 64
PADDING = 0


def make(torch):
    """The model, with the modules of ``torch``: PyTorch, or torchlite under that name."""
    nn = torch.nn

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH, padding_idx=PADDING)
            self.lstm = nn.LSTM(WIDTH, WIDTH, num_layers=2, batch_first=True, bidirectional=True)
            self.head = nn.Linear(2 * WIDTH, 2)

        def forward(self, words, lengths):  # (N, T), (N)
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embedding(words), lengths, batch_first=True, enforce_sorted=False
            )
            states, _ = self.lstm(packed)
            padded, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)  # (N, T, 2 · WIDTH)
            return self.head(padded.sum(1) / lengths[:, None])

    return Classifier()


def batches(rng):
    """Words with 1 and 2 once each among others, lengths, and whether 1 comes first; without end."""
    while True:
        lengths = rng.integers(4, LONGEST + 1, BATCH)
        words = rng.integers(3, VOCABULARY, (BATCH, LONGEST))
        words[np.arange(LONGEST) >= lengths[:, None]] = PADDING
        labels = rng.integers(2, size=BATCH)
        for row, length, label in zip(words, lengths, labels, strict=True):
            first, second = sorted(rng.choice(length, 2, replace=False))
            row[first], row[second] = (1, 2) if label else (2, 1)
        yield words, lengths, labels


def train(torch, model, batches):
    """Train on every batch, and yield its loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for words, lengths, labels in batches:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(words, lengths), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item()
