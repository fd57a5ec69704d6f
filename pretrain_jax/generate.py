"""Continue a text with the last checkpoint of a run.

    python -m pretrain_jax.generate --workdir=runs/gpt2_nano --prompt="def main(" [--tokens=100]
                                    [--temperature=0.8] [--top_k=50] [--seed=0]

--workdir       Folder of the run.
--prompt        The text to continue; default: a newline. With most tokenizers, a space at its end
                makes the continuation worse.
--tokens        How many tokens to generate.
--temperature   0 takes the most likely token each time.
--top_k         Sample among this many most likely tokens; 0 samples among all.
--seed          Another seed gives another continuation.
"""

import sys

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT, FROM_0, RANGES, Range
from pretrain_jax.errors import ConfigError

FLAGS = {
    "workdir": "",
    "prompt": "\n",
    "tokens": "100",
    "temperature": "0.8",
    "top_k": "50",
    "seed": "0",
}


def main(argv: list[str]) -> int:
    """Prints the prompt and its continuation."""
    line = command.parse(argv, FLAGS, takes_config=False)
    if not line.flags["workdir"]:
        raise ConfigError("--workdir must name the workdir of a run, such as runs/gpt2_nano")
    tokens = command.parse_number(line, "tokens", int, COUNT)
    temperature = command.parse_number(line, "temperature", float, Range(0, 1e6))
    top_k = command.parse_number(line, "top_k", int, FROM_0)
    seed = command.parse_number(line, "seed", int, RANGES["seed"])
    from pretrain_jax.inference import restore, sampling

    run = restore.restore_model(line.flags["workdir"])
    objective = run.design.task.objective
    if not objective.continues_prompt:
        raise ConfigError(
            "generate continues a text with one stack that is causal or has a prefix; the run in "
            f"{line.flags['workdir']} has objective.name={run.design.spec.objective.name} and "
            f"model.name={run.design.spec.model.name}"
        )
    made = sampling.sample(
        run.params,
        run.design.update.program,
        run.encode(line.flags["prompt"]),
        tokens,
        ids=run.tokenizer.size,
        window=run.design.spec.phases.eval_seq_len,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        prefix=objective.attention == "prefix",
    )
    print(line.flags["prompt"] + run.tokenizer.decode(made))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
