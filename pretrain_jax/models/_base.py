"""What a module of models/ must define; checked when a config names it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax import registry
from pretrain_jax.batch import FIELDS
from pretrain_jax.errors import ConfigError, short_repr
from pretrain_jax.layers.stacks import Output

ATTENTIONS = ("causal", "prefix", "full")


def accept(options: Mapping[str, Any], longest: int) -> None:
    """The default `check`: accepts all options."""


@dataclass(frozen=True)
class Architecture:
    """An architecture as its module defines it: `build`, `check` and constants in capitals.

    `ATTENTION` is required and becomes `attention`; the other constants have the defaults below.
    models/gpt.py is an example.
    """

    name: str
    build: Callable[..., nn.Module]
    """build(context: layers.stacks.BuildContext, *, vocab_size, ...) -> nn.Module.

    Its keyword-only parameters are the keys of the config section `model`. The module is called as
    module(batch, train) and returns a layers.stacks.Output; `batch` has the fields of batch.py."""
    attention: tuple[str, ...]
    """Kinds of self-attention that the predicting stream supports: of "causal", "prefix", "full".
    A model without attention, such as a recurrent one, is "causal" if it reads left to right."""
    fields: tuple[str, ...] = ()
    """Fields of the batch that it reads, in addition to tokens, segments and positions."""
    required_fields: tuple[str, ...] = ()
    """Those of `fields` that the objective must write."""
    methods: tuple[str, ...] = ("__call__",)
    """Methods of the module that the objective calls (objectives.Objective.model_methods)."""
    task_format: str = ""
    """How a finetuned model reads texts: one of objectives/_formats.py. The default is "bert" for
    full attention, "t5" for a model that needs a memory, and otherwise "gpt"."""
    pooler: Callable[[jax.Array], jax.Array] | None = None
    """Activation of the dense map in front of a classifier; None = no such map. The default is tanh
    with full attention or a memory, otherwise None."""
    part_of: str = ""
    """The architecture whose parameters include those of this one under the same names: a run of
    it may be `init_from`."""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prefixes of parameter names, by the name of a part whose size `describe` prints."""
    check: Callable[[Mapping[str, Any], int], None] = accept
    """check(options, longest) raises ConfigError for options that `build` cannot use.

    options: the arguments of `build`. longest: tokens in the longest row of the run."""


def load(name: str, key: str = "model.name") -> Architecture:
    """Returns the architecture `name`; raises ConfigError if its module is incomplete.

    key: the config key with that name, for the error.

    >>> load("gpt").attention
    ('causal', 'prefix')
    """
    return from_module(registry.load("models", name, key))


def from_module(module: ModuleType) -> Architecture:
    """Returns the architecture that `module` defines; raises ConfigError if it is incomplete."""
    name = module.__name__.rpartition(".")[2]
    constants = {key: names_in(module, key) for key in ("ATTENTION", "FIELDS", "REQUIRED_FIELDS")}
    for key, known in (("ATTENTION", ATTENTIONS), ("FIELDS", FIELDS)):
        for value in constants[key]:
            registry.check_name(value, known, f"every entry of {key} in models/{name}.py")
    if not constants["ATTENTION"]:
        raise incomplete(name, f"ATTENTION, a tuple of {', '.join(ATTENTIONS)}", "none")
    for value in constants["REQUIRED_FIELDS"]:
        what = f"every entry of REQUIRED_FIELDS in models/{name}.py"
        registry.check_name(value, constants["FIELDS"], what)
    check_build(name, getattr(module, "build", None))
    if not callable(getattr(module, "check", accept)):
        raise incomplete(
            name, "check as a function check(options, longest)", short_repr(module.check)
        )
    default = default_format(constants)
    return Architecture(
        name,
        module.build,
        attention=constants["ATTENTION"],
        fields=constants["FIELDS"],
        required_fields=constants["REQUIRED_FIELDS"],
        methods=names_in(module, "METHODS", ("__call__",)),
        task_format=getattr(module, "TASK_FORMAT", default),
        pooler=getattr(module, "POOLER", None if default == "gpt" else jnp.tanh),
        part_of=getattr(module, "PART_OF", ""),
        parts=getattr(module, "PARTS", {}),
        check=getattr(module, "check", accept),
    )


def default_format(constants: Mapping[str, tuple[str, ...]]) -> str:
    """Returns the default of `Architecture.task_format`."""
    if "memory_tokens" in constants["REQUIRED_FIELDS"]:
        return "t5"
    return "bert" if "full" in constants["ATTENTION"] else "gpt"


def names_in(module: ModuleType, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Returns the constant `key` of a module; raises ConfigError unless it is a tuple of names."""
    value = getattr(module, key, default)
    if not isinstance(value, tuple) or not all(isinstance(entry, str) for entry in value):
        name = module.__name__.rpartition(".")[2]
        raise incomplete(name, f'{key} as a tuple of names, such as ("causal",)', short_repr(value))
    return value


def check_build(name: str, build: Any) -> None:
    """Raises ConfigError unless `build` is build(context, *, vocab_size: int, ...)."""
    wanted = "build(context, *, vocab_size: int, ...)"
    if not inspect.isfunction(build):
        raise incomplete(name, f"a function {wanted}", short_repr(build))
    signature = inspect.signature(build)
    positional, *options = signature.parameters.values() or (None,)
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    untyped = [p.name for p in options if p.annotation is inspect.Parameter.empty]
    if (
        positional is None
        or positional.kind is keyword_only
        or untyped
        or any(p.kind is not keyword_only for p in options)
        or "vocab_size" not in [p.name for p in options]
    ):
        raise incomplete(name, f"{wanted} with a type for every option", f"build{signature}")


def check_module(architecture: Architecture, module: Any) -> None:
    """Raises ConfigError unless `build` returned a Linen module."""
    if not isinstance(module, nn.Module):
        wanted = "a build that returns a flax.linen.Module"
        raise incomplete(architecture.name, wanted, short_repr(module))


def check_output(architecture: Architecture, output: Any) -> None:
    """Raises ConfigError unless the module returns what its objective reads: an Output.

    A model that is called through other methods (`methods`) may return anything from `__call__`.
    """
    if "__call__" in architecture.methods and not isinstance(output, Output):
        wanted = "a module that returns a layers.stacks.Output (see layers.stacks.read_out)"
        is_array = isinstance(output, jax.ShapeDtypeStruct)
        received = "an array" if is_array else type(output).__name__
        raise incomplete(architecture.name, wanted, received)


def incomplete(name: str, wanted: str, received: str) -> ConfigError:
    """Returns the error for a module that lacks something."""
    return ConfigError(
        f"models/{name}.py must define {wanted}; received {received}. "
        "pretrain_jax/models/_base.py lists what an architecture defines"
    )
