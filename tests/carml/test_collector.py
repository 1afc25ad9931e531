"""Rollouts: what the agent was told is what it is judged by, models of rewards, trials that break off, bad numbers."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from lightning_binding.carml.agent import Agent
from lightning_binding.carml.collector import Collector
from lightning_binding.carml.encoders import MLP, TimmEncoder
from lightning_binding.carml.memory import GRU, LSTM
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.worlds import ArrayWorld, BernoulliBandit, DarkRoom, EnvWorld, PointWorld, World
from lightning_binding.errors import InputError

WORLDS = [
    BernoulliBandit(3, 4),
    DarkRoom(5, episodes=3, horizon=4),
    PointWorld(episodes=2, horizon=3),
    PointWorld(episodes=2, horizon=3, pictures=True, discrete=True),
]
each_world = pytest.mark.parametrize("world", WORLDS, ids=["bandit", "dark room", "point", "pictures"])


def agent_of(world: World, **options: Any) -> Agent:
    torch.manual_seed(0)
    return Agent(world.observation_space, world.action_space, **{"memory": GRU(8), **options})


def collector_of(world: World, count: int = 5, trials: int = 2, seed: int = 0) -> Collector:
    return Collector(world.make(count, seed), world, trials * world.trial_length, seed)


@each_world
@torch.no_grad()
def test_looked_at_again_the_actions_are_as_probable(world: ArrayWorld) -> None:
    """H1: with the noise that they were drawn with, the outputs of the whole sequence choose the same actions."""
    agent = agent_of(world)
    rollout = collector_of(world).collect(agent)
    outputs, _ = agent(agent.encode(rollout.observations), rollout.recall)
    noise = agent.actions.noise(world.trial_length, 5, generator=torch.Generator().manual_seed(0))
    first = agent.act(outputs[:, :5], noise)
    torch.testing.assert_close(first, rollout.actions[:, :5], atol=1e-5, rtol=1e-5)


@each_world
def test_what_the_agent_was_told_is_what_happened(world: ArrayWorld) -> None:
    rollout = collector_of(world).collect(agent_of(world))
    length, trials = world.trial_length, 10
    assert (rollout.length, rollout.trials) == (length, trials)
    assert not rollout.recall[0].any()  # zeros at the beginning of a trial
    codes = np.zeros((trials, rollout.recall.shape[-1] - 2), np.float32)
    for time in range(1, length):
        agent_of(world).actions.encode(rollout.actions[time - 1].numpy(), codes)
        torch.testing.assert_close(rollout.recall[time, :, :-2], torch.from_numpy(codes))
        torch.testing.assert_close(rollout.recall[time, :, -2], rollout.rewards[time - 1])
        assert (rollout.recall[time, :, -1] == float(time % world.horizon == 0)).all()
    assert torch.equal(rollout.rewards, rollout.world_rewards)
    assert rollout.valid.all()


def test_states_are_what_steps_led_to() -> None:
    world = PointWorld(episodes=3, horizon=4, goals=[(0.3, 0.3)])
    rollout = collector_of(world).collect(agent_of(world))
    states = rollout.states()["observation"]
    assert states.shape == (3, 4, 10, 2)
    assert rollout.positions is not None
    torch.testing.assert_close(states.flatten(0, 1), rollout.positions)
    assert not rollout.observations["observation"][::4].any()  # episodes begin in the middle
    moved = rollout.actions.clamp(-1, 1).view(3, 4, 10, 2)
    torch.testing.assert_close(states[:, 0], 0.12 * moved[:, 0])
    distance = (states - 0.3).norm(dim=-1)
    torch.testing.assert_close(rollout.rewards.view(3, 4, 10), 1 - distance)
    torch.testing.assert_close(rollout.episode_returns(), (1 - distance).sum(1))
    assert rollout.successes is not None
    assert torch.equal(rollout.successes, distance[:, -1] < world.reach)


class ToTheRight:
    """Task 1 pays for going right, task 0 for going left; it notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, dict[str, Any]]] = []

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(2, (count,), generator=generator)

    def __call__(self, tasks: Tensor, observations: dict[str, Any], rewards: Any) -> Any:
        self.asked.append((tasks.clone(), {name: value.copy() for name, value in observations.items()}))
        return (2 * tasks.numpy() - 1) * observations["observation"][:, 0]


