"""Makes inputs and targets from texts and a noise map (corruption/__init__.py).

T5's functions work on masks, in which adjacent noise tokens are always one span. Here each group
has a sentinel; `from_mask(texts, noise > 0)` merges adjacent groups.
"""

from collections.abc import Sequence

import numpy as np

from pretrain_jax.corruption.noise import group_starts
from pretrain_jax.ragged import Fields, Ragged, RowSplits, concatenate_rows


def with_sentinels(
    texts: Ragged, noise: np.ndarray, sentinels: Sequence[int] | np.ndarray
) -> tuple[Ragged, Ragged]:
    """(inputs: the k-th noise group is replaced by the k-th sentinel, targets: each sentinel, then
    its group).

    Inputs "Thank you <X> me to your party <Y> week ." (T5's noise_span_to_unique_sentinel) and
    targets "<X> for inviting <Y> last". There is no sentinel after the last group. For noise from
    `random_spans` these targets equal T5's nonnoise_span_to_unique_sentinel. For other noise, T5's
    function numbers the gaps: its targets start without a sentinel if the noise starts the text,
    and end with a sentinel if text ends it.

    Raises ValueError if there are more groups than sentinels.

    >>> noise = np.array([1, 1, 0, 2])
    >>> inputs, targets = with_sentinels(Ragged.concatenate([[10, 11, 12, 13]]), noise, [99, 98])
    >>> inputs.values, targets.values
    (array([99, 12, 98], dtype=int32), array([99, 10, 11, 98, 13], dtype=int32))
    """
    tokens, splits = texts
    first = group_starts(splits, noise)
    number = noise[first]
    most = int(number.max(initial=0))
    if most > len(sentinels):
        raise ValueError(
            f"each noise group needs its own sentinel; received {most} groups and "
            f"{len(sentinels)} sentinels; use a tokenizer with more sentinels, or longer spans"
        )
    group_sentinels = np.asarray(sentinels)[number - 1] if most else number
    removed = noise.nonzero()[0]
    replaced = tokens.copy()
    replaced[first] = group_sentinels
    begins = first[removed]
    places = np.arange(len(removed)) + begins.cumsum()  # in the targets, after the sentinels
    targets = np.empty(len(removed) + len(group_sentinels), tokens.dtype)
    targets[places], targets[places[begins] - 1] = tokens[removed], group_sentinels
    sizes = splits.take(removed).sizes + splits.take(removed[begins]).sizes
    inputs = Ragged(replaced, splits).boolean_mask(first | (noise == 0))
    return inputs, Ragged(targets, RowSplits(sizes))


def drop_noise(texts: Ragged, noise: np.ndarray) -> Ragged:
    """The texts without noise: "Thank you me to your party week ." (T5's drop_noise_tokens)."""
    return texts.boolean_mask(noise == 0)


def as_memory(inputs: Ragged, targets: Ragged, start: int) -> Fields:
    """Fields of an encoder-decoder: the encoder reads `inputs`, the decoder predicts `targets`.

    Inputs [5, 6, 1] and targets [7, 8, 1] with start 0 give memory_tokens [5, 6, 1], tokens
    [0, 7, 8], targets [7, 8, 1] and weights [1, 1, 1]: decoder inputs are shifted by one.
    """
    return {
        "memory_tokens": inputs,
        "tokens": shift_right(targets, start),
        "targets": targets,
        "weights": unit_weights(targets.splits),
    }


def shift_right(stream: Ragged, start: int) -> Ragged:
    """Each row without its last id, after `start`.

    >>> shift_right(Ragged.concatenate([[5, 6, 1], [7, 1]]), 0).values
    array([0, 5, 6, 0, 7], dtype=int32)
    """
    values = np.empty_like(stream.values)
    values[1:] = stream.values[:-1]
    values[stream.splits.nonempty_starts] = start
    return stream._replace(values=values)


def as_stream(inputs: Ragged, targets: Ragged, prefix: bool) -> Fields:
    """Fields of a decoder: one stream of inputs and targets, which predicts only the targets.

    Inputs [5, 6] and targets [7, 8, 1] give tokens [5, 6, 7, 8], predict_at [1, 2, 3], targets
    [7, 8, 1], weights [1, 1, 1] and, with `prefix`, prefix [1, 1, 0, 0]: the inputs, in which
    attention is bidirectional. Without inputs, the first target has no token before it and is not
    predicted.
    """
    stream, first = concatenate_rows(inputs, targets), np.maximum(inputs.splits.sizes, 1)
    splits = stream.splits
    tokens = stream.boolean_mask(splits.offsets < splits.broadcast(splits.sizes - 1))
    predicted = stream.boolean_mask(splits.offsets >= splits.broadcast(first))
    at = predicted.splits.offsets + predicted.splits.broadcast(first - 1)
    fields = {
        "tokens": tokens,
        "predict_at": Ragged(at.astype(np.int32), predicted.splits),
        "targets": predicted,
        "weights": unit_weights(predicted.splits),
    }
    if prefix:
        splits = tokens.splits
        is_input = splits.offsets < splits.broadcast(inputs.splits.sizes)
        fields["prefix"] = Ragged(is_input, splits)
    return fields


def unit_weights(splits: RowSplits) -> Ragged:
    """float32 weights of 1 for all targets."""
    return Ragged(np.ones(splits.total, np.float32), splits)
