"""Tables that pair our parameters with the tensors of a class of transformers.

A row is (our path, or the paths that one tensor joins; their name, with {} for the layer; a
transform). Our arrays are stacked over layers, theirs are not:

    Row("stack/layers/feed_forward/up/kernel", "transformer.h.{}.mlp.c_fc.weight", CONV1D)

`write_tensors` and `read_params` follow the same table in opposite directions.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pretrain_jax.errors import DataError, list_names
from pretrain_jax.huggingface._settings import Settings
from pretrain_jax.huggingface._tensors import Tensor, Tensors
from pretrain_jax.huggingface._transforms import SAME, Shape, Transform

Params = Mapping[str, np.ndarray]
"""Arrays by path, such as "embedding/tokens"; those of layers are [layers, ...]."""
HARMLESS = (
    r".*\.attn\.(masked_)?bias",  # causal masks that old versions stored
    r".*\.position_ids",
    r".*\.token_type_ids",
    r".*\.rotary_emb\.inv_freq",
)
"""Patterns of buffers: arrays that are not parameters."""


class Row(NamedTuple):
    """One line of a table."""

    ours: str | tuple[str, ...]
    theirs: str
    transform: Transform = SAME

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.ours,) if isinstance(self.ours, str) else self.ours

    @property
    def per_layer(self) -> bool:
        return "{}" in self.theirs


@dataclass(frozen=True)
class Run:
    """What a family may know of a run."""

    model: Mapping[str, Any]
    """The section `model` of its config."""
    heads: tuple[str, ...] = ()
    """Names of the objective's heads: next_sentence, span_boundary, classify."""
    pad: int | None = None
    """The id of padding."""
    longest: int = 0
    """Tokens of its longest rows."""
    objective: Mapping[str, Any] = field(default_factory=dict)
    """The section `objective` of its config, of which a finetuned run needs labels and dropout."""


@dataclass(frozen=True)
class Folder:
    """One folder that transformers loads with from_pretrained."""

    architecture: str
    """The class, such as GPT2LMHeadModel."""
    auto_class: str
    """The class that finds it, such as AutoModelForCausalLM."""
    base: str
    """The first part of names inside the model without its heads, such as "transformer."; names
    may lack it."""
    config: Mapping[str, Any]
    """The content of config.json, without what all families share (_export.py)."""
    layers: int
    rows: tuple[Row, ...]
    name: str = ""
    """Its name in the output folder; "" = the output folder itself."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Names of copies that a file may have -> the tensor that they must equal."""
    method: str = "__call__"
    """The method of our module that computes its logits."""
    output: str = "logits"
    """The name of the token logits in the output of the class; "" = it has none."""
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the objective's heads -> names of their logits in that output; of several, each is
    one column of our head's result."""
    takes_choices: bool = False
    """Whether the class reads rows [B, choices, L] and returns [B, choices]."""
    left_behind: tuple[str, ...] = ()
    """Patterns of parameters of other heads, which our model does not have."""


@dataclass(frozen=True)
class Opened:
    """A folder that is read."""

    settings: Settings
    tensors: Tensors


@dataclass(frozen=True)
class Imported:
    """What `from_config` of a family returns: sections of our config."""

    model: Mapping[str, Any]
    objective: Mapping[str, Any]
    longest: int
    """Tokens of the longest rows that the model can read."""
    heads: tuple[str, ...] = ()
    """Names of the objective's heads (Run.heads)."""
    pad: int | None = None
    """The id of padding, for a model that depends on it."""


def write_tensors(folder: Folder, params: Params) -> Iterator[Tensor]:
    """The tensors of a folder, made from our parameters when they are written."""
    for row in folder.rows:
        arrays = [params[path] for path in row.paths]
        for layer in range(folder.layers if row.per_layer else 1):
            parts = [array[layer] for array in arrays] if row.per_layer else arrays
            shape = row.transform.shape([part.shape for part in parts])
            make = partial(row.transform.to_theirs, parts)
            yield Tensor(row.theirs.format(layer), shape, make)


