"""The training task: the objective, the members of the mixture, and the shapes of batches."""

from dataclasses import dataclass
from functools import cached_property

import jax

from pretrain_jax import registry
from pretrain_jax.batch import FIELDS
from pretrain_jax.composition import adaptation, compatibility
from pretrain_jax.composition.compatibility import MixtureMember
from pretrain_jax.composition.phases import Phase
from pretrain_jax.composition.spec import Spec, select_kwargs
from pretrain_jax.data import mixing, pack
from pretrain_jax.errors import ConfigError
from pretrain_jax.models import _base
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives._places import add_places

ANNOTATION_KEYS = {
    "target_key": {"targets": "targets"},
    "spans_key": {"spans": "spans"},
    "fields": {"records": "labels", "": "plain text"},
    "label_key": {"records": "labels"},
}
"""The keys of the section `data` that only objectives with these annotations read, and what they
are called in messages."""


@dataclass(frozen=True, eq=False)
class Task:
    """Objective, members, fields and budgets of a run."""

    spec: Spec

    @cached_property
    def objective(self) -> Objective:
        section = self.spec.objective
        module = registry.load("objectives", section.name, "objective.name")
        options = select_kwargs(section, module.build)
        model = _base.load(self.spec.model.name)
        objective = compatibility.build_objective(section.name, module.build, options, model)
        adapter = adaptation.build_adapter(self.spec.adapter)
        return add_places(objective, adapter.places, adapter.in_memory)

    @cached_property
    def members(self) -> list[MixtureMember]:
        """The sources of text, each with its objective and rate."""
        return compatibility.build_members(self.spec, self.objective)

    @cached_property
    def fields(self) -> dict[str, str]:
        """The axis of each field of a batch: fields from `corrupt` and from the packer."""
        axes = pack.field_axes(self.objective.fields)
        places = {n: axis for axis in axes.values() for n in pack.PLACES.get(axis, ())}
        return dict(sorted((axes | places).items()))

    def budgets(self, seq_len: int) -> dict[str, int]:
        """Length of each axis of a row: the largest that any member of the mixture needs."""
        lengths: dict[str, int] = {}
        for member in self.members:
            for axis, size in member.objective.budgets(seq_len).items():
                lengths[axis] = max(lengths.get(axis, 0), int(size))
        return lengths

    def tokens_per_row(self, seq_len: int) -> int:
        """Token slots of a row: the decoder's, plus the encoder's of an encoder-decoder."""
        budgets = self.budgets(seq_len)
        return budgets["L"] + budgets.get("M", 0)

    def batch_shapes(self, batch_size: int, seq_len: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the fields of a batch."""
        budgets = self.budgets(seq_len)
        return {
            name: jax.ShapeDtypeStruct((batch_size, budgets[axis]), FIELDS[name].dtype)
            for name, axis in self.fields.items()
        }

    @property
    def largest_phase(self) -> Phase:
        """The phase, of those that training reaches, with the most tokens per microbatch."""
        per_row = self.tokens_per_row
        return max(
            self.spec.phases.trained,
            key=lambda p: (p.batch_size // p.accumulate * per_row(p.seq_len), p.batch_size),
        )

    def check(self) -> None:
        """Raises ConfigError for data and eval options that do not fit the objectives."""
        for member in self.members:
            for seq_len in self.spec.seq_lens:
                member.objective.arrange(seq_len)
            if self.spec.data.cross_documents and not member.objective.supports_cross_document:
                raise ConfigError(
                    "data.cross_documents makes each row one continuous text, which objective "
                    f"{member.name} does not support; received data.cross_documents=True"
                )
        # Checks the mixing options; sizes are placeholders, since real ones need the data.
        rates, sizes = [member.rate for member in self.members], [1] * len(self.members)
        cap, temperature = self.spec.data.mixing_cap, self.spec.data.mixing_temperature
        mixing.rates(self.spec.data.mixing, rates, sizes, cap=cap, temperature=temperature)
        annotations = {member.objective.annotation_kind for member in self.members}
        for key, kinds in ANNOTATION_KEYS.items():
            if getattr(self.spec.data, key) and not annotations & set(kinds):
                what = " or ".join(kinds.values())
                raise ConfigError(
                    f"data.{key} is for objectives that read {what} of records, and this run has "
                    f"none; received data.{key}={getattr(self.spec.data, key)!r}. Leave it empty"
                )
        self.check_examples()
        if self.spec.eval.pseudo_tokens and self.objective.pll_examples is None:
            raise ConfigError(
                "eval.pseudo_tokens is for encoders: it masks one token while all others stay "
                f"visible; objective.name={self.spec.objective.name} cannot do that. Set it to 0"
            )

    def check_examples(self) -> None:
        """Raises ConfigError for options that do not fit an objective with labels, or that need
        one."""
        spec, labelled = self.spec, self.objective.example_task is not None
        scored = next((m for m in self.members if m.objective.best_metric), None)
        if spec.data.mixture and (scored or spec.data.validation):
            what = "data.validation"
            if scored:
                what = f"objective {scored.name}"
                what += "" if labelled else f" with metric={scored.objective.best_metric}"
            raise ConfigError(
                f"{what} is for one source; received data.mixture of {len(self.members)} members. "
                "Use data.source"
            )
        task = self.objective.example_task
        if task is not None and task.implied_label and spec.data.label_key:
            raise ConfigError(
                f"the right answer of a record is always its {task.implied_label} one; received "
                f"data.label_key={spec.data.label_key!r}. Leave it empty"
            )
        if labelled and spec.train.z_loss:
            raise ConfigError(
                "train.z_loss is for objectives that predict tokens; received "
                f"train.z_loss={spec.train.z_loss:g} with objective.name={spec.objective.name}. "
                "Set it to 0"
            )
        if spec.eval.patience and not self.objective.best_metric:
            raise ConfigError(
                "eval.patience stops a run by the metric of its task; "
                f"objective.name={spec.objective.name} has none. Set it to 0"
                + (", or choose objective.metric" if "metric" in spec.objective else "")
            )
