"""What a network predicts of analog bits: their logits, with the cross-entropies of the original code as losses.

The original's `x`, the mean squared error of the bits themselves, is the objective `X0`; `x_sigmoid_xent` and
`x_softmax_xent` are here (google-research/pix2seq, `models/image_discrete_diffusion_model.py`; arXiv 2208.04202).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.rin.bits import AnalogBits
from lightning_binding.rin.layers import glorot_
from lightning_binding.rin.network import RIN
from lightning_binding.rin.objectives import Decoded, Objective, noise_within


class SigmoidBits(Objective):
    """A logit l for each bit: x_0 = b (2 sigmoid(l) - 1), which is the bit's posterior mean where the loss is least.

    Args:
        scale: b, the size of a bit, as in the form of the bits.
    """

    def __init__(self, scale: float = 1.0) -> None:
        if not scale > 0:
            raise InputError(f"scale={scale} of a bit must be positive.")
        self.scale = scale

    def target(self, x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
        """Returns the bits."""
        return x_0

    def decode(self, prediction: Tensor, x_t: Tensor, gamma: Tensor) -> Decoded:
        """Gives the mean of the bits."""
        x_0 = self.scale * (2 * prediction.sigmoid() - 1)
        return Decoded(x_0, noise_within(x_t, x_0, gamma))

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the bits of -log sigmoid(l x_0 / b), (B,)."""
        return -F.logsigmoid(prediction * target / self.scale).flatten(1).mean(dim=1)


class SoftmaxBits(Objective):
    """Logits of all n values, for each number of a picture: x_0 is the mean of the values' codes.

    The network's prediction has n channels where its input has as many as a code has bits, which is the same for
    `OneHot`; other forms need `widen_readout` (the original's `outp_softmax_groups`).

    Args:
        form: How values are written as bits.
    """

    def __init__(self, form: AnalogBits) -> None:
        self.form = form

    def prediction_shape(self, shape: torch.Size) -> torch.Size:
        """As many channels for each number as there are values."""
        channels = shape[-3] // self.form.width * self.form.classes
        return torch.Size([*shape[:-3], channels, *shape[-2:]])

    def target(self, x_0: Tensor, eps: Tensor, gamma: Tensor) -> Tensor:
        """Returns the values that the bits stand for, int64 (B, ..., C, H, W)."""
        return self.form.decode(rearrange(x_0, "... (c k) h w -> ... c h w k", k=self.form.width))

    def decode(self, prediction: Tensor, x_t: Tensor, gamma: Tensor) -> Decoded:
        """Gives the mean of the bits."""
        share = self._logits(prediction).softmax(dim=-1)
        codes = self.form.codes.to(share.device, share.dtype)
        bits = (2 * (share @ codes) - 1) * self.form.scale
        x_0 = rearrange(bits, "... c h w k -> ... (c k) h w")
        return Decoded(x_0, noise_within(x_t, x_0, gamma))

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the numbers of -log softmax(logits) at the value, (B,)."""
        logits = self._logits(prediction)
        entropy = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none")
        return entropy.view(len(prediction), -1).mean(dim=1)

    def _logits(self, prediction: Tensor) -> Tensor:
        """(B, ..., C n, H, W) as (B, ..., C, H, W, n)."""
        return rearrange(prediction, "... (c n) h w -> ... c h w n", n=self.form.classes)

    def __repr__(self) -> str:
        return f"SoftmaxBits({self.form!r})"


def suit_bits(network: nn.Module, form: AnalogBits, objective: Objective | None) -> None:
    """Makes a network one for pictures of bits: its readout is widened for `SoftmaxBits`, where it has to be.

    Raises:
        InputError: If its channels do not hold whole numbers, or it is no RIN and would have to be widened.
    """
    channels = int(network.in_channels)  # type: ignore[arg-type]
    if channels % form.width:
        raise InputError(
            f"the network has {channels} channels, and a number of {form} has {form.width} bits: give "
            f"network_options.in_channels {3 * form.width} for colour."
        )
    if isinstance(objective, SoftmaxBits):
        wanted = channels // form.width * objective.form.classes
        if wanted != channels and not isinstance(network, RIN):
            raise InputError(
                f"SoftmaxBits of {form} needs a readout of {wanted} channels, which only a RIN can be given."
            )
        if wanted != channels:
            widen_readout(network, wanted)  # type: ignore[arg-type]


def widen_readout(network: RIN, channels: int) -> RIN:
    """Gives a RIN a readout of other channels than its input has, in place.

    Args:
        network: The network.
        channels: Channels of its prediction; values times classes for `SoftmaxBits`.

    Returns:
        The same network.
    """
    patch = network.patches.size // network.in_channels
    network.readout = nn.Linear(network.interface_dim, patch * channels)
    glorot_(network.readout.weight, network.interface_dim, patch * channels)
    nn.init.zeros_(network.readout.bias)
    return network
