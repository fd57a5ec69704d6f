"""Generate text with the last checkpoint of a run.

    python -m pretrain_jax.generate --workdir=runs/gpt2_nano --prompt="def main(" [--tokens=100]
                                    [--temperature=0.8] [--top_k=50] [--seed=0] ...

The command uses one device; `pretrain_jax.load(..., mesh=...)` in Python uses several.

--workdir             Folder of the run, of one of its checkpoints, or of a Hugging Face model.
--prompt              The text to continue, or to answer by an encoder-decoder; default: a newline.
                      With most tokenizers, a space at its end makes the continuation worse. An
                      encoder fills each <mask> in it. T5 writes <extra_id_0> and what fills this
                      blank, <extra_id_1> and so on.
--prompts             A file with a prompt on each line, also on empty ones; of a .jsonl file, the
                      "prompt" of each line with an object.
--interactive         Ask for prompts until the input ends, with the model loaded once.
--chat                Each prompt is a user's message, which the model answers, in the chat template
                      of objective instruct. With --interactive, it reads the conversation so far.
--system              For --chat: a system message before the first one.
--tokens              How many tokens to generate (default: 100).
--samples             How many continuations of each prompt to generate (1).
--temperature         0 takes the most likely token each time (0.8).
--top_k               Sample among this many most likely tokens; 0 samples among all (50).
--top_p               Sample among the fewest most likely tokens with this total probability (1).
--min_p               Leave out tokens whose probability is below this share of the largest one (0).
--repetition_penalty  Values above 1 make tokens that the text already has less likely (1).
--beams               Above 1, beam search: the likeliest continuation as a whole (1).
--length_penalty      For beam search: larger values prefer longer continuations (1).
--stop                A text before which a continuation ends.
--seed                Another seed gives another continuation (0).
--cut                 Drop the beginning of a prompt that is too long for the model.
--json                Print one JSON object: prompts, continuations, and why each ends.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT
from pretrain_jax.errors import ConfigError, DataError, InputMissing
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
    "system": "",
}
SAMPLING = {"temperature": "0.8", "top_k": "50", "top_p": "1.0", "min_p": "0.0"}
"""Defaults without beam search, which takes none of these options."""
SWITCHES = ("interactive", "cut", "json", "chat")
FILLING = ("workdir", "prompt", "prompts", "interactive", "json")
"""The options that a model reads which fills masks."""


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
    if flags["system"] and not flags["chat"]:
        raise ConfigError("--system is a message of a conversation; add --chat, or leave it out")
    if flags["chat"] and not given:
        raise ConfigError(
            "--chat answers a message; give it one with --prompt, several with --prompts, or ask "
            "for them with --interactive"
        )
    if flags["chat"] and flags["interactive"] and flags["samples"] != "1":
        raise ConfigError(
            "--samples asks for several answers to a message, but the conversation continues with "
            "one; leave out --samples or --interactive"
        )
    prompts: Any = read_prompts(flags["prompts"]) if flags["prompts"] else [flags["prompt"] or "\n"]
    options = read_options(line)
    samples = options.pop("samples")
    import pretrain_jax

    model = pretrain_jax.load(flags["workdir"])
    model.check_predicts_tokens()
    if not model.objective.generates:
        check_filling(flags, model.family)
    system = [{"role": "system", "content": flags["system"]}] if flags["system"] else []
    if flags["interactive"] and flags["chat"]:
        converse(model, system, options)
        return 0
    if flags["interactive"]:
        prompts = ask()
    if flags["chat"]:
        prompts = [[*system, {"role": "user", "content": text}] for text in prompts]
    if flags["json"]:
        made = list(as_json(model, list(prompts), samples, options))
        print(json.dumps({"continuations": made}, ensure_ascii=False), flush=True)
        return 0
    for number, prompt in enumerate(prompts):
        try:
            show(model, prompt, range(number * samples, (number + 1) * samples), options)
        except ConfigError as error:
            if not flags["interactive"]:
                raise
            sys.stderr.write(f"{error}\n")
    return 0


def check_filling(flags: Mapping[str, str], family: str) -> None:
    """Raises ConfigError for an option that a model does not read which fills masks."""
    defaults = FLAGS | dict.fromkeys(SWITCHES, "")
    unread = [name for name in flags if name not in FILLING and flags[name] != defaults[name]]
    if unread:
        raise ConfigError(
            f"options of generation need a model that generates; this one is {family}, which "
            f"fills masks. Leave out {', '.join('--' + name for name in unread)}"
        )


def read_options(line: command.CommandLine) -> dict[str, Any]:
    """The options as numbers. Raises ConfigError."""
    from pretrain_jax.inference import arguments, beam_search, sampling

    allowed = sampling.RANGES | beam_search.RANGES | {"samples": COUNT}
    allowed |= {name: arguments.COUNTS[name] for name in ("tokens", "seed")}
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
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} must be UTF-8; byte {error.start} is not; {fix}") from None
    if not text.strip():
        raise DataError(f"{file} must have a prompt; it is empty; {fix}")
    lines = text.removesuffix("\n").split("\n")
    if not file.lower().endswith(".jsonl"):
        return lines
    prompts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        what = f"{file} line {number}"
        record = parsing.parse_json_as(line, dict, what, fix)
        prompts.append(parsing.check_keys({"prompt": str}, record, what, fix)["prompt"])
    return prompts


def ask() -> Iterator[str]:
    """Prompts from standard input."""
    if sys.stdin is None:
        raise InputMissing("--interactive needs a standard input; it is closed. Use --prompts=FILE")
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        try:
            text = sys.stdin.readline()
        except UnicodeDecodeError as error:
            raise DataError(
                f"standard input must be {error.encoding}; byte {error.object[error.start]:#x} is "
                "not. Convert the text"
            ) from None
        if not text:
            return
        yield text.removesuffix("\n")


def converse(model: Any, messages: list[dict[str, str]], options: dict[str, Any]) -> None:
    """Answers messages from standard input, each with the conversation so far."""
    for number, text in enumerate(ask()):
        asked = [*messages, {"role": "user", "content": text}]
        try:
            answer = show(model, asked, range(number, number + 1), options)
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            continue
        messages = [*asked, {"role": "assistant", "content": answer}]


def show(model: Any, prompt: Any, numbers: range, options: dict[str, Any]) -> str:
    """Prints the continuations of a text or of a conversation as they are generated, or an
    encoder's fillings. Returns the last continuation.

    numbers: those of the continuations, one for each. Each has draws of its own.
    """
    printed = ""
    if not model.objective.generates:
        for blank in model.fill(prompt):
            print("  ".join(f"{f.text!r} {f.log_probability:.2f}" for f in blank), flush=True)
        return printed
    for number in numbers:
        growing = model.stream(prompt, sample=number, **options)  # refuses a bad prompt
        continues = isinstance(prompt, str) and "memory_tokens" not in model.objective.fields
        sys.stdout.write(prompt if continues else "")
        printed = ""
        for made in growing:
            # A character may still lack bytes, which decode as U+FFFD.
            text = made.text if made.reason else made.text.rstrip("\ufffd")
            sys.stdout.write(text[len(printed) :])
            sys.stdout.flush()
            printed = text
        print(flush=True)
        sys.stderr.write(f"[{made.reason}]\n")
    return printed


def as_json(
    model: Any, prompts: list[Any], samples: int, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The results for all prompts, for --json."""
    if not model.objective.generates:
        for prompt in prompts:
            for number, blank in enumerate(model.fill(prompt)):
                fillings = [{"text": f.text, "log_probability": f.log_probability} for f in blank]
                yield {"prompt": prompt, "blank": number, "fillings": fillings}
        return
    repeated = [prompt for prompt in prompts for _ in range(samples)]
    for number, made in enumerate(model.generate(repeated, **options)):
        yield {
            "prompt": repeated[number],
            "sample": number % samples,
            "text": made.text,
            "reason": made.reason,
            "tokens": made.tokens.tolist(),
            "log_probability": float(made.log_probabilities.sum()),
        }


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
