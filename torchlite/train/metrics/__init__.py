"""Metrics: exact over everything they were shown, whatever the batches.

A metric has ``update(outputs, target)`` for each batch, ``compute()`` for the value so far (NaN where it is not defined),
``merge(other)`` that takes in what another instance has seen, and ``state()`` and ``restore(state)`` of numbers and NumPy
arrays, to save it and go on.
"""

from torchlite.train.metrics.classification import F1, Accuracy, ConfusionMatrix, IoU, Precision, Recall, TopK
from torchlite.train.metrics.detection import MeanAveragePrecision
from torchlite.train.metrics.language import BitsPerCharacter, Perplexity
from torchlite.train.metrics.mean import Mean
from torchlite.train.metrics.probability import Brier
from torchlite.train.metrics.ranking import AveragePrecision, RocAuc
from torchlite.train.metrics.regression import MAE, MSE, R2, RMSE

__all__ = [
    "F1",
    "MAE",
    "MSE",
    "R2",
    "RMSE",
    "Accuracy",
    "AveragePrecision",
    "BitsPerCharacter",
    "Brier",
    "ConfusionMatrix",
    "IoU",
    "Mean",
    "MeanAveragePrecision",
    "Perplexity",
    "Precision",
    "Recall",
    "RocAuc",
    "TopK",
]
