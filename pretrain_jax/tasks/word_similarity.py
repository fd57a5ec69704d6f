"""Word similarity: do the vectors of similar words have a small angle? WordSim-353, SimLex-999, MEN
and others, in the format of Faruqui and Dyer 2014: two words and a score of people on each line.

Each word is read alone. The metric is Spearman's correlation of the scores and of the cosines, the
mean over the files.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from pretrain_jax.errors import DataError
from pretrain_jax.scores.regression import correlate
from pretrain_jax.tasks._base import Metric, Model, Prompting, Report, Task
from pretrain_jax.tasks._layers import LAYERS, pick_layers
from pretrain_jax.tasks._records import FIX, find_files, read_lines


@dataclass(frozen=True)
class Pair:
    """Two words, and how similar people find them."""

    first: str
    second: str
    score: float
    group: str
    file: int
    """The number of its file."""


def read(path: Path) -> list[Pair]:
    """The pairs of .txt files; the group of a pair is the name of its file."""
    pairs = []
    for at, file in enumerate(find_files(path, ".txt")):
        for number, line in enumerate(read_lines(file), start=1):
            parts = line.split()
            if not parts:
                continue
            score = math.nan
            with contextlib.suppress(IndexError, ValueError):
                score = float(parts[2])
            if not math.isfinite(score):
                raise DataError(
                    f"a line of word similarity needs two words and a number; {file} line {number} "
                    f"has {line[:60]!r}; {FIX}"
                )
            pairs.append(Pair(parts[0], parts[1], score, file.stem, at))
    return pairs


def ask(
    model: Model, items: Sequence[Pair], pool: Sequence[Pair], prompting: Prompting
) -> list[Report]:
    del pool, prompting
    words = sorted({word for item in items for word in (item.first, item.second)})
    place = {word: i for i, word in enumerate(words)}
    ends = np.array([[place[item.first], place[item.second]] for item in items])
    cosines = {}
    for name, layer in pick_layers(model.layers).items():
        vectors = model.embed(words, layer)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines[name] = (unit[ends[:, 0]] * unit[ends[:, 1]]).sum(axis=1)
    return [
        {
            "group": item.group,
            "words": [item.first, item.second],
            "file": item.file,
            "score": item.score,
            **{name: float(values[i]) for name, values in cosines.items()},
        }
        for i, item in enumerate(items)
    ]


def spearman(file: np.ndarray, score: np.ndarray, cosine: np.ndarray) -> float:
    """Spearman's correlation, the mean over the files; 0 for one whose numbers are all equal."""
    parts = [file == number for number in np.unique(file)]
    return float(np.mean([correlate(stats.spearmanr, score[x], cosine[x]) for x in parts]))


def metric(layer: str) -> Metric:
    return Metric(("file", "score", layer), spearman)


TASK = Task(
    read=read,
    ask=ask,
    metrics={f"spearman{suffix}": metric(layer) for layer, suffix in LAYERS.items()},
    needs="embed",
    takes_shots=False,
    protocol="Each word is read alone; its vector is the mean over its tokens, special ones too.",
)
