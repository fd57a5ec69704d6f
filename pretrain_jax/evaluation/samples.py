"""The sample of an evaluation: what the model makes of one held-out example, for samples.txt.

causal LM            the start of a text >>> a sampled continuation
other generation     the inputs of an example >>> the likeliest targets; below them the true ones
encoder              a text with masks >>> the likeliest token for each; below them the true ones
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

import numpy as np

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.pipeline import Batch
from pretrain_jax.inference import filling, spellings
from pretrain_jax.inference.generation import Generator
from pretrain_jax.inference.sampling import Sampling
from pretrain_jax.tokenizers import Tokenizer

PROMPT_TOKENS = 32
"""Most tokens of a text that a causal language model continues."""
MAX_BATCHES = 16
"""Evaluation batches that are searched for an example."""
MIN_WORD_SHARE = 0.7
"""Share of letters and white space in text that is mostly words."""
GREEDY = Sampling(temperature=0.0)
Example = Mapping[str, np.ndarray]
"""The fields of one example, without padding."""


def choose_example(feed: Feed) -> Example:
    """A held-out example that a person can judge.

    It is the first that starts a text, fills at least half a row and is mostly words; if the first
    MAX_BATCHES have none, the one that comes closest.
    """
    with contextlib.closing(feed.eval_batches()) as batches:
        some = itertools.islice(batches, MAX_BATCHES)
        return min(rank_examples(some, feed.tokenizer), key=itemgetter(0))[1]


def rank_examples(
    batches: Iterable[Batch], tokenizer: Tokenizer
) -> Iterator[tuple[tuple[bool, ...], Example]]:
    """(faults, example) of each example up to the first without faults.

    faults: (mostly not words, shorter than half a row, not the start of a text).
    """
    for batch in batches:
        stream = "memory_tokens" if "memory_tokens" in batch else "tokens"
        slots = batch[stream].shape[1]
        for row in range(len(batch["tokens"])):
            for number in range(1, int(batch["segments"][row].max()) + 1):
                example = extract(batch, row, number)
                tokens = example[stream]
                text = tokenizer.decode(tokens[tokens >= 0])
                words = sum(c.isalpha() or c.isspace() for c in text)
                first = next(iter(tokens[tokens >= 0]), None)
                begins = tokenizer.bos is None or tokenizer.bos == first
                faults = (
                    words < MIN_WORD_SHARE * len(text),
                    len(tokens) < slots // 2,
                    stream == "tokens" and not begins,
                )
                yield faults, example
                if not any(faults):
                    return


def extract(batch: Batch, row: int, number: int) -> Example:
    """The fields of an example in a packed row; indices count from its start."""
    inside = batch["segments"][row] == number
    start = int(inside.argmax())
    predicted = inside
    if "predict_at" in batch:
        at = batch["predict_at"][row]
        predicted = inside[at] & (batch["weights"][row] > 0)
    masks = {Kind.STREAM: inside, Kind.TARGET: predicted, Kind.INDEX: predicted}
    if "memory_segments" in batch:
        masks[Kind.MEMORY] = batch["memory_segments"][row] == number
    return {
        name: values[row][masks[kind]] - (start if kind is Kind.INDEX else 0)
        for name, values in batch.items()
        if (kind := FIELDS[name].kind) in masks
    }


def make_sample(
    design: Design, generator: Generator, tokenizer: Tokenizer, example: Example, seed: int
) -> str:
    """The text for samples.txt; see the top of this file."""
    objective, tokens = design.task.objective, design.spec.eval.sample_tokens
    if objective.covers_text:
        prompt = {"tokens": start_of_text(design, example)}
        (made,) = generator.generate([prompt], tokens, Sampling(), seed)
        read = prompt["tokens"]
        return f"{tokenizer.decode(read[read >= 0])}>>>{made.text}"
    if objective.generates:
        prompt = inputs_of(example)
        (made,) = generator.generate([prompt], tokens, GREEDY, seed)
        read, given = prompt.get("memory_tokens", prompt["tokens"]), made.tokens
    else:
        read, at = example["tokens"], example["predict_at"]
        method = objective.model_methods[0]
        masked = {"tokens": read, "predict_at": at}
        given = filling.likeliest_tokens(generator, masked, top=1, method=method)[0][:, 0]
    true = example["targets"][example["weights"] > 0]
    shown = (spellings.decode(ids, tokenizer) for ids in (read, given, true))
    return "{}\n>>>{}\ntrue: {}".format(*shown)


def start_of_text(design: Design, example: Example) -> np.ndarray:
    """int32 [n]: the first tokens of an example, at most PROMPT_TOKENS and half a row."""
    row = design.task.budgets(design.spec.phases.eval_seq_len)["L"]
    places = int(np.count_nonzero(example["tokens"] < 0))
    return example["tokens"][: places + min(PROMPT_TOKENS, max(1, row // 2))]


def inputs_of(example: Example) -> dict[str, np.ndarray]:
    """The prompt of an example: what the model reads before its first target."""
    if "memory_tokens" in example:
        return {"memory_tokens": example["memory_tokens"], "tokens": example["tokens"][:1]}
    first = example["predict_at"][0] if "predict_at" in example else example["weights"].argmax()
    count = int(first) + 1
    return {name: example[name][:count] for name in ("tokens", "prefix") if name in example}
