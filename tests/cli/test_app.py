"""The command line: help, configurations that compose, interpolation that follows overrides, commands."""

from pathlib import Path

import pytest
import toys
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_binding.callbacks import EMA
from lightning_binding.cli import COMMANDS, STAGES, main
from lightning_binding.cli.parser import Parser
from lightning_binding.cli.stages import BindingCLI

CONFIG = """
model: {class_path: ToyModel, init_args: {image_size: "${data.init_args.image_size}", width: 3}}
data: {class_path: ToyData, init_args: {image_size: 4}}
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {save_last: true}
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG)
    return path


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What the command prints before it exits with status 0."""
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed(capsys, "--help").split())
    for name, sentence in STAGES.items():
        assert f"{name} {sentence}" in text
    for name, function in COMMANDS.items():
        assert f" {name} {str(function.__doc__).split('.')[0][:40]}" in text


@pytest.mark.parametrize("command", [*STAGES, *COMMANDS])
def test_help_explains_every_option(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: list[Parser] = []
    monkeypatch.setattr(Parser, "print_help", lambda self: parsers.append(self))
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert len(parsers) == 1
    unexplained = [action.dest for action in parsers[0]._actions if not action.help]
    assert unexplained == []


@pytest.mark.parametrize("name", ["RINDiffusion", "ToyModel"])
def test_help_of_a_class_explains_every_argument(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "fit", "--model.help", name)
    assert "--model.init_args.optimizer" in text or "--model.optimizer" in text
    assert "Factory of the" in text


def test_print_config_round_trips(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.callbacks+=EMA", "--trainer.callbacks.decay=0.5", "--data.image_size=6"]
    first = printed(capsys, "fit", "--config", str(toy), *options, "--print_config")
    (toy.parent / "printed.yaml").write_text(first)
    assert printed(capsys, "fit", "--config", "printed.yaml", "--print_config") == first
    run = main(["fit", "--config", "printed.yaml"])
    assert (run.model.image_size, run.datamodule.image_size) == (6, 6)
    assert run.trainer.global_step == 2
    again = main(["fit", "--config", str(Path(run.trainer.log_dir) / "config.yaml")])  # the saved one, too
    assert again.model.image_size == 6


def test_configs_compose_and_a_list_grows(toy: Path) -> None:
    (toy.parent / "ema.yaml").write_text("trainer: {callbacks+: [{class_path: EMA, init_args: {decay: 0.7}}]}")
    (toy.parent / "more.yaml").write_text("trainer: {max_epochs: 2}\nmodel: {init_args: {width: 5}}")
    run = main(
        ["fit", "--config", str(toy), "--config", "ema.yaml", "--config", "more.yaml", "--trainer.max_epochs", "3"]
    )
    kinds = [type(callback) for callback in run.trainer.callbacks]
    assert EMA in kinds
    assert ModelCheckpoint in kinds
    assert (run.model.network.out_features, run.trainer.max_epochs, run.trainer.current_epoch) == (5, 3, 3)


@pytest.mark.parametrize("where", ["option", "first file", "second file", "vars"])
def test_interpolation_follows_the_last_value(where: str, toy: Path) -> None:
    (toy.parent / "size.yaml").write_text("data: {init_args: {image_size: 6}}")
    args = {
        "option": ["--config", "toy.yaml", "--data.init_args.image_size", "6"],
        "first file": ["--config", "toy.yaml", "--data", "ToyData", "--data.image_size", "6"],
        "second file": ["--config", "toy.yaml", "--config", "size.yaml"],
        "vars": ["--config", "toy.yaml", "--vars.side", "6", "--data.image_size", "${vars.side}"],
    }[where]
    run = main(["fit", *args])
    assert (run.model.image_size, run.datamodule.image_size) == (6, 6)
    assert run.model.network.in_features == 36
    assert run.model.hparams["image_size"] == 6


def test_interpolation_in_an_option_and_of_vars(toy: Path) -> None:
    text = CONFIG.replace("width: 3", 'width: "${vars.dim}"') + "vars: {dim: 7}\n"
    toy.write_text(text)
    assert main(["fit", "--config", "toy.yaml"]).model.network.out_features == 7
    run = main(["fit", "--config", "toy.yaml", "--vars.dim", "9", "--data.batch_size", "${vars.two}", "--vars.two=2"])
    assert (run.model.network.out_features, run.datamodule.batch_size) == (9, 2)


@pytest.mark.parametrize("where", ["option", "file"])
def test_a_whole_number_of_batches_is_not_a_share_of_them(where: str, toy: Path) -> None:
    given = {"limit_train_batches": 1, "limit_val_batches": 1.0, "limit_test_batches": 0.5, "overfit_batches": 2}
    options = [f"--trainer.{name}={value}" for name, value in given.items()]
    if where == "file":
        toy.write_text(CONFIG + "".join(f"  {name}: {value}\n" for name, value in given.items()))
        options = []
    parsed = BindingCLI("fit", ["--config", "toy.yaml", *options]).config.trainer
    assert {name: (type(parsed[name]), parsed[name]) for name in given} == {
        name: (type(value), value) for name, value in given.items()
    }
    run = main(["fit", "--config", "toy.yaml", *options, "--trainer.overfit_batches=0.0"])
    assert run.trainer.global_step == 1


def test_the_same_file_serves_every_stage(toy: Path) -> None:
    run = main(["fit", "--config", "toy.yaml"])
    checkpoint = run.trainer.checkpoint_callback.last_model_path
    for stage in ("validate", "test"):
        evaluated = main([stage, "--config", "toy.yaml", "--ckpt_path", checkpoint])
        assert {"val/loss", "test/loss"} & set(evaluated.trainer.callback_metrics)
    predicted = main(["predict", "--config", "toy.yaml", "--ckpt_path", checkpoint])
    assert [tuple(batch.shape) for batch in predicted.predictions] == [(2, 3), (2, 3)]


def test_seed_is_zero_unless_given(toy: Path) -> None:
    first, second = (main(["fit", "--config", "toy.yaml"]).model.network.weight.tolist() for _ in range(2))
    other = main(["fit", "--config", "toy.yaml", "--seed_everything", "1"]).model.network.weight.tolist()
    assert first == second != other


def test_a_command_is_a_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def double(number: int, times: float = 2.0, names: list[str] | None = None) -> tuple[float, list[str] | None]:
        """Multiplies.

        Args:
            number: What is multiplied.
            times: By what.
            names: Names.
        """
        return number * times, names

    monkeypatch.setitem(COMMANDS, "double", double)
    assert main(["double", "--number", "4"]) == (8.0, None)
    (tmp_path / "options.yaml").write_text("{number: 5, names: [a, b]}")
    assert main(["double", "--config", str(tmp_path / "options.yaml"), "--times", "1.5"]) == (7.5, ["a", "b"])


def test_a_user_s_own_class_needs_no_registration(toy: Path) -> None:
    run = main(["fit", "--config", "toy.yaml", "--model", "toys.ToyModel"])
    assert type(run.model) is toys.ToyModel
    assert isinstance(run, BindingCLI)
