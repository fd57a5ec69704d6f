"""How one tensor of Hugging Face corresponds to our arrays: small objects that can be inverted.

Each has

    shape(shapes)            the shape of their tensor, given those of our arrays
    to_theirs(arrays)        their tensor
    to_ours(tensor, shapes)  our arrays, with these shapes

A query projection with D = 8, H = 2 and K = 4, as nn.Linear stores it:

>>> LINEAR.shape([(8, 2, 4)])
(8, 8)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Shape = tuple[int, ...]
Arrays = Sequence[np.ndarray]


class Transform(Protocol):
    """Between our arrays of one row of a table and their tensor."""

    def shape(self, shapes: Sequence[Shape]) -> Shape: ...

    def to_theirs(self, arrays: Arrays) -> np.ndarray: ...

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]: ...


@dataclass(frozen=True)
class Same:
    """The same array: tables of positions, types and buckets."""

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def to_theirs(self, arrays: Arrays) -> np.ndarray:
        return arrays[0]

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        return [tensor]


@dataclass(frozen=True)
class Vector:
    """One axis: gains, and biases, of which ours may be [H, K]."""

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        return (math.prod(shapes[0]),)

    def to_theirs(self, arrays: Arrays) -> np.ndarray:
        return arrays[0].reshape(-1)

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        return [tensor.reshape(shapes[0])]


@dataclass(frozen=True)
class Matrix:
    """A kernel [*inputs, *outputs] as [in, out] (Conv1D) or as [out, in] (nn.Linear)."""

    inputs: int = 1
    """Number of input axes: 2 for the output projection [H, K, D]."""
    transposed: bool = False

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        rows, columns = (math.prod(s) for s in (shapes[0][: self.inputs], shapes[0][self.inputs :]))
        return (columns, rows) if self.transposed else (rows, columns)

    def to_theirs(self, arrays: Arrays) -> np.ndarray:
        matrix = arrays[0].reshape(math.prod(arrays[0].shape[: self.inputs]), -1)
        return matrix.T if self.transposed else matrix

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        return [(tensor.T if self.transposed else tensor).reshape(shapes[0])]


@dataclass(frozen=True)
class Joined:
    """Several arrays side by side along the last axis: GPT-2's queries, keys and values."""

    part: Transform

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        parts = [self.part.shape([shape]) for shape in shapes]
        return (*parts[0][:-1], sum(part[-1] for part in parts))

    def to_theirs(self, arrays: Arrays) -> np.ndarray:
        return np.concatenate([self.part.to_theirs([array]) for array in arrays], axis=-1)

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        ends = np.cumsum([self.part.shape([shape])[-1] for shape in shapes])[:-1]
        pieces = zip(np.split(tensor, ends, axis=-1), shapes, strict=True)
        return [self.part.to_ours(piece, [shape])[0] for piece, shape in pieces]


@dataclass(frozen=True)
class Vocabulary:
    """A row per token: theirs are `size`, ours are padded with zeros (layers/embeddings.py)."""

    size: int

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        return (self.size, *shapes[0][1:])

    def to_theirs(self, arrays: Arrays) -> np.ndarray:
        return arrays[0][: self.size]

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        return [pad_rows(tensor, after=shapes[0][0] - self.size)]


@dataclass(frozen=True)
class Shifted:
    """A table of positions that begins `by` rows later than ours (RoBERTa); the rows in front are
    never read."""

    by: int

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        return (shapes[0][0] + self.by, *shapes[0][1:])

    def to_theirs(self, arrays: Arrays) -> np.ndarray:
        return pad_rows(arrays[0], before=self.by)

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        return [pad_rows(tensor, before=-self.by)]


def pad_rows(array: np.ndarray, before: int = 0, after: int = 0) -> np.ndarray:
    """The array between rows of zeros; a negative `before` removes rows instead.

    >>> pad_rows(np.array([1, 2]), before=1), pad_rows(np.array([1, 2, 3]), before=-1)
    (array([0, 1, 2]), array([2, 3]))
    """
    kept = array[max(-before, 0) :]
    return np.pad(kept, ((max(before, 0), after), *((0, 0) for _ in array.shape[1:])))


@dataclass(frozen=True)
class Zeros:
    """A tensor that their class has and our model lacks, because it adds nothing."""

    size: Shape

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        return self.size

    def to_theirs(self, arrays: Arrays) -> np.ndarray:
        return np.zeros(self.size, np.float32)

    def to_ours(self, tensor: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        return []


SAME, VECTOR = Same(), Vector()
LINEAR, LINEAR_OUT = Matrix(transposed=True), Matrix(inputs=2, transposed=True)
CONV1D, CONV1D_OUT = Matrix(), Matrix(inputs=2)
