"""What a config says, as values: `Spec`, without jax.

The sections `data`, `train` and `eval` belong to no builder: their keys are the fields of the
dataclasses here. The keys of `model` and `optimizer` that every architecture and optimizer has are
the parameters of the functions at the end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_collections import FrozenConfigDict

from pretrain_jax import registry
from pretrain_jax.composition.phases import Phases, phases_of
from pretrain_jax.layers.attention import BACKENDS
from pretrain_jax.layers.stacks import REMAT


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The section `data`."""

    source: str = "stdlib"
    """"stdlib", "text:GLOB" or "tfds:NAME"."""
    mixture: tuple = ()
    """((source, objective, rate), ...) instead of `source`; rates are shares of rows. An objective
    is a name, or a dict of its name and options."""
    mixing: str = "given"
    """"given" takes the rates of `mixture` as they are; "proportional" multiplies each by
    min(examples, mixing_cap)^(1 / mixing_temperature) of its source (T5, section 3.5.2)."""
    mixing_cap: int = 0
    """Most examples that count for a source; 0 = no limit."""
    mixing_temperature: float = 1.0
    seq_len: int
    """Tokens in a row of the text that is read: the memory's of an encoder-decoder, else the
    stream's."""
    split: str = "auto"
    """How validation text is held out: "hash" of documents, "tail" of each, or "auto". "all", for
    --mode=eval alone, scores all of the text."""
    text_key: str = "text"
    """The field of a record that holds its text."""
    target_key: str = ""
    """For text_to_text: the field that holds the answer to the text of `text_key`."""
    spans_key: str = ""
    """For salient_spans: the field with [[start, end], ...] in characters; empty: found by rule."""
    cross_documents: bool = False
    """Whether attention and positions run on across the documents packed into a row."""
    cache_dir: str = ""
    """Where token caches live on this host; empty = ~/.cache/pretrain_jax."""
    workers: int = 0
    """Processes that make rows; 0 = a thread."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The section `train`."""

    steps: int
    batch_size: int
    """Rows of an update, over all hosts and microbatches."""
    accumulate: int = 1
    """Microbatches that an update is computed in, one after another, to save memory."""
    phases: tuple = ()
    """((from_step, {"seq_len": ..., "batch_size": ..., "accumulate": ...}), ...): what changes
    during the run. Each seq_len has epochs of its own: text can come again at another length before
    the corpus is through once. Evaluations and samples have the seq_len of the last phase that
    train.steps comes to."""
    dtype: str = "auto"
    """Of matrix products: "float32", "bfloat16", or "auto" = bfloat16 on accelerators."""
    z_loss: float = 0.0
    """Coefficient of (log Z)^2; 1e-4 in PaLM and T5X."""
    deterministic: bool = False
    """Whether a GPU must repeat bit for bit (CPU and TPU always do)."""
    log_every: int = 10
    """Steps between lines of metrics."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The section `eval`."""

    every: int = 1000
    """Steps between evaluations; there is always one at the end. 0 = at the end alone."""
    tokens: int = 65536
    """Predicted text tokens to score."""
    sample_tokens: int = 128
    """Length of the continuation that a causal language model writes at each evaluation; 0 = none.
    Other objectives write none."""
    pseudo_tokens: int = 0
    """For encoders: tokens that are masked one at a time for pseudo-perplexity; 0 = none."""


Section = Any
"""A section as a FrozenConfigDict: `section.key` and `section["key"]`."""


@dataclass(frozen=True, eq=False)
class Spec:
    """A resolved config: sections with their values. Made by `spec_of`."""

    data: DataOptions
    train: TrainOptions
    eval: EvalOptions
    tokenizer: Section
    objective: Section
    model: Section
    optimizer: Section
    mesh: Section
    checkpoint: Section
    seed: int
    init_from: str
    init_tokens: str
    document: dict[str, Any]
    """The same as nested dicts: the content of config.json."""

    @cached_property
    def phases(self) -> Phases:
        """The phases of the run."""
        return phases_of(self.data, self.train)

    @property
    def seq_lens(self) -> set[int]:
        """Every length of rows in this run: those of its phases, and that of its evaluations."""
        return {self.data.seq_len, *(phase.seq_len for phase in self.phases)}


def spec_of(config: Any) -> Spec:
    """The values of a resolved config (composition/config.py)."""
    sections = ("tokenizer", "objective", "model", "optimizer", "mesh", "checkpoint")
    return Spec(
        data=DataOptions(**config.data),
        train=TrainOptions(**config.train),
        eval=EvalOptions(**config.eval),
        **{name: FrozenConfigDict(config[name]) for name in sections},
        **{name: config[name] for name in ("seed", "init_from", "init_tokens")},
        document=config.to_dict(),
    )


def select_kwargs(section: Mapping[str, Any], *builders: Callable[..., Any]) -> dict[str, Any]:
    """The values of a section that these builders take."""
    return {key: section[key] for key in registry.options(*builders)}


def execution(platform: str = "", *, unroll: int = 0, remat: str = "none") -> dict[str, Any]:
    """The keys of the section `model` that belong to no architecture.

    unroll: layers in one turn of the loop over layers: faster steps for longer compilation. 0 is
        what suits the device: all of them, up to 64, on a GPU where nothing is computed again, for
        there a loop copies all that the backward pass reads (docs/performance.md); otherwise 1.
    remat: "none", "dots" or "full", what the backward pass computes again to save memory.
    """
    registry.check_name(remat, REMAT, "model.remat")
    copied = platform == "gpu" and remat == "none"
    return {"unroll": unroll or (0 if copied else 1), "remat": remat}


def attention_form(platform: str = "", *, attention_form: str = "auto") -> str:
    """One of layers.attention.BACKENDS.

    attention_form: "auto" is the one for the platform, where there is one; "plain" and "cpu" run
    on all; "gpu" (cuDNN) and "tpu" (Pallas) on their own.
    """
    legal = ["auto", "plain", "cpu", *({platform} & {"gpu", "tpu"})]
    registry.check_name(attention_form, legal, "model.attention_form")
    if attention_form != "auto":
        return attention_form
    return platform if platform in BACKENDS else "plain"


def clipping(*, clip_norm: float = 1.0) -> float:
    """The global norm that gradients are clipped to; 0 = no clipping."""
    return clip_norm
