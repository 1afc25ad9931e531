"""BindingModule: what every method's LightningModule shares. No method is in it."""

import copy
import importlib
import inspect
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, instantiate_module
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from lightning_binding.errors import InputError
from lightning_binding.hparams import plain_arguments
from lightning_binding.optim import parameter_groups
from lightning_binding.precision import processor_has_bfloat16
from lightning_binding.sharding import gather, scatter, shard
from lightning_binding.weights import OF_ANOTHER, load_weights, read_checkpoint


class _Shared:
    """Holds a factory, and is not copied: the factories of jsonargparse reach the Trainer, which cannot be copied."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"
"""What a checkpoint of a run names as the function that makes its module."""


class BindingModule(LightningModule):
    """A LightningModule with injected optimizer and scheduler, weights to start from, and compilation.

    A method overrides `trained()` and `compiled()` where the defaults do not fit.

    Args:
        optimizer: Factory of the optimizer: a class with its arguments in YAML, a callable on parameters in Python.
        scheduler: Factory of the learning-rate scheduler, a callable on the optimizer; it is stepped after every
            optimizer step. None keeps the rate constant.
        init_from: Checkpoint or safetensors file whose weights the run starts from; its optimizer and step are
            ignored. To go on with a run, give `--ckpt_path` instead.
        compile: Compile the networks with `torch.compile`, in place, when a stage begins: True, or a mapping of
            arguments such as `{mode: max-autotune}`.
    """

    # Arguments that say where weights come from: a module of a checkpoint has its weights, and needs none of these.
    sources: ClassVar[dict[str, Any]] = {"init_from": None}
    misfit: ClassVar[str] = OF_ANOTHER  # what is asked where weights do not fit

    def __init__(
        self,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool | dict[str, Any] = False,
    ) -> None:
        super().__init__()
        self._optimizer, self._scheduler = _Shared(optimizer), _Shared(scheduler)
        self._init_from, self._compile = init_from, compile
        self.generator: torch.Generator | None = None  # of the training draws, on the module's device
        self._generator_state: torch.Tensor | None = None

    def save_hyperparameters(
        self, *args: Any, ignore: Any = None, frame: types.FrameType | None = None, logger: bool = True
    ) -> None:
        """Saves the constructor's arguments as plain data; call it in the subclass's constructor.

        From Python, what has no plain description (a network, an optimizer's factory) is left out, and is given again
        to `from_checkpoint` if it is needed.
        """
        here = inspect.currentframe()
        frame = frame or (here.f_back if here else None)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Attribute .* is an instance of `nn.Module`")  # it is left out
            super().save_hyperparameters(*args, ignore=ignore, frame=frame, logger=logger)
        if "_class_path" in self.hparams:  # the command line's own description
            return
        described = plain_arguments(self.hparams)
        described["_class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        described["_instantiator"] = INSTANTIATOR
        self.hparams.clear()
        self.hparams.update(described)
        self._hparams_initial = copy.deepcopy(self._hparams)

    def trained(self) -> nn.Module:
        """The part whose parameters are trained and averaged; the module itself by default."""
        return self

    def compiled(self) -> list[nn.Module]:
        """The networks that `compile` compiles; those of `trained()` by default."""
        return [self.trained()] if self.trained() is not self else list(self.children())

    def shards(self) -> list[nn.Module]:
        """The parts of `trained()` that FSDP2 shards, each by itself; a method that it does not suit has none."""
        return []

    def configure_model(self) -> None:
        """Shards `trained()` where the strategy is `FullySharded`; a no-op with any other.

        Raises:
            InputError: If the strategy shards and the method does not.
        """
        if self.device_mesh is not None:
            shard(self.trained(), self.shards(), self.device_mesh["data_parallel"])
            scatter(self.trained())  # should an evaluation have gathered it

    def on_validation_model_eval(self) -> None:
        """Also gathers the shards: the ranks' shares of the data differ."""
        super().on_validation_model_eval()
        gather(self.trained())

    def on_validation_model_train(self) -> None:
        """Back to training, and to the shards."""
        scatter(self.trained())
        super().on_validation_model_train()

    def on_test_model_eval(self) -> None:
        """Also gathers the shards."""
        super().on_test_model_eval()
        gather(self.trained())

    def on_predict_model_eval(self) -> None:
        """Also gathers the shards."""
        super().on_predict_model_eval()
        gather(self.trained())

    def configure_optimizers(self) -> Any:
        """The injected optimizer on `parameter_groups`, and the injected scheduler, stepped with it."""
        optimizer = self._optimizer.value(parameter_groups(self.trained().parameters()))
        if self.device_mesh is not None:
            for (
                group
            ) in optimizer.param_groups:  # not all operations on many tensors at once are made for parts of them
                group.update({"foreach": False} if group.get("foreach", False) is None else {})
        if self._scheduler.value is None:
            return optimizer
        scheduler = self._scheduler.value(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def setup(self, stage: str) -> None:
        """Loads `init_from`, which a checkpoint overrides afterwards, and compiles once."""
        if self._init_from is not None and stage != "fit" and not Path(self._init_from).expanduser().exists():
            # A run's configuration may name a file that has gone since: a checkpoint of the run holds everything.
            rank_zero_warn(f"init_from: there is no {self._init_from}; without --ckpt_path the network is untrained.")
            self._init_from = None
        if self._init_from is not None:
            load_weights(self.trained(), self._init_from, self.misfit)
            self._init_from = None
        if self._compile:
            options: Mapping[str, Any] = {} if self._compile is True else self._compile
            for network in self.compiled():
                network.compile(**options)  # in place: the names in the state dict stay as they are
            self._compile = False

    def on_fit_start(self) -> None:
        """Makes the generator of the training draws: every rank has its own, and a checkpoint's goes on."""
        precision = str(self.trainer.precision)
        if precision.startswith("bf16") and self.device.type == "cpu" and not processor_has_bfloat16():
            rank_zero_warn(
                f"trainer.precision is {precision}, but this processor has no instructions for bfloat16 and emulates "
                "them, several times slower than float32: add --trainer.precision 32-true."
            )
        self.generator = torch.Generator(self.device).manual_seed(torch.initial_seed() % 2**63 + self.global_rank)
        if self._generator_state is not None:
            self.generator.set_state(self._generator_state)
            self._generator_state = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes the class down, so that `from_checkpoint` needs the file alone, and the generator's state."""
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        if self.generator is not None:
            checkpoint["generator"] = self.generator.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the generator's state up again when the fit begins."""
        self._generator_state = checkpoint.get("generator")

    def when_resumed(self, option: str, checkpoint: Mapping[str, Any]) -> str | None:
        """What becomes of an option that a checkpoint has otherwise, when its state is taken up.

        A module that keeps a state of its own answers for its options, and asks the parts that do.

        Args:
            option: Its name, such as `memory.hidden`; that of the whole object where it is of another class.
            checkpoint: The checkpoint.

        Returns:
            What is said in place of "is used", such as "is used from the next fit on"; None where it is used at once.

        Raises:
            InputError: If the state cannot be taken up with it.
        """
        return "is not used, as the weights are the checkpoint's" if option in self.sources else None

    @classmethod
    def from_checkpoint(cls, path: str | Path, **arguments: Any) -> Self:
        """The module of a checkpoint, whatever its class, on the CPU and in evaluation mode.

        With the `EMA` callback in the run, these are the averaged weights. Nothing is unpickled but plain data.

        Args:
            path: A checkpoint that a run of this package wrote.
            **arguments: Constructor arguments that override those in the checkpoint, or that it could not hold.

        Raises:
            InputError: If the file is missing, damaged, or not a checkpoint of a `BindingModule`.
        """
        checkpoint = read_checkpoint(path)
        found = cls._class(checkpoint.get("class_path", ""), path)
        for name in ("hyper_parameters", "hparams", "module_arguments"):  # Lightning reads the names of old, too
            if not isinstance(saved := checkpoint.get(name, {}), Mapping):
                raise InputError(f"{path} is not a checkpoint of this package: its {name} are no mapping.")
            if (maker := saved.get("_instantiator", INSTANTIATOR)) != INSTANTIATOR:  # it would be imported and called
                raise InputError(f"{path} asks to be made by {maker!r}; this package lets Lightning make its modules.")
        arguments = {**found.sources, **arguments}
        module: Self = found.load_from_checkpoint(path, map_location="cpu", weights_only=True, **arguments)
        return module.eval()

    @classmethod
    def from_description(cls, class_path: str, hyper_parameters: dict[str, Any], weights: str | Path) -> Self:
        """The module of a class with saved hyper-parameters, and weights for its `trained()` part.

        Raises:
            InputError: If the class cannot be imported or the weights do not fit.
        """
        found = cls._class(class_path, weights)
        arguments = {key: value for key, value in hyper_parameters.items() if key != "_instantiator"} | found.sources
        module: Self = instantiate_module(found, arguments)
        load_weights(module.trained(), weights, found.misfit)
        return module.eval()

    @classmethod
    def _class(cls, class_path: str, path: str | Path) -> type[Self]:
        module_name, _, class_name = class_path.rpartition(".")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(
                f"{path} was written by the class {class_path or '(none)'}, which cannot be imported: put its module "
                "on PYTHONPATH, or give a checkpoint that `lightning-binding fit` wrote."
            ) from error
        if not (isinstance(found, type) and issubclass(found, cls)):
            raise InputError(f"{path} holds a {class_path}, expected a {cls.__name__}.")
        return found
