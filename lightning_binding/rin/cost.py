"""What a RIN costs, in closed form: parameters, and multiply-accumulates of a forward pass.

A multiply-accumulate is two floating-point operations. `torch.utils.flop_counter` counts operations; many papers
print multiply-accumulates as "FLOPs". A training step with latent self-conditioning costs about four forward passes:
the first pass, the second, and its backward.
"""

from lightning_binding.rin.network import RIN


def _feed_forward(width: int, ratio: float) -> int:
    hidden = int(width * ratio)
    return 2 * width + (width * hidden + hidden) + (hidden * width + width) if ratio else 0


def parameters(network: RIN) -> int:
    """Number of parameters by the formula, from the sizes alone."""
    d, latent_dim, patch = network.interface_dim, network.latent_dim, network.patches.size
    inner = min(d, latent_dim)

    def cross(query: int, source: int) -> int:
        return (query * inner + inner) + 2 * (source * inner + inner) + (inner * query + query)

    ratio, interface_ratio = network.latent_mlp_ratio, network.interface_mlp_ratio
    learned = network.num_latents - 1 - (network.num_classes > 0)
    total = (patch * d + d) + 2 * d + learned * latent_dim + network.interface_position.shape[0] * d
    total += (latent_dim // 4 * latent_dim + latent_dim) + (latent_dim**2 + latent_dim)
    total += (network.num_classes + 1) * latent_dim if network.num_classes else 0
    total += _feed_forward(latent_dim, ratio) + 2 * latent_dim
    for layers in network.layers:
        total += 2 * latent_dim + cross(latent_dim, d) + _feed_forward(latent_dim, ratio)
        total += (2 * d + cross(d, latent_dim) + _feed_forward(d, interface_ratio)) if layers else 0
        total += layers * (2 * latent_dim + 4 * (latent_dim**2 + latent_dim) + _feed_forward(latent_dim, ratio))
    return total + 2 * d + (d * patch + patch)


def forward_macs(network: RIN) -> int:
    """Multiply-accumulates of one example's forward pass; the time and class tokens are left out as negligible."""
    d, latent_dim, patch = network.interface_dim, network.latent_dim, network.patches.size
    n, m, inner = network.interface_position.shape[0], network.num_latents, min(d, latent_dim)
    ratio, interface_ratio = network.latent_mlp_ratio, network.interface_mlp_ratio
    cross = 2 * m * latent_dim * inner + 2 * n * d * inner + 2 * m * n * inner
    latents = 2 * ratio * m * latent_dim**2
    total = 2 * n * patch * d + latents
    for layers in network.layers:
        total += cross + latents
        total += (cross + 2 * interface_ratio * n * d**2) if layers else 0
        total += layers * (4 * m * latent_dim**2 + 2 * m**2 * latent_dim + latents)
    return int(total)
