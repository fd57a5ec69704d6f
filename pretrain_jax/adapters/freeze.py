"""Freezing: only the parameters of the base that match a pattern train, and the new heads.

--config.adapter.name=freeze --config.adapter.train="('final_norm', 'layers/attention/')"
"""

from pretrain_jax.adapters._base import Adapter


def build(*, train: tuple[str, ...] = ()) -> Adapter:
    """Adds no parameters."""
    return Adapter(train=train)
