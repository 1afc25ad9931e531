"""The recurrent agent: one memory for steps and for sequences, what it is told, spaces of every kind."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import make_proba_distribution
from torch import Tensor

from lightning_binding.carml.actions import Actions
from lightning_binding.carml.agent import Agent
from lightning_binding.carml.encoders import MLP, NatureCNN, TimmEncoder
from lightning_binding.carml.memory import GRU, LSTM, Memory
from lightning_binding.carml.recall import RECALL, Memo, Recall
from lightning_binding.carml.worlds import Corridor, FindTheArm, PointWorld
from lightning_binding.errors import InputError

BOX = spaces.Box(-1, 1, (3,), np.float32)
PICTURES = spaces.Box(0, 255, (3, 40, 40), np.uint8)
ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(4),
    "multi discrete": spaces.MultiDiscrete([2, 3]),
    "multi binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (2,), np.float32),
}
each_action = pytest.mark.parametrize("space", ACTIONS.values(), ids=list(ACTIONS))
MEMORIES = {"GRU": GRU(8), "LSTM": LSTM(8), "two GRUs": GRU(8, 2), "two LSTMs": LSTM(8, 2)}
each_memory = pytest.mark.parametrize("memory", MEMORIES.values(), ids=list(MEMORIES))


def agent(action: spaces.Space[Any] = ACTIONS["discrete"], seen: spaces.Space[Any] = BOX, **options: Any) -> Agent:
    torch.manual_seed(0)
    made = Agent(seen, action, **{"encoder": MLP([6]), "memory": GRU(8), **options})
    for weight in made.actor.parameters():
        torch.nn.init.normal_(weight)  # so that small changes show
    return made


@each_memory
def test_steps_end_where_a_sequence_ends(memory: Memory) -> None:
    """H2: over the boundaries of inner episodes too, which are flags in the input alone."""
    made = agent(memory=memory)
    features, recall = torch.randn(9, 5, 6), torch.randn(9, 5, made.recall_size)
    recall[..., -1] = (torch.arange(9) % 3 == 0).float()[:, None]
    outputs, _ = made(features, recall)
    _, last = made.memory(torch.cat([features, recall], -1))
    state = made.begin(5)
    for time in range(9):
        found, state = made.step(features[time], recall[time], state)
        torch.testing.assert_close(found, outputs[time], atol=1e-5, rtol=1e-5)
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@each_memory
def test_an_inner_end_flips_the_flag_and_a_trial_clears_the_state(memory: Memory) -> None:
    """H3, through the wrapper and `predict`."""
    made = agent(seen=spaces.Box(-1, 1, (1,), np.float32), action=spaces.Discrete(2), memory=memory)
    world = Corridor(3, episodes=2)
    envs = Recall(world.make(2, 0))
    seen, state, starts = envs.reset(), None, np.ones(2, bool)
    assert not seen[RECALL].any()
    flags = []
    for time in range(2 * world.trial_length):
        before = state
        actions, state = made.predict(seen, state, starts, deterministic=True)
        one = {name: torch.from_numpy(value) for name, value in seen.items()}
        zero = time % world.trial_length == 0
        held = made.begin(2) if zero or before is None else tuple(map(torch.from_numpy, before))
        _, expected = made.step(made.encode(one), one[RECALL], held)  # the state of before, unless a trial began
        for left, right in zip(state, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(left), right)
        seen, rewards, starts, _ = envs.step(actions)
        flags.append(float(seen[RECALL][0, -1]))
        if starts.all():
            assert not seen[RECALL].any()
        else:
            np.testing.assert_array_equal(seen[RECALL][:, :2], np.eye(2)[actions])
            np.testing.assert_array_equal(seen[RECALL][:, 2], rewards)
    assert flags == [0, 0, 1, 0, 0, 0] * 2


def test_the_last_reward_alone_changes_what_is_done() -> None:
    """H4, first half."""
    made = agent()
    features, recall, state = torch.randn(1, 6), torch.zeros(1, made.recall_size), made.begin(1)
    other = recall.clone()
    other[:, -2] = 1
    first, second = (
        made.distribution(made.step(features, each, state)[0]).distribution.probs for each in (recall, other)
    )
    assert (first - second).abs().max() > 1e-3


@each_memory
def test_order_of_environments_does_not_matter(memory: Memory) -> None:
    """H4, second half."""
    made = agent(memory=memory)
    features, recall, order = torch.randn(4, 6, 6), torch.randn(4, 6, made.recall_size), torch.randperm(6)
    for one, other in zip(made(features, recall), made(features[:, order], recall[:, order]), strict=True):
        torch.testing.assert_close(one[:, order], other)


@each_action
@torch.no_grad()
def test_samples_follow_the_distribution_of_stable_baselines3(space: spaces.Space[Any]) -> None:
    made = agent(space)
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(1, made.actions.outputs, generator=generator)
    many = outputs.expand(40_000, -1)
    drawn = made.act(many, made.actions.noise(40_000, generator=generator))
    expected = made.distribution(many)
    torch.manual_seed(1)
    theirs = expected.sample()
    assert drawn.shape == theirs.shape
    assert drawn.dtype == made.actions.dtype
    torch.testing.assert_close(drawn.float().mean(0), theirs.float().mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.float().std(0), theirs.float().std(0), atol=0.03, rtol=0)
    torch.testing.assert_close(made.act(outputs).float(), made.distribution(outputs).mode().float())
    log_probs, entropy = made.evaluate(many[:, None], drawn[:, None])
    torch.testing.assert_close(-log_probs.mean(), entropy.mean(), atol=0.02, rtol=0)  # what entropy is
    for action in made.actions.to_world(drawn[:50].numpy()):
        assert space.contains(action if space.shape else int(action))


@each_action
def test_the_code_of_an_action(space: spaces.Space[Any]) -> None:
    known = Actions(space)
    memo = Memo(known, 6)
    space.seed(0)
    actions = np.stack([space.sample() for _ in range(6)])
    memo.note(actions, np.arange(6), True)
    code = memo.values[:, :-2]
    if known.choices:
        one_hot = make_proba_distribution(space)  # decode by the most probable choice
        torch.testing.assert_close(one_hot.proba_distribution(torch.from_numpy(code)).mode(), torch.from_numpy(actions))
        assert (code.sum(1) == len(known.choices)).all()
    else:
        np.testing.assert_array_equal(code, actions)
    np.testing.assert_array_equal(memo.values[:, -2:], np.stack([np.arange(6), np.ones(6)], 1))


def test_actions_stay_inside_of_their_bounds() -> None:
    known = Actions(spaces.Box(-2, 0.5, (1, 2), np.float32))
    np.testing.assert_array_equal(known.to_world(np.array([[-3.0, 1.0]], np.float32)), [[[-2, 0.5]]])


def test_dicts_of_observations_are_encoded_key_by_key() -> None:
    seen = spaces.Dict({"camera": PICTURES, "touch": BOX, "mode": spaces.Discrete(3)})
    made = agent(seen=seen, encoder=None)
    batch = {name: torch.from_numpy(np.stack([space.sample() for _ in range(6)])) for name, space in seen.items()}
    features = made.encode(batch)
    assert features.shape == (6, 256 + 3 + 3)
    torch.testing.assert_close(features[:, -3:], batch["touch"])
    one_hot = torch.nn.functional.one_hot(batch["mode"], 3).float()
    torch.testing.assert_close(features[:, 256:259], one_hot)
    shaped = {name: value.unflatten(0, (2, 3)) for name, value in batch.items()}
    torch.testing.assert_close(made.encode(shaped), features.unflatten(0, (2, 3)))


def test_pictures_are_scaled_and_a_frozen_backbone_stays_as_it_is() -> None:
    encoder = TimmEncoder("emoji_resnet", layer="layer2", frozen=True, grid=2)
    made = agent(seen=PICTURES, encoder=encoder)
    assert made.frozen
    assert not agent(seen=PICTURES, encoder=NatureCNN(16)).frozen
    assert not agent(seen=PICTURES, encoder=TimmEncoder("emoji_resnet", frozen=False)).frozen
    made.train()
    (network,) = made.encoders.values()
    picture = torch.randint(256, (2, 3, 40, 40), dtype=torch.uint8)
    before = network.backbone.network.conv1[0].weight.clone()
    statistics = {name: value.clone() for name, value in network.backbone.named_buffers()}
    features = made.encode({"observation": picture})
    assert features.shape == (2, 4 * network.backbone.channels)
    assert not features.requires_grad
    expected = network.backbone((picture / 255 - network.mean) / network.std)
    cells = torch.nn.functional.adaptive_avg_pool2d(expected, 2).flatten(1)
    torch.testing.assert_close(features, cells)
    assert torch.equal(network.backbone.network.conv1[0].weight, before)
    assert all(torch.equal(value, statistics[name]) for name, value in network.backbone.named_buffers())


@pytest.mark.parametrize("world", [FindTheArm(3, 4), PointWorld(horizon=4), PointWorld(horizon=4, pictures=True)])
def test_predict_takes_one_environment_or_many(world: Any) -> None:
    made = Agent(world.observation_space, world.action_space, memory=LSTM(8))
    envs = Recall(world.make(3, 0))
    seen = envs.reset()
    actions, state = made.predict(seen, deterministic=True)
    assert len(actions) == 3
    one = {name: value[1] for name, value in seen.items()}
    action, alone = made.predict(one, deterministic=True)
    np.testing.assert_allclose(action, actions[1], atol=1e-5)
    assert state is not None
    assert alone is not None
    for whole, part in zip(state, alone, strict=True):
        np.testing.assert_allclose(part[:, 0], whole[:, 1], atol=1e-6)


def test_pictures_of_all_environments_come_through_the_wrapper() -> None:
    """As the recorder of videos of stable-baselines3 asks for them."""
    envs = Recall(PointWorld(horizon=3).make(4, 0))
    envs.reset()
    assert envs.render_mode == "rgb_array"
    picture = envs.render()
    one = envs.get_images()[0]
    assert picture is not None
    assert picture.shape == (2 * one.shape[0], 2 * one.shape[1], 3)
    np.testing.assert_array_equal(picture[: one.shape[0], : one.shape[1]], one)


def test_flat_recall_is_the_dict_in_one_vector() -> None:
    world = PointWorld(horizon=3)
    known, flat = Recall(world.make(2, 0)), Recall(world.make(2, 0), flat=True)
    seen, vector = known.reset(), flat.reset()
    for _ in range(world.trial_length):
        np.testing.assert_array_equal(np.concatenate(list(seen.values()), 1), vector)
        assert flat.observation_space.contains(vector[0])
        assert known.observation_space.contains({name: value[0] for name, value in seen.items()})
        actions = np.ones((2, 2), np.float32)
        (seen, *_, infos), (vector, *_) = known.step(actions), flat.step(actions)
    assert set(infos[0]["terminal_observation"]) == {"observation", RECALL}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agent(encoder=NatureCNN()), r"NatureCNN takes pictures .* and the observations are Box\(-1"),
        (lambda: agent(encoder=TimmEncoder()), r"TimmEncoder takes pictures .*`pictures: true`"),
        (lambda: agent(seen=spaces.Box(0, 255, (1, 40, 40), np.uint8), encoder=TimmEncoder()), "have 1 channels"),
        (lambda: agent(spaces.Text(3)), "are none that an agent can take"),
        (lambda: agent(seen=spaces.Dict({"a": BOX}), encoder={"b": MLP()}), "given for b; the observation has a"),
        (lambda: agent().predict({"observation": np.zeros((1, 3))}), "wrap the environments in Recall"),
    ],
)
def test_what_does_not_fit_is_explained(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_every_weight_learns() -> None:
    made = agent(ACTIONS["box"], separate_critic=True, heads=[5])
    outputs, values = made(made.encode({"observation": torch.randn(4, 3, 3)}), torch.randn(4, 3, made.recall_size))
    log_probs, entropy = made.evaluate(outputs, torch.randn(4, 3, 2))
    loss: Tensor = log_probs.sum() + entropy.sum() + values.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.any()] == []
