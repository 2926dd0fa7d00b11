"""The example that shows what dreams say of themselves."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

import genie_env
from genie_env.envs.registry import find_world

EXAMPLE = Path(__file__).parents[2] / "examples/python/dream_surprise.py"


def test_dream_surprise(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    agent = find_world("doom-take-cover") / "controller.safetensors"
    picture = tmp_path / "scores.png"
    short = f"--agent {agent} --num-envs 4 --steps 30 --temperature 1 --out {picture}"
    players = main(short.split())
    assert players.keys() == {"controller", "random play"}
    assert picture.stat().st_size > 0

    dreams = genie_env.make_vec("doom-take-cover", 4, temperature=1.0, latent_distance=True)
    dreams.reset(seed=0)
    generator = np.random.default_rng(0)
    *_, infos = dreams.step(generator.integers(3, size=4))
    for name, scores in players["random play"].scores.items():
        np.testing.assert_array_equal(scores[0], infos[name].astype(np.float64))
        assert np.isfinite(scores).any(1).all()
