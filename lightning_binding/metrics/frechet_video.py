"""The Fréchet distance between two sets of clips, with the protocol that it was measured by."""

from typing import Any

from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.metrics.streaming import StreamingFrechet
from lightning_binding.metrics.video_extractors import check_length
from lightning_binding.metrics.video_protocols import VideoProtocol, find_protocol


class FrechetVideoDistance(StreamingFrechet):
    """Fréchet distance between real and generated clips; with the logits of I3D it is FVD (arXiv 1812.01717).

    A number means little without the way in which it was measured: print `describe()` beside it.

    Args:
        extractor: Module from clips to features (N, d): `I3D` for FVD, `MotionExtractor`, or one of your own. Its
            attribute `name`, or else the name of its class, is part of `key`; with `name` None it is the standard one.
            If it has an attribute `min_frames`, shorter clips are refused.
        protocol: Name in `PROTOCOLS` (`kinetics600`, `bair`, …), or a `VideoProtocol`; clips are held to it. None
            takes any clips, and divides covariances by N - 1.
        reset_real_features: False keeps the real side when the metric is reset.
    """

    def __init__(
        self,
        extractor: nn.Module,
        protocol: VideoProtocol | str | None = None,
        reset_real_features: bool = True,
        **options: Any,
    ) -> None:
        self.protocol_name, self.protocol = find_protocol(protocol)
        super().__init__(extractor, reset_real_features, self.protocol.unbiased, **options)

    @property
    def key(self) -> str:
        """What logs call the number: `fvd` with the standard extractor, `fvd_<name>` with any other."""
        name = getattr(self.extractor, "name", type(self.extractor).__name__.lower())
        return "fvd" if name is None else f"fvd_{name}"

    def update(self, videos: Tensor, real: bool) -> None:
        """Adds clips to a side.

        Args:
            videos: uint8 (B, T, 3, H, W) in [0, 255].
            real: Whether they are the real side's.

        Raises:
            InputError: If clips are too short for the extractor, or not those of the protocol; if the features are
                not finite, or not (N, d).
        """
        self.check(videos)
        super().update(videos, real)

    def check(self, videos: Tensor) -> None:
        """Raises an `InputError` unless clips (B, T, 3, H, W) fit the extractor and the protocol."""
        if videos.ndim != 5:
            raise InputError(f"clips have shape {tuple(videos.shape)}, expected (B, T, 3, H, W).")
        check_length(self.extractor, videos)
        self.protocol.check(videos)

    def describe(self) -> str:
        """How the number is measured, in one line: extractor, protocol, and the clips on both sides.

        In a distributed run all processes call it, as they do `compute`.
        """
        with self.sync_context():
            fake, real = int(self.fake_count), int(self.real_count)  # type: ignore[arg-type]
        extractor = getattr(self.extractor, "preprocessing", "") or type(self.extractor).__name__
        wanted = self.protocol.clips
        short = f" (not the protocol's {wanted:,})" if wanted not in (None, fake) else ""
        return (
            f"{self.key}: features of {extractor}; protocol {self.protocol_name} ({self.protocol}); "
            f"here {fake:,} generated{short} against {real:,} real clips"
        )
