"""Writes bert.npz, roberta.npz and electra.npz: what Hugging Face's encoders compute.

    python tests/golden/make_encoders.py

For developers: it needs torch and transformers, which this package does not. The arrays in the
repository were made with torch 2.13.0 (CPU), transformers 5.23.0 and numpy 2.4.6. No network.

Each file holds a tiny model with random parameters, made as in make_decoders.py, and one batch of
two examples, of 13 and 8 tokens, padded to 24:

    tokens, types           [2, 24] int32; RoBERTa has no types
    lengths                 [2] int32: 13 and 8
    predict_at, targets     [2, 4] int32, weights [2, 4]: the second example has 3 predictions
    parameters/NAME         float32, under Hugging Face's names and in its orientation; tied once
    hidden                  [layers + 1, 2, 24, D]: behind the embedding's norm, then out of each
                            layer; 0 in the padding, where Hugging Face computes something else
    logits                  [2, 4, 61] at predict_at
    loss                    what gradients/NAME are the gradients of: the mean cross entropy of
                            the 7 targets and, in bert and electra, another loss beside it

    bert     labels [2] int32, next_sentence [2, 2]: logits of the pair. loss: + their mean cross
             entropy.
    electra  hidden is the discriminator's and generator_hidden the generator's, each from behind
             the map to its width; filled [2, 24] int32: the tokens that the discriminator reads;
             replaced [2, 24] float32: where they differ from `original`; odds [2, 24]. loss:
             + 50 x the mean binary cross entropy over the 21 tokens.

**Results are computed in float64 and stored as float32**, from parameters that float32 holds
exactly.
"""

# torch and transformers are not dependencies of the package.
# pyright: reportMissingImports=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from make_decoders import NoFloat32
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

LAYERS, WIDTH, HEADS, FEED_FORWARD, VOCAB, LENGTH = 3, 32, 4, 64, 61, 24
EMBEDDING_WIDTH, GENERATOR_WIDTH = 16, 8
LENGTHS = np.array([13, 8], np.int32)
PREDICT_AT = np.array([[2, 5, 9, 11], [1, 3, 6, 0]], np.int32)
WEIGHTS = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.float32)
SHARED = {
    "vocab_size": VOCAB,
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "intermediate_size": FEED_FORWARD,
    "max_position_embeddings": LENGTH,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "attn_implementation": "eager",
}
Results = dict[str, Any]


def bert() -> torch.nn.Module:
    """Epsilon 1e-12, two types."""
    return transformers.BertForPreTraining(transformers.BertConfig(**SHARED))


def roberta() -> torch.nn.Module:
    """Epsilon 1e-5, one type, positions from row 2 of the table on."""
    sizes: Any = SHARED | {"max_position_embeddings": LENGTH + 2}
    config = transformers.RobertaConfig(**sizes, type_vocab_size=1, layer_norm_eps=1e-5)
    return transformers.RobertaForMaskedLM(config)


def electra() -> torch.nn.Module:
    """Epsilon 1e-12, factorised embedding; both share one embedding module."""
    large: Any = SHARED | {"embedding_size": EMBEDDING_WIDTH}
    small = large | {
        "hidden_size": GENERATOR_WIDTH,
        "num_attention_heads": 1,
        "intermediate_size": 4 * GENERATOR_WIDTH,
    }
    generator = transformers.ElectraForMaskedLM(transformers.ElectraConfig(**small))
    discriminator = transformers.ElectraForPreTraining(transformers.ElectraConfig(**large))
    discriminator.electra.embeddings = generator.electra.embeddings
    return torch.nn.ModuleDict({"generator": generator, "discriminator": discriminator})


def run_bert(model: Any, batch: Results) -> Results:
    """Hidden states, logits and losses of BertForPreTraining."""
    out = model(**inputs(batch), token_type_ids=batch["types"], output_hidden_states=True)
    nll, logits = predicted(out.prediction_logits, batch)
    pairs = out.seq_relationship_logits
    return {
        "hidden": torch.stack(out.hidden_states),
        "logits": logits,
        "next_sentence": pairs,
        "loss": nll + cross_entropy(pairs, batch["labels"]),
    }


def run_roberta(model: Any, batch: Results) -> Results:
    """Hidden states, logits and loss of RobertaForMaskedLM."""
    given = inputs(batch)
    out = model(**given, position_ids=positions(2), output_hidden_states=True)
    nll, logits = predicted(out.logits, batch)
    return {"hidden": torch.stack(out.hidden_states), "logits": logits, "loss": nll}


