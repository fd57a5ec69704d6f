"""The values of a resolved config: `Spec`. Imports no jax.

The keys of the sections `data`, `train` and `eval` are the fields of the dataclasses here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_collections import ConfigDict

from pretrain_jax import registry
from pretrain_jax.composition.phases import Phases, build_phases, profile_steps


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The section `data`."""

    source: str = "stdlib"
    """Where the text comes from: "stdlib", "text:GLOB" or "tfds:NAME"."""
    mixture: tuple = ()
    """Several sources instead of `source`: ((source, objective, rate), ...). Rates are shares of
    rows. An objective is a name, or a dict of its name and options."""
    mixing: str = "given"
    """How the rates of `mixture` are used: "given" takes them as they are; "proportional"
    multiplies each by min(examples, mixing_cap)^(1 / mixing_temperature) of its source (T5,
    section 3.5.2)."""
    mixing_cap: int = 0
    """For mixing="proportional": maximum number of examples that count for a source; 0 = no
    limit."""
    mixing_temperature: float = 1.0
    """For mixing="proportional": 1 = in proportion to size; larger values make the rates more
    alike."""
    validation: str = ""
    """Another source, of validation text; empty = hold out some text of `source`."""
    fields: tuple[str, ...] = ()
    """The columns of a record that hold its texts, by name, or by place from 0 in a table without a
    header ("3"). Empty = for objectives with labels, "text" or all columns before the label; for
    plain text, `text_key` of .jsonl files. Plain text has the columns on a line each."""
    label_key: str = ""
    """For objectives with labels: the column with the label, likewise. Empty = "label", or the last
    column."""
    seq_len: int
    """Tokens per row; for an encoder-decoder, tokens per row of the encoder."""
    split: str = "auto"
    """How validation text is held out: "hash" (one document in 20), "tail" (the last tenth of each
    document), "auto" (hash if there are 100 documents or more, otherwise tail), or, with
    --mode=eval only, "all" (score all of the text)."""
    text_key: str = "text"
    """Field of a record that holds its text."""
    target_key: str = ""
    """For text_to_text: the field of a record that holds the target text; of a .tsv or .csv file,
    the column, as `text_key` then is."""
    spans_key: str = ""
    """For salient_spans: the field with the spans, [[start, end], ...] in characters; empty = a
    rule finds the spans."""
    cross_documents: bool = False
    """Whether a row is one text: attention and positions continue from document to document."""
    cache_dir: str = ""
    """Folder of token caches on this host; empty = ~/.cache/pretrain_jax."""
    workers: int = 0
    """Processes that make rows; 0 = a thread of this process."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The section `train`."""

    steps: int
    """Updates of the run."""
    batch_size: int
    """Rows per update, over all hosts and microbatches."""
    accumulate: int = 1
    """Microbatches per update, computed one after another to save memory."""
    phases: tuple = ()
    """What changes during the run: ((from_step, {"seq_len": ..., "batch_size": ..., "accumulate":
    ...}), ...). Each seq_len has its own epochs: text can come again at another length before the
    corpus has been read once. Evaluations and samples use the seq_len of the last phase that
    train.steps reaches."""
    dtype: str = "auto"
    """Dtype of matrix products: "float32", "bfloat16", or "auto" = bfloat16 on accelerators."""
    z_loss: float = 0.0
    """Coefficient of the z-loss, (log Z)^2; 1e-4 in PaLM and T5X."""
    deterministic: bool = False
    """Whether a GPU must repeat its results bit for bit (CPU and TPU always do)."""
    log_every: int = 10
    """Steps between lines of training metrics."""
    profile: tuple = ()
    """(first, last): the steps that jax's profiler captures in WORKDIR/profile; empty = none."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The section `eval`."""

    every: int = 1000
    """Steps between evaluations; the last step is always evaluated. 0 = only the last step."""
    tokens: int = 65536
    """Predicted text tokens to score per evaluation."""
    sample_tokens: int = 128
    """Tokens that the model generates for samples.txt at each evaluation; 0 = no samples. An
    encoder fills the masks of an example instead, whatever the number."""
    pseudo_tokens: int = 0
    """For encoders: tokens to mask one at a time for pseudo-perplexity; 0 = none."""
    tasks: tuple[str, ...] = ()
    """Tasks that each evaluation also asks, such as ("blimp", "lambada")."""
    tasks_data: str = ""
    """Their data: a folder that has a folder or a .jsonl file for each task."""
    tasks_seconds: float = 60.0
    """Seconds that the tasks of an evaluation may take together. A task whose time is up is scored
    on the items that it asked until then, an equal share of each group."""
    patience: int = 0
    """For objectives with labels: the run ends after this many evaluations in a row whose metric is
    not better than the best one before; 0 = it runs to train.steps."""


