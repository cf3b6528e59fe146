"""What schedulers have in common that move the momentum against the learning rate."""

from __future__ import annotations

from typing import Any

from torchlite.optim.lr_scheduler.scheduler import LRScheduler, per_group


class CyclesMomentum(LRScheduler):
    """A scheduler that may move the momentum (Adam's first beta) of every group between two limits."""

    cycle_momentum: bool
    use_beta1: bool

    def _begin_momentum(self, base_momentum: Any, max_momentum: Any, fresh: bool) -> tuple[list[Any], list[Any]]:
        """The limits of each group; a scheduler that starts afresh notes them in the group and sets the largest.

        Raises:
            ValueError: when the optimizer has no momentum.
        """
        optimizer = self.optimizer
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError(
                f"{type(self).__name__}: optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.use_beta1 = "betas" in optimizer.defaults
        low = per_group("base_momentum", optimizer, base_momentum)
        high = per_group("max_momentum", optimizer, max_momentum)
        if fresh:
            for group, smallest, largest in zip(optimizer.param_groups, low, high, strict=True):
                self._set_momentum(group, largest)
                group.update(max_momentum=largest, base_momentum=smallest)
        return low, high

    def _set_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value
