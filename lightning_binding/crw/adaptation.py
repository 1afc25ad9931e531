"""Test-time adaptation: the walk's loss needs no labels, so a network can go on learning from the video it is used on.

Before a frame is propagated to, the network takes a few steps on clips from a window around it (section 4.3 of arXiv
2006.14613; the code was never released, so the numbers of steps and frames are choices here). Features of different
weights do not compare: after every adaptation the frames that labels come from are encoded again.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor, nn

from lightning_binding.errors import InputError


class Adaptable(Protocol):
    """A network with a loss that needs no labels: `ContrastiveRandomWalk`."""

    def clip_loss(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of uint8 clips (B, T, 3, H, W)."""

    def adapted(self) -> nn.Module:
        """The part that is trained, and brought back to its weights afterwards."""


class Adaptation:
    """Trains a network on the video that labels are propagated in.

    Args:
        steps: Optimizer steps before a frame is propagated to.
        every: Frames from one adaptation to the next; 1 adapts before each.
        window: Frames before and after the current one from which clips are taken.
        clip_length: Frames of a clip; a window with fewer is not adapted to.
        batch_size: Clips of a step.
        learning_rate: Of Adam.
        reset: Begin each time at the trained weights; otherwise what was learnt in a video is kept until its end.
        seed: Of the clips and of the loss's draws.

    Attributes:
        seconds: Time spent in optimizer steps, over all videos so far.
        frames: Frames that passed, over all videos so far.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        steps: int = 10,
        every: int = 5,
        window: int = 10,
        clip_length: int = 4,
        batch_size: int = 1,
        learning_rate: float = 1e-5,
        reset: bool = False,
        seed: int = 0,
    ) -> None:
        least = {"steps": 1, "every": 1, "window": 1, "clip_length": 2, "batch_size": 1}
        given = {"steps": steps, "every": every, "window": window, "clip_length": clip_length, "batch_size": batch_size}
        for name, value in given.items():
            if value < least[name]:
                raise InputError(f"adaptation: {name}={value} must be {least[name]} or more.")
        if learning_rate <= 0:
            raise InputError(f"adaptation: learning_rate={learning_rate} must be positive.")
        self.steps, self.every, self.window = steps, every, window
        self.clip_length, self.batch_size, self.learning_rate = clip_length, batch_size, learning_rate
        self.reset, self.seed = reset, seed
        self.seconds, self.frames = 0.0, 0

    def on(self, network: Adaptable, context: int) -> "Adapter":
        """What adapts a network to one video.

        Args:
            network: What is adapted.
            context: Number of the last frames that labels come from.
        """
        return Adapter(self, network, context)


class Adapter:
    """Adapts a network to one video while its frames pass; made by `Adaptation.on`.

    Args:
        adaptation: How.
        network: What is adapted.
        context: Number of the last frames that labels come from; these and the first are kept.
    """

    def __init__(self, adaptation: Adaptation, network: Adaptable, context: int) -> None:
        self.adaptation, self.network = adaptation, network
        self.device = next(network.adapted().parameters()).device
        self.generator = torch.Generator(self.device).manual_seed(adaptation.seed)
        self.kept: deque[tuple[int, Tensor]] = deque(maxlen=context + 1)  # the current frame is the last of them
        self.first: Tensor | None = None
        self.changed = False

    def watch(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Passes frames uint8 (3, H, W) on, and adapts before each; the weights come back after the last."""
        trained = {name: value.clone() for name, value in self.network.adapted().state_dict().items()}
        optimizer = self._optimizer()
        try:
            for time, (frame, window) in enumerate(windows(frames, self.adaptation.window)):
                self.first = frame if time == 0 else self.first
                self.kept.append((time, frame))
                due = time > 0 and (time - 1) % self.adaptation.every == 0
                if due and len(window) >= self.adaptation.clip_length:
                    start = perf_counter()
                    if self.adaptation.reset:
                        self.network.adapted().load_state_dict(trained)
                        optimizer = self._optimizer()
                    self._train(optimizer, window)
                    self.changed = True
                    self.adaptation.seconds += perf_counter() - start
                self.adaptation.frames += 1
                yield frame
        finally:
            self.network.adapted().load_state_dict(trained)

    def renew(self, times: list[int]) -> list[Tensor] | None:
        """The frames of these numbers if the network has changed since the last call, else None."""
        if not self.changed:
            return None
        self.changed = False
        known = dict(self.kept)
        assert self.first is not None
        return [self.first if time == 0 else known[time] for time in times]

    def _optimizer(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.network.adapted().parameters() if parameter.requires_grad]
        if not trained:
            raise InputError("adaptation: every weight of the network is frozen; set freeze to false, or leave it out.")
        return torch.optim.Adam(trained, self.adaptation.learning_rate)

    def _train(self, optimizer: torch.optim.Optimizer, window: list[Tensor]) -> None:
        """Steps on random clips of neighbouring frames of the window."""
        length = self.adaptation.clip_length
        with torch.inference_mode(False), torch.enable_grad():
            for _ in range(self.adaptation.steps):
                starts = torch.randint(
                    len(window) - length + 1,
                    (self.adaptation.batch_size,),
                    device=self.device,
                    generator=self.generator,
                )
                clips = torch.stack([torch.stack(window[start : start + length]) for start in starts.tolist()])
                optimizer.zero_grad()
                self.network.clip_loss(clips, self.generator).backward()  # type: ignore[no-untyped-call]
                optimizer.step()


def windows(frames: Iterable[Tensor], reach: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Each frame with those up to `reach` before and after it; no more than that is read ahead or kept."""
    near: deque[Tensor] = deque()
    source, here = iter(frames), 0
    for frame in source:
        near.append(frame)
        if len(near) > here + reach:
            yield near[here], list(near)
            here += 1
            if here > reach:
                near.popleft()
                here -= 1
    while here < len(near):
        yield near[here], list(near)
        here += 1
        if here > reach:
            near.popleft()
            here -= 1
