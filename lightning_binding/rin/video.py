"""RINVideoDiffusion: videos by diffusion with a RIN, from noise alone or from the frames before them."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lightning_binding.errors import InputError
from lightning_binding.rin.module import RINDiffusion, evaluating
from lightning_binding.rin.sampling import Carry


class RINVideoDiffusion(RINDiffusion):
    """Trains a Recurrent Interface Network on clips, and samples or predicts videos.

    With context frames the network is given the first frames of a clip as they are and learns the rest: they are
    interface tokens behind the noisy ones, read and written like those, and the loss is on the noisy frames alone
    (`video_diffusion_model.py` of the original code). Without, it learns whole clips.

    Args:
        network: Name of a preset for video in timm's registry, or a network of a RIN's call, with its attributes
            `image_size`, `in_channels`, `num_classes`, `frames` and `context_frames`.
        options: The other arguments of `RINDiffusion`.

    Raises:
        InputError: If the network is one for images.
    """

    def __init__(self, network: str | nn.Module = "rin_sprites", **options: Any) -> None:
        super().__init__(network, **options)
        if self.frames < 2:
            raise InputError(
                f"network: {network} is for images (frames=1); give one for video, such as rin_sprites, or "
                "network_options with frames and context_frames."
            )

    @property
    def frames(self) -> int:
        """Frames of a clip, the context among them."""
        return cast(int, getattr(self.network, "frames", 1))

    @property
    def context_frames(self) -> int:
        """Clean frames that a clip is predicted from; 0 for a network that draws whole clips."""
        return cast(int, getattr(self.network, "context_frames", 0))

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """(T, C, H, W) of the frames that are drawn, the context left out."""
        return self.frames - self.context_frames, *self.image_shape

    def examples(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Of clips uint8 (B, T, C, H, W) the frames after the context, and the context.

        Of a longer clip the first frames are taken; a whole sequence (T, C, H, W), as evaluation reads them, is cut
        into as many clips as it has room for.
        """
        clips = self.clips(batch["video"])
        return clips[:, self.context_frames :], clips[:, : self.context_frames] if self.context_frames else None

    def clips(self, video: Tensor) -> Tensor:
        """Clips (B, frames, C, H, W) of a batch of clips, or of one sequence (T, C, H, W).

        Raises:
            InputError: If there are fewer frames than the network takes, or frames of another size.
        """
        channels, size, _ = self.image_shape
        channels //= 1 if self.diffusion.bits is None else self.diffusion.bits.width
        sequence = video.ndim == 4
        length = video.shape[0 if sequence else 1]
        if length < self.frames:
            raise InputError(
                f"clips of {length} frames are too short for the network, which takes {self.frames}: give the data "
                "module longer ones (--data.frames, --data.eval_frames), or the network fewer (network_options.frames)."
            )
        if tuple(video.shape[-3:]) != (channels, size, size):
            raise InputError(
                f"frames have shape {tuple(video.shape[-3:])}, the network takes {(channels, size, size)}: set "
                f"--data.frame_size {size} or network_options.image_size."
            )
        if not sequence:
            return video[:, : self.frames]
        return video[: length // self.frames * self.frames].reshape(-1, self.frames, *video.shape[1:])

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """For each clip of the batch what follows its context, or a clip from noise; uint8 (B, T, C, H, W)."""
        data, context = self.examples(batch)
        label = batch.get("label") if self.num_classes else None
        return self.sample(len(data), label=label, context=context, generator=self._generator_of(batch_idx))

    @torch.no_grad()
    def predict_video(
        self,
        context: Tensor,
        *,
        frames: int | None = None,
        label: Tensor | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        batch_size: int = 64,
        carry_latents: bool = False,
        progress: bool = False,
    ) -> Tensor:
        """Predicts what follows some frames, window after window where it is longer than a clip.

        Every window is predicted from the last `context_frames` of what there is.

        Args:
            context: The frames before, uint8 (B, T_c, C, H, W); the last `context_frames` of them are looked at.
            frames: How many to predict; None fills one clip.
            label: Classes (B,), for a network that has them.
            steps: Sampling steps of a window; None takes those of `sampling`.
            generator: Source of the noise, on the module's device; None is seeded with 0.
            batch_size: Videos that are predicted at a time.
            carry_latents: Start every window from the latents that the window before ended with; otherwise each starts
                from none.
            progress: Show a progress bar over all steps.

        Returns:
            The frames after the context, uint8 (B, frames, C, H, W), on the module's device.

        Raises:
            InputError: If the network predicts from no context, or the context has too few frames or another shape.
        """
        window, given = self.sample_shape[0], self.context_frames
        frames = window if frames is None else frames
        if not given:
            raise InputError("the network draws whole clips and predicts from none: use `sample`.")
        if frames < 1:
            raise InputError(f"frames={frames} must be 1 or more.")
        if context.ndim != 5 or context.shape[1] < given:
            raise InputError(
                f"context has shape {tuple(context.shape)}, expected (B, T, C, H, W) with at least {given} frames."
            )
        steps = self.sampling.steps if steps is None else steps
        generator = generator or torch.Generator(self.device).manual_seed(0)
        label = self._labels(len(context), label)
        windows, starts = -(-frames // window), range(0, len(context), batch_size)
        total = windows * len(starts) * steps
        videos = []
        with evaluating(self.network), tqdm(total=total, desc="predicting", disable=not progress) as bar:
            for start in starts:
                part = slice(start, start + batch_size)
                video, carry = context[part].to(self.device), Carry()
                for _ in range(windows):
                    carry = carry if carry_latents else Carry()
                    before = video[:, video.shape[1] - given :]
                    after = self._draw(
                        len(video), None if label is None else label[part], before, steps, generator, bar, carry
                    )
                    video = torch.cat([video, after], 1)
                videos.append(video[:, context.shape[1] :][:, :frames])
        return torch.cat(videos)
