"""A stand-in for `vizdoom.DoomGame`: a few squares that move, with labels whose values change in every frame."""

from types import SimpleNamespace

import numpy as np

HEIGHT, WIDTH = 24, 32
CATEGORIES = {0: "Monster", 2: "Self", 5: "Health", 9: "Monster", 11: "Explosive"}


class FakeGame:
    """Object k is a square of colour k; it moves by what was drawn from the seed, and by the walk."""

    def __init__(self, scenario="fake", height=HEIGHT, width=WIDTH, lasts=10**6):
        self.scenario, self.shape, self.lasts = scenario, (height, width), lasts
        self.episodes, self.rendered, self.closed = 0, 0, False

    def set_seed(self, seed):
        self.seed = seed

    def new_episode(self):
        self.episodes += 1
        self.random = np.random.default_rng(self.seed)
        self.tic, self.camera = 0, 0.0
        self.places = {k: self.random.uniform(0, 20, 2) for k in CATEGORIES}

    def set_action(self, action):
        self.action = action

    def advance_action(self, tics, update_state):
        self.tic += tics
        self.camera += self.action[2]
        self.fresh = update_state
        self.rendered += update_state

    def is_episode_finished(self):
        return self.tic > self.lasts

    def truth(self):
        """Ids plus 1 as they are in the picture, untracked ones as well."""
        ids = np.zeros(self.shape, int)
        for k, (y, x) in self.places.items():
            top, left = int(y), int(x + self.camera) % 20
            ids[top : top + 6, left : left + 6] = k + 1
        return ids

    def close(self):
        self.closed = True

    def get_state(self):
        assert self.fresh, "the state is an old one"
        ids = self.truth()
        values = dict(zip(CATEGORIES, self.random.permutation(np.arange(2, 200))[: len(CATEGORIES)], strict=True))
        buffer = np.ones(self.shape, np.uint8)
        for k, value in values.items():
            buffer[ids == k + 1] = value
        labels = [SimpleNamespace(value=int(v), object_id=k, object_category=CATEGORIES[k]) for k, v in values.items()]
        screen = np.stack([ids, ids, np.full(self.shape, self.tic % 256)]).astype(np.uint8)
        return SimpleNamespace(screen_buffer=screen, labels_buffer=buffer, labels=labels)
