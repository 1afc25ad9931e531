"""Every case of the suite by name. Nothing here imports torch: a list of cases costs nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A piece of work that ours and a peer do in the same run.

    Args:
        name: On the command line and in the files.
        what: The work, in words.
        unit: What is counted, in the plural.
        module: The file in `suite/cases`, whose `SIDES[name]` has a function that makes each side.
        peer: Whose `peer` side is.
        needs: Package that the peer is of; without it, only ours is measured.
        limit: What bounds the work: `matrix product`, `memory copy`, or a side of the case; None where nothing does.
    """

    name: str
    what: str
    unit: str
    module: str
    peer: str
    needs: str | None = None
    limit: str | None = None


MATRIX, MATRIX_BF16, COPY = "matrix product", "matrix product, bfloat16", "memory copy"
OF_ITS_KIND = "matrix product of its precision"

CASES = {
    case.name: case
    for case in (
        Case("rin_train", "RIN, a training step", "images", "rin", "RIN-pytorch", "RIN-pytorch", MATRIX),
        Case(
            "rin_train_bf16",
            "RIN, a training step in bfloat16",
            "images",
            "rin",
            "RIN-pytorch, bfloat16",
            "RIN-pytorch",
            MATRIX_BF16,
        ),
        Case("rin_sample", "RIN, ten steps of DDIM", "images", "rin", "RIN-pytorch", "RIN-pytorch", MATRIX),
        Case(
            "crw_step",
            "CRW, a training step (channels last; bfloat16 if there is)",
            "clips",
            "crw",
            "the plain network in float32",
            None,
            OF_ITS_KIND,
        ),
        Case("crw_walk", "CRW, the loss of T 10 with its gradient", "clips", "crw", "the original's walk"),
        Case(
            "propagation", "label propagation at 480 x 854", "frames", "crw", "the original's procedure", None, MATRIX
        ),
        Case(
            "frechet_update",
            "Fréchet distance, features of 2,048",
            "images",
            "scores",
            "torchmetrics",
            "torchmetrics",
            MATRIX,
        ),
        Case("frechet_root", "Fréchet distance, the root of 2,048", "roots", "scores", "SciPy's sqrtm", "scipy"),
        Case(
            "j_and_f",
            "J and F of 4 objects at 480 x 854",
            "frames",
            "scores",
            "vos-benchmark",
            "vos-benchmark",
            COPY,
        ),
        Case(
            "rl2_8",
            "RL², steps with learning, 8 environments",
            "steps",
            "control",
            "RecurrentPPO",
            "sb3-contrib",
            "rollout",
        ),
        Case(
            "rl2_64",
            "RL², steps with learning, 64 environments",
            "steps",
            "control",
            "RecurrentPPO",
            "sb3-contrib",
            "rollout",
        ),
        Case(
            "e_step",
            "CARML, EM over 1,024 trajectories",
            "trajectories",
            "control",
            "GaussianMixture on states",
            "scikit-learn",
        ),
        Case("image_loader", "pictures of 500 x 375 to 64", "images", "loaders", "torchvision", None, "decoder"),
        Case(
            "video_loader", "clips of 8 frames of 256 x 340", "clips", "loaders", "decoding all frames", "av", "decoder"
        ),
    )
}
