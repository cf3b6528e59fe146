"""Losses: modules that compare a result with a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.distance import PairwiseDistance
from torchlite.nn.functional.reduction import older_reduction
from torchlite.nn.linear import Linear
from torchlite.nn.module import Module


class _Loss(Module):
    """A module that applies ``compute``, with the constructor's ``settings``, to a result and a target.

    Args:
        size_average, reduce: older names of reductions.
        reduction: "mean", "sum" or "none".
    """

    compute: ClassVar[Callable[..., Tensor]]
    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = older_reduction(size_average, reduce, reduction)

    def _chosen(self) -> dict[str, Any]:
        return {"reduction": self.reduction, **{name: getattr(self, name) for name in self.settings}}


class _PairLoss(_Loss):
    """A loss of one result and one target."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of ``input`` against ``target``."""
        return type(self).compute(input, target, **self._chosen())


class L1Loss(_PairLoss):
    """|input - target|.

    Shape:
        two tensors of one shape.
    """

    compute = staticmethod(F.l1_loss)


class MSELoss(_PairLoss):
    """(input - target)².

    Shape:
        two tensors of one shape.
    """

    compute = staticmethod(F.mse_loss)


class SmoothL1Loss(_PairLoss):
    """d² / 2β where the distance d is below β, d - β / 2 elsewhere (Girshick, 2015)."""

    compute = staticmethod(F.smooth_l1_loss)
    settings = ("beta",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta


class HuberLoss(_PairLoss):
    """d² / 2 where the distance d is below δ, δ(d - δ / 2) elsewhere (Huber, 1964)."""

    compute = staticmethod(F.huber_loss)
    settings = ("delta",)

    def __init__(
        self,
        reduction: str = "mean",
        delta: float = 1.0,
    ) -> None:
        if not isinstance(delta, float | int):
            raise TypeError(f"delta must be a float or int, got: {type(delta).__name__}")
        super().__init__(reduction=reduction)
        self.delta = delta


class GaussianNLLLoss(_Loss):
    """(ln σ² + (input - target)² / σ²) / 2; see `torchlite.nn.functional.gaussian_nll_loss`."""

    compute = staticmethod(F.gaussian_nll_loss)
    settings = ("full", "eps")

    def __init__(
        self,
        *,
        full: bool = False,
        eps: float = 1e-6,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor) -> Tensor:
        """The loss of means ``input`` and variances ``var`` against ``target``."""
        return F.gaussian_nll_loss(input, target, var, **self._chosen())


class PoissonNLLLoss(_PairLoss):
    """exp(input) - target · input; see `torchlite.nn.functional.poisson_nll_loss`."""

    compute = staticmethod(F.poisson_nll_loss)
    settings = ("log_input", "full", "eps")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps


class KLDivLoss(_PairLoss):
    """target · (ln target - input) of log-probabilities; reduction "batchmean" gives the divergence itself."""

    compute = staticmethod(F.kl_div)
    settings = ("log_target",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target


class BCELoss(_PairLoss):
    """-(y ln p + (1 - y) ln(1 - p)) · weight, from probabilities.

    Shape:
        two tensors of one shape; targets in [0, 1].
    """

    compute = staticmethod(F.binary_cross_entropy)
    settings = ("weight",)

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class BCEWithLogitsLoss(_PairLoss):
    """-(pos_weight · y ln σ(x) + (1 - y) ln(1 - σ(x))) · weight, from logits.

    Args:
        weight: a factor for each element.
        size_average, reduce: older names of reductions.
        reduction: "mean", "sum" or "none".
        pos_weight: a factor for the positive part, for each class.

    Shape:
        two tensors of one shape; targets in [0, 1].
    """

    compute = staticmethod(F.binary_cross_entropy_with_logits)
    settings = ("weight", "pos_weight")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)


class SoftMarginLoss(_PairLoss):
    """ln(1 + exp(-y x)) for targets y of 1 and -1."""

    compute = staticmethod(F.soft_margin_loss)


class MultiLabelSoftMarginLoss(_PairLoss):
    """The binary cross-entropy of logits, averaged over the classes."""

    compute = staticmethod(F.multilabel_soft_margin_loss)
    settings = ("weight",)

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class NLLLoss(_PairLoss):
    """-weight[t] · input[t] of log-probabilities and classes t.

    Shape:
        (N, C, *) and class indices (N, *).
    """

    compute = staticmethod(F.nll_loss)
    settings = ("weight", "ignore_index")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index


class CrossEntropyLoss(_PairLoss):
    """-log softmax(logits)[target]; see `torchlite.nn.functional.cross_entropy`.

    Args:
        weight: a weight for each class.
        size_average, reduce: older names of reductions.
        ignore_index: a class index that does not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: how much of the target's mass is spread over all classes.

    Shape:
        logits (N, C, *) and class indices (N, *) or probabilities (N, C, *).
    """

    compute = staticmethod(F.cross_entropy)
    settings = ("weight", "ignore_index", "label_smoothing")

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing


class MultiMarginLoss(_PairLoss):
    """Σ_{j≠t} max(0, margin - x_t + x_j)ᵖ · weight_t / C for the class t of each sample."""

    compute = staticmethod(F.multi_margin_loss)
    settings = ("p", "margin", "weight")

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.ndim}D instead")
        self.p = p
        self.margin = margin
        self.register_buffer("weight", weight)


