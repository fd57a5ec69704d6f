"""The model of a run: its module, the shapes of its parameters, and `apply`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax import seeds
from pretrain_jax.adapters._base import Adapter
from pretrain_jax.adapters._factories import change_factories
from pretrain_jax.composition import adaptation, compatibility
from pretrain_jax.composition.spec import Spec, select_kwargs
from pretrain_jax.composition.task import Task
from pretrain_jax.devices.target import Target
from pretrain_jax.layers import attention, stacks
from pretrain_jax.layers.axes import box_all
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _base
from pretrain_jax.models._base import Architecture
from pretrain_jax.optim.trees import named_leaves, split_tree


@dataclass(frozen=True, eq=False)
class Model:
    """A Linen module, and pure functions that use it. Allocates nothing."""

    architecture: Architecture
    """The architecture of model.name."""
    module: nn.Module
    dtype: Any
    """The dtype of matrix products."""
    batch_shapes: Callable[[], dict[str, jax.ShapeDtypeStruct]]
    """Shapes of a batch of one row, for `init`."""
    adapter: Adapter
    """What adapter.name builds."""
    heads: frozenset[str]
    """The names of the objective's heads."""

    def init(self, seed: int) -> Any:
        """Initial parameters, boxed with the names of their axes. For tracing, or under jit."""
        return self._init_with_output(seed)[1]["params"]

    def _init_with_output(self, seed: int) -> tuple[Any, Any]:
        batch = {name: jnp.zeros(s.shape, s.dtype) for name, s in self.batch_shapes().items()}
        return self.module.init_with_output(seeds.random_key(seed), batch, False)

    def apply(
        self, params: Any, batch: Any, rng: jax.Array, train: bool, method: str = "__call__"
    ) -> Any:
        """A method of the module as a pure function, on one device."""
        variables, rngs = {"params": params}, {"dropout": rng}
        return self.module.apply(variables, batch, train, method=method, rngs=rngs)

    def apply_cached(
        self,
        params: Any,
        batch: Any,
        cache: Mapping[str, Any],
        write: Sequence[str],
        method: str = "__call__",
        capture: Callable[[nn.Module, str], bool] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """The module's output without dropout, and what it wrote to the collections of a cache
        (layers/attention.py).

        cache: the collections that it reads. write: the names of those that it writes.
        capture: capture(module, method) chooses the outputs of modules to write to
        "intermediates".
        """
        variables = {"params": params, **cache}
        result: Any = self.module.apply(
            variables,
            batch,
            False,
            mutable=list(write),
            method=method,
            capture_intermediates=capture or False,
        )
        return result

    @cached_property
    def boxed_params(self) -> Any:
        """Shapes of the parameters, boxed with the names of their axes.

        Raises ConfigError if the model does not return an Output.
        """
        output, variables = jax.eval_shape(lambda: self._init_with_output(0))
        _base.check_output(self.architecture, output)
        return box_all(variables["params"])

    @cached_property
    def param_shapes(self) -> Any:
        """Shapes of the parameters."""
        return nn.meta.unbox(self.boxed_params)

    @cached_property
    def trained(self) -> frozenset[str]:
        """The names of the parameters that train. Raises ConfigError if an adapter has none."""
        names = [name for name, _ in named_leaves(self.param_shapes)]
        return adaptation.choose_trained(names, self.adapter, self.heads)

    def split(self, params: Any) -> tuple[Any, Any]:
        """(the parameters that train, the others), each as a tree of dicts."""
        return (params, {}) if self.adapter.trains_all else split_tree(params, self.trained)


def build_model(
    run: Spec, task: Task, target: Target, plain: bool = False, separate_layers: bool = False
) -> Model:
    """The model of a config. Raises ConfigError if it does not fit the objective.

    plain: builds it with plain attention and without padding of the vocabulary, to count
    parameters and FLOPs. separate_layers: see BuildContext.
    """
    section, platform = run.model, target.compiled_platform
    architecture = _base.load(section.name)
    dtype = target.dtype(run.train.dtype)
    backend = attention.choose_backend(platform, **select_kwargs(section, attention.choose_backend))
    settings: dict[str, Any] = stacks.layer_loop(
        platform, **select_kwargs(section, stacks.layer_loop)
    )
    settings["attention_backend"] = "plain" if plain or target.simulated else backend
    if plain:
        settings["pad_vocab_to"] = 1
    options = select_kwargs(section, architecture.build)
    architecture.check(options, max(run.seq_lens))
    compatibility.check_match(run, task.objective, architecture)
    context = BuildContext(
        attention=task.objective.attention,
        heads=task.objective.heads,
        predicts_tokens=task.objective.predicts_tokens,
        dtype=dtype,
        z_loss=run.train.z_loss,
        single_segment=run.data.cross_documents,
        separate_layers=separate_layers,
        **settings,
    )
    module = architecture.build(context, **options)
    _base.check_module(architecture, module)
    adapter = adaptation.build_adapter(run.adapter)
    if adapter.change is not None:
        module = change_factories(module, adapter.change)
    one_row = partial(task.batch_shapes, 1, run.data.seq_len)
    heads = frozenset(name for name, _ in task.objective.heads)
    return Model(architecture, module, dtype, one_row, adapter, heads)
