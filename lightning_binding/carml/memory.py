"""What an agent remembers with: a GRU or an LSTM, over whole trials when it learns, step by step when it acts."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]  # each (layers, N, hidden): h of a GRU, h and c of an LSTM


class Memory:
    """Description of a recurrent network; `build` makes it for inputs of a size.

    Args:
        hidden: Size of the hidden state.
        layers: Layers on top of one another.
    """

    network: ClassVar[type[nn.RNNBase]]
    states: ClassVar[int]

    def __init__(self, hidden: int = 128, layers: int = 1) -> None:
        self.hidden, self.layers = hidden, layers

    def build(self, size: int) -> Recurrent:
        """The network for inputs of `size` numbers, with random weights: orthogonal, and biases of zero."""
        return Recurrent(self.network(size, self.hidden, self.layers), self.states)  # type: ignore[arg-type]


class GRU(Memory):
    """A gated recurrent unit, as in RL².

    Args:
        hidden: Size of the hidden state.
        layers: Layers on top of one another.
    """

    network = nn.GRU
    states = 1

    def __init__(self, hidden: int = 128, layers: int = 1) -> None:
        super().__init__(hidden, layers)


class LSTM(Memory):
    """A long short-term memory; on a CPU, its learning takes half of the time of a GRU's.

    Args:
        hidden: Size of the hidden state.
        layers: Layers on top of one another.
    """

    network = nn.LSTM
    states = 2

    def __init__(self, hidden: int = 128, layers: int = 1) -> None:
        super().__init__(hidden, layers)


class Recurrent(nn.Module):
    """A recurrent network of torch: `forward` over sequences in one call, `step` over single steps.

    Args:
        network: `nn.GRU` or `nn.LSTM`, with time first.
        states: Tensors of its state, 1 or 2.
    """

    def __init__(self, network: nn.RNNBase, states: int) -> None:
        super().__init__()
        self.network, self.states = network, states
        self.hidden, self.layers = network.hidden_size, network.num_layers
        for name, weight in network.named_parameters():
            nn.init.zeros_(weight) if "bias" in name else nn.init.orthogonal_(weight)

    def begin(self, count: int, device: Any = None) -> State:
        """States of zeros for `count` sequences."""
        return tuple(torch.zeros(self.layers, count, self.hidden, device=device) for _ in range(self.states))

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Outputs (L, B, hidden) and the last state, of inputs (L, B, size) and the state before, zeros if None."""
        given = state if state is None or self.states == 2 else state[0]
        outputs, last = self.network(inputs, given)
        return outputs, last if self.states == 2 else (last,)

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (N, hidden) and the next state of inputs (N, size): `forward` over one step, in less time."""
        layers: list[State] = []
        for layer in range(self.layers):
            weights = [
                getattr(self.network, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            if self.states == 2:
                layers.append(torch.lstm_cell(inputs, [state[0][layer], state[1][layer]], *weights))
            else:
                layers.append((torch.gru_cell(inputs, state[0][layer], *weights),))
            inputs = layers[-1][0]
        if self.layers == 1:
            return inputs, tuple(each.unsqueeze(0) for each in layers[0])
        return inputs, tuple(torch.stack(each) for each in zip(*layers, strict=True))
