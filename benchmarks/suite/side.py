"""What one process of a case does over and over: ours, a peer, or a limit of the machine."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Side:
    """One way to do a piece of work.

    Args:
        call: Does the work once. It may take its own time and return it, in seconds of the processor; None is timed
            from outside.
        units: How many of the case's units a call does: pictures, frames, steps.
        cost: What a call costs in the currency of the case's limit, operations or bytes; for a limit, what it achieves.
            None is `units`.
        warm: Calls that warm up.
    """

    call: Callable[[], float | None]
    units: float
    cost: float | None = None
    warm: int = 1

    @property
    def price(self) -> float:
        """The cost, or the units where no other currency is told."""
        return self.units if self.cost is None else self.cost
