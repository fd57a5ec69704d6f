"""BERT, RoBERTa, SpanBERT and ELECTRA at equal compute, small, with three seeds each.

    python benchmarks/encoders.py --text='FOLDER/*.jsonl' --sst2=FOLDER [--flops=2e13] [--seeds=3]
                                  [--out=FOLDER]

Every run gets the same training FLOPs. Three measures, each with the mean over the seeds and its
standard error:

    own loss     valid/loss of the objective of the training (ELECTRA: of its generator)
    masked LM    valid/loss under the same noise for all, i.i.d. 15 %, where there is a token head
    SST-2        accuracy on dev.tsv of a logistic regression, fitted on train.tsv, over the mean
                 hidden states of the frozen stack (ELECTRA: of its discriminator); the same with
                 initial parameters is the lower bound
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
DECAY = 1e-3


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
        sizes = jobs.describe(config, changes)
        steps = round(options.flops / sizes["flops_per_token"] / sizes["tokens_per_step"])
        own, common, probe, initial = [], [], [], []
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
                initial.append(sentiment(run, Path(options.sst2), untrained=True))
        parameters = f"{sizes['parameters']:,}"
        row = [
            kind,
            parameters,
            str(steps),
            format_mean(own),
            format_mean(common),
            format_mean(probe),
        ]
        rows.append([*row, f"{initial[0]:.3f}"])
        print("|", " | ".join(rows[-1]), "|", flush=True)
    head = [
        "",
        "parameters",
        "steps",
        "own loss",
        "masked LM",
        "SST-2",
        "SST-2, initial parameters",
    ]
    print(jobs.table(head, rows))


def format_mean(values: Sequence[float]) -> str:
    """The mean ± its standard error."""
    if not values:
        return "-"
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.3f} ± {error:.3f}"


def sentiment(run: Path, data: Path, *, untrained: bool = False) -> float:
    """Accuracy on SST-2's dev sentences of a logistic regression over frozen hidden states."""
    from pretrain_jax.inference import restore

    trained = restore.restore_params(restore.load_design(run), run)
    params = trained.design.update.init_state().params if untrained else trained.params
    features, labels = {}, {}
    for split in ("train", "dev"):
        lines = (data / f"{split}.tsv").read_text().splitlines()
        sentences, answers = zip(*(line.split("\t") for line in lines), strict=True)
        features[split] = mean_states(trained, params, sentences)
        labels[split] = np.array(answers, np.float32)
    mean, std = features["train"].mean(0), features["train"].std(0) + 1e-6
    scaled = {split: jnp.asarray((x - mean) / std) for split, x in features.items()}
    weights = fit_regression(scaled["train"], jnp.asarray(labels["train"]))
    predictions = scaled["dev"] @ weights[:-1] + weights[-1] > 0
    return float(np.mean(np.asarray(predictions) == labels["dev"]))


def mean_states(trained: Any, params: Any, sentences: Sequence[str]) -> np.ndarray:
    """float32 [N, D]: the mean over each sentence of the last layer's hidden states."""
    vocab, length = trained.tokenizer, trained.design.spec.data.seq_len
    stack = "discriminator" if "discriminator" in params else "stack"

    @jax.jit
    def states(params, tokens, real):
        batch = {"tokens": tokens, "segments": real.astype(jnp.int32)}
        batch["positions"] = jnp.broadcast_to(jnp.arange(length), tokens.shape)
        no_indices = jnp.zeros((len(tokens), 1), jnp.int32)
        indices = ("predict_at", "left_at", "right_at", "span_positions", "example_at")
        batch |= dict.fromkeys(indices, no_indices)
        batch["types"] = jnp.zeros_like(tokens)
        _, captured = trained.design.model.module.apply(
            {"params": params},
            batch,
            False,
            capture_intermediates=lambda module, _: module.path == (stack,),
            mutable=["intermediates"],
        )
        hidden = captured["intermediates"][stack]["__call__"][0]
        return jnp.sum(hidden * real[..., None], 1) / jnp.sum(real, 1)[:, None]

    states_of_batches = []
    for at in range(0, len(sentences), BATCH):
        tokens = np.zeros((BATCH, length), np.int32)
        real = np.zeros((BATCH, length), np.bool_)
        real[:, 0] = True
        for row, sentence in enumerate(sentences[at : at + BATCH]):
            text = vocab.encode(sentence)[: length - 2]
            tokens[row, : len(text) + 2] = [vocab.cls, *text, vocab.sep]
            real[row, : len(text) + 2] = True
        states_of_batches.append(np.asarray(states(params, tokens, real)))
    return np.concatenate(states_of_batches)[: len(sentences)]


def fit_regression(x: jax.Array, y: jax.Array) -> jax.Array:
    """Weights [D + 1] of a logistic regression with an L2 penalty, by Newton's method."""
    x = jnp.concatenate([x, jnp.ones((len(x), 1))], 1)
    weights = jnp.zeros(x.shape[1])
    for _ in range(10):
        probability = jax.nn.sigmoid(x @ weights)
        gradient = x.T @ (probability - y) / len(y) + DECAY * weights
        hessian = (x * (probability * (1 - probability))[:, None]).T @ x / len(y)
        weights = weights - jnp.linalg.solve(hessian + DECAY * jnp.eye(len(hessian)), gradient)
    return weights


if __name__ == "__main__":
    main()
