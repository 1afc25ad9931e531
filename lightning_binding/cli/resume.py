"""Checkpoints on the command line: finding them, and making the command line count where they differ."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.callbacks.ema import EMA
from lightning_binding.cli.lookup import nearest_files
from lightning_binding.errors import InputError
from lightning_binding.limits import read_text
from lightning_binding.weights import OF_ANOTHER, newest_valid, raise_mismatch

PLACES = ("trainer.default_root_dir", "trainer.logger")  # of a run, and no settings of it
ABSENT = object()  # in place of an object of a list that has none of its class
KEYWORDS = ("best", "hpc")  # what Lightning finds by itself


class Difference(NamedTuple):
    """A setting that the checkpoint and the command line do not share."""

    key: str
    old: Any
    new: Any
    becomes: str = "is used"  # or what the object that takes up the checkpoint's state does with it

    def __str__(self) -> str:
        return f"{self.key}: {_brief(self.new)} {self.becomes}; the checkpoint has {_brief(self.old)}."

    def asked(self, owner: Any, prefix: str, state: Mapping[str, Any]) -> "Difference":
        """The difference with what its owner says of it, if that has `when_resumed`; `prefix` stands before its name.

        Raises:
            InputError: If the owner's state cannot be taken up with the option.
        """
        answer = getattr(owner, "when_resumed", None)
        said = answer and answer(self.key.removeprefix(prefix).replace(".init_args.", "."), state)
        return self._replace(becomes=said) if said else self


def resolve_checkpoint(ckpt_path: str | None, base: Path, stage: str) -> str | None:
    """The file that `--ckpt_path` means; `last` is the newest checkpoint of the runs of this configuration.

    Args:
        ckpt_path: What was given.
        base: The folder of these runs.
        stage: The command.

    Raises:
        InputError: If there is no such file.
    """
    if ckpt_path is None or "://" in ckpt_path or (ckpt_path in KEYWORDS and stage == "fit"):
        return ckpt_path
    if ckpt_path == "last":
        found = sorted(base.rglob("*.ckpt"), key=lambda file: file.stat().st_mtime)
        if not found:
            raise InputError(f"--ckpt_path last: there is no checkpoint in {base}; give the path of one.")
        return str(found[-1])
    path = Path(ckpt_path).expanduser()
    if not path.is_file():
        raise InputError(f"--ckpt_path: there is no file {path}{nearest_files(path, '*.ckpt')}")
    return str(path)


def run_to_resume(resume: str, ckpt_path: str | None, base: Path) -> str | None:
    """The checkpoint that `--resume` goes on from: the newest whole one of the runs of this configuration.

    Args:
        resume: `auto`, or `never`.
        ckpt_path: What `--ckpt_path` gave.
        base: The folder of these runs.

    Returns:
        The file; None where there is nothing to go on from, and the run begins.

    Raises:
        InputError: If `--ckpt_path` is given as well.
    """
    if resume == "never":
        return None
    if ckpt_path is not None:
        raise InputError(
            f"--resume auto finds the newest checkpoint by itself, and --ckpt_path {ckpt_path} names one: give either."
        )
    path = newest_valid(base.rglob("*.ckpt"), rank_zero_info)
    rank_zero_info(
        f"--resume auto: {f'going on from {path}' if path else f'no checkpoint in {base}, a new run begins'}."
    )
    return None if path is None else str(path)


def checkpoint_differences(
    checkpoint: Mapping[str, Any],
    path: str,
    model_config: Mapping[str, Any],
    model: LightningModule,
    resumed: bool = True,
) -> list[Difference]:
    """The model's settings that differ from those in the checkpoint.

    Args:
        checkpoint: The checkpoint.
        path: Its file, for the message.
        model_config: The model's part of the configuration, `{class_path, init_args}`.
        model: The model, whose weights must have the names and shapes of the checkpoint's.
        resumed: Whether training goes on, so that the model is asked what becomes of its options.

    Raises:
        InputError: If the checkpoint's weights, or other states of it, do not fit the model.
    """
    raise_mismatch(checkpoint["state_dict"], model.state_dict(), path, getattr(model, "misfit", OF_ANOTHER))
    stored = dict(checkpoint.get("hyper_parameters", {}))
    given = {"_class_path": model_config["class_path"], **model_config.get("init_args", {})}
    names = {"_class_path": "model.class_path"}
    return [
        difference.asked(model, "model.init_args.", checkpoint) if resumed else difference
        for name in stored
        if name in given
        for difference in _differences(names.get(name, f"model.init_args.{name}"), stored[name], given[name])
    ]


def run_differences(
    path: str, config: Mapping[str, Any], data: Any = None, checkpoint: Mapping[str, Any] | None = None
) -> list[str]:
    """Sentences on what the run of a checkpoint had otherwise beside its model: seed, data, trainer.

    Args:
        path: The checkpoint, in the folder of a run or in its `checkpoints`.
        config: The configuration now.
        data: The data module, which is asked for what becomes of its options, if it has `when_resumed`.
        checkpoint: The checkpoint itself.
    """
    stored = _stored(path)
    if not stored:
        return []
    state = (checkpoint or {}).get(type(data).__qualname__, {})
    told = [
        _of_run(difference.asked(data, "data.init_args.", state) if part == "data" else difference)
        for part in ("data", "trainer")
        for difference in _differences(part, stored.get(part), config.get(part))
        if difference.key not in PLACES
    ]
    old, new = stored.get("seed_everything"), config.get("seed_everything")
    if old != new:
        told.append(f"seed_everything: {new} was given; the random states of the checkpoint, begun with {old}, go on.")
    return told


def callback_differences(path: str, config: Mapping[str, Any]) -> list[Difference]:
    """The options of callbacks that were others in the run of a checkpoint.

    Args:
        path: The checkpoint, as above.
        config: The configuration now.
    """
    found = _differences("trainer", _stored(path).get("trainer"), config.get("trainer"))
    return [each for each in found if each.key.startswith("trainer.callbacks.") and ABSENT not in (each.old, each.new)]


def _stored(path: str) -> Mapping[str, Any]:
    """The configuration of a checkpoint's run; nothing, where it has none that can be read."""
    files = [folder / "config.yaml" for folder in Path(path).absolute().parents[:2]]
    file = next((file for file in files if file.is_file()), None)
    try:
        stored = None if file is None else yaml.safe_load(read_text(file))
    except (InputError, yaml.YAMLError):
        stored = None  # the run's own file was edited, and nothing hangs on it
    return stored if isinstance(stored, Mapping) else {}


