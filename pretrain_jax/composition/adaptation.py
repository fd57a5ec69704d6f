"""Which parameters of a run train: all of them, or those of an adapter (pretrain_jax/adapters/).

With an adapter, these train: the adapter's own parameters, those of the objective's heads, and
those that `adapter.train` names. The others are those of `init_from`; a checkpoint does not store
them.
"""

from collections.abc import Iterable

from pretrain_jax import registry
from pretrain_jax.adapters._base import Adapter
from pretrain_jax.composition.spec import Section, Spec, select_kwargs
from pretrain_jax.errors import ConfigError
from pretrain_jax.optim.parameters import compile_pattern


def build_adapter(section: Section) -> Adapter:
    """The adapter of a section `adapter`."""
    module = registry.load("adapters", section.name, "adapter.name")
    return module.build(**select_kwargs(section, module.build))


def choose_trained(names: Iterable[str], adapter: Adapter, heads: frozenset[str]) -> frozenset[str]:
    """The parameters that train, of all parameters of a model.

    Raises ConfigError if a target or a pattern of the adapter matches none.
    """
    names = list(names)
    if adapter.trains_all:
        return frozenset(names)
    own = {name for name in names if is_own(name, adapter)}
    body = [name for name in names if name.partition("/")[0] not in heads]
    adapted = {name.split("/")[-2] for name in own}
    if missing := [name for name in adapter.targets if name not in adapted]:
        maps = sorted({name.split("/")[-2] for name in body if name.endswith("/kernel")})
        raise ConfigError(
            "adapter.targets must name linear maps of the model; it has none of the name "
            f"{', '.join(missing)}. Its linear maps are {', '.join(maps)}"
        )
    if adapter.own and not own:
        raise ConfigError(
            f"an adapter must add parameters ({', '.join(sorted(adapter.own))}); this model has no "
            "layers that it adapts. Choose another adapter.name"
        )
    chosen = match_each(
        adapter.own_train,
        body,
        "this adapter trains the parameters that match {!r}; this model has none. Use another one, "
        "such as adapter.name=lora",
    )
    chosen |= match_each(
        adapter.train,
        body,
        "adapter.train must match names of parameters; {!r} matches none of this model, such as "
        f"{body[0]}",
    )
    in_heads = {name for name in names if name.partition("/")[0] in heads}
    if not own | chosen | in_heads:
        raise ConfigError(
            "an adapter must train something; received adapter.name=freeze without adapter.train. "
            "Set adapter.train to names of parameters"
        )
    return frozenset(own | chosen | in_heads)


def match_each(patterns: Iterable[str], names: Iterable[str], unmatched: str) -> set[str]:
    """The names that match one of these regular expressions.

    Raises ConfigError for a text that is none, and `unmatched`, with the pattern in the place of
    {!r}, for a pattern that matches no name.
    """
    chosen: set[str] = set()
    for text in patterns:
        pattern = compile_pattern(text, "adapter.train")
        found = {name for name in names if pattern.search(name)}
        if not found:
            raise ConfigError(unmatched.format(text))
        chosen |= found
    return chosen


def is_own(name: str, adapter: Adapter) -> bool:
    """Whether a parameter is one that the adapter adds.

    >>> is_own("stack/layers/attention/query/lora_in", Adapter(own=frozenset({"lora_in"})))
    True
    """
    return not adapter.own.isdisjoint(name.split("/"))


def check(spec: Spec, adapter: Adapter) -> None:
    """Raises ConfigError for an adapter without a model that it adapts."""
    if not adapter.trains_all and not spec.init_from:
        raise ConfigError(
            f"adapter.name={spec.adapter.name} trains a small part of a trained model; received no "
            "init_from. Set init_from to the workdir of that model, or adapter.name=none"
        )


def check_distilled(student: Spec, teacher: Spec) -> None:
    """Raises ConfigError if a student or its teacher has an adapter with places: both read the same
    rows, in which the other one knows no places."""
    for who, spec in (("student", student), ("teacher", teacher)):
        if build_adapter(spec.adapter).places:
            raise ConfigError(
                "a student and its teacher read the same rows, and adapter.name="
                f"{spec.adapter.name} adds places to those of the {who}. Use one without it, or "
                "with another adapter, such as lora"
            )
