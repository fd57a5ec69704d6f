"""Reading and writing tensors: safetensors files, in shards with an index if they are large.

    model.safetensors                            one file of up to 5 GB, or
    model-00001-of-00003.safetensors ...         several, and
    model.safetensors.index.json                 {"weight_map": {name of a tensor: file}}

Pickles are never read: a pickle can run code.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import ml_dtypes
import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.files import outputs, parsing
from pretrain_jax.huggingface._transforms import Shape

MAX_SHARD = 5 * 10**9
"""Bytes of a file; transformers has the same limit."""
FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES: dict[str, Any] = {
    "float32": np.float32,
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
}
READABLE = {"F32": 4, "F16": 2, "BF16": 2}
"""Dtypes that float32 holds exactly."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.pkl")
AGAIN = "fetch the folder again"


@dataclass(frozen=True)
class Tensor:
    """A tensor to be written; `make` returns it as float32, when its file is written."""

    name: str
    shape: Shape
    make: Callable[[], np.ndarray]


def write(folder: Path, tensors: Sequence[Tensor], dtype: str, max_shard: int = MAX_SHARD) -> None:
    """Writes tensors as `dtype`; holds one file at a time in memory.

    Raises ConfigError if a number is too large for `dtype`, UnwritableWorkdir.
    """
    shards = list(divide(tensors, max_shard // np.dtype(DTYPES[dtype]).itemsize))
    names = [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [FILE]
    total = 0
    for name, shard in zip(names, shards, strict=True):
        arrays = {tensor.name: cast(tensor.name, tensor.make(), dtype) for tensor in shard}
        path = folder / name
        with outputs.report_unwritable(path):
            path.touch()
            mode = path.stat().st_mode
            save_file(arrays, path, metadata={"format": "pt"})  # replaces it by one of mode 600
            path.chmod(mode)
        total += sum(array.nbytes for array in arrays.values())
    if len(shards) > 1:
        files = {tensor.name: name for name, shard in zip(names, shards, strict=True)
                 for tensor in shard}  # fmt: skip
        index = {"metadata": {"total_size": total}, "weight_map": files}
        outputs.write_atomic(epath.Path(folder / INDEX), json.dumps(index, indent=2).encode())


def divide(tensors: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Runs of tensors with at most `most` numbers each; a larger tensor has a run of its own."""
    shard, numbers = [], 0
    for tensor in tensors:
        size = int(np.prod(tensor.shape))
        if shard and numbers + size > most:
            yield shard
            shard, numbers = [], 0
        shard.append(tensor)
        numbers += size
    yield shard


def cast(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """A float32 array as a contiguous `dtype`. Raises ConfigError for numbers out of its range."""
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(array, DTYPES[dtype])
    if dtype != "float32" and not np.isfinite(result).all() and np.isfinite(array).all():
        raise ConfigError(
            f"--dtype={dtype} must hold all parameters; {name} has {np.abs(array).max():g}, which "
            f"it cannot. Use --dtype=bfloat16 or --dtype=float32"
        )
    return result


class Tensors:
    """The tensors of a folder by name, read one at a time.

    Raises InputMissing without safetensors files, DataError if one is damaged.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._stack = ExitStack()
        try:
            self._owners = {
                present_name(name): (file, name)
                for file in map(self._open, self._files())
                for name in file.keys()  # noqa: SIM118 - it is no dict
            }
        except BaseException:
            self._stack.close()
            raise

    def _files(self) -> list[str]:
        if not (self.folder / INDEX).exists():
            if not (self.folder / FILE).exists():
                raise missing_safetensors(self.folder)
            return [FILE]
        index = parsing.read_json(self.folder / INDEX, AGAIN, {"weight_map": dict})["weight_map"]
        names = sorted(set(map(str, index.values())))
        if strange := [name for name in names if Path(name).name != name]:
            raise DataError(
                f"{self.folder / INDEX} must name files of its own folder; it names {strange[0]!r}"
            )
        return names

    def _open(self, name: str) -> Any:
        path = self.folder / name
        if not path.exists():
            raise InputMissing(f"{path} must exist: {INDEX} names it; {AGAIN}")
        try:
            return self._stack.enter_context(safe_open(path, framework="np"))
        except (SafetensorError, OSError) as error:
            raise DataError(
                f"{path} must be a complete safetensors file; {error}; {AGAIN}"
            ) from None

    @cached_property
    def names(self) -> set[str]:
        """The names of all tensors."""
        return set(self._owners)

    def shape(self, name: str) -> Shape:
        """The shape of a tensor, without reading it."""
        file, stored = self._owners[name]
        return tuple(file.get_slice(stored).get_shape())

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32, with the same values. Raises DataError for another dtype."""
        file, stored = self._owners[name]
        dtype = file.get_slice(stored).get_dtype()
        if dtype not in READABLE:
            raise DataError(
                f"tensors must be of dtype {', '.join(READABLE)}; {stored} in {self.folder} is "
                f"{dtype}. Save the folder again with dtype float32"
            )
        return file.get_tensor(stored).astype(np.float32, copy=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def present_name(name: str) -> str:
    """The present name of a tensor: published files from TensorFlow have others for norms.

    >>> present_name("bert.embeddings.LayerNorm.gamma")
    'bert.embeddings.LayerNorm.weight'
    """
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def missing_safetensors(folder: Path) -> InputMissing:
    """The error for a folder without safetensors files; names a pickle or a file like it."""
    others = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if not others:
        return InputMissing(f"{folder} must hold {FILE} or {INDEX}; it has neither; {AGAIN}")
    return InputMissing(
        f"{folder} must hold {FILE}; it has only {others[0]}, a format that is not read because it "
        "may run code, or is outdated. If you trust the file, convert it with transformers: "
        f"AutoModel.from_pretrained({str(folder)!r}).save_pretrained(NEW_FOLDER), with the class "
        'that "architectures" in config.json names in place of AutoModel'
    )
