"""Environments in processes of their own, which may die or hang: they are started again, and the others go on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper
from stable_baselines3.common.vec_env.subproc_vec_env import _worker

from lightning_binding.carml.recall import named
from lightning_binding.carml.worlds.single import TrialEnv, nothing
from lightning_binding.sheltered import sheltered

START = 120.0  # seconds at most in which a process begins its first trial
Result = tuple[Any, float, bool, dict[str, Any], dict[str, Any] | None]


class GuardedVecEnv(SubprocVecEnv):
    """Trials in processes; one that dies, or does not answer in time, is replaced.

    The broken trial passes by in zeros, with `info["broken"]` at every step, so that the vector stays in step. The
    replacement begins with the next trial.

    Args:
        makers: Make the environments of trials.
        episodes: Inner episodes of a trial.
        horizon: Steps of an inner episode.
        timeout: Seconds to wait for an answer.
    """

    def __init__(
        self,
        makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]],
        episodes: int,
        horizon: int,
        timeout: float,
    ) -> None:
        self.makers, self.horizon, self.trial_length, self.timeout = list(makers), horizon, episodes * horizon, timeout
        self.lost: dict[int, str] = {}
        self.clock = 0
        if "forkserver" in multiprocessing.get_all_start_methods():  # imports once what all processes need
            multiprocessing.set_forkserver_preload([TrialEnv.__module__])
        self._generator = np.random.default_rng()
        with sheltered():
            super().__init__(self.makers)
        self.remotes, self.work_remotes = list(self.remotes), list(self.work_remotes)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds the environments, and what replacements are seeded from."""
        self._generator = np.random.default_rng(seed)
        return super().seed(seed)

    def reset(self) -> Any:
        """Begins new trials."""
        self.clock, self.lost = 0, {}
        for index in range(self.num_envs):
            self._send(index, ("reset", (self._seeds[index], self._options[index])))
        seen = [self._first(index) for index in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return self._stacked(seen)

    def step_async(self, actions: Any) -> None:
        """Sends the actions to those that are there."""
        for index, action in enumerate(actions):
            if index not in self.lost:
                self._send(index, ("step", action))
        self.waiting = True

    def step_wait(self) -> Any:
        """Waits for all, each for `timeout` seconds at most."""
        self.clock += 1
        results = [self._result(index) for index in range(self.num_envs)]
        if self.clock == self.trial_length:
            self.clock = 0
            results = [self._renewed(index, result) for index, result in enumerate(results)]
        self.waiting = False
        seen, rewards, dones, infos, self.reset_infos = zip(*results, strict=True)  # type: ignore[assignment]
        return self._stacked(seen), np.array(rewards, np.float32), np.array(dones), list(infos)

    def close(self) -> None:
        """Ends all processes, those that do not answer too."""
        if self.closed:
            return
        for index, process in enumerate(self.processes):
            if not self.waiting:
                self._send(index, ("close", None))
                process.join(1)
            self._end(index)
        self.closed = True

    def _send(self, index: int, message: Any) -> None:
        try:
            self.remotes[index].send(message)
        except OSError:
            self._lose(index, "the process of an environment died.")

    def _receive(self, index: int, timeout: float) -> Any:
        """An answer; None if there is none, and the process is replaced."""
        if index in self.lost:
            return None
        try:
            if self.remotes[index].poll(timeout):
                return self.remotes[index].recv()
            self._lose(index, f"an environment did not answer within {timeout:g} s.")
        except (EOFError, OSError):
            self._lose(index, "the process of an environment died.")
        return None

    def _first(self, index: int) -> Any:
        answer = self._receive(index, max(self.timeout, START))
        return nothing(self.observation_space) if answer is None else answer[0]

    def _result(self, index: int) -> Result:
        answer = self._receive(index, self.timeout)
        if answer is not None:
            return tuple(answer)
        zeros, info = nothing(self.observation_space), {"broken": self.lost[index]}
        if self.clock % self.horizon == 0:
            info["final_observation"] = zeros
        done = self.clock == self.trial_length
        return zeros, 0.0, done, info | ({"terminal_observation": zeros} if done else {}), {}

    def _renewed(self, index: int, result: Result) -> Result:
        """The result at the end of a trial, with the first observation of a replacement's trial."""
        if index not in self.lost:
            return result
        del self.lost[index]
        self._send(index, ("reset", (int(self._generator.integers(2**31)), {})))
        return (self._first(index), *result[1:])

    def _lose(self, index: int, why: str) -> None:
        """Ends a process, and starts another in its place."""
        self.lost[index] = why
        self._end(index)
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context: Any = multiprocessing.get_context(method)
        self.remotes[index], remote = context.Pipe()
        arguments = (remote, self.remotes[index], CloudpickleWrapper(self.makers[index]))
        self.processes[index] = context.Process(target=_worker, args=arguments, daemon=True)
        with sheltered():
            self.processes[index].start()
        remote.close()

    def _end(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].join()
        self.remotes[index].close()

    def _stacked(self, seen: Sequence[Any]) -> Any:
        each = [named(one) for one in seen]
        stacked = {name: np.stack([one[name] for one in each]) for name in each[0]}
        return stacked if isinstance(seen[0], dict) else stacked["observation"]
