"""The commands of `genie-env`, in the order of its help. Needs no torch."""

from __future__ import annotations

from genie_env.families import RESUMES, Command
from genie_env.families.commands import family_commands

GROUPS = {
    "train": "Train the parts of a world, or an agent inside one.",
    "import": "Bring in what others recorded or trained.",
    "freeze": "Freeze trained networks into a world directory.",
}

OLD_OPTIONS = {
    "--band": "--window",
    "--genie": "--random genie:SIZES",
    "--momentum": "--action-decay",
    "--order": "--option order=ORDER",
    "--passes": "--option passes=NUMBER",
    "--termination": "--option termination=HOW",
}
"""Options of earlier versions, and what replaces them in the commands that no longer have them."""


def commands() -> list[Command]:
    """All of them; those of families that are registered by now."""
    return [
        Command(
            "",
            "demo",
            "genie_env.cli.demo:demo",
            "Train an agent inside a dream for three minutes, then let it play the real game.",
            "demo --minutes 3 --out demo",
        ),
        Command(
            "",
            "worlds",
            "genie_env.cli.worlds:worlds",
            "List the installed worlds, or show one with its options and observations.",
            "worlds doom-genie",
        ),
        Command(
            "",
            "play",
            "genie_env.cli.play:play",
            "Serve a page on which the dream is played, with the keys of your browser.",
            "play doom-take-cover",
        ),
        Command(
            "",
            "check",
            "genie_env.cli.check:check",
            "Dream a few steps of a world, and say which of its promises hold.",
            "check runs/world",
        ),
        Command(
            "",
            "record",
            "genie_env.cli.record:record",
            "Play a real game and record every frame, action, reward and end.",
            "record doom-take-cover --episodes 1500 --out data/doom",
            RESUMES,
        ),
        Command(
            "import",
            "minari",
            "genie_env.cli.import_minari:import_minari",
            "Write a Minari dataset with pictures as a recording.",
            "import minari minigrid/pictures-v0 --out data/minigrid",
            RESUMES,
        ),
        *family_commands("import"),
        Command(
            "",
            "inspect",
            "genie_env.cli.inspect:inspect",
            "Print what recorded episodes hold, and write a contact sheet of their frames.",
            "inspect data/doom",
        ),
        *family_commands("train"),
        Command(
            "train",
            "controller",
            "genie_env.cli.train_controller:train_controller_command",
            "Train a linear controller by CMA-ES, entirely inside the dream.",
            "train controller --world doom-take-cover --steps 10M --out runs/agent",
            RESUMES,
        ),
        Command(
            "train",
            "ppo",
            "genie_env.cli.train_ppo:train_ppo_command",
            "Train a policy network by PPO, inside the dream or, with --reality, in the real game.",
            "train ppo --world doom-take-cover --steps 1M --out runs/ppo",
            RESUMES,
        ),
        Command(
            "train",
            "clone",
            "genie_env.cli.train_clone:train_clone_command",
            "Train a policy network to act as the player of recordings did, on what a world's agents "
            "see.",
            "train clone --world car-racing --data data/car-driver --out runs/clone",
        ),
        Command(
            "",
            "map-actions",
            "genie_env.cli.map_actions:map_actions",
            "Map latent actions to real ones with a few labels; compare with a supervised classifier.",
            "map-actions --latent-actions runs/actions --data data/doom --labelled 200 --out runs/map",
            "the inferred codes and a finished classifier are kept",
        ),
        *family_commands("freeze"),
        Command(
            "",
            "dream",
            "genie_env.cli.dream:dream",
            "Dream on from a picture: a clip for every action, held from beginning to end.",
            "dream --world doom-genie --picture picture.png --out clips",
        ),
        Command(
            "",
            "calibrate",
            "genie_env.cli.calibrate:calibrate",
            "Find the temperature at which blind policies score as high in the dream as in the real "
            "game.",
            "calibrate --world runs/world --out runs/calibration",
            RESUMES,
        ),
        Command(
            "",
            "outcomes",
            "genie_env.cli.outcomes:outcomes",
            "Measure how well a world knows reward and termination.",
            "outcomes --world runs/world --data data/doom --out runs/outcomes",
        ),
        Command(
            "",
            "fidelity",
            "genie_env.cli.fidelity:fidelity",
            "Measure how well a world predicts recorded episodes, and what its actions control.",
            "fidelity --world doom-genie --data data/doom --out runs/fidelity",
        ),
        Command(
            "",
            "continuity",
            "genie_env.cli.continuity:continuity",
            "Measure what a world keeps of what it was shown, by the age of its dreams.",
            "continuity --world doom-take-cover --data data/doom-labels --labels --out runs/continuity",
            RESUMES,
        ),
        Command(
            "",
            "dream-score",
            "genie_env.cli.dream_score:dream_score",
            "Play fresh dreams with an agent: the score that chooses among agents.",
            "dream-score --world doom-take-cover --agent runs/agent/agent.safetensors",
        ),
        Command(
            "",
            "film",
            "genie_env.cli.film:film",
            "Film an agent in the real game and in its dream, side by side.",
            "film --world runs/world --agent runs/agent/agent.safetensors --out film.mp4",
        ),
        Command(
            "",
            "evaluate",
            "genie_env.cli.evaluate:evaluate",
            "Play the real game, with an agent or a blind policy.",
            "evaluate --world doom-take-cover --agent runs/agent/agent.safetensors --episodes 100",
            f"with --json, {RESUMES}",
        ),
        Command(
            "",
            "table",
            "genie_env.cli.table:table",
            "Train at several temperatures with equal budgets; compare dream and real game.",
            "table --world runs/world --steps 10M --temperature 0.5 1.0 1.3 --out runs/table",
            RESUMES,
        ),
        Command(
            "",
            "rank",
            "genie_env.cli.rank:rank",
            "Play agents in dream and real game, and compare the orders that the scores put them in.",
            "rank --world runs/world --agent runs/agents --out runs/ranking",
            RESUMES,
        ),
        Command(
            "",
            "bench",
            "genie_env.cli.bench:bench",
            "Measure steps/s against batch size: features only, with decoding, and as NumPy arrays.",
            "bench --world doom-take-cover --batch 1 64 1024",
        ),
    ]
