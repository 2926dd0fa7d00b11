"""The dream score: an agent's scores in dreams that its training never saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from genie_env.agents.agent import file_hash, load_agent
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.data.files import write_json
from genie_env.data.midway import Midway
from genie_env.data.progress import Progress, say
from genie_env.data.run_directory import changed_settings
from genie_env.envs.json_files import read_json
from genie_env.evaluation.statistics import summarise


def dream_scores(
    dreams: Dreams,
    agent: Path,
    seed: int,
    episodes: int,
    file: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Plays an agent in `episodes` fresh dreams: the summary, the agent and the world, every score
    and seed. How many have ended is shown on the console. Writes it all into `file`, beside which
    the scores of dreams that have ended are kept meanwhile.

    No training derives its seeds in the same way, so that the score of a checkpoint which was
    chosen for its luck is not too high. Raises ValueError where the agent was trained in another
    world.
    """
    player = load_agent(agent)
    player.check_world(dreams.world)
    _notice_functions(player.notes, dreams.functions)
    seeds = derived_seeds(seed, count=episodes)
    identity = dream_identity(dreams, agent, seed)
    columns = (TextColumn("dreaming"), BarColumn(), MofNCompleteColumn(), TextColumn("have ended"))
    with Midway(file, {**identity, "episodes": episodes}) as midway:
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=episodes)
            scores = dreams.play_agent(
                player,
                seeds,
                lambda step, alive: bar.update(task, completed=episodes - alive),
                midway,
            ).scores.tolist()
        found = {**summarise(scores).as_json(), **identity, "scores": scores, "seeds": seeds}
        if file is not None:
            write_json(file, found)
    return found


def kept_dream_scores(
    dreams: Dreams, agent: Path, seed: int, episodes: int, file: Path, console: Console
) -> list[float]:
    """The agent's scores in fresh dreams, which `file` keeps; made again where it holds others."""
    if file.exists():
        known = read_json(file, {"scores": [float], "seeds": list})
        now = dream_identity(dreams, agent, seed)
        changes = changed_settings({name: known.get(name) for name in now}, now)
        count = len(known["scores"])
        if not changes and count == episodes:
            return [float(score) for score in known["scores"]]
        why = changes or f"{count:,} of them, and {episodes:,} are taken here"
        console.print(
            f"{file} holds other dreams ({why}): they are dreamt again",
            markup=False,
            soft_wrap=True,
        )
    return [*dream_scores(dreams, agent, seed, episodes, file, console)["scores"]]


def _notice_functions(notes: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Prints a line where an agent was trained with other functions of the user's than those given."""
    for option in ("reward_fn", "termination_fn"):
        trained, now = notes.get(option), given.get(option)
        source, source_now = (names.get(f"{option}_source") for names in (notes, given))
        edited = source is not None and source != source_now
        if trained is None or (trained == now and not edited):
            continue
        here = "without one" if now is None else f"with {now}"
        if trained == now:
            here += " as it is now, whose source is another"
        say(f"the agent was trained with {option} {trained}, and is scored here {here}")


def dream_identity(dreams: Dreams, agent: Path, seed: int) -> dict[str, Any]:
    """What decides the scores of an agent in fresh dreams."""
    return {
        "agent": file_hash(agent),
        "world": dreams.fingerprint,
        "dtype": dreams.world.spec.dtype,
        **dreams.settings,
        "seed": seed,
    }