class MultiLabelMarginLoss(_PairLoss):
    """Σ max(0, 1 - x_j + x_i) / C over labels j and other classes i."""

    compute = staticmethod(F.multilabel_margin_loss)


class MarginRankingLoss(_Loss):
    """max(0, -y(x₁ - x₂) + margin)."""

    compute = staticmethod(F.margin_ranking_loss)
    settings = ("margin",)

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """The loss of two inputs whose order ``target`` says."""
        return F.margin_ranking_loss(input1, input2, target, **self._chosen())


class HingeEmbeddingLoss(_PairLoss):
    """The distance x where y = 1, and max(0, margin - x) where y = -1."""

    compute = staticmethod(F.hinge_embedding_loss)
    settings = ("margin",)

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class CosineEmbeddingLoss(_Loss):
    """1 - cos(x₁, x₂) where y = 1, and max(0, cos(x₁, x₂) - margin) where y = -1."""

    compute = staticmethod(F.cosine_embedding_loss)
    settings = ("margin",)

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """The loss of two inputs that ``target`` says belong together or apart."""
        return F.cosine_embedding_loss(input1, input2, target, **self._chosen())


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin)."""

    compute = staticmethod(F.triplet_margin_loss)
    settings = ("margin", "p", "eps", "swap")

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of a triplet."""
        return F.triplet_margin_loss(anchor, positive, negative, **self._chosen())


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` of any distance; `PairwiseDistance` where none is given."""

    compute = staticmethod(F.triplet_margin_with_distance_loss)
    settings = ("distance_function", "margin", "swap")

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead."
            )
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of a triplet."""
        return F.triplet_margin_with_distance_loss(anchor, positive, negative, **self._chosen())


class CTCLoss(_Loss):
    """The loss of label sequences whose place in time is not known; see `torchlite.nn.functional.ctc_loss`.

    Args:
        blank: the class of the blank.
        reduction: "mean", "sum" or "none".
        zero_infinity: no loss for targets that are too long, instead of an infinite one.
    """

    compute = staticmethod(F.ctc_loss)
    settings = ("blank", "zero_infinity")

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        """The loss of log-probabilities (T, N, C)."""
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, **self._chosen())


class LinearCrossEntropyLoss(_PairLoss):
    """`CrossEntropyLoss` of a linear layer's results; see `torchlite.nn.functional.linear_cross_entropy`.

    Args:
        in_features, num_classes: sizes of the layer.
        out_features: more dimensions of its results.
        bias: whether the layer has one.
        device, dtype: of the layer's parameters.
        reduction, weight, ignore_index, label_smoothing: as in `CrossEntropyLoss`.
        options: how the batch is divided, `LinearCrossEntropyOptions`.

    Shape:
        (N, in_features) and a target as for logits (N, num_classes, *out_features).
    """

    compute = staticmethod(F.linear_cross_entropy)
    settings = ("weight", "ignore_index", "label_smoothing", "options")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.linear = Linear(in_features, num_classes * math.prod(out_features), bias, device, dtype)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of what the layer makes of ``input``."""
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*shape, -1),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            **self._chosen(),
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
