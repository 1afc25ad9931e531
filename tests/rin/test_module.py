"""RINDiffusion as a LightningModule: it trains, samples, saves, and comes back as it was."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset

from lightning_binding import InputError
from lightning_binding.callbacks import EMA
from lightning_binding.export import export, load
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.objectives import Epsilon, Flow
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.schedules import Rectified, Sigmoid


class Pictures(Dataset[dict[str, Any]]):
    """Eight plain pictures of three classes."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": torch.full((3, 8, 8), 30 * index, dtype=torch.uint8), "label": torch.tensor(index % 3)}


def loader(batch_size: int = 4) -> DataLoader[dict[str, Any]]:
    return DataLoader(Pictures(), batch_size=batch_size)


def fit(
    module: RINDiffusion,
    folder: Path,
    *,
    steps: int = 3,
    batch_size: int = 4,
    ckpt_path: Path | None = None,
    **options: Any,
) -> Trainer:
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, loader(batch_size), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def module(**options: Any) -> RINDiffusion:
    torch.manual_seed(0)
    return RINDiffusion("rin_tiny", sampling=Sampling(steps=3), **options)


def test_what_python_built_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    first = module(schedule=Rectified(), objective=Flow(), network_options={"latents": 9}, input_scale=0.7)
    trainer = fit(first, tmp_path)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    second = load(tmp_path / "run.ckpt")
    assert isinstance(second, RINDiffusion)
    assert isinstance(second.diffusion.objective, Flow)
    assert isinstance(second.diffusion.schedule, Rectified)
    assert second.diffusion.input_scale == 0.7
    assert second.sampling.steps == 3
    assert not second.training
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert torch.equal(first.eval().sample(5), second.sample(5))


def test_a_user_subclass_comes_back_as_itself(tmp_path: Path) -> None:
    first = Brighter("rin_tiny", offset=3.0)
    fit(first, tmp_path).save_checkpoint(tmp_path / "run.ckpt")
    second = load(tmp_path / "run.ckpt")
    assert isinstance(second, Brighter)
    assert second.offset == 3.0


class Brighter(RINDiffusion):
    """A subclass as a user writes one."""

    def __init__(self, network: str = "rin_tiny", offset: float = 0.0) -> None:
        super().__init__(network)
        self.save_hyperparameters()
        self.offset = offset


def test_samples_depend_on_the_seed_alone() -> None:
    model = module()
    draw = lambda seed, size: model.sample(5, generator=torch.Generator().manual_seed(seed), batch_size=size)  # noqa: E731
    assert torch.equal(draw(1, 5), draw(1, 5))
    assert not torch.equal(draw(1, 5), draw(2, 5))
    pictures = draw(1, 2)
    assert pictures.shape == (5, 3, 8, 8)
    assert pictures.dtype == torch.uint8
    assert model.network.training


