"""Cost of a RIN against image size at fixed latents: it is linear in the number of patches.

    python benchmarks/rin_scaling.py --out benchmarks/results/rin_scaling

Writes the plot (PNG) and the numbers (JSON). Sizes take turns over several rounds and the best time of each counts; the
line is fitted through them by least squares, weighted to count relative errors. A transformer of the same width that
attends over all patches is counted beside it, in closed form.
"""

import argparse
import json
import time
from pathlib import Path

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from suite.setting import commit

from lightning_binding.rin import cost
from lightning_binding.rin.network import RIN

SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 256)
PATCH, WIDTH, LATENTS, LATENT_WIDTH, BLOCKS = 4, 256, 64, 256, (2, 2, 2)


def network(size: int) -> RIN:
    """A small RIN whose latents do not depend on the image size."""
    return RIN(size, PATCH, WIDTH, LATENTS, LATENT_WIDTH, BLOCKS, 8, 8, 4, 2).eval()


def seconds(model: RIN, size: int) -> float:
    """Time of one forward pass of one image."""
    x, gamma = torch.randn(1, 3, size, size), torch.full((1,), 0.5)
    start = time.perf_counter()
    with torch.no_grad():
        model(x, gamma)
    return time.perf_counter() - start


def transformer_macs(tokens: int) -> int:
    """Multiply-accumulates of as many layers of self-attention and feed-forward over all patches."""
    layers = sum(BLOCKS)
    return layers * (12 * tokens * WIDTH**2 + 2 * tokens**2 * WIDTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="path of both files, without ending")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = {size: network(size) for size in SIZES}
    times: dict[int, float] = {}
    for turn in range(options.rounds + 1):  # the first warms up
        for size, model in models.items():
            taken = seconds(model, size)
            if turn:
                times[size] = min(taken, times.get(size, taken))

    tokens = np.array([(size // PATCH) ** 2 for size in SIZES])
    measured = np.array([times[size] for size in SIZES])
    design = np.stack([np.ones_like(tokens), tokens], axis=1) / measured[:, None]
    (constant, slope), *_ = np.linalg.lstsq(design, np.ones_like(measured), rcond=None)
    deviation = np.abs((constant + slope * tokens) / measured - 1)
    exponent = np.polyfit(np.log(tokens[-5:]), np.log(measured[-5:]), 1)[0]
    macs = np.array([cost.forward_macs(model) for model in models.values()])
    print("| image | patches | ms | line's ms | GMAC | GMAC of a transformer |\n| --- | --- | --- | --- | --- | --- |")
    for size, n, taken, mac in zip(SIZES, tokens, measured, macs, strict=True):
        line = 1e3 * (constant + slope * n)
        print(f"| {size} | {n} | {1e3 * taken:.1f} | {line:.1f} | {mac / 1e9:.2f} | {transformer_macs(n) / 1e9:.2f} |")
    print(
        f"\n{1e3 * constant:.1f} ms + {1e6 * slope:.2f} ms for 1,000 patches; largest deviation {deviation.max():.0%};"
    )
    print(f"exponent over the last five sizes {exponent:.2f}")

    matplotlib.use("Agg")
    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.plot(tokens, 1e3 * measured, "o", label="measured")
    axis.plot(tokens, 1e3 * (constant + slope * tokens), label="line")
    quadratic = np.array([transformer_macs(int(n)) for n in tokens]) / macs * 1e3 * measured
    axis.plot(tokens, quadratic, ":", label="transformer over all patches, at RIN's rate")
    axis.set_xlabel("patches (32 to 256 pixels)")
    axis.set_ylabel("ms for one forward pass")
    axis.legend()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out.with_suffix(".png"), dpi=130)
    result = {
        "commit": commit(),
        "threads": options.threads,
        "torch": torch.__version__,
        "milliseconds": {size: 1e3 * taken for size, taken in times.items()},
        "constant_ms": 1e3 * constant,
        "slope_ms_per_1000_patches": 1e6 * slope,
        "largest_relative_deviation": float(deviation.max()),
        "exponent_of_the_last_five": float(exponent),
    }
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
