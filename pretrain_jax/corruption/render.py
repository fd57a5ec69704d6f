"""How inputs and targets look, once the noise is drawn.

`noise` is a noise map (corruption/__init__.py). T5's functions work on masks, in which neighbouring
tokens of noise are always one span; here each group gets a sentinel, and `given(noise > 0)` makes
neighbours one group.
"""

from collections.abc import Sequence

import numpy as np

from pretrain_jax.corruption.noise import groups


def frame(tokens: np.ndarray, first: int, last: int) -> np.ndarray:
    """[5, 6] between 1 and 2 is [1, 5, 6, 2]: [CLS] text [SEP]."""
    framed = np.empty(len(tokens) + 2, tokens.dtype)
    framed[0], framed[1:-1], framed[-1] = first, tokens, last
    return framed


def with_sentinels(
    tokens: np.ndarray, noise: np.ndarray, sentinels: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(the text with its k-th noise group replaced by the k-th sentinel, the noise, each group
    behind its sentinel).

    Inputs "Thank you <X> me to your party <Y> week ." (T5's noise_span_to_unique_sentinel) and
    targets "<X> for inviting <Y> last". No sentinel closes the last group. For noise from
    `random_spans` these targets are T5's nonnoise_span_to_unique_sentinel; elsewhere that function
    numbers the gaps, so that its targets begin without a sentinel where the noise begins the text
    and end with one where text ends it. Raises ValueError where groups outnumber sentinels.

    >>> with_sentinels(np.array([10, 11, 12, 13]), np.array([1, 1, 0, 2]), [99, 98])
    (array([99, 12, 98]), array([99, 10, 11, 98, 13]))
    """
    starts, stops = groups(noise)
    if len(starts) > len(sentinels):
        raise ValueError(
            f"each noise group must have a sentinel of its own; received {len(starts)} groups and "
            f"{len(sentinels)} sentinels; use a tokenizer with more of them, or longer spans"
        )
    own = sentinels[: len(starts)]
    kept = noise == 0
    removed = tokens[~kept]
    kept[starts] = True
    marked = tokens.copy()
    marked[starts] = own
    sizes = stops - starts + 1
    at = sizes.cumsum() - sizes
    is_text = np.ones(len(removed) + len(starts), np.bool_)
    is_text[at] = False
    targets = np.empty(len(is_text), tokens.dtype)
    targets[at], targets[is_text] = own, removed
    return marked[kept], targets


def drop(tokens: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The text without the noise: "Thank you me to your party week ." (T5's drop_noise_tokens)."""
    return tokens[noise == 0]


def as_memory(inputs: np.ndarray, targets: np.ndarray, start: int) -> dict[str, np.ndarray]:
    """Fields for an encoder-decoder: it reads `inputs`, and its decoder predicts `targets`.

    Inputs [5, 6, 1] and targets [7, 8, 1] with start 0 give memory_tokens [5, 6, 1], tokens
    [0, 7, 8], targets [7, 8, 1], weights [1, 1, 1]: the decoder sees its answers one place late.
    """
    tokens = np.empty_like(targets)
    tokens[:1], tokens[1:] = start, targets[:-1]
    return {
        "memory_tokens": inputs,
        "tokens": tokens,
        "targets": targets,
        "weights": np.ones(len(targets), np.float32),
    }


def as_stream(inputs: np.ndarray, targets: np.ndarray, prefix: bool) -> dict[str, np.ndarray]:
    """Fields for a decoder alone: one stream of inputs and targets, of which targets are predicted.

    Inputs [5, 6] and targets [7, 8, 1] give tokens [5, 6, 7, 8], predict_at [1, 2, 3], targets
    [7, 8, 1], weights [1, 1, 1] and, with `prefix`, prefix [1, 1, 0, 0]: the inputs, which may see
    one another. Without inputs nothing stands before the first target, and it is not predicted.
    """
    stream = np.concatenate([inputs, targets])
    first = max(len(inputs), 1)
    predicted = stream[first:]
    fields = {
        "tokens": stream[:-1],
        "predict_at": np.arange(first - 1, first - 1 + len(predicted), dtype=np.int32),
        "targets": predicted,
        "weights": np.ones(len(predicted), np.float32),
    }
    if prefix:
        fields["prefix"] = np.arange(len(stream) - 1) < len(inputs)
    return fields
