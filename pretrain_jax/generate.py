"""Generate text with the last checkpoint of a run.

    python -m pretrain_jax.generate --workdir=runs/gpt2_nano --prompt="def main(" [--tokens=100]
                                    [--temperature=0.8] [--top_k=50] [--seed=0] ...

--workdir             Folder of the run, of one of its checkpoints, or of a Hugging Face model.
--prompt              The text to continue, or to answer by an encoder-decoder; default: a newline.
                      With most tokenizers, a space at its end makes the continuation worse. An
                      encoder fills each <mask> in it, T5 each <extra_id_0>, <extra_id_1>, ...
--prompts             A file with a prompt on each line; of a .jsonl file, each line's "prompt".
--interactive         Ask for prompts until the input ends, with the model loaded once.
--tokens              How many tokens to generate.
--samples             How many continuations of each prompt to generate.
--temperature         0 takes the most likely token each time.
--top_k               Sample among this many most likely tokens; 0 samples among all.
--top_p               Sample among the fewest most likely tokens with this total probability.
--min_p               Leave out tokens whose probability is below this share of the largest one.
--repetition_penalty  Above 1, tokens that the text has become less likely.
--beams               Above 1, beam search: the likeliest continuations as a whole.
--length_penalty      Of beam search: larger values prefer longer continuations.
--stop                A text before which a continuation ends.
--seed                Another seed gives another continuation.
--cut                 Drop the beginning of a prompt that is too long for the model.
--json                Print one JSON object: prompts, continuations, and why each ends.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT, RANGES
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.files import parsing, paths

FLAGS = {
    "workdir": "",
    "prompt": "",
    "prompts": "",
    "tokens": "100",
    "samples": "1",
    "temperature": "",
    "top_k": "",
    "top_p": "",
    "min_p": "",
    "repetition_penalty": "1.0",
    "beams": "1",
    "length_penalty": "1.0",
    "stop": "",
    "seed": "0",
}
SAMPLING = {"temperature": "0.8", "top_k": "50", "top_p": "1.0", "min_p": "0.0"}
"""Defaults without beam search, which takes none of these options."""
SWITCHES = ("interactive", "cut", "json")
PROMPTS = ("workdir", "prompt", "prompts", "interactive", "json")
"""All options that matter for a model that fills masks."""


def main(argv: list[str]) -> int:
    """Prints prompts and their continuations, as they are generated."""
    line = command.parse(argv, FLAGS, switches=SWITCHES, takes_config=False)
    flags = line.flags
    if not flags["workdir"]:
        raise ConfigError("--workdir must name the workdir of a run, such as runs/gpt2_nano")
    given = [name for name in ("prompt", "prompts", "interactive") if flags[name]]
    if len(given) > 1 or (flags["interactive"] and flags["json"]):
        raise ConfigError(
            "prompts come from one of --prompt, --prompts and --interactive, and --json does not "
            f"go with --interactive; received {', '.join('--' + name for name in given)}"
        )
    prompts = read_prompts(flags["prompts"]) if flags["prompts"] else [flags["prompt"] or "\n"]
    options = read_options(line)
    samples = options.pop("samples")
    import pretrain_jax

    model = pretrain_jax.load(flags["workdir"])
    defaults = FLAGS | dict.fromkeys(SWITCHES, "")
    unread = [name for name in flags if name not in PROMPTS and flags[name] != defaults[name]]
    if unread and not model.objective.generates:
        raise ConfigError(
            f"options of generation need a model that generates; this one is {model.family}, which "
            f"fills masks. Leave out {', '.join('--' + name for name in unread)}"
        )
    if flags["interactive"]:
        prompts = ask()
    if flags["json"]:
        made = [one for prompt in prompts for one in as_json(model, prompt, samples, options)]
        print(json.dumps({"continuations": made}, ensure_ascii=False), flush=True)
        return 0
    for prompt in prompts:
        show(model, prompt, samples, options)
    return 0


def read_options(line: command.CommandLine) -> dict[str, Any]:
    """The options as numbers. Raises ConfigError."""
    from pretrain_jax.inference import beam_search, sampling

    allowed = sampling.RANGES | beam_search.RANGES
    allowed |= {
        "tokens": COUNT,
        "samples": COUNT,
        "seed": RANGES["seed"],
    }
    whole = ("beams", "tokens", "samples", "seed", "top_k")
    beams = command.parse_number(line, "beams", int, beam_search.RANGES["beams"])
    if beams > 1:
        unused = [name for name in SAMPLING if line.flags[name] not in ("", "0")]
        if unused or line.flags["samples"] != "1":
            raise ConfigError(
                "beam search draws nothing at random: with --beams, leave out "
                f"{', '.join('--' + name for name in unused) or '--samples'}"
            )
    defaults = SAMPLING if beams == 1 else dict.fromkeys(SAMPLING, "")
    texts = {name: line.flags[name] or defaults.get(name, "") for name in allowed}
    filled = command.CommandLine("", (), texts)
    options = {
        name: command.parse_number(filled, name, int if name in whole else float, allowed[name])
        for name, text in texts.items()
        if text
    }
    stop = [line.flags["stop"]] if line.flags["stop"] else []
    return options | {"stop": stop, "cut": bool(line.flags["cut"])}


def read_prompts(file: str) -> list[str]:
    """The prompts of a file. Raises InputMissing or DataError."""
    fix = "name a text file with a prompt on each line, or a .jsonl file"
    content = parsing.read_bytes(paths.expand_user(file, "--prompts"), fix)
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file} must be UTF-8; byte {error.start} is not; {fix}") from None
    if not lines:
        raise DataError(f"{file} must have a prompt; it is empty; {fix}")
    if not file.endswith(".jsonl"):
        return lines
    prompts = []
    for number, line in enumerate(lines, start=1):
        what = f"{file} line {number}"
        record = parsing.parse_json_as(line, dict, what, fix)
        prompts.append(parsing.check_keys({"prompt": str}, record, what, fix)["prompt"])
    return prompts


def ask() -> Iterator[str]:
    """Prompts from standard input."""
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        text = sys.stdin.readline()
        if not text:
            return
        yield text.removesuffix("\n")


def show(model: Any, prompt: str, samples: int, options: dict[str, Any]) -> None:
    """Prints the continuations of a prompt as they are generated, or an encoder's fillings."""
    if not model.objective.generates:
        for blank in model.fill(prompt):
            print("  ".join(f"{f.text!r} {f.log_probability:.2f}" for f in blank), flush=True)
        return
    for sample in range(samples):
        sys.stdout.write("" if "memory_tokens" in model.objective.fields else prompt)
        printed = ""
        for made in model.stream(prompt, sample=sample, **options):
            # A character may still lack bytes, which decode as U+FFFD.
            text = made.text if made.reason else made.text.rstrip("\ufffd")
            sys.stdout.write(text[len(printed) :])
            sys.stdout.flush()
            printed = text
        print(flush=True)
        sys.stderr.write(f"[{made.reason}]\n")


def as_json(
    model: Any, prompt: str, samples: int, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The results for a prompt, for --json."""
    if not model.objective.generates:
        for number, blank in enumerate(model.fill(prompt)):
            fillings = [{"text": f.text, "log_probability": f.log_probability} for f in blank]
            yield {"prompt": prompt, "blank": number, "fillings": fillings}
        return
    for sample in range(samples):
        *_, made = model.stream(prompt, sample=sample, **options)
        yield {
            "prompt": prompt,
            "sample": sample,
            "text": made.text,
            "reason": made.reason,
            "tokens": made.tokens.tolist(),
            "log_probability": float(made.log_probabilities.sum()),
        }


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
