"""What every objective is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pretrain_jax import losses
from pretrain_jax.layers.makers import Maker
from pretrain_jax.ragged import Fields


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What the data path, the trainer and the checks at start-up need to know of an objective."""

    fields: tuple[str, ...]
    """Fields of the contract that `corrupt` writes."""
    attention: str
    """How the predicting stream may look at itself: "causal", "prefix" or "full"."""
    arrangement: str
    """How documents become raw examples: "chunks", "pairs" or "texts" (data/arrange.py). Chunks
    with begin or end are of all documents as one text where rows are (data.cross_documents)."""
    arrange: Callable[[int], dict[str, Any]]
    """arrange(seq_len) -> the arrangement's keyword arguments. `begin` and `end` are names of
    special ids ("bos", "eos") or None."""
    lengths: Callable[[Any], dict[str, Any]]
    """Upper bounds of axes "L", "M", "P", "E" for raw examples of n tokens; n may be an array [N],
    and for "texts" is [..., 2], inputs and targets."""
    budgets: Callable[[int], dict[str, int]]
    """budgets(seq_len) -> length of each axis of a row."""
    corrupt: Callable[..., Fields]
    """corrupt(raw examples, uniform, vocab) -> their fields. Pure: sequences (ragged.py) in, and
    out; uniform (corruption/__init__.py) is called equally often whatever the examples."""
    yardsticks: tuple[str, ...]
    """Which baselines of data/baselines.py score the same tokens."""
    needs: tuple[str, ...] = ()
    """Special ids that the tokenizer must have: "mask", "cls", "sep", "pad", "bos", "eos"."""
    sentinels: Callable[[int], int] = lambda seq_len: 0
    """sentinels(seq_len) -> how many sentinel ids one example may take."""
    marks: str = ""
    """What the text's marks (data/annotations.py) say to it: "spans" (data.spans_key), "targets"
    (data.target_key) or, for most, nothing."""
    copies: int = 0
    """0: noise is drawn afresh in every epoch; n: epoch e has the noise of epoch e mod n."""
    crosses: bool = False
    """Whether a row may be one text (data.cross_documents): attention across its examples."""
    covers_text: bool = False
    """Whether every token of a document is predicted once an epoch, from those before it alone:
    the model continues texts."""
    heads: tuple[tuple[str, Maker], ...] = ()
    """Named modules behind the stack, called as head(hidden [B, L, D], batch, readout, train);
    what they return stands in the model's output under their name."""
    methods: tuple[str, ...] = ("__call__",)
    """Methods of the model that `loss` calls; a model with other methods is refused."""
    loss: Callable[..., dict[str, tuple[Any, Any]]] = losses.token_loss
    """loss(apply, params, batch, rng, train) -> {term: (sum, weight)}."""
    coefficients: Mapping[str, float] = field(default_factory=lambda: {"loss": 1.0})
    """The objective minimised is the sum over terms of coefficient x sum / weight."""
    metrics: Callable[..., dict[str, tuple[Any, Any]]] = losses.token_metrics
    """metrics(apply, params, batch, rng, special) -> {name: (sum, weight)} of an evaluation batch:
    "text" (nats of the predicted text tokens) and what else says whether the model learns. A name
    that begins with "yardstick/" is a baseline."""
    caution: Callable[[Any, Any], str] = lambda examples, vocab: ""
    """caution(raw examples (data/arrange.py), tokenizer) -> what whoever trains on this text should
    know of it, a sentence; empty where all is as the objective's authors had it."""
    probes: Callable[..., Fields] | None = None
    """probes(raw example, places [n], vocab) -> the fields of n examples, in each of which the text
    token at one of these places alone is masked and predicted: pseudo-perplexity (Salazar et al.
    2020). Encoders have them."""
