"""How numbers of the Fréchet video distance came about: papers differ in every column, so it is said with each number.

The benchmarks are as MAGVIT describes them (arXiv 2212.05199, appendix B.3); their distance is TF-GAN's, whose
covariance is divided by N - 1. StyleGAN-V's code divides by N.
"""

from dataclasses import dataclass

from torch import Tensor

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean


@dataclass(frozen=True)
class VideoProtocol:
    """One way of measuring.

    Attributes:
        frames: Frames of a clip, those that were given included; None takes any.
        context_frames: Frames that were given, and count as part of the generated clip.
        resolution: Height and width at which clips are compared, before the extractor resizes them; None takes any.
        clips: Generated clips of one number; None takes any.
        repeats: Numbers of which mean and deviation are printed.
        real: The real side.
        chosen: How generated clips are chosen.
        unbiased: Divide the covariance by N - 1; False divides it by N.
    """

    frames: int | None = None
    context_frames: int = 0
    resolution: int | None = None
    clips: int | None = None
    repeats: int = 1
    real: str = "the given clips"
    chosen: str = "the given clips"
    unbiased: bool = True

    def check(self, videos: Tensor) -> None:
        """Raises an `InputError` unless clips (B, T, C, H, W) have the protocol's frames and resolution."""
        frames, height, width = videos.shape[1], *videos.shape[-2:]
        if self.frames is not None and frames != self.frames:
            raise InputError(
                f"a clip has {frames} frames, but the protocol compares {self.frames}"
                f"{self._given()}: cut the clips, or choose another protocol."
            )
        if self.resolution is not None and (height, width) != (self.resolution, self.resolution):
            raise InputError(
                f"a clip has {height} x {width} pixels, but the protocol compares {self.resolution} x "
                f"{self.resolution}: resize the clips, or choose another protocol."
            )

    def _given(self) -> str:
        return f" ({self.context_frames} of them given)" if self.context_frames else ""

    def __str__(self) -> str:
        parts = [
            f"{self.frames} frames{self._given()}" if self.frames else f"clips of any length{self._given()}",
            f"{self.resolution} px" if self.resolution else "any resolution",
            f"{self.clips:,} generated clips" if self.clips else "any number of generated clips",
        ]
        parts += [f"{self.repeats} times"] if self.repeats > 1 else []
        parts += [f"generated: {self.chosen}", f"real: {self.real}"]
        return ", ".join(parts) + f"; covariance by {'N - 1' if self.unbiased else 'N'}"


PROTOCOLS: dict[str, VideoProtocol] = {
    # name: frames, given, px, generated clips, repeats, real side, choice of the generated, N - 1
    "kinetics600": VideoProtocol(
        16,
        5,
        64,
        50_000,
        4,
        "evaluation clips, 6 of each video (2 windows of time, 3 crops)",
        "predictions from evaluation clips",
    ),
    "bair": VideoProtocol(
        16, 1, 64, 25_600, 4, "the first 16 frames of the 256 evaluation clips", "100 predictions of each of them"
    ),
    "bair_debiased": VideoProtocol(
        16, 1, 64, 25_600, 4, "all 15 windows of the 256 evaluation clips, 3,840 clips", "100 predictions of each clip"
    ),
    "ucf101": VideoProtocol(16, 0, 128, 10_000, 4, "random clips of the training set", "independent samples"),
    "stylegan_v": VideoProtocol(
        16, 0, None, 2048, 1, "2,048 random clips of the training set", "independent samples", unbiased=False
    ),
    # This package's own, of the embedded data.
    "sprites": VideoProtocol(16, 2, 32, None, 1, "the held-out clips", "one prediction of each of them"),
}


def find_protocol(protocol: VideoProtocol | str | None) -> tuple[str, VideoProtocol]:
    """A protocol and its name, from the name of a preset, or a protocol of the user's own.

    Raises:
        InputError: If there is no preset of that name.
    """
    if protocol is None:
        return "none", VideoProtocol()
    if isinstance(protocol, VideoProtocol):
        return "custom", protocol
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol: there is no {protocol!r}{did_you_mean(protocol, PROTOCOLS)}")
    return protocol, PROTOCOLS[protocol]