@dataclass(frozen=True, kw_only=True)
class ReportingOptions:
    """The section `reporting`."""

    trackers: tuple[str, ...] = ()
    """Trackers that get the metrics beside metrics.jsonl: "wandb", "mlflow", "trackio". Their own
    environment variables configure them."""


Section = Any
"""A section as a locked ConfigDict: `section.key` and `section["key"]`. A FrozenConfigDict would
reject tuples that hold dicts or empty tuples with its own errors, before the check of their key."""


@dataclass(frozen=True, eq=False)
class Spec:
    """A resolved config, by section. `build_spec` makes it."""

    data: DataOptions
    train: TrainOptions
    eval: EvalOptions
    reporting: ReportingOptions
    tokenizer: Section
    objective: Section
    model: Section
    optimizer: Section
    adapter: Section
    mesh: Section
    checkpoint: Section
    seed: int
    init_from: str
    init_tokens: str
    init_layers: tuple[int, ...]
    config_dict: dict[str, Any]
    """The same values as nested dicts: the content of config.json."""

    @cached_property
    def phases(self) -> Phases:
        """The phases of the run."""
        return build_phases(self.data, self.train)

    @property
    def profile_steps(self) -> tuple[int, int] | None:
        """(first, last) of the steps to profile; None for none. Raises ConfigError."""
        return profile_steps(self.train.profile)

    @property
    def seq_lens(self) -> set[int]:
        """All row lengths of the run: those of its phases, and that of its evaluations."""
        return {self.data.seq_len, *(phase.seq_len for phase in self.phases)}


def build_spec(config: Any) -> Spec:
    """The values of a resolved config (composition/config.py), with tuples for the lists that a
    config.json has."""
    stored = config.to_dict()
    values = replace_lists(stored)
    sections = ("tokenizer", "objective", "model", "optimizer", "adapter", "mesh", "checkpoint")
    return Spec(
        data=DataOptions(**values["data"]),
        train=TrainOptions(**values["train"]),
        eval=EvalOptions(**values["eval"]),
        reporting=ReportingOptions(**replace_lists(dict(config.reporting))),
        **{name: build_section(config[name], values[name]) for name in sections},
        **{name: values[name] for name in ("seed", "init_from", "init_tokens", "init_layers")},
        config_dict=stored,
    )


def build_section(section: ConfigDict, values: dict[str, Any]) -> Section:
    """The section itself, or `values`, which has tuples for its lists, if there are any. Reads no
    single key, so that a test can record which keys a run reads."""
    chosen: Any = section if section.to_dict() == values else values
    return ConfigDict(chosen).lock()


def replace_lists(value: Any) -> Any:
    """{"labels": ["no", ["yes"]]} becomes {"labels": ("no", ("yes",))}."""
    if isinstance(value, dict):
        return {key: replace_lists(item) for key, item in value.items()}
    return tuple(map(replace_lists, value)) if isinstance(value, (list, tuple)) else value


def select_kwargs(section: Mapping[str, Any], *builders: Callable[..., Any]) -> dict[str, Any]:
    """The values of a section that are parameters of these builders."""
    return {key: section[key] for key in registry.options(*builders)}
