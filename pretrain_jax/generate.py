"""Generate text with the last checkpoint of a run.

    python -m pretrain_jax.generate --workdir=runs/gpt2_nano --prompt="def main(" [--tokens=100]
                                    [--temperature=0.8] [--top_k=50] [--seed=0] ...

--workdir             Folder of the run.
--prompt              The text to continue, or to answer by an encoder-decoder; default: a newline.
                      With most tokenizers, a space at its end makes the continuation worse.
--tokens              How many tokens to generate.
--samples             How many continuations to generate.
--temperature         0 takes the most likely token each time.
--top_k               Sample among this many most likely tokens; 0 samples among all.
--top_p               Sample among the fewest most likely tokens with this total probability.
--min_p               Leave out tokens whose probability is below this share of the largest one.
--repetition_penalty  Above 1, tokens that the text has become less likely.
--seed                Another seed gives another continuation.
--cut                 Drop the beginning of a prompt that is too long for the model.
"""

import sys

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT, RANGES
from pretrain_jax.errors import ConfigError

FLAGS = {
    "workdir": "",
    "prompt": "\n",
    "tokens": "100",
    "samples": "1",
    "temperature": "0.8",
    "top_k": "50",
    "top_p": "1.0",
    "min_p": "0.0",
    "repetition_penalty": "1.0",
    "seed": "0",
}


def main(argv: list[str]) -> int:
    """Prints the prompt and its continuation, as it is generated."""
    line = command.parse(argv, FLAGS, switches=("cut",), takes_config=False)
    if not line.flags["workdir"]:
        raise ConfigError("--workdir must name the workdir of a run, such as runs/gpt2_nano")
    tokens, samples = (
        command.parse_number(line, name, int, COUNT) for name in ("tokens", "samples")
    )
    seed = command.parse_number(line, "seed", int, RANGES["seed"])
    from pretrain_jax.inference import sampling

    strengths = {
        name: command.parse_number(line, name, int if name == "top_k" else float, allowed)
        for name, allowed in sampling.RANGES.items()
    }
    how = sampling.Sampling(**strengths)
    from pretrain_jax.inference import restore

    model = restore.restore_model(line.flags["workdir"])
    prompt, cut = line.flags["prompt"], bool(line.flags["cut"])
    row = model.prompt(prompt, tokens, cut=cut)
    for number in range(samples):
        printed = "" if "memory_tokens" in row else prompt
        sys.stdout.write(printed)
        shown = ""
        for made in model.generator.stream(row, tokens, how, seed, number):
            # A character may still lack bytes, which decode as U+FFFD.
            text = made.text if made.reason else made.text.rstrip("\ufffd")
            sys.stdout.write(text[len(shown) :])
            sys.stdout.flush()
            shown = text
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
