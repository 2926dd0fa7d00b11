"""An agent that decides every few steps, and holds its last action in between."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from genie_env.agents.agent import Agent


class Decisions:
    """The actions of one agent in N rows, each of which plays an episode of its own."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._repeat = agent, agent.action_repeat
        self._last: torch.Tensor | None = None

    def act(self, observation: torch.Tensor, steps: int | Sequence[int]) -> torch.Tensor:
        """Actions of N rows, int64 [N] or float32 [N, *shape], on observation [N, ...], in episodes
        that are `steps` steps of the world old: one number, or one a row. The first call decides
        whatever their age."""
        if self._repeat == 1:
            return self._agent.act(observation)
        due = torch.as_tensor(steps, device=observation.device) % self._repeat == 0
        if self._last is None or due.all():
            self._last = self._agent.act(observation)
        elif due.any():
            chosen = self._agent.act(observation)
            due = due.view(-1, *[1] * (chosen.dim() - 1))
            self._last = torch.where(due, chosen, self._last)
        return self._last

    def forget(self) -> None:
        """The next call decides: what was chosen before belongs to another moment."""
        self._last = None

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with the given rows (int64 [R]) alone, in that order."""
        if self._last is not None:
            self._last = self._last[rows]
