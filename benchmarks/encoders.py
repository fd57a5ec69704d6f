"""BERT, RoBERTa, SpanBERT and ELECTRA at equal compute, small, with three seeds each.

    python benchmarks/encoders.py --text='FOLDER/*.jsonl' --sst2=FOLDER [--flops=2e13] [--seeds=3]
                                  [--out=FOLDER]

Every run gets the same training FLOPs. Three measures, each the mean over the seeds and the
standard error of that mean:

    own loss     valid/loss of the objective it was trained on (ELECTRA: its generator's)
    masked LM    the same loss under one common noise, i.i.d. 15 %, for those that have a token head
    SST-2        accuracy on the sentiment of dev.tsv of a logistic regression, fitted on train.tsv,
                 over mean hidden states of the frozen stack (ELECTRA: its discriminator's); a stack
                 with its first values gives the floor
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jobs
import numpy as np

KINDS = {
    "BERT": ("bert_nano", {}),
    "RoBERTa": ("bert_nano", {"objective.name": "masked_lm", "model.name": "roberta"}),
    "SpanBERT": ("spanbert_nano", {}),
    "ELECTRA": ("electra_nano", {}),
}
COMMON = {"objective.name": "masked_lm"}
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", required=True)
    parser.add_argument("--sst2", required=True)
    parser.add_argument("--flops", type=float, default=2e13)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    folder = Path(options.out or tempfile.mkdtemp())
    rows = []
    for kind, (name, changes) in KINDS.items():
        config = f"configs/{name}.py"
        changes = {**changes, "data.source": f"text:{options.text}", "eval.every": 0}
        found = jobs.describe(config, changes)
        steps = round(options.flops / found["flops_per_token"] / found["tokens_per_step"])
        own, common, probe, first = [], [], [], []
        for seed in range(options.seeds):
            run = folder / f"{kind}-{seed}"
            these = {**changes, "seed": seed, "train.steps": steps, "checkpoint.every": steps}
            lines, _ = jobs.train(config, run, these)
            own.append(lines[-1]["valid/loss"])
            if kind != "ELECTRA":
                again = {**these, **COMMON, "train.steps": 0, "init_from": run}
                again["tokenizer.path"] = run / "tokenizer"
                lines, _ = jobs.train(config, folder / f"{kind}-{seed}-common", again)
                common.append(lines[-1]["valid/loss"])
            probe.append(sentiment(run, Path(options.sst2)))
            if not seed:
                first.append(sentiment(run, Path(options.sst2), untrained=True))
        parameters = f"{found['parameters']:,}"
        row = [kind, parameters, str(steps), spread(own), spread(common), spread(probe)]
        rows.append([*row, f"{first[0]:.3f}"])
        print("|", " | ".join(rows[-1]), "|", flush=True)
    head = ["", "parameters", "steps", "own loss", "masked LM", "SST-2", "SST-2, first values"]
    print(jobs.table(head, rows))


def spread(values: Sequence[float]) -> str:
    """Mean and its standard error."""
    if not values:
        return "-"
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.3f} ± {error:.3f}"


def sentiment(run: Path, data: Path, *, untrained: bool = False) -> float:
    """Accuracy on SST-2's dev sentences of a logistic regression over frozen hidden states."""
    from pretrain_jax.inference import restore

    trained = restore.restore_model(run)
    params = trained.design.update.init_state().params if untrained else trained.params
    features, labels = {}, {}
    for half in ("train", "dev"):
        lines = (data / f"{half}.tsv").read_text().splitlines()
        sentences, answers = zip(*(line.split("\t") for line in lines), strict=True)
        features[half] = mean_states(trained, params, sentences)
        labels[half] = np.array(answers, np.float32)
    mean, std = features["train"].mean(0), features["train"].std(0) + 1e-6
    scaled = {half: jnp.asarray((x - mean) / std) for half, x in features.items()}
    weights = regression(scaled["train"], jnp.asarray(labels["train"]))
    said = scaled["dev"] @ weights[:-1] + weights[-1] > 0
    return float(np.mean(np.asarray(said) == labels["dev"]))


def mean_states(trained: Any, params: Any, sentences: Sequence[str]) -> np.ndarray:
    """float32 [N, D]: the mean over each sentence of the last layer's hidden states."""
    vocab, length = trained.tokenizer, trained.design.spec.data.seq_len
    stack = "discriminator" if "discriminator" in params else "stack"

    @jax.jit
    def states(params, tokens, real):
        batch = {"tokens": tokens, "segments": real.astype(jnp.int32)}
        batch["positions"] = jnp.broadcast_to(jnp.arange(length), tokens.shape)
        nowhere = jnp.zeros((len(tokens), 1), jnp.int32)
        indices = ("predict_at", "left_at", "right_at", "span_positions", "example_at")
        batch |= dict.fromkeys(indices, nowhere)
        batch["types"] = jnp.zeros_like(tokens)
        _, kept = trained.design.model.module.apply(
            {"params": params},
            batch,
            False,
            capture_intermediates=lambda module, _: module.path == (stack,),
            mutable=["intermediates"],
        )
        hidden = kept["intermediates"][stack]["__call__"][0]
        return jnp.sum(hidden * real[..., None], 1) / jnp.sum(real, 1)[:, None]

    found = []
    for at in range(0, len(sentences), BATCH):
        tokens = np.zeros((BATCH, length), np.int32)
        real = np.zeros((BATCH, length), np.bool_)
        real[:, 0] = True
        for row, sentence in enumerate(sentences[at : at + BATCH]):
            text = vocab.encode(sentence)[: length - 2]
            tokens[row, : len(text) + 2] = [vocab.cls, *text, vocab.sep]
            real[row, : len(text) + 2] = True
        found.append(np.asarray(states(params, tokens, real)))
    return np.concatenate(found)[: len(sentences)]


def regression(x: jax.Array, y: jax.Array, decay: float = 1e-3) -> jax.Array:
    """Weights [D + 1] of a logistic regression with an L2 penalty, by Newton's method."""
    x = jnp.concatenate([x, jnp.ones((len(x), 1))], 1)
    weights = jnp.zeros(x.shape[1])
    for _ in range(10):
        chance = jax.nn.sigmoid(x @ weights)
        slope = x.T @ (chance - y) / len(y) + decay * weights
        bend = (x * (chance * (1 - chance))[:, None]).T @ x / len(y)
        weights = weights - jnp.linalg.solve(bend + decay * jnp.eye(len(bend)), slope)
    return weights


if __name__ == "__main__":
    main()
