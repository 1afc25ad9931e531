# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Generation: a tour of Recurrent Interface Networks
#
# A RIN has two sets of tokens. The *interface* holds one token for each patch of the picture; the *latents* are few,
# and all the thinking happens there. Each block **reads** from the interface into the latents, **computes** on the
# latents, and **writes** back. The latents of one denoising step start the next.
#
# It runs on a CPU in less than a minute. To edit it as a notebook: `jupytext --to ipynb notebooks/rin_tour.py`.

# %%
import lightning_binding  # noqa: F401  # isort: skip  (first: it lets torchvision be imported beside a CPU-only torch)

import matplotlib.pyplot as plt
import timm
import torch
from lightning.pytorch import Trainer

from lightning_binding.callbacks import EMA
from lightning_binding.data import EmojiDataModule
from lightning_binding.images import make_grid
from lightning_binding.optim import Muon
from lightning_binding.pretrained import load_pretrained
from lightning_binding.rin import cost, samplers, schedules
from lightning_binding.rin.attention import record_attention
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.objectives import Flow
from lightning_binding.rin.sampling import Sampling

torch.manual_seed(0)


def show(images, title, columns=8):
    """Shows uint8 images (N, 3, H, W) as a grid."""
    plt.figure(figsize=(columns, len(images) / columns + 0.4))
    plt.imshow(make_grid(images, columns).permute(1, 2, 0))
    plt.title(title)
    plt.axis("off")


# %% [markdown]
# ## Noise schedules
# The signal's share of variance, $\gamma(t)$: $x_t = \sqrt{\gamma}\,x_0 + \sqrt{1-\gamma}\,\epsilon$. Training and
# sampling need not use the same curve.

# %%
t = torch.linspace(0, 1, 200)
for name in ("cosine", "sigmoid", "linear", "rectified"):
    plt.plot(t, getattr(schedules, name)(t), label=name)
plt.xlabel("t")
plt.ylabel(r"$\gamma(t)$")
plt.legend()
# %% [markdown]
# ## The presets
# Every published model is an entry of timm's registry. The number of latents, not that of pixels, sets the cost.

# %%
for name in ("rin_quickstart", "rin_cifar10", "rin_imagenet64", "rin_256"):
    with torch.device("meta"):
        network = timm.create_model(name)
    print(f"{name:16s} {cost.parameters(network) / 1e6:7.1f} M parameters {cost.forward_macs(network) / 1e9:7.2f} GMAC")

# %% [markdown]
# ## A training in miniature
# Emoji at 16 pixels, forty steps. The same module trains ImageNet; only the YAML differs.

# %%
data = EmojiDataModule(image_size=16, batch_size=32, skin_tones=False)
model = RINDiffusion(
    "rin_quickstart",
    network_options={"image_size": 16, "latents": 16, "blocks": [1, 1]},
    schedule=schedules.Rectified(),
    objective=Flow(),
    sampling=Sampling(steps=10),
    optimizer=lambda groups: Muon(groups, lr=4e-3, nesterov=True),
)
trainer = Trainer(
    max_steps=40,
    callbacks=[EMA(decay=0.9)],
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    limit_val_batches=0,
)
trainer.fit(model, data)
loss_after = float(trainer.callback_metrics["train/loss"])
print(f"loss {loss_after:.2f} (2 or so at the start)")

# %% [markdown]
# Forty steps teach it colours and little more; the model that ships with the package has seen thousands.

# %%
show(model.sample(16), "after forty steps")

# %% [markdown]
# ## The model that ships

# %%
shipped = load_pretrained("rin_emoji32")
show(shipped.sample(16, steps=20), "rin_emoji32, 20 steps")

# %% [markdown]
# ## Where it looks
# Read attention says how much computation each patch is given. `record_attention` computes it beside the fused kernel,
# and only while it is asked to.

# %%
images = next(iter(EmojiDataModule(batch_size=4, skin_tones=False).train_dataloader()))["image"][:4]
x_0 = shipped.diffusion.from_images(images)
gamma = torch.full((4,), 0.8)
x_t = 0.8**0.5 * x_0 + 0.2**0.5 * torch.randn_like(x_0)
with torch.no_grad(), record_attention(shipped.network) as maps:
    shipped.network(x_t, gamma)
computation = maps.computation()  # (blocks, B, n)
side = int(computation.shape[-1] ** 0.5)
figure, axes = plt.subplots(4, len(computation) + 1, figsize=(2 * len(computation) + 2, 8))
for row, picture in enumerate(images):
    axes[row, 0].imshow(picture.permute(1, 2, 0))
    for block, weights in enumerate(computation):
        axes[row, block + 1].imshow(weights[row].reshape(side, side), cmap="magma")
        axes[row, block + 1].set_title(f"block {block + 1}" if row == 0 else "")
for axis in axes.flat:
    axis.axis("off")

# %% [markdown]
# ## Samplers
# Plain functions of one signature. Few steps are where the higher-order ones pay.

# %%
print("samplers:", ", ".join(samplers.SAMPLERS))
for name in ("ddim", "dpmpp_2m"):
    shipped.sampling.sampler = name
    show(shipped.sample(8, steps=8), f"{name}, 8 steps")

# %% [markdown]
# ## Your own backbone
# A denoiser is any module with a RIN's call. Register it, and its name works everywhere a preset's does: here, in YAML
# (`network: plain_conv`), and in `timm.create_model`. It has no latents, so `self_conditioning` is 0.


# %%
class PlainConv(torch.nn.Module):
    """Three convolutions that are told the noise level as a fourth channel."""

    def __init__(self, image_size=16, in_channels=3, num_classes=0, width=32):
        super().__init__()
        self.image_size, self.in_channels, self.num_classes = image_size, in_channels, num_classes
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(in_channels + 1, width, 3, padding=1),
            torch.nn.SiLU(),
            torch.nn.Conv2d(width, width, 3, padding=1),
            torch.nn.SiLU(),
            torch.nn.Conv2d(width, in_channels, 3, padding=1),
        )

    def forward(self, x, gamma, label=None, latents=None, context=None, *, readout=True):
        level = gamma.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return self.layers(torch.cat([x, level], dim=1)), None, None


@timm.models.register_model
def plain_conv(pretrained=False, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **options):
    """A denoiser of one's own."""
    return PlainConv(**options)


own = RINDiffusion("plain_conv", self_conditioning=0.0, sampling=Sampling(steps=10))
trainer = Trainer(
    max_steps=20, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, limit_val_batches=0,
)  # fmt: skip
trainer.fit(own, data)
show(own.sample(8), "a backbone of one's own, after twenty steps")