def run_electra(model: Any, batch: Results) -> Results:
    """Both halves, the second on `filled`; the result of the step between them is given."""
    asked = {"token_type_ids": batch["types"], "output_hidden_states": True}
    small = model["generator"](**inputs(batch), **asked)
    large = model["discriminator"](**inputs(batch, "filled"), **asked)
    nll, logits = predicted(small.logits, batch)
    real, replaced = batch["real"], batch["replaced"].to(large.logits.dtype)
    wrong = binary_cross_entropy_with_logits(large.logits[real], replaced[real])
    return {
        "generator_hidden": torch.stack(small.hidden_states),
        "hidden": torch.stack(large.hidden_states),
        "logits": logits,
        "odds": large.logits,
        "loss": nll + 50 * wrong,
    }


ENCODERS: dict[str, tuple[Callable[..., Any], Callable[..., Results], int]] = {
    "bert": (bert, run_bert, 4),
    "roberta": (roberta, run_roberta, 5),
    "electra": (electra, run_electra, 6),
}


def inputs(batch: Results, tokens: str = "tokens") -> Results:
    """What all of these models are called with."""
    return {"input_ids": batch[tokens], "attention_mask": batch["real"].long()}


def positions(first: int) -> torch.Tensor:
    """[2, 24] from `first` on, in the padding too."""
    return (first + torch.arange(LENGTH)).expand(2, -1)


def predicted(logits: torch.Tensor, batch: Results) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross entropy of the 7 targets, and logits [2, 4, V] at predict_at."""
    at = batch["predict_at"]
    picked = logits[torch.arange(2)[:, None], at]
    counted = batch["weights"] > 0
    return cross_entropy(picked[counted], batch["targets"][counted]), picked


def draw_batch(name: str, rng: np.random.Generator) -> Results:
    """The fields of the batch; text is drawn from the ids above 4, padding is 0."""
    real = np.arange(LENGTH) < LENGTHS[:, None]
    original = np.where(real, rng.integers(5, VOCAB, size=real.shape), 0).astype(np.int32)
    batch = {"lengths": LENGTHS, "tokens": original, "real": real}
    batch |= {"predict_at": PREDICT_AT, "weights": WEIGHTS}
    batch["targets"] = rng.integers(5, VOCAB, size=PREDICT_AT.shape).astype(np.int32)
    if name != "roberta":
        second = np.arange(LENGTH) >= np.array([[6], [5]])
        batch["types"] = (second & real).astype(np.int32)
    if name == "bert":
        batch["labels"] = np.array([0, 1], np.int32)
    if name == "electra":
        replaced = np.zeros_like(real)
        np.put_along_axis(replaced, PREDICT_AT[:, :3], True, axis=1)  # one sample was the original
        batch["filled"] = np.where(replaced, 5 + (original + 7) % (VOCAB - 5), original)
        batch["filled"] = batch["filled"].astype(np.int32)
        batch["replaced"] = (batch["filled"] != original).astype(np.float32)
    return batch


def compute(name: str, parameters: Results, batch: Results) -> Results:
    """Results and gradients/NAME by Hugging Face's code in float64."""
    build, run, _ = ENCODERS[name]
    torch.set_default_dtype(torch.float64)
    given = {
        key: torch.from_numpy(value).long() if value.dtype == np.int32 else torch.from_numpy(value)
        for key, value in batch.items()
    }
    with NoFloat32():
        model = build().double().train()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(parameters[key]))
        results = run(model, given)
        results["loss"].backward()
    # A pooler that no loss reads has no gradient; none of these models has one.
    results |= {f"gradients/{key}": p.grad for key, p in model.named_parameters()}
    found = {key: value.detach().numpy() for key, value in results.items()}
    for key in ("hidden", "generator_hidden", "odds"):
        if key in found:
            real = batch["real"][..., None] if "hidden" in key else batch["real"]
            found[key] = np.where(real, found[key], 0)
    return found


def draw_parameters(name: str, rng: np.random.Generator) -> Results:
    """Random float32 parameters under Hugging Face's names; tied ones appear once."""
    found = {}
    for key, value in ENCODERS[name][0]().named_parameters():
        gain = key.endswith(("LayerNorm.weight", "layer_norm.weight"))
        found[key] = (gain + rng.normal(0, 0.2, value.shape)).astype(np.float32)
    return found


def main() -> None:
    """Writes the three files next to this one."""
    torch.set_num_threads(1)  # the same bytes in every run
    for name, (_, _, seed) in ENCODERS.items():
        rng = np.random.default_rng(seed)
        batch = draw_batch(name, rng)
        parameters = draw_parameters(name, rng)
        exact = compute(name, parameters, batch)
        golden = {key: value for key, value in batch.items() if key != "real"}
        golden |= {f"parameters/{key}": value for key, value in parameters.items()}
        golden |= {key: value.astype(np.float32) for key, value in exact.items()}
        path = Path(__file__).with_name(f"{name}.npz")
        np.savez_compressed(path, **golden)
        print(f"{name:8} loss {exact['loss']:8.4f} {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
