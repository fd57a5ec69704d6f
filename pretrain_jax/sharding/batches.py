"""Which rows of a batch a process makes, and how these rows become arrays over the whole mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding


@dataclass(frozen=True)
class BatchSharding:
    """How the fields of a batch are split over a mesh."""

    shardings: Mapping[str, NamedSharding]
    """By field, for arrays [B, ...] with B over the batch axes of the mesh."""

    _local_rows: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def local_rows(self, batch_size: int) -> np.ndarray:
        """int [b], ascending: the rows of a batch that this process's devices hold.

        Two processes with two devices each and 8 rows: 0 .. 3 and 4 .. 7 when the devices split the
        batch; all 8 rows on both when they split something else (mesh.tensor=4).
        """
        if batch_size not in self._local_rows:  # every step asks
            self._local_rows[batch_size] = self._compute_local_rows(batch_size)
        return self._local_rows[batch_size]

    def _compute_local_rows(self, batch_size: int) -> np.ndarray:
        sharding = next(iter(self.shardings.values()))
        # The batch axis alone: all fields split their rows alike, whatever their length.
        by_row = NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*sharding.spec[:1]))
        slices = by_row.addressable_devices_indices_map((batch_size,)).values()
        ranges = {range(batch_size)[index[0]] for index in slices if index is not None}
        return np.array(sorted(row for rows in ranges for row in rows))

    def to_global(self, local: Mapping[str, np.ndarray], batch_size: int) -> dict[str, jax.Array]:
        """Global arrays [batch_size, ...] from the fields [b, ...] of the `local_rows`."""
        rows = self.local_rows(batch_size)

        def to_array(name: str, values: np.ndarray) -> jax.Array:
            def shard(index: Any) -> np.ndarray:
                first, last, _ = index[0].indices(batch_size)
                start = int(np.searchsorted(rows, first))
                return values[(slice(start, start + last - first), *index[1:])]

            shape = (batch_size, *values.shape[1:])
            return jax.make_array_from_callback(shape, self.shardings[name], shard)

        return {name: to_array(name, values) for name, values in local.items()}
