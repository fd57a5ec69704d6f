"""How inputs and targets look, once the noise is drawn.

`noise` is a noise map (corruption/__init__.py). T5's functions work on masks, in which neighbouring
tokens of noise are always one span; here each group gets a sentinel, and `given(texts, noise > 0)`
makes neighbours one group.
"""

from collections.abc import Sequence

import numpy as np

from pretrain_jax.corruption.noise import firsts
from pretrain_jax.ragged import Fields, Parts, Ragged, side_by_side


def with_sentinels(
    texts: Ragged, noise: np.ndarray, sentinels: Sequence[int] | np.ndarray
) -> tuple[Ragged, Ragged]:
    """(each text with its k-th noise group replaced by the k-th sentinel, the noise, each group
    behind its sentinel).

    Inputs "Thank you <X> me to your party <Y> week ." (T5's noise_span_to_unique_sentinel) and
    targets "<X> for inviting <Y> last". No sentinel closes the last group. For noise from
    `random_spans` these targets are T5's nonnoise_span_to_unique_sentinel; elsewhere that function
    numbers the gaps, so that its targets begin without a sentinel where the noise begins the text
    and end with one where text ends it. Raises ValueError where groups outnumber sentinels.

    >>> noise = np.array([1, 1, 0, 2])
    >>> inputs, targets = with_sentinels(Ragged.joined([[10, 11, 12, 13]]), noise, [99, 98])
    >>> inputs.values, targets.values
    (array([99, 12, 98], dtype=int32), array([99, 10, 11, 98, 13], dtype=int32))
    """
    tokens, parts = texts
    first = firsts(parts, noise)
    number = noise[first]
    most = int(number.max(initial=0))
    if most > len(sentinels):
        raise ValueError(
            f"each noise group must have a sentinel of its own; received {most} groups and "
            f"{len(sentinels)} sentinels; use a tokenizer with more of them, or longer spans"
        )
    own = np.asarray(sentinels)[number - 1] if most else number
    removed = noise.nonzero()[0]
    marked = tokens.copy()
    marked[first] = own
    begins = first[removed]
    places = np.arange(len(removed)) + begins.cumsum()  # in the targets, behind the sentinels
    targets = np.empty(len(removed) + len(own), tokens.dtype)
    targets[places], targets[places[begins] - 1] = tokens[removed], own
    sizes = parts.counts(removed).sizes + parts.counts(removed[begins]).sizes
    inputs = Ragged(marked, parts).where(first | (noise == 0))
    return inputs, Ragged(targets, Parts(sizes))


def drop(texts: Ragged, noise: np.ndarray) -> Ragged:
    """Texts without the noise: "Thank you me to your party week ." (T5's drop_noise_tokens)."""
    return texts.where(noise == 0)


def as_memory(inputs: Ragged, targets: Ragged, start: int) -> Fields:
    """Fields for an encoder-decoder: it reads `inputs`, and its decoder predicts `targets`.

    Inputs [5, 6, 1] and targets [7, 8, 1] with start 0 give memory_tokens [5, 6, 1], tokens
    [0, 7, 8], targets [7, 8, 1], weights [1, 1, 1]: the decoder sees its answers one place late.
    """
    tokens, parts = np.empty_like(targets.values), targets.parts
    tokens[1:] = targets.values[:-1]
    tokens[parts.leading] = start
    return {
        "memory_tokens": inputs,
        "tokens": Ragged(tokens, parts),
        "targets": targets,
        "weights": ones(parts),
    }


def as_stream(inputs: Ragged, targets: Ragged, prefix: bool) -> Fields:
    """Fields for a decoder alone: one stream of inputs and targets, of which targets are predicted.

    Inputs [5, 6] and targets [7, 8, 1] give tokens [5, 6, 7, 8], predict_at [1, 2, 3], targets
    [7, 8, 1], weights [1, 1, 1] and, with `prefix`, prefix [1, 1, 0, 0]: the inputs, which may see
    one another. Without inputs nothing stands before the first target, and it is not predicted.
    """
    stream, first = side_by_side(inputs, targets), np.maximum(inputs.parts.sizes, 1)
    parts = stream.parts
    tokens = stream.where(parts.place < parts.each(parts.sizes - 1))
    predicted = stream.where(parts.place >= parts.each(first))
    at = predicted.parts.place + predicted.parts.each(first - 1)
    fields = {
        "tokens": tokens,
        "predict_at": Ragged(at.astype(np.int32), predicted.parts),
        "targets": predicted,
        "weights": ones(predicted.parts),
    }
    if prefix:
        own = tokens.parts
        fields["prefix"] = Ragged(own.place < own.each(inputs.parts.sizes), own)
    return fields


def ones(parts: Parts) -> Ragged:
    """float32 weights of answers that all count."""
    return Ragged(np.ones(parts.total, np.float32), parts)
