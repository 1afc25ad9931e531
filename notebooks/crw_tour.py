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
# # Perception: a tour of the Contrastive Random Walk
#
# Take a patch of a frame, walk to the patch of the next frame that looks most alike, and on to the next. Then walk back
# through the same frames. Where nothing was confused, the walk ends where it began: that is the whole supervision.
# The features that make walks come home carry labels from frame to frame.
#
# It runs on a CPU in less than a minute. To edit it as a notebook: `jupytext --to ipynb notebooks/crw_tour.py`.

# %%
import lightning_binding  # noqa: F401  # isort: skip  (first: it lets torchvision be imported beside a CPU-only torch)

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer

from lightning_binding.callbacks.walk_picture import draw_walks, starts
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.patches import PatchGrid
from lightning_binding.crw.segment import segment
from lightning_binding.crw.walk import palindrome_loss
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.images import make_grid
from lightning_binding.masks import overlay
from lightning_binding.metrics import JaccardBoundary
from lightning_binding.pretrained import load_pretrained

torch.manual_seed(0)


def show(picture, title, height=3.0):
    """Shows a uint8 picture (3, H, W)."""
    plt.figure(figsize=(height * picture.shape[2] / picture.shape[1], height))
    plt.imshow(picture.permute(1, 2, 0))
    plt.title(title)
    plt.axis("off")


# %% [markdown]
# ## The data
# Emoji that move, turn, grow and occlude one another under a changing light, with exact masks. Training and evaluation
# show different emoji. Training looks at the frames alone; the masks are for the score.

# %%
data = MovingSpritesDataModule(frame_size=96, frames=4, eval_sequences=3, eval_frames=16, batch_size=2,
                               lighting=0.5, noise=8.0)  # fmt: skip
sequence = data.eval_set()[0]
video, mask = sequence["video"], sequence["mask"]
tinted = torch.stack([overlay(*pair) for pair in zip(video[::3], mask[::3], strict=True)])
show(make_grid(torch.cat([video[::3], tinted]), 6), "a held-out sequence, and its masks")

# %% [markdown]
# ## Nodes
# A frame is cut into overlapping patches. Each is encoded alone, so that nothing tells the encoder where it was; crops
# differ from patch to patch and from frame to frame. Grid, crop and colour are one resampling.

# %%
grid = PatchGrid(patch_size=24, grid_stride=12, frame_size=96)
patches = grid.cut(video[None, :2].float(), torch.Generator().manual_seed(0))  # (1, 2, N, 3, 24, 24)
show(make_grid(patches[0, 0].round().byte(), grid.grid), f"the {grid.nodes} patches of a frame", 5)

# %% [markdown]
# ## A walk over frames
# The model that ships with the package; the framed patch is where the walker starts, the colour is where it is.

# %%
shipped = load_pretrained("crw_sprites")
places = shipped.walk_from(video[:9:2])  # (T, N, N)
show(draw_walks(video[:9:2], places, starts(mask[0], places.shape[1], 3)), "walks", 5)

# %% [markdown]
# ## The loss
# There and back over all lengths: the product of the transitions should be the identity. Chance is ln N.

# %%
nodes = shipped.make_nodes(video[None, :4], torch.Generator().manual_seed(0))["nodes"]
found = palindrome_loss(nodes, temperature=0.05)
print("cycles over two and three steps:", [f"{float(loss):.3f} nats" for loss in found.cycle_losses])
print("of walkers that come home:", [f"{float(share):.0%}" for share in found.cycle_accuracies])

# %% [markdown]
# ## A training in miniature
# Twenty-five steps from random weights. The same module trains Kinetics; only the YAML differs.

# %%
small = ContrastiveRandomWalk(
    "emoji_resnet", layer="layer3", stride=4, dim=64, nodes=PatchGrid(24, 12, 96, patch_scale=(0.7, 0.95)),
    optimizer=lambda groups: torch.optim.Adam(groups, lr=1e-3),
)  # fmt: skip
trainer = Trainer(
    max_steps=25, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, limit_val_batches=0,
)  # fmt: skip
trainer.fit(small, data)
print(f"loss {float(trainer.callback_metrics['train/loss']):.2f}; chance is 3.89")

# %% [markdown]
# ## Propagation with three backbones side by side
# The first mask is given. Every cell of a later frame takes its label from the cells most like it in the frames before.
# Any function from frames to feature maps will do: the model that ships, the network after twenty-five steps, and
# nothing but the pixels.

# %%
encoders = {
    "learnt": shipped.encode,
    "after 25 steps": small.encode,
    "pixels": lambda frames: torch.nn.functional.pixel_unshuffle(frames.float() - 127, 4),
}
rows = []
for name, encode in encoders.items():
    score = JaccardBoundary()
    for each in (data.eval_set()[index] for index in range(3)):
        masks = torch.stack(list(segment(each["video"], each["mask"][0], encode, shipped.propagation)))
        score.update(masks, each["mask"], each["name"])
        if each["name"] == sequence["name"]:
            rows += [overlay(*pair) for pair in zip(video[::3], masks[::3], strict=True)]
    print(f"{name:15s} J&F {float(score.compute()['J&F-Mean']):.3f}")
show(make_grid(torch.stack(rows), 6), "learnt, hardly trained, pixels", 5)

# %% [markdown]
# ## On your own video
# `lightning-binding propagate --video clip.mp4 --mask first.png --out masks` does the same, with the model that ships
# or any model of timm's registry (`--backbone vit_small_patch8_224.dino --preset dino`).
