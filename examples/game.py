"""Learn a game, balancing a pole, by PPO in a loop of your own, and let it be watched.

The game is that of Barto, Sutton, Anderson 1983 in 64 copies; the training is Schulman et al. 2017, arXiv:1707.06347.

python examples/game.py
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import trainwell as tw

GAMES, MOVES, LONGEST = 64, 64, 500


class Poles:
    """Carts that are pushed left or right, each with a pole that falls."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.state, self.age = self.rng.uniform(-0.05, 0.05, (GAMES, 4)), np.zeros(GAMES)

    def push(self, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move on by 0.02 s; return which games ended and their lengths. They begin anew."""
        _, v, angle, spin = self.state.T
        force = np.where(right == 1, 10.0, -10.0) + 0.05 * spin**2 * np.sin(angle)
        fall = 9.8 * np.sin(angle) - np.cos(angle) * force / 1.1
        fall = fall / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
        change = np.stack([v, force / 1.1 - 0.05 * fall * np.cos(angle) / 1.1, spin, fall], 1)
        self.state, self.age = self.state + 0.02 * change, self.age + 1
        ended = (abs(self.state[:, 0]) > 2.4) | (abs(self.state[:, 2]) > 0.2095) | (self.age >= LONGEST)
        lengths = self.age[ended]
        self.state[ended], self.age[ended] = self.rng.uniform(-0.05, 0.05, (len(lengths), 4)), 0
        return ended, lengths


class Player(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.policy, self.value = nn.Linear(64, 2), nn.Linear(64, 1)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.body(state)
        return self.policy(seen), self.value(seen).squeeze(-1)


def play(poles: Poles, player: Player) -> tuple[list[Tensor], list[float]]:
    """Return states, moves, log-probabilities, advantages and returns of 64 moves, and the lengths of ended games."""
    states, moves, logs, values, going, lengths = [], [], [], [], [], []
    with torch.no_grad():
        for _ in range(MOVES):
            states.append(torch.from_numpy(poles.state.astype("float32")))
            logits, value = player(states[-1])
            choice = Categorical(logits=logits)
            moves.append(choice.sample())
            logs.append(choice.log_prob(moves[-1]))
            values.append(value)
            ended, over = poles.push(moves[-1].numpy())
            going.append(torch.from_numpy(1.0 - ended))
            lengths += over.tolist()
        after = player(torch.from_numpy(poles.state.astype("float32")))[1]
    advantages: list[Tensor] = []
    ahead = torch.zeros(GAMES)
    for t in reversed(range(MOVES)):  # a reward of 0.05 for every move, so that values are about 1
        ahead = 0.05 + 0.99 * after * going[t] - values[t] + 0.99 * 0.95 * going[t] * ahead
        advantages.insert(0, ahead.float())
        after = values[t]
    returns = [a + v for a, v in zip(advantages, values, strict=True)]
    return [torch.cat(part) for part in (states, moves, logs, advantages, returns)], lengths


def main(rounds: int = 30, rate: float = 3e-3) -> float:
    torch.manual_seed(0)
    poles, player = Poles(0), Player()
    optimizer, lengths = torch.optim.Adam(player.parameters(), lr=rate), [0.0]
    with tw.watch(player, optimizer):
        for number in range(1, rounds + 1):
            seen, ended = play(poles, player)
            lengths += ended
            for _ in range(4):
                for rows in torch.randperm(GAMES * MOVES).split(512):
                    state, move, log, advantage, gain = (part[rows] for part in seen)
                    logits, value = player(state)
                    choice = Categorical(logits=logits)
                    ratio = (choice.log_prob(move) - log).exp()
                    advantage = (advantage - advantage.mean()) / advantage.std()
                    better = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
                    loss = (value - gain).square().mean() - better - 0.01 * choice.entropy().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            if number % 5 == 0:
                print(
                    f"round {number}: the last 100 games took {np.mean(lengths[-100:]):.0f} moves of {LONGEST}"
                )
    return float(np.mean(lengths[-100:]))


if __name__ == "__main__":
    main()
