"""config.json of transformers: reading and writing it with one table per family.

`Sizes` pairs our keys with theirs; `Fixed` lists the settings for which our model has no option:

    SIZES = {"layers": ("n_layer", 12)}                        ours: (theirs, default of the class)
    FIXED = {"activation_function": (("gelu_new",), "gelu_new")}
                                                               theirs: (accepted values, default)

Writing uses the first accepted value; reading refuses all values that are not accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError, DataError, short_repr

Sizes = Mapping[str, tuple[str, Any]]
Fixed = Mapping[str, tuple[tuple[Any, ...], Any]]
EVERYWHERE: Fixed = {
    "add_cross_attention": ((False,), False),
    "is_decoder": ((False,), False),
    "position_embedding_type": (("absolute", None), "absolute"),
    "pruned_heads": (({}, None), {}),
    "quantization_config": ((None,), None),
    "sliding_window": ((None,), None),
}
"""Settings that none of our models has, which a config.json of any family may name."""


@dataclass(frozen=True)
class Settings:
    """The content of a config.json."""

    path: str
    values: Mapping[str, Any]

    def get(self, key: str, default: Any) -> Any:
        """A value, with the default of the class."""
        return self.values.get(key, default)

    def number(self, key: str, default: Any) -> Any:
        """A value of the type of its default, which null stands for. Raises DataError."""
        value = self.values.get(key)
        try:
            return registry.coerce(key, default if value is None else value, type(default))
        except ConfigError:
            raise DataError(
                f"{key} in {self.path} must be of type {type(default).__name__}; it is "
                f"{short_repr(self.values[key])}"
            ) from None

    def require(self, fixed: Fixed) -> None:
        """Raises ConfigError for a setting that our model cannot represent."""
        for key, (accepted, default) in {**EVERYWHERE, **fixed}.items():
            value = self.get(key, default)
            if not any(value == one and isinstance(value, type(one)) for one in accepted):
                said = "it is" if key in self.values else "without it, it is"
                raise ConfigError(
                    f"{key} in {self.path} must be {' or '.join(map(short_repr, accepted))}, "
                    f"because our model has no option for anything else; {said} {short_repr(value)}"
                )

    def read(self, sizes: Sizes, fixed: Fixed) -> dict[str, Any]:
        """Our options by name. Raises DataError, or ConfigError as `require` does."""
        self.require(fixed)
        values = {ours: self.number(theirs, default) for ours, (theirs, default) in sizes.items()}
        for ours, value in values.items():
            if type(value) is int and value < 1:
                raise DataError(f"{sizes[ours][0]} in {self.path} must be 1 or more; it is {value}")
        return values


def write(model: Mapping[str, Any], sizes: Sizes, fixed: Fixed) -> dict[str, Any]:
    """The content of config.json for the options of our model."""
    return {
        **{theirs: model[ours] for ours, (theirs, _) in sizes.items()},
        **{key: accepted[0] for key, (accepted, _) in fixed.items()},
    }
