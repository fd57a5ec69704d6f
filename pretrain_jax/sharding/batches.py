"""Which rows of a batch this process makes, and how they become arrays over the whole mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding


@dataclass(frozen=True)
class BatchSharding:
    """The fields of a batch on a mesh."""

    shardings: Mapping[str, NamedSharding]
    """Of every field: [B, ...], B over the batch axes of the mesh."""

    _here: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def local_rows(self, batch_size: int) -> np.ndarray:
        """int [b], ascending: the rows of a batch that lie on this process's devices.

        Two processes with two devices each, 8 rows: 0 .. 3 and 4 .. 7 when the devices split the
        batch; all 8 on both when they split something else (mesh.tensor=4).
        """
        if batch_size not in self._here:  # placing asks at every step
            self._here[batch_size] = self._on_our_devices(batch_size)
        return self._here[batch_size]

    def _on_our_devices(self, batch_size: int) -> np.ndarray:
        sharding = next(iter(self.shardings.values()))
        # Of a field of any length: the rows are split alike in all of them.
        split = NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*sharding.spec[:1]))
        slices = split.addressable_devices_indices_map((batch_size,)).values()
        found = {range(batch_size)[one[0]] for one in slices if one is not None}
        return np.array(sorted(row for rows in found for row in rows))

    def to_global(self, made: Mapping[str, np.ndarray], batch_size: int) -> dict[str, jax.Array]:
        """Global arrays [batch_size, ...] of this process's rows [b, ...], made as `here` says."""
        here = self.local_rows(batch_size)

        def placed(name: str, ours: np.ndarray) -> jax.Array:
            def part(index: Any) -> np.ndarray:
                first, last, _ = index[0].indices(batch_size)
                start = int(np.searchsorted(here, first))
                return ours[(slice(start, start + last - first), *index[1:])]

            shape = (batch_size, *ours.shape[1:])
            return jax.make_array_from_callback(shape, self.shardings[name], part)

        return {name: placed(name, ours) for name, ours in made.items()}
