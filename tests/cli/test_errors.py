"""Wrong input on the command line: one line that names the key and the nearest valid names, and exit status 2."""

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toys
from forks import Fork

from lightning_binding.cli import main

CONFIG = """
model:
  class_path: ToyModel
  init_args:
    width: 3
    part: {class_path: ToyPart, init_args: {gain: 2.0}}
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}
data:
  class_path: ToyData
  init_args: {batch_size: 2}
trainer:
  max_epochs: 1
  callbacks:
    - class_path: EMA
      init_args: {decay: 0.9}
"""


def complaint(capfd: pytest.CaptureFixture[str], args: list[str]) -> str:
    """The one line of a failing command, without its beginning."""
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith(("Seed", "GPU", "TPU"))]
    assert len(lines) == 1, lines
    assert lines[0].startswith("lightning-binding: error: ")
    return lines[0].removeprefix("lightning-binding: error: ")


OPTIONS = {
    # in the Trainer's options
    "--trainer.max_epoch 3": "trainer.max_epoch is not an option; did you mean trainer.max_epochs",
    "--trainr.max_epochs 3": "trainr.max_epochs is not an option; did you mean trainer.max_epochs",
    "--trainer.max_epochs abc": "trainer.max_epochs: got 'abc', expected int or null.",
    "--trainer.precision 17": "trainer.precision: got '17', expected 64, 32, 16, transformer-engine",
    "--trainer.max_epochs": "argument --trainer.max_epochs: expected one argument",
    "--trainer.accelerator cudda": "trainer: ",
    "--trainer.strategy dddp": "trainer: You selected an invalid strategy name: `strategy='dddp'`",
    "--trainer.devices x": "trainer: `devices`",
    "--trainer.logger TensorBoardLoger": "trainer.logger: there is no Logger 'TensorBoardLoger'; did you mean",
    "--trainer.callbacks+=EMA": "trainer.callbacks has EMA more than once, and a run can have one, since it has one "
    "average: leave out what was given the second time (--trainer.callbacks+=EMA adds to those of the configuration",
    "--trainer.callbacks+=HaltOnNonFinite --trainer.callbacks+=HaltOnNonFinite": "trainer.callbacks has "
    "HaltOnNonFinite more than once, and a run can have one: leave out",
    "--trainer.accelerator gpu": "trainer.accelerator is gpu, and there is no GPU that torch can use (",
    "--trainer.accelerator cuda": "trainer.accelerator is gpu, and there is no GPU that torch can use (",
    "--trainer.callbacks+=EMMA": "trainer.callbacks: there is no Callback 'EMMA'; did you mean EMA",
    "--trainer.callbacks+=EMA --trainer.callbacks.decayy 1": "trainer.callbacks.init_args.decayy: EMA has no argument "
    "'decayy'; did you mean decay?",
    # in the model's
    "--model.lerning_rate 1": "model.init_args.lerning_rate: ToyModel has no argument 'lerning_rate'; known are",
    "--model.init_args.widht 1": "model.init_args.widht: ToyModel has no argument 'widht'; did you mean width?",
    "--model.width x": "model.init_args.width: got 'x', expected int.",
    "--model ToyModl": "model: there is no BindingModule 'ToyModl'; did you mean ToyModel?",
    "--model toys.ToyModl": "model: toys has no 'ToyModl'; did you mean ToyModel?",
    "--model toyz.ToyModel": "model: there is no BindingModule 'toyz.ToyModel'; did you mean toys.ToyModel?",
    "--model toys.ToyData": "model: toys.ToyData is not a BindingModule",
    "--model.help ToyModl": "model: there is no BindingModule 'ToyModl'; did you mean ToyModel?",
    "--model.part ToyPort": "model.init_args.part: there is no ToyPart 'ToyPort'; did you mean ToyPart?",
    "--model.part.gian 3": "model.init_args.part.init_args.gian: ToyPart has no argument 'gian'; did you mean gain?",
    "--model.part.gain x": "model.init_args.part.init_args.gain: got 'x', expected float.",
    "--model.optimizer.lrr 1": "model.init_args.optimizer.init_args.lrr: SGD has no argument 'lrr'; did you mean lr?",
    "--model.optimizer Lam": "model.init_args.optimizer: there is no Optimizer 'Lam'; did you mean Lamb",
    "--model.optimizer torch.optim.AdamX": "model.init_args.optimizer: torch.optim has no 'AdamX'; did you mean Adam",
    "--model.scheduler WarmupCosin": "model.init_args.scheduler: there is no LRScheduler or ReduceLROnPlateau "
    "'WarmupCosin'; did you mean WarmupCosine?",
    "--model.scheduler WarmupCosine": "model.init_args.scheduler: WarmupCosine needs total_steps.",
    "--model RINDiffusion --model.network rin_tinny": "unknown network 'rin_tinny'; did you mean rin_tiny",
    "--model RINDiffusion --model.network rin_tiny --model.network_options {heads: 2}": "network_options: rin_tiny has "
    "no option 'heads'; did you mean",
    "--model RINDiffusion --model.network rin_tiny --model.network_options {image_size: wide}": "rin_tiny: image_size="
    "'wide' must be a whole number.",
    "--model RINDiffusion --model.network resnet18": "network: a ResNet is no denoiser, it has no image_size",
    "--model RINDiffusion --model.input_scale 0": "input_scale=0.0 must be positive",
    "--model RINDiffusion --model.sampling Sampling --model.sampling.steps 0": "steps=0 must be a whole number",
    "--model RINDiffusion --model.sampling Sampling --model.sampling.sampler dimm": "unknown sampler 'dimm'",
    # in the data's
    "--data.image_siz 3": "data.init_args.image_siz: ToyData has no argument 'image_siz'; did you mean image_size",
    "--data.batch_size 2.5": "data.init_args.batch_size: got '2.5', expected int.",
    "--data ToyDat": "data: there is no LightningDataModule 'ToyDat'; did you mean ToyData?",
    # elsewhere
    "--seed_everything x": "seed_everything: got 'x', expected bool or int.",
    "--print_confg": "print_confg is not an option; did you mean print_config",
    "--ckpt_pth x": "ckpt_pth is not an option; did you mean ckpt_path",
    "extra": "unexpected argument 'extra'; options begin with --.",
    "--ckpt_path nothing.ckpt": "--ckpt_path: there is no file nothing.ckpt.",
    "--ckpt_path last": "--ckpt_path last: there is no checkpoint in ",
    "--model.width ${data.init_args.batch_siz}": "model.init_args.width: there is no 'data.init_args.batch_siz' to "
    "take the value from; did you mean data.init_args.batch_size",
    "--model.width ${vars.dim}": "model.init_args.width: there is no 'vars.dim' to take the value from",
    "--model.width ${vars": "model.init_args.width: ",
}


