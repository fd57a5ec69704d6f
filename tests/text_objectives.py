"""The objectives that need no architecture, for tests of all of them; a new file in
pretrain_jax/objectives/ falls in by its name."""

from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import compatibility
from pretrain_jax.objectives import Objective

REQUIRED: dict[str, dict[str, Any]] = {"distill": {"teacher": "runs/teacher"}}
"""Options that have no default that works."""


def build(name: str, **options: Any) -> Objective:
    module = registry.load("objectives", name, "objective.name")
    return module.build(**{**REQUIRED.get(name, {}), **options})


ALL = [
    name
    for name in registry.names("objectives")
    if not compatibility.takes_model(registry.load("objectives", name, "").build)
]
PLAIN = [name for name in ALL if build(name).arrangement in ("chunks", "pairs", "texts")]
"""Those that predict tokens of plain text; others read records of several texts."""
