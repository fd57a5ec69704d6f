"""No adapter: every parameter trains."""

from pretrain_jax.adapters._base import Adapter


def build() -> Adapter:
    return Adapter(trains_all=True)