@pytest.mark.parametrize(("options", "expected"), OPTIONS.items(), ids=OPTIONS.keys())
def test_wrong_option(
    options: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(CONFIG)
    split = shlex.split(options) if "{" not in options else [*options.split(" ", options.count("--") * 2 - 1)]
    assert complaint(capfd, ["fit", "--config", "toy.yaml", *split]).startswith(expected)
    assert not Path("runs").exists()  # nothing begins


FILES = {
    ("trainer:", "trainr:"): "trainr.max_epochs is not an option; did you mean trainer.max_epochs",
    ("max_epochs", "max_epoch"): "trainer.max_epoch is not an option; did you mean trainer.max_epochs",
    ("width:", "widht:"): "model.init_args.widht: ToyModel has no argument 'widht'; did you mean width?",
    ("gain:", "gian:"): "model.init_args.part.init_args.gian: ToyPart has no argument 'gian'; did you mean gain?",
    (
        "batch_size:",
        "batchsize:",
    ): "data.init_args.batchsize: ToyData has no argument 'batchsize'; did you mean batch_size",
    ("decay:", "decai:"): "trainer.callbacks.init_args.decai: EMA has no argument 'decai'; did you mean decay?",
    ("lr:", "lrr:"): "model.init_args.optimizer.init_args.lrr: SGD has no argument 'lrr'; did you mean lr?",
    ("ToyModel", "ToyModl"): "model: there is no BindingModule 'ToyModl'; did you mean ToyModel?",
    ("ToyPart", "ToyPort"): "model.init_args.part: there is no ToyPart 'ToyPort'; did you mean ToyPart?",
    ("ToyData", "ToyDat"): "data: there is no LightningDataModule 'ToyDat'; did you mean ToyData?",
    ("EMA", "EMMA"): "trainer.callbacks: there is no Callback 'EMMA'; did you mean EMA",
    ("optim.SGD", "optim.SGDD"): "model.init_args.optimizer: torch.optim has no 'SGDD'; did you mean SGD",
    ("max_epochs: 1", "max_epochs: one"): "trainer.max_epochs: got 'one', expected int or null.",
    ("width: 3", "width: wide"): "model.init_args.width: got 'wide', expected int.",
    ("decay: 0.9", "decay: slow"): "trainer.callbacks.init_args.decay: got 'slow', expected float.",
    ("lr: 0.1", "lr: fast"): "model.init_args.optimizer.init_args.lr: got 'fast', expected float",
    (
        "  init_args:\n    width",
        "  initargs:\n    width",
    ): "toy.yaml, line 4: model.initargs stands beside class_path, where "
    "only init_args and dict_kwargs may; did you mean init_args",
    ("trainer:", "trainer:\n  max_epochs: 2"): "toy.yaml, line 13: trainer.max_epochs stands here a second time",
    ("{gain: 2.0}}", "{gain: 2.0}"): "toy.yaml, line 7, column 5: this is not YAML: ",
    ("data:", "\tdata:"): "toy.yaml, line 8, column 1: this is not YAML: ",
    (CONFIG, "3"): "toy.yaml: expected keys with values (`trainer: …`), got '3'.",
    ("data:", "date:"): "date.init_args.batch_size is not an option; did you mean data.init_args.batch_size?",
}


@pytest.mark.parametrize(("change", "expected"), FILES.items(), ids=[change[1][:40] for change in FILES])
def test_wrong_file(
    change: tuple[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert change[0] in CONFIG
    Path("toy.yaml").write_text(CONFIG.replace(*change, 1))
    assert complaint(capfd, ["fit", "--config", "toy.yaml"]).startswith(expected)


def test_missing_file_names_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs/rin").mkdir(parents=True)
    Path("configs/rin/cifar10.yaml").write_text(CONFIG)
    for name in ("configs/rin/cifar100.yaml", "config/rin/cifar10.yaml"):
        text = complaint(capfd, ["fit", "--config", name])
        assert text == f"--config: there is no file {name}; did you mean configs/rin/cifar10.yaml?"
    text = complaint(capfd, ["fit", "--config=configs/rin/cifar10.yaml", "-c", "elsewhere.yaml"])
    assert text == "--config: there is no file elsewhere.yaml."
    Path("run.ckpt").write_text("not a checkpoint")
    base = ["test", "--config", "configs/rin/cifar10.yaml", "--ckpt_path"]
    assert complaint(capfd, [*base, "runn.ckpt"]) == "--ckpt_path: there is no file runn.ckpt; did you mean run.ckpt?"
    assert complaint(capfd, [*base, "run.ckpt"]).startswith("run.ckpt cannot be read as a checkpoint")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_options_that_do_without_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(CONFIG)
    command = ["fit", "--config", "toy.yaml"]
    text = complaint(capfd, [*command, "--trainer.accelerator", "gpu"])
    given = text[text.index("add --") + 4 : text.index(", or leave out")].split()
    assert main([*command, "--trainer.accelerator", "gpu", *given[:-2]]).trainer.current_epoch == 1
    assert given[-2:] == ["--model.compile", "false"]  # of every method, and not of the toy


@pytest.mark.parametrize("name", ["ddp", "accumulate", "multinode", "compile"])
def test_a_trainer_s_file_alone(name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    file = f"configs/trainer/{name}.yaml"
    text = complaint(capfd, ["fit", "--config", file])
    assert text.startswith("missing: --data")
    assert f"{file} has no method and no data, and goes beside a configuration that has: " in text
    command = text.split("lightning-binding ")[1].split()
    assert command == ["fit", "--config", "configs/quickstart.yaml", "--config", file]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--print_config"])
    assert ended.value.code == 0
    assert "goes beside" not in complaint(capfd, ["fit", "--config", file, "--trainer.max_epoch", "3"])


COMMANDS = {
    "": "a command is missing; known are fit, validate, test, predict, sample, propagate, play, shard, export.",
    "fitt": "'fitt' is not a command; did you mean fit",
    "samle": "'samle' is not a command; did you mean sample?",
    "--trainer.max_epochs 3": "'--trainer.max_epochs' is not a command; known are ",
    "fit": "missing: --data, --model; give it as an option or in a --config file.",
    "export": "missing: --ckpt_path; give it as an option or in a --config file.",
    "export --ckpt_path x.ckpt": "there is no file x.ckpt",
    "sample --nun 3": "nun is not an option; did you mean num?",
    "sample --num three": "num: got 'three', expected int.",
    "sample --num 0": "--num 0: there must be at least one picture.",
    "sample --sampler dimm": "unknown sampler 'dimm'; did you mean ddim",
    "sample --ckpt_path nothing.ckpt": "there is no file nothing.ckpt",
    "sample --config nothing.yaml": "--config: there is no file nothing.yaml.",
}


@pytest.mark.parametrize(("args", "expected"), COMMANDS.items(), ids=COMMANDS.keys())
def test_wrong_command(
    args: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint(capfd, args.split()).startswith(expected)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(CONFIG)
    monkeypatch.setattr(toys.ToyModel, "training_step", lambda self, batch, index: batch["no such key"])
    with pytest.raises(KeyError, match="no such key"):
        main(["fit", "--config", "toy.yaml", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"])


def test_the_shell_sees_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lightning-binding", "fit", "--trainer.max_epoch", "3"])
    fork = Fork(run_as_a_program)
    status, text = fork.wait(60)
    fork.close()
    assert status == 2
    assert len(text.splitlines()) == 1
    assert "did you mean trainer.max_epochs" in text


@pytest.mark.long
def test_a_cold_start_says_no_more() -> None:
    command = [sys.executable, "-m", "lightning_binding", "fit", "--trainer.max_epoch", "3"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def run_as_a_program() -> None:
    try:
        runpy.run_module("lightning_binding", run_name="__main__")
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)
