"""What turns pictures into the features that sets of them are compared in."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


class Extractor(nn.Module):
    """Pictures to features and logits, always in evaluation mode.

    Attributes:
        name: What log keys call it; None for the standard one, whose distance is FID.
        preprocessing: What it does to pictures, in a word; `protocol` adds the weights.
    """

    name: str | None = None
    preprocessing: str = ""

    @functools.cached_property
    def protocol(self) -> str:
        """Everything that changes its features, for statistics that are kept: preprocessing and weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return f"{self.preprocessing}-{digest.hexdigest()[:8]}"

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, d) and logits (N, classes) of uint8 pictures (N, 3, H, W)."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features (N, d) of uint8 pictures (N, 3, H, W) in [0, 255]."""
        return self.features_and_logits(images)[0]

    def train(self, mode: bool = True) -> "Extractor":
        """Stays in evaluation mode."""
        super().train(False)
        return self


def check_pictures(images: Tensor) -> None:
    """Raises an `InputError` unless the pictures are uint8 (N, 3, H, W)."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise InputError(
            f"pictures of type {images.dtype} and shape {tuple(images.shape)} were given to an extractor; expected "
            "uint8 (N, 3, H, W) in [0, 255]."
        )


class Inception(Extractor):
    """The standard extractor of FID, IS and KID: TensorFlow's Inception of 2015-12-05, as torch-fidelity has it.

    Its resize is TensorFlow 1's, without antialiasing, so that numbers compare with those in papers.

    Args:
        weights_path: The file `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity's release v0.2.0. None
            downloads it, where there is a network.

    Raises:
        InputError: If there is no such file, or it holds other weights.
    """

    preprocessing = "inception-2015-12-05-tf1-resize"

    def __init__(self, weights_path: str | None = None) -> None:
        super().__init__()
        if weights_path is not None and not Path(weights_path).is_file():
            raise InputError(
                f"weights_path: there is no file {weights_path}. FID needs {INCEPTION_FILE} of torch-fidelity's "
                "release v0.2.0; leave the option out to download it, or take another extractor (TimmExtractor)."
            )
        try:
            self.network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=weights_path
            )
        except OSError as error:
            raise InputError(
                f"the Inception weights could not be downloaded ({error}): bring {INCEPTION_FILE} of torch-fidelity's "
                "release v0.2.0 to this machine and give its path as weights_path."
            ) from error
        except Exception as error:  # torch raises a different class for every kind of damage
            raise InputError(
                f"weights_path: {weights_path} does not hold the weights of Inception; expected {INCEPTION_FILE}."
            ) from error
        self.requires_grad_(False).train()

    @torch.no_grad()
    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 2048) and unbiased logits (N, 1008)."""
        check_pictures(images)
        features, logits = self.network(images)
        return features, logits


class TimmExtractor(Extractor):
    """Any model of timm's registry as extractor: its pooled features, with its own input size and normalisation.

    Args:
        model: Name in timm's registry, such as `emoji_resnet`, which ships with the package.
        checkpoint_path: Weights to load; None takes the model's pretrained ones.

    Raises:
        InputError: If the name is unknown, or the file missing or of another model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str = "emoji_resnet", checkpoint_path: str | None = None) -> None:
        super().__init__()
        if not timm.is_model(model.split(".")[0]):
            raise InputError(f"extractor: there is no timm model {model!r}{did_you_mean(model, timm.list_models())}")
        if checkpoint_path is not None and not Path(checkpoint_path).is_file():
            raise InputError(f"checkpoint_path: there is no file {checkpoint_path} (weights of {model}).")
        weights = {"checkpoint_path": checkpoint_path} if checkpoint_path else {"pretrained": True}
        try:
            self.network: Any = timm.create_model(model, **weights)
        except (OSError, RuntimeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            if checkpoint_path is None:
                raise InputError(
                    f"the weights of {model} could not be downloaded ({reason}): bring them to this "
                    "machine and give their path as checkpoint_path."
                ) from error
            raise InputError(
                f"checkpoint_path: {checkpoint_path} does not hold weights of {model} ({reason})."
            ) from error
        config: dict[str, Any] = resolve_model_data_config(self.network)  # type: ignore[no-untyped-call]
        self.size: tuple[int, int] = tuple(config["input_size"][1:])
        self.register_buffer("mean", 255 * torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        self.name = model.replace(".", "_")
        self.preprocessing = f"{model}-{self.size[0]}px"
        self.requires_grad_(False).train()

    @torch.no_grad()
    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (N, d) before the classifier, and its logits."""
        check_pictures(images)
        x = images.float()
        if tuple(x.shape[-2:]) != self.size:
            x = interpolate(x, self.size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
        maps = self.network.forward_features((x - self.mean) / self.std)
        return self.network.forward_head(maps, pre_logits=True), self.network.forward_head(maps)
