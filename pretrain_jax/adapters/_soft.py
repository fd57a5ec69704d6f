"""What adapters with places share: embeddings for negative ids."""

from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.adapters._factories import mix_in
from pretrain_jax.layers.axes import with_axes
from pretrain_jax.layers.embeddings import Embedding, look_up
from pretrain_jax.layers.factories import Factory

PROMPT = "prompt"


class Places(Embedding):
    """Mixed into an embedding's class: negative ids have vectors of their own, or that of id 0."""

    places: int = 0
    prompt_init: Any = None
    """Initializer of the vectors [places, D]; None = they do not matter."""

    def setup(self):
        super().setup()
        if self.prompt_init is not None:
            init = with_axes(self.prompt_init, "positions", "width")
            self.soft = self.param(PROMPT, init, (self.places, self.width), jnp.float32)

    def look_up_tokens(self, tokens: jax.Array) -> jax.Array:
        x = super().look_up_tokens(jnp.maximum(tokens, 0))
        if self.prompt_init is None:
            return x
        rows = place_of(tokens, self.places)
        soft: Any = look_up(self.soft, rows, "positions", self.dtype)
        return jnp.where(tokens[..., None] < 0, soft, x)


def place_of(tokens: jax.Array, places: int) -> jax.Array:
    """The number of each place: -1 is 0, -2 is 1; ids of text are 0 too."""
    return jnp.clip(-1 - tokens, 0, places - 1)


def add_places(made: Factory, places: int, init: Any = None) -> Factory:
    """The factory of an embedding that knows the places; other factories unchanged."""
    if not issubclass(made.module, Embedding):
        return made
    return mix_in(Places, made, places=places, prompt_init=init)