def used_paths(folders: Iterable[Folder]) -> set[str]:
    """Our paths in the tables of folders."""
    return {path for folder in folders for row in folder.rows for path in row.paths}


def read_params(
    folder: Folder, tensors: Tensors, shapes: Mapping[str, Shape], params: dict[str, np.ndarray]
) -> list[str]:
    """Reads all tensors of a folder into `params`, as float32 arrays of our `shapes`.

    Returns the names of parameters that our model has no place for. Raises DataError for missing
    and unknown tensors and for wrong shapes, and if a parameter is there already (from another
    folder) with other values.
    """
    left = check_names(folder, tensors)
    check_shapes(folder, tensors, shapes)
    for row in folder.rows:
        layers = folder.layers if row.per_layer else 1
        ours = [np.empty(shapes[path], np.float32) for path in row.paths]
        for layer in range(layers):
            name = find(row.theirs.format(layer), folder, tensors)
            places = [array[layer] for array in ours] if row.per_layer else ours
            read = row.transform.to_ours(tensors.read(name), [place.shape for place in places])
            for place, array in zip(places, read, strict=True):
                place[...] = array
        for path, array in zip(row.paths, ours, strict=True):
            if path in params and not np.array_equal(params[path], array):
                raise DataError(
                    f"{path} is one parameter of our model, but {row.theirs} in {tensors.folder} "
                    "differs from that of the other folder. Import folders that were trained "
                    "together"
                )
            params[path] = array
    return left


def find(name: str, folder: Folder, tensors: Tensors) -> str:
    """The name of a tensor in a folder, with or without the base prefix."""
    short = name.removeprefix(folder.base)
    return short if name not in tensors.names and short in tensors.names else name


def expected(folder: Folder) -> Iterator[tuple[str, Row]]:
    """The name of every tensor of a folder, with its row."""
    for row in folder.rows:
        for layer in range(folder.layers if row.per_layer else 1):
            yield row.theirs.format(layer), row


def check_names(folder: Folder, tensors: Tensors) -> list[str]:
    """Raises DataError for missing and unknown tensors, and for copies that are none.

    Returns the names of parameters of other heads.
    """
    wanted = {find(name, folder, tensors) for name, _ in expected(folder)}
    missing = sorted(wanted - tensors.names)
    for copy, original in folder.tied.items():
        copy, original = find(copy, folder, tensors), find(original, folder, tensors)
        if copy not in tensors.names or original in missing:
            continue
        wanted.add(copy)
        if not np.array_equal(tensors.read(copy), tensors.read(original)):
            raise DataError(
                f"{copy} in {tensors.folder} must equal {original}: {folder.architecture} and our "
                "model tie them. Import another folder"
            )
    extra = sorted(tensors.names - wanted)
    left = [name for name in extra if matches(name, folder.left_behind)]
    unknown = [name for name in extra if name not in left and not matches(name, HARMLESS)]
    if missing or unknown:
        raise DataError(
            f"{tensors.folder} must hold exactly the tensors of {folder.architecture}; "
            + "; ".join(
                f"{what}: {list_names(names)}"
                for what, names in (("missing", missing), ("unknown", unknown))
                if names
            )
        )
    return left


def check_shapes(folder: Folder, tensors: Tensors, shapes: Mapping[str, Shape]) -> None:
    """Raises DataError if a tensor has another shape than config.json says."""
    wrong = []
    for name, row in expected(folder):
        ours = [shapes[path][1:] if row.per_layer else shapes[path] for path in row.paths]
        wanted, found = row.transform.shape(ours), tensors.shape(find(name, folder, tensors))
        if wanted != found:
            wrong.append(f"{name} {found} instead of {wanted}")
    if wrong:
        raise DataError(
            f"the tensors in {tensors.folder} must have the shapes that its config.json says; "
            f"different: {list_names(wrong)}"
        )


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)
