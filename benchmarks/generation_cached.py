"""The part `cached` of generation.py, on one mesh; prints a JSON list of results.

    python benchmarks/generation_cached.py 2x2

Row r of a batch has a prompt of PROMPTS[r] random tokens and 200 greedy ones after it. Parameters
are initial ones plus N(0, 0.05^2), so that no bias is zero and texts vary.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from pretrain_jax import losses, registry
from pretrain_jax.composition import build as composition
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.sections import with_defaults
from pretrain_jax.inference.decoding import Decoder, bucket, prefill, step, to_rows
from pretrain_jax.inference.restore import for_inference
from pretrain_jax.inference.sampling import Sampling
from pretrain_jax.inference.sampling_loop import advance, begin
from pretrain_jax.models import _base

MESHES = {"1": {"data": 1}, "2x2": {"data": 2, "tensor": 2}}
PROMPTS = (5, 1, 12, 30, 17)
MEMORIES = (7, 3, 20, 1, 33)
ROWS = 6
"""Of a batch: a multiple of mesh.data. The last prompt fills it."""
TOKENS = 200
IDS = 262
NOISE = 0.05
TOLERANCE = 1e-5
SIZES = {
    "layers": 3,
    "width": 64,
    "heads": 4,
    "head_width": 16,
    "feed_forward": 128,
    "max_length": 256,
    "dropout": 0.0,
}


@dataclass(frozen=True)
class Case:
    """A line of the table."""

    title: str
    model: str
    objective: tuple[str, ...] = ("causal_lm",)
    """Its name, and its `inputs`."""
    sizes: tuple[tuple[str, int], ...] = ()
    shifted: int = 0
    """Slots by which the cached prompt is moved: 1 must show."""


CASES = (
    Case("gpt", "gpt"),
    Case("gpt1", "gpt1"),
    Case("llama, 2 heads of keys for 4", "llama", sizes=(("kv_heads", 2),)),
    Case("gopher", "gopher"),
    Case("lamda", "lamda"),
    Case("prefix LM", "gpt", ("prefix_lm", "prefix")),
    Case("t5", "t5", ("span_corruption",)),
    Case("t5_1_1", "t5_1_1", ("span_corruption",)),
    Case("transformer", "transformer", ("text_to_text",)),
    Case("gpt, one slot off", "gpt", shifted=1),
)


def main() -> None:
    mesh = MESHES[sys.argv[1]]
    print(json.dumps([compare(case, mesh) for case in CASES]))


def compare(case: Case, mesh: dict[str, int]) -> dict[str, Any]:
    """Generates with a cache, and reads the generated rows without one."""
    design = build(case, mesh)
    params = draw_parameters(design)
    prompts = list(draw_prompts(design))
    batch = to_rows(prompts, ROWS)
    lengths = batch["segments"].sum(axis=1)
    served, separated = for_inference(design, params)
    tokens, logits = generate(case, served, separated, batch)
    want = read(design, params, batch, tokens, lengths)
    at = lengths[:, None] - 1 + np.arange(TOKENS)
    rows = np.arange(ROWS)[:, None]
    expected, chosen = want[rows, at][: len(prompts)], tokens[rows, at + 1][: len(prompts)]
    difference = np.abs(logits[: len(prompts)] - expected)
    return {
        "model": case.title,
        "tokens": chosen.size,
        "equal tokens": int((expected.argmax(-1) == chosen).sum()),
        "distinct": len(np.unique(chosen)),
        "difference": float(difference.max()),
        "largest": float(np.abs(expected).max()),
        "within": bool((difference <= TOLERANCE * np.maximum(1, np.abs(expected))).all()),
        "shifted": bool(case.shifted),
    }


def build(case: Case, mesh: dict[str, int]) -> Design:
    sizes = registry.accepted_kwargs(_base.load(case.model).build, SIZES | dict(case.sizes))
    objective = dict(zip(("name", "inputs"), case.objective, strict=False))
    return build_design({"name": case.model, "vocab_size": IDS, **sizes}, objective, mesh)


def build_design(model: Any, objective: Any, mesh: Any = MESHES["1"]) -> Design:
    """The design of a config with these sections."""
    config = {
        "data": {"source": "stdlib", "seq_len": 32},
        "tokenizer": {"name": "bytes"},
        "objective": objective,
        "model": model,
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "schedule": "constant"},
        "mesh": mesh,
        "train": {"steps": 1, "batch_size": 4},
        "checkpoint": {},
        "eval": {},
    }
    devices = jax.devices()[: int(np.prod(list(mesh.values())))]
    return composition.build_design(ConfigDict(with_defaults(config)), tuple(devices))


def draw_parameters(design: Design) -> Any:
    """Stacked parameters on the mesh; the same numbers on every mesh."""
    leaves, tree = jax.tree.flatten(jax.jit(lambda: nn.meta.unbox(design.model.init(0)))())
    draw = np.random.default_rng(0)
    noisy = [np.asarray(x) + NOISE * draw.normal(size=x.shape).astype(x.dtype) for x in leaves]
    return jax.device_put(jax.tree.unflatten(tree, noisy), design.placement.param_shardings)


def draw_prompts(design: Design) -> Iterator[dict[str, np.ndarray]]:
    draw = np.random.default_rng(1)
    for length, memory in zip(PROMPTS, MEMORIES, strict=True):
        prompt = {"tokens": draw.integers(0, IDS, length, dtype=np.int32)}
        if "memory_tokens" in design.task.objective.fields:
            prompt["memory_tokens"] = draw.integers(0, IDS, memory, dtype=np.int32)
        if design.task.objective.attention == "prefix":
            prompt["prefix"] = np.ones(length, bool)
        yield prompt


def generate(case: Case, design: Design, params: Any, batch: Any) -> tuple[Any, Any]:
    """The rows int32 [B, S] after greedy generation, and the logits [B, TOKENS, IDS] of each step
    with a cache."""
    decoder = Decoder(design.placement.apply_cached, IDS)
    greedy = Sampling(temperature=0.0)
    last = (batch["segments"].sum(axis=1) + TOKENS - 1).astype(np.int32)
    slots = bucket(int(last.max()) + 1)
    static = {"decoder": decoder, "filters": greedy.filters, "end": None}
    drawn = jax.random.key(0), np.arange(ROWS), greedy.strengths  # greedy search uses none
    state = begin(params, batch, last, *drawn, slots=slots, **static)
    state = state.replace(cache=shift(state.cache, case.shifted))
    rows = advance(params, state, TOKENS, greedy.strengths, **static).cache.tokens

    @partial(jax.jit, static_argnums=2)
    def replay(params: Any, tokens: jax.Array, shifted: int) -> jax.Array:
        first, cache = prefill(params, batch, decoder=decoder, slots=slots)
        cache = shift(cache.replace(tokens=tokens), shifted)

        def body(cache: Any, position: jax.Array) -> tuple[Any, jax.Array]:
            logits, cache = step(params, cache, position, decoder)
            return cache, logits

        starts = batch["segments"].sum(axis=1)
        _, others = jax.lax.scan(body, cache, starts + jnp.arange(TOKENS - 1)[:, None])
        return jnp.concatenate([first[None], others]).swapaxes(0, 1)

    return jax.device_get((rows, replay(params, rows, case.shifted)))


def shift(cache: Any, slots: int) -> Any:
    """The cache with all its keys and values moved by some slots."""
    return cache.replace(past=jax.tree.map(lambda x: jnp.roll(x, slots, axis=-2), cache.past))


def read(design: Design, params: Any, batch: Any, tokens: np.ndarray, lengths: np.ndarray) -> Any:
    """Logits [B, S, IDS] of complete rows, by the model as training has it."""
    order = np.arange(tokens.shape[1])
    inside = order < (lengths + TOKENS)[:, None]
    whole = {name: x for name, x in batch.items() if name.startswith("memory_")} | {
        "tokens": tokens,
        "segments": inside.astype(np.int32),
        "positions": np.where(inside, order, 0).astype(np.int32),
    }
    if "prefix" in batch:
        whole["prefix"] = order < lengths[:, None]

    @jax.jit
    def run(params: Any, whole: Any) -> jax.Array:
        output = design.placement.apply(params, whole, jax.random.key(0), False)
        flat = output.hidden.reshape(-1, output.hidden.shape[-1])
        return losses.compute_logits(flat, output.readout)[:, :IDS].reshape(*tokens.shape, IDS)

    return jax.device_get(run(params, whole))


if __name__ == "__main__":
    main()