def test_the_training_draws_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole, half, resumed = module(), module(), module()
    torch.manual_seed(3)
    fit(whole, tmp_path, steps=4, batch_size=8)  # every batch is the same, so that only the draws can differ
    torch.manual_seed(3)
    fit(half, tmp_path, steps=2, batch_size=8).save_checkpoint(tmp_path / "half.ckpt")
    fit(resumed, tmp_path, steps=4, batch_size=8, ckpt_path=tmp_path / "half.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_export_is_loaded_by_timm_and_by_ourselves(tmp_path: Path) -> None:
    import timm

    model = module()
    fit(model, tmp_path, callbacks=[EMA(decay=0.5)]).save_checkpoint(tmp_path / "run.ckpt")
    path = export(str(tmp_path / "run.ckpt"))
    network = timm.create_model("rin_tiny", checkpoint_path=str(path))
    for name, value in model.network.state_dict().items():  # after the fit the module holds the average
        assert torch.equal(value, network.state_dict()[name])
    again = load(path)
    assert torch.equal(again.sample(3), model.eval().sample(3))  # type: ignore[operator]


def test_half_precision_export_is_half_as_large_and_close(tmp_path: Path) -> None:
    model = module()
    fit(model, tmp_path).save_checkpoint(tmp_path / "run.ckpt")
    full, half = (
        export(str(tmp_path / "run.ckpt"), str(tmp_path / f"{half}.safetensors"), half=half) for half in (False, True)
    )
    assert half.stat().st_size < 0.6 * full.stat().st_size
    for name, value in load(half).state_dict().items():
        assert value.dtype == torch.float32
        assert torch.allclose(value, model.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_init_from_takes_weights_alone(tmp_path: Path) -> None:
    first = module()
    fit(first, tmp_path).save_checkpoint(tmp_path / "run.ckpt")
    export(str(tmp_path / "run.ckpt"))
    for file in ("run.ckpt", "run.safetensors"):
        second = module(init_from=str(tmp_path / file), optimizer=lambda groups: torch.optim.SGD(groups, lr=0.0))
        trainer = fit(second, tmp_path, steps=1)
        assert trainer.global_step == 1
        assert torch.equal(second.network.readout.weight, first.network.readout.weight)  # type: ignore[union-attr]


def test_compilation_keeps_the_names_of_the_weights(tmp_path: Path) -> None:
    small = {"network_options": {"blocks": [1]}}  # tracing takes a while
    compiled, plain = module(compile={"backend": "eager"}, **small), module(**small)
    fit(compiled, tmp_path, steps=1)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_defaults_are_the_papers() -> None:
    model = module()
    assert isinstance(model.diffusion.objective, Epsilon)
    assert isinstance(model.diffusion.schedule, Sigmoid)
    assert model.diffusion.self_conditioning == 0.9


def test_weights_of_another_preset(tmp_path: Path) -> None:
    fit(module(), tmp_path).save_checkpoint(tmp_path / "run.ckpt")
    other = module(network_options={"latent_dim": 64}, init_from=str(tmp_path / "run.ckpt"))
    with pytest.raises(InputError, match=r"does not fit the network.*shape.*another preset"):
        fit(other, tmp_path)


@pytest.mark.parametrize("name", ["rin_tyny", "resnet"])
def test_unknown_networks(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown network '{name}'.*rin_tiny" if "rin" in name else "unknown network"):
        RINDiffusion(name)


def test_unknown_network_option() -> None:
    with pytest.raises(InputError, match=r"no option 'latent'.*latents"):
        RINDiffusion("rin_tiny", network_options={"latent": 4})


def test_a_network_that_is_no_denoiser() -> None:
    with pytest.raises(InputError, match=r"a Linear is no denoiser, it has no image_size and no in_channels"):
        RINDiffusion(torch.nn.Linear(1, 1))


def test_ranks_predict_other_pictures(tmp_path: Path) -> None:
    model = module()
    draw = lambda: model.predict_step({"image": torch.zeros(2), "label": torch.tensor([1, 1])}, 0)  # noqa: E731
    first, again = draw(), draw()
    assert torch.equal(first, again)
    pictures = []
    for rank in range(2):
        model._trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        pictures.append(draw())
    assert torch.equal(pictures[0], first)
    assert not torch.equal(pictures[1], first)


def test_no_pictures_of_no_size() -> None:
    for options in ({"num": 0}, {"num": 2, "batch_size": 0}, {"num": 2, "steps": 0}):
        with pytest.raises(InputError, match=r"must be (1 or more|a whole number)"):
            module().sample(**options)  # type: ignore[operator]


def test_labels_outside_the_classes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels lie in \[0, 2\].*2 classes"):
        fit(module(network_options={"num_classes": 2}), tmp_path)
    with pytest.raises(InputError, match="3 classes"):
        module().sample(2, label=torch.tensor([0, 3]))


def test_missing_damaged_and_foreign_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        load(tmp_path / "none.ckpt")
    fit(module(), tmp_path).save_checkpoint(tmp_path / "run.ckpt")
    content = (tmp_path / "run.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.raises(
        InputError, match=r"cut.ckpt cannot be read as a checkpoint \(it is not a whole file of torch\)"
    ):
        load(tmp_path / "cut.ckpt")
    torch.save({"state_dict": {}, "callback": EMA()}, tmp_path / "objects.ckpt")
    with pytest.raises(InputError, match=r"objects.ckpt cannot be read .*\(it holds more than plain data\)"):
        load(tmp_path / "objects.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "foreign.ckpt")
    with pytest.raises(InputError, match="no state_dict"):
        load(tmp_path / "foreign.ckpt")
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    torch.save(checkpoint | {"class_path": "nowhere.Module"}, tmp_path / "lost.ckpt")
    with pytest.raises(InputError, match=r"nowhere.Module, which cannot be imported"):
        load(tmp_path / "lost.ckpt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(InputError, match="safetensors"):
        module(init_from=str(tmp_path / "cut.safetensors")).setup("fit")


def test_evaluation_starts_from_weights_too(tmp_path: Path) -> None:
    fit(module(), tmp_path).save_checkpoint(tmp_path / "run.ckpt")
    trained = load(tmp_path / "run.ckpt").state_dict()
    torch.manual_seed(9)
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    fresh = RINDiffusion("rin_tiny", init_from=str(tmp_path / "run.ckpt"))
    Trainer(default_root_dir=tmp_path, **options).validate(fresh, loader(), verbose=False)
    assert all(torch.equal(value, trained[name]) for name, value in fresh.state_dict().items())
    other = RINDiffusion("rin_tiny", init_from=str(tmp_path / "gone.ckpt"))  # a run's own file is not needed again
    Trainer(default_root_dir=tmp_path, **options).validate(
        other, loader(), ckpt_path=tmp_path / "run.ckpt", verbose=False, weights_only=True
    )
    assert all(torch.equal(value, trained[name]) for name, value in other.state_dict().items())