def test_a_model_pays_in_place_of_the_world() -> None:
    world = PointWorld(episodes=2, horizon=3)
    model = ToTheRight()
    rollout = collector_of(world).collect(agent_of(world), model)
    assert rollout.tasks is not None
    assert set(rollout.tasks.tolist()) == {0, 1}
    assert len(model.asked) == 2 * world.trial_length
    states = rollout.states()["observation"].flatten(0, 1)
    for time, (tasks, seen) in enumerate(model.asked[: world.trial_length]):
        assert torch.equal(tasks, rollout.tasks[:5])  # kept over the inner episodes
        np.testing.assert_array_equal(seen["observation"], states[time, :5])  # the last ones of an episode, too
    expected = (2 * rollout.tasks - 1) * states[..., 0]
    torch.testing.assert_close(rollout.rewards, expected.float())
    torch.testing.assert_close(rollout.recall[1:, :, -2], rollout.rewards[:-1])  # the agent is told of them
    assert not torch.equal(rollout.rewards, rollout.world_rewards)
    again = collector_of(world).collect(agent_of(world), ToTheRight())
    assert torch.equal(again.tasks, rollout.tasks)


@each_world
def test_a_collector_goes_on_where_another_was(world: ArrayWorld) -> None:
    agent, first = agent_of(world), collector_of(world)
    first.collect(agent)
    state = first.state_dict()
    expected = first.collect(agent)
    second = collector_of(world, seed=7)
    second.load_state_dict(state)
    found = second.collect(agent)
    for name, value in expected.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(value, getattr(found, name)), name
    assert not torch.equal(collector_of(world, seed=7).collect(agent).actions, expected.actions)
    first.restart()
    assert torch.equal(first.collect(agent).actions, collector_of(world).collect(agent).actions)


def test_features_of_a_frozen_encoder_are_kept() -> None:
    world = PointWorld(episodes=2, horizon=3, pictures=True)
    agent = agent_of(world, encoder=TimmEncoder("emoji_resnet", layer="layer2"))
    rollout = collector_of(world).collect(agent)
    assert rollout.features is not None
    with torch.no_grad():
        torch.testing.assert_close(rollout.features, agent.encode(rollout.observations))
    batch = rollout.batch  # no pictures are handed on
    rollout.log_probs = rollout.values = rollout.advantages = rollout.returns = rollout.rewards
    assert "observations" not in batch(torch.tensor([3, 1]))
    assert collector_of(world).collect(agent_of(world)).features is None


def test_a_batch_holds_whole_trials() -> None:
    world = DarkRoom(5, episodes=2, horizon=3)
    rollout = collector_of(world).collect(agent_of(world, encoder=MLP([4])))
    rollout.log_probs = rollout.values = rollout.advantages = rollout.returns = rollout.rewards
    rollout.valid[7] = False
    batch = rollout.batch(torch.tensor([7, 2]))
    assert batch["recall"].shape[:2] == (6, 2)
    assert torch.equal(batch["observations"]["observation"], rollout.observations["observation"][:, [7, 2]])
    assert torch.equal(batch["mask"], torch.tensor([[0.0, 1.0]]).expand(6, -1))
    again = Rollout.from_state(rollout.state_dict())
    assert torch.equal(again.batch(torch.tensor([7, 2]))["actions"], batch["actions"])


