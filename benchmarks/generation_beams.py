"""The part `beams` of generation.py: our tokens and those of transformers, for the same prompts.

Both models train for a few hundred steps on random sentences of 13 words, so that a character is
often certain and a word never is: beams then differ from greedy search, and some texts end before
the limit. transformers runs in a process of its own, with the folder that `convert` writes.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jobs
import numpy as np

PROMPTS = 50
LENGTHS = (1, 6, 13, 24, 40)
"""Bytes of prompts: a batch of each, so that transformers needs no padding."""
TOKENS = 60
BEAMS = 4
SETTINGS = {
    "greedy": {"num_beams": 1},
    "4 beams, penalty 0.6": {"num_beams": BEAMS, "length_penalty": 0.6},
    "4 beams, penalty 2": {"num_beams": BEAMS, "length_penalty": 2.0},
}
SHARED = {
    "tokenizer.name": "bytes",
    "data.seq_len": 128,
    "model.layers": 2,
    "model.width": 64,
    "model.heads": 4,
    "model.feed_forward": 256,
    "model.unroll": 2,
    "optimizer.warmup_steps": 20,
    "train.steps": 300,
    "train.batch_size": 8,
    "checkpoint.every": 300,
    "eval.every": 0,
}
MODELS = {
    "GPT": ("configs/gpt2_nano.py", {"model.vocab_size": 262}, "{}"),
    "T5": (
        "configs/t5_nano.py",
        {"model.vocab_size": 278, "tokenizer.sentinels": 16, "model.head_width": 16},
        "{}<extra_id_0>",
    ),
}
"""Config, changes, and what a prompt is made of the beginning of a document."""


def compare(name: str, folder: Path) -> list[list[str]]:
    """Lines of the table for a model: the setting, equal texts, those unlike greedy search, and
    those that end before the limit."""
    run, exported = folder / name, folder / f"{name}_hf"
    jobs.write_tiny(folder)
    config, changes, template = MODELS[name]
    source = {"data.source": f"text:{folder}/corpus.jsonl", "data.cache_dir": folder / "cache"}
    jobs.train(config, run, SHARED | source | changes)
    convert = [sys.executable, "-m", "pretrain_jax.convert", f"--workdir={run}"]
    jobs.run([*convert, f"--to_hf={exported}"])
    shared, batches, ours = generate(run, template)
    theirs = ask_transformers(
        {"folder": str(exported), "shared": shared, "batches": batches, "settings": SETTINGS}
    )
    rows = []
    for setting, found in ours.items():
        equal = sum(a == b for a, b in zip(found, theirs[setting], strict=True))
        unlike = sum(a != b for a, b in zip(found, ours["greedy"], strict=True))
        ended = sum(len(tokens) < TOKENS for tokens in found)
        rows.append([name, setting, f"{equal} / {len(found)}", str(unlike), str(ended)])
    return rows


def generate(run: Path, template: str) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """Options for transformers, the batches of prompts, and our tokens by setting, without end
    tokens."""
    import pretrain_jax
    from pretrain_jax.inference.beam_search import BeamSearch
    from pretrain_jax.inference.sampling import Sampling

    model = pretrain_jax.load(str(run))
    ids = {"eos_token_id": model.tokenizer.eos, "pad_token_id": model.tokenizer.pad}
    batches = []
    found: dict[str, Any] = {setting: [] for setting in SETTINGS}
    for texts in read_texts(run.parent / "corpus.jsonl"):
        batch = [model.prompt(template.format(text), TOKENS) for text in texts]
        batches.append({name: np.stack([p[name] for p in batch]).tolist() for name in batch[0]})
        for setting, options in SETTINGS.items():
            if setting == "greedy":
                made = model.generator.generate(batch, TOKENS, Sampling(temperature=0.0))
            else:
                how = BeamSearch(beams=BEAMS, length_penalty=options["length_penalty"])
                made = [best[0] for best in model.generator.search(batch, TOKENS, how)]
            found[setting] += [continuation.tokens.tolist() for continuation in made]
    return {**ids, "max_new_tokens": TOKENS}, batches, found


def read_texts(corpus: Path) -> list[list[str]]:
    """Beginnings of documents of the corpus, by length."""
    texts = (json.loads(line)["text"] for line in corpus.read_text().splitlines())
    count = PROMPTS // len(LENGTHS)
    return [[next(texts)[:length] for _ in range(count)] for length in LENGTHS]


def ask_transformers(question: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Tokens that transformers generates, by setting."""
    script = Path(__file__).with_name("transformers_generate.py")
    return json.loads(jobs.run([sys.executable, str(script)], json.dumps(question)))
