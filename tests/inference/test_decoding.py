"""Cached decoding computes what the model computes without a cache, for every architecture."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from pretrain_jax import losses, registry
from pretrain_jax.inference.decoding import Decoder, bucket, prefill, step, to_rows
from pretrain_jax.inference.generation import advance, begin
from pretrain_jax.inference.sampling import Sampling
from pretrain_jax.layers.stacks import BuildContext, separate

PROMPTS = [5, 1, 12]
"""Lengths of the prompts of one batch."""
STEPS = 12
LENGTH = 48
DRAW = np.random.default_rng(0)
TEXTS = DRAW.integers(0, tiny.SIZES["vocab_size"], (len(PROMPTS), LENGTH), dtype=np.int32)
MEMORIES = [DRAW.integers(0, 61, n, dtype=np.int32) for n in (7, 3, 20)]


@dataclass(frozen=True)
class Case:
    """An architecture with an attention, in the layout of its parameters."""

    name: str
    attention: str = "causal"
    separate_layers: bool = True
    backend: str = "plain"

    def __str__(self) -> str:
        layers = "separate" if self.separate_layers else "stacked"
        return f"{self.name}-{self.attention}-{self.backend}-{layers}"

    @property
    def has_memory(self) -> bool:
        return "memory_tokens" in tiny.architecture(self.name).required_fields


NAMES = [name for name in tiny.NAMES if "causal" in tiny.architecture(name).attention]
CASES = [
    *(Case(name) for name in NAMES),
    *(Case(name, "prefix") for name in tiny.PREFIX_DECODERS),
    *(Case(name, "causal", False, "cpu") for name in ("gpt", "gopher", "t5")),
]


def model_of(case: Case) -> tuple[nn.Module, Any]:
    """The module, and parameters that are not those of `init`: there, some biases are zero."""
    sizes = registry.accepted_kwargs(tiny.architecture(case.name).build, {"max_length": LENGTH})
    params = tiny.init(tiny.build(case.name, BuildContext(case.attention), **sizes))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(tree, noisy)
    context = BuildContext(
        case.attention, separate_layers=case.separate_layers, attention_backend=case.backend
    )
    module = tiny.build(case.name, context, **sizes)
    return module, separate(params) if case.separate_layers else params


def decoder_of(module: nn.Module) -> Decoder:
    def apply_cached(params: Any, batch: Any, cache: Any, write: Any) -> Any:
        return module.apply({"params": params, **cache}, batch, False, mutable=list(write))

    return Decoder(apply_cached, tiny.SIZES["vocab_size"])


def prompt(case: Case, row: int) -> dict[str, np.ndarray]:
    """The first tokens of a row of TEXTS."""
    fields: dict[str, np.ndarray] = {"tokens": TEXTS[row, : PROMPTS[row]]}
    if case.attention == "prefix":
        fields["prefix"] = np.ones(PROMPTS[row], bool)
    if case.has_memory:
        fields["memory_tokens"] = MEMORIES[row]
    return fields


def uncached(case: Case, module: nn.Module, params: Any, row: int) -> jax.Array:
    """Logits [LENGTH, V] of a row alone, without padding and cache."""
    batch: dict[str, np.ndarray] = {"tokens": TEXTS[row]}
    if case.has_memory:
        batch["memory_tokens"] = MEMORIES[row]
    for stream in ("", "memory_") if case.has_memory else ("",):
        n = len(batch[f"{stream}tokens"])
        batch[f"{stream}segments"] = np.ones(n, np.int32)
        batch[f"{stream}positions"] = np.arange(n, dtype=np.int32)
    if case.attention == "prefix":
        batch["prefix"] = np.arange(LENGTH) < PROMPTS[row]
    return whole_rows(module, params, jax.tree.map(lambda x: x[None], batch))[0]


@partial(jax.jit, static_argnums=0)
def whole_rows(module: nn.Module, params: Any, batch: Any) -> jax.Array:
    """Logits [B, L, V] without a cache."""
    output: Any = module.apply({"params": params}, batch, False)
    return losses.compute_logits(output.hidden, output.readout)[..., :61]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cached_equals_uncached(case: Case):
    """Ragged prompts in one batch, 12 steps: logits within 1e-5 of a row alone."""
    module, params = model_of(case)
    decoder = decoder_of(module)
    rows = to_rows([prompt(case, row) for row in range(len(PROMPTS))], 4, LENGTH)
    logits, cache = prefill(params, rows, decoder=decoder, slots=LENGTH)
    read: Callable[..., Any] = jax.jit(partial(step, decoder=decoder))
    texts = jnp.asarray(TEXTS[[0, 1, 2, 2]])
    cache = cache.replace(tokens=texts)  # later tokens are already there, and must not be seen
    want = [uncached(case, module, params, row) for row in range(len(PROMPTS))]
    position = np.array([*PROMPTS, PROMPTS[-1]], np.int32) - 1
    for _ in range(STEPS):
        for row, expected in enumerate(want):
            np.testing.assert_allclose(logits[row], expected[position[row]], atol=1e-5, rtol=1e-5)
        position = position + 1
        logits, cache = read(params, cache, position)


def test_it_can_fail():
    """A slot too many or too few shows."""
    module, params = model_of(Case("gpt"))
    decoder = decoder_of(module)
    rows = to_rows([prompt(Case("gpt"), 0)], 1, LENGTH)
    _, cache = prefill(params, rows, decoder=decoder, slots=LENGTH)
    cache = cache.replace(tokens=jnp.asarray(TEXTS[:1]))
    want = uncached(Case("gpt"), module, params, 0)
    for wrong in (4, 6):
        logits, _ = step(params, cache, jnp.array([wrong]), decoder)
        assert jnp.abs(logits[0] - want[5]).max() > 1e-3


@pytest.mark.parametrize("rows", [1, 3])
def test_no_step_copies_a_cache(rows: int):
    """The compiled loop writes new keys and values in place."""
    module, params = model_of(Case("gpt"))
    greedy = Sampling(temperature=0.0)
    static = {"decoder": decoder_of(module), "filters": greedy.filters, "end": None}
    batch = to_rows([prompt(Case("gpt"), 0)], rows, LENGTH)
    last = np.full(rows, LENGTH - 1, np.int32)
    drawn = jax.random.key(0), np.arange(rows), greedy.strengths
    state = begin(params, batch, last, *drawn, slots=LENGTH, **static)
    lowered = advance.lower(params, state, LENGTH, greedy.strengths, **static)
    program = lowered.compile().as_text() or ""
    assert program.count(f"f32[{rows},4,{LENGTH},8]") > 6
    assert not re.findall(rf"= f32\[{rows},4,{LENGTH},8\]\S* copy\(", program)


def test_buckets_are_few_and_large_enough():
    sizes = sorted({bucket(n) for n in range(1, 2000)})
    assert sizes == [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]
    assert all(bucket(n) >= n for n in range(1, 2000))
    assert bucket(40, limit=50) == 48 and bucket(49, limit=50) == 50