class Odd(gymnasium.Env[Any, Any]):
    """Gives what it is told to at its third step."""

    observation_space, action_space = spaces.Box(-9, 9, (2,), np.float32), spaces.Discrete(2)

    def __init__(self, trouble: str) -> None:
        self.trouble, self.clock = trouble, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.clock = 0
        return np.ones(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.clock += 1
        now = self.clock == 3
        if now and self.trouble == "raise":
            raise RuntimeError("no more fuel")
        seen = np.array([1, np.nan if now and self.trouble == "observation" else 1], np.float32)
        return seen, float("nan") if now and self.trouble == "reward" else 1.0, False, False, {}


class OddWorld(EnvWorld):
    """Environments of which the second is odd."""

    observation_space, action_space = Odd.observation_space, Odd.action_space

    def __init__(self, trouble: str, every: int = 2) -> None:
        super().__init__(episodes=2, horizon=4)
        self.trouble, self.every, self.made = trouble, every, 0

    def make_one(self) -> Odd:
        self.made += 1
        return Odd(self.trouble if self.made % self.every == 0 else "")


def test_a_trial_that_breaks_off_is_dropped_and_counted() -> None:
    world = OddWorld("raise")
    collector = collector_of(world, count=2, trials=3)
    rollout = collector.collect(agent_of(world, memory=LSTM(4)))
    # The second environment breaks in its first trial, and its replacement, the third one made, is sound.
    assert rollout.valid.tolist() == [True, False, True, True, True, True]
    assert rollout.errors == ("an environment raised RuntimeError at step 2 of a trial: no more fuel.",)
    assert rollout.episode_returns().shape == (2, 5)
    assert (rollout.episode_returns() == 4).all()
    assert not rollout.mask[:, 1].any()
    assert torch.isfinite(rollout.recall).all()


def test_another_number_of_environments_is_refused() -> None:
    world = BernoulliBandit(4, 6)
    agent = agent_of(world)
    first, other = collector_of(world, count=8), collector_of(world, count=4)
    first.collect(agent)
    with pytest.raises(InputError, match=r"states of 8 environments, and there are 4: give --data\.envs 8"):
        other.load_state_dict(first.state_dict())


@pytest.mark.gpu
def test_on_a_gpu_the_noise_of_actions_is_of_the_seed_and_goes_on() -> None:
    world = BernoulliBandit(4, 6)
    agent = agent_of(world).to("cuda")
    first, second, third = (collector_of(world, count=8) for _ in range(3))
    rollouts = [first.collect(agent), first.collect(agent)]
    assert torch.equal(second.collect(agent).actions, rollouts[0].actions)
    third.load_state_dict(second.state_dict())
    assert torch.equal(third.collect(agent).actions, rollouts[1].actions)
    assert not torch.equal(rollouts[0].actions, rollouts[1].actions)


@pytest.mark.parametrize("trouble", ["reward", "observation"])
def test_numbers_that_are_not_finite_are_explained(trouble: str) -> None:
    world = OddWorld(trouble)
    message = rf"OddWorld gave a `?{trouble}`? that is not finite, at step 2 of a trial in environment 1: mend"
    with pytest.raises(InputError, match=message):
        collector_of(world, count=2).collect(agent_of(world))


def test_a_world_that_always_breaks_is_explained() -> None:
    world = OddWorld("raise", every=1)
    with pytest.raises(InputError, match=r"all 4 trials were broken off: an environment raised RuntimeError .* Mend"):
        collector_of(world, count=2).collect(agent_of(world))


@pytest.mark.parametrize("steps", [0, 13, 20])
def test_steps_that_hold_no_whole_trials_are_explained(steps: int) -> None:
    world = DarkRoom(5, episodes=3, horizon=4)
    with pytest.raises(InputError, match=f"steps is {steps}, which does not hold whole trials of 3 episodes of 4"):
        Collector(world.make(2, 0), world, steps)


def test_a_model_that_pays_no_number_is_explained() -> None:
    class Nan(ToTheRight):
        def __call__(self, *arguments: Any) -> Any:
            return super().__call__(*arguments) * np.nan

    world = PointWorld(horizon=2)
    with pytest.raises(InputError, match="Nan gave a reward that is not finite at step 0"):
        collector_of(world).collect(agent_of(world), Nan())
