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

from lightning_binding.crw.propagation import step, unit
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.errors import InputError

Entry = tuple[Tensor, Tensor, Tensor]  # frame (3, H, W), unit features (h, w, C), labels (h, w, L)


class Adaptable(Protocol):
    """A network with a loss that needs no labels: `ContrastiveRandomWalk`."""

    def encode(self, frames: Tensor) -> Tensor:
        """Features (F, C, h, w) of uint8 frames (F, 3, H, W)."""

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
        seconds: Time spent adapting and encoding again, over all videos so far.
        frames: Frames that were propagated to, over all videos so far.

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

    def propagate(
        self, network: Adaptable, frames: Iterable[Tensor], labels: Tensor, settings: PropagationSettings
    ) -> Iterator[Tensor]:
        """Propagates as `propagate_frames`, and trains the network meanwhile; its weights come back at the end.

        Args:
            network: What is adapted.
            frames: Frames of a video, uint8 (3, H, W).
            labels: Soft labels of the first, (h, w, L), at the resolution of the features.
            settings: How labels are propagated.

        Yields:
            Soft labels of one frame after another, (h, w, L).
        """
        trained = {name: value.clone() for name, value in network.adapted().state_dict().items()}
        try:
            yield from self._propagate(network, trained, frames, labels, settings)
        finally:
            network.adapted().load_state_dict(trained)

    def _propagate(
        self,
        network: Adaptable,
        trained: dict[str, Tensor],
        frames: Iterable[Tensor],
        labels: Tensor,
        settings: PropagationSettings,
    ) -> Iterator[Tensor]:
        generator = torch.Generator(labels.device).manual_seed(self.seed)
        optimizer = self._optimizer(network)
        first: Entry | None = None
        last: deque[Entry] = deque(maxlen=settings.context)
        for time, (frame, window) in enumerate(windows(frames, self.window)):
            if first is None:
                first = (frame, unit(network.encode(frame[None])[0]), labels.to(labels.device).float())
                yield first[2]
                continue
            if (time - 1) % self.every == 0 and len(window) >= self.clip_length:
                start = perf_counter()
                if self.reset:
                    network.adapted().load_state_dict(trained)
                    optimizer = self._optimizer(network)
                self._train(network, optimizer, window, generator)
                first = self._again(network, first)
                last = deque((self._again(network, entry) for entry in last), maxlen=settings.context)
                self.seconds += perf_counter() - start
            query = unit(network.encode(frame[None])[0])
            missing = max(settings.context - time + 1, 0) if settings.pad_with_first_frame else 0
            found = step(query, first[1:], [entry[1:] for entry in last], missing, settings)
            last.append((frame, query, found))
            self.frames += 1
            yield found

    def _optimizer(self, network: Adaptable) -> torch.optim.Optimizer:
        trained = [parameter for parameter in network.adapted().parameters() if parameter.requires_grad]
        if not trained:
            raise InputError("adaptation: every weight of the network is frozen; set freeze to false, or leave it out.")
        return torch.optim.Adam(trained, self.learning_rate)

    def _train(
        self, network: Adaptable, optimizer: torch.optim.Optimizer, window: list[Tensor], generator: torch.Generator
    ) -> None:
        """Steps on random clips of neighbouring frames of the window."""
        with torch.inference_mode(False), torch.enable_grad():
            for _ in range(self.steps):
                starts = torch.randint(
                    len(window) - self.clip_length + 1, (self.batch_size,), device=generator.device, generator=generator
                )
                clips = [torch.stack(window[start : start + self.clip_length]) for start in starts.tolist()]
                optimizer.zero_grad()
                network.clip_loss(torch.stack(clips), generator).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    @staticmethod
    def _again(network: Adaptable, entry: Entry) -> Entry:
        """An entry with features of the weights as they are now."""
        frame, _, labels = entry
        return frame, unit(network.encode(frame[None])[0]), labels


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