def _of_run(difference: Difference) -> str:
    key, old, new, becomes = difference
    if new is ABSENT:
        return f"{key} is left out; the run of the checkpoint had it."
    if old is ABSENT:
        return f"{key} is used; the run of the checkpoint had none."
    return f"{key}: {_brief(new)} {becomes}; the run of the checkpoint had {_brief(old)}."


def of_the_average(checkpoint: Mapping[str, Any], stage: str, callbacks: Iterable[Callback]) -> str | None:
    """A sentence for a checkpoint of averaged weights where no `EMA` callback is there to say so.

    Args:
        checkpoint: The checkpoint.
        stage: The command.
        callbacks: The run's callbacks.
    """
    if "averaging_state" not in checkpoint or any(isinstance(callback, EMA) for callback in callbacks):
        return None
    if stage == "fit":
        return (
            "EMA: training goes on from the averaged weights of the checkpoint and averages no more; to take up the "
            "raw ones and go on averaging, add --trainer.callbacks+=EMA."
        )
    return "EMA: these are the averaged weights of the checkpoint."


def _differences(key: str, old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("class_path") == new.get("class_path"):
        for name in sorted(set(old) | set(new)):
            yield from _differences(f"{key}.{name}", old.get(name), new.get(name))
    elif _has_classes(old) and _has_classes(new):
        before, now = ({each["class_path"]: each for each in each_list} for each_list in (old, new))
        for name in [*before, *(name for name in now if name not in before)]:
            part = f"{key}.{name.rpartition('.')[2]}"
            if name in before and name in now:
                yield from _differences(part, before[name], now[name])
            else:
                yield Difference(part, before.get(name, ABSENT), now.get(name, ABSENT))
    elif plain(old) != plain(new):
        yield Difference(key, old, new)


def _has_classes(value: Any) -> bool:
    """Whether it is a list of objects, such as callbacks, in which no class is twice."""
    if not isinstance(value, list) or not all(isinstance(each, Mapping) and "class_path" in each for each in value):
        return False
    return len({each["class_path"] for each in value}) == len(value)


def _brief(value: Any) -> str:
    """The value, or the class's name of an object."""
    path = value.get("class_path") if isinstance(value, Mapping) else None
    return str(path).rpartition(".")[2] if path else str(value)


def plain(value: Any) -> Any:
    """A tuple as the list that a file makes of it."""
    return list(value) if isinstance(value, tuple) else value
