"""Evaluate a trained model on tasks, from local files.

    python -m pretrain_jax.evaluate --workdir=runs/gpt2_nano --tasks=blimp,lambada --data=FOLDER
                                    [--shots=K] [--limit=N] [--compare=runs/other] [--json]

--workdir     Folder of the run, or of one of its checkpoints.
--model       Instead: folder of a Hugging Face model. Its results are printed only.
--step        The checkpoint; default: the last one.
--tasks       Names of tasks, separated by commas. docs/reference/tasks.md has them all.
--data        With one task, its file or folder; with several, a folder with a file or folder of
              each name, such as FOLDER/blimp and FOLDER/lambada.jsonl.
              Tasks that make their items, such as arithmetic, need none.
--shots       Solved examples before each item (default: 0).
--cot         Ask for reasons before the answer (chain of thought), for tasks that generate answers.
--seed        Another seed chooses other examples (0).
--limit       Most items of each group of a task, the first ones; 0 = all (default).
--likelihood  How texts are scored: causal; masked or masked_words for an encoder; sentinel or
              conditional for an encoder-decoder. Default: the first that fits the model.
--batch_size  Rows that run together (default: 32).
--yardsticks  ngrams: also ask models that count n-grams of the run's training text; none: do not.
--reference   For membership: the folder of another model, which has not seen the text.
--contamination  Also report the share of items that occur in the run's training text.
--compare     Another workdir that has results of the same tasks: print paired differences.
--json        Print one JSON object: metrics by task.

--lm_eval     As the first option: run lm-evaluation-harness with all that follows, and with
              --model pretrain_jax:
              python -m pretrain_jax.evaluate --lm_eval --model_args workdir=runs/mine --tasks ...

Results are stored in WORKDIR/tasks/STEP, one .json file and one .jsonl file of items for each task.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT, FROM_0
from pretrain_jax.errors import ConfigError
from pretrain_jax.files import paths

FLAGS = {
    "workdir": "",
    "model": "",
    "step": "",
    "tasks": "",
    "data": "",
    "shots": "0",
    "seed": "0",
    "limit": "0",
    "likelihood": "",
    "batch_size": "32",
    "yardsticks": "ngrams",
    "reference": "",
    "compare": "",
}
SWITCHES = ("json", "cot", "contamination")
CHOICES = {"yardsticks": ("ngrams", "none")}


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    if argv[:1] == ["--lm_eval"]:
        return run_harness(argv[1:])
    line = command.parse(argv, FLAGS, CHOICES, SWITCHES, takes_config=False)
    flags = line.flags
    if bool(flags["workdir"]) == bool(flags["model"]):
        raise ConfigError(
            "evaluate needs --workdir=RUN, or --model=FOLDER of a Hugging Face model; received "
            f"{'both' if flags['workdir'] else 'neither'}"
        )
    names = list(dict.fromkeys(name.strip() for name in flags["tasks"].split(",") if name.strip()))
    if not names:
        raise ConfigError("--tasks must name tasks, such as blimp,lambada")
    numbers = {
        name: command.parse_number(line, name, int, allowed)
        for name, allowed in (
            *(("shots", FROM_0), ("seed", FROM_0), ("limit", FROM_0), ("batch_size", COUNT)),
            *([("step", FROM_0)] if flags["step"] else []),
        )
    }
    if flags["model"] and flags["compare"]:
        raise ConfigError("--compare needs --workdir, whose results are stored; received --model")
    from pretrain_jax.evaluation import evaluate_tasks, run_task

    needing = [name for name in names if run_task.load_task(name).read is not None]
    if needing and not flags["data"]:
        raise ConfigError(f"--data must name the data of these tasks: {', '.join(needing)}")
    data = data_of(names, Path(paths.expand_user(flags["data"], "--data")))
    results = evaluate_tasks.evaluate(
        paths.expand_user(flags["workdir"] or flags["model"], "--workdir"),
        data,
        stored=bool(flags["workdir"]),
        step=numbers.pop("step", None),
        options=evaluate_tasks.Options(
            likelihood=flags["likelihood"],
            count_ngrams=flags["yardsticks"] == "ngrams",
            reasons=bool(flags["cot"]),
            reference=paths.expand_user(flags["reference"], "--reference"),
            contamination=bool(flags["contamination"]),
            other=paths.expand_user(flags["compare"], "--compare"),
            **numbers,
        ),
    )
    if flags["json"]:
        print(json.dumps(results.summary), flush=True)
    else:
        print("\n".join(results.tables), flush=True)
    return 0


def run_harness(words: Sequence[str]) -> int:
    """Runs lm-evaluation-harness with these words. Raises ConfigError if it is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            "--lm_eval needs lm-evaluation-harness: pip install 'pretrain_jax[eval]'. It is not "
            "installed"
        )
    from pretrain_jax.evaluation import lm_eval_model

    return lm_eval_model.run(words)


def data_of(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The file or folder of each task: its own in FOLDER, or for one task FOLDER."""
    from pretrain_jax.evaluation.run_task import find_data

    places = {name: find_data(name, folder) for name in names}
    only = len(names) == 1
    return {name: folder if only and not x.exists() else x for name, x in places.items()}


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
