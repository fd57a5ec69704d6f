"""The interface of every objective."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pretrain_jax import losses
from pretrain_jax.layers.factories import Factory
from pretrain_jax.ragged import Fields, Ragged


@dataclass(frozen=True, kw_only=True)
class ExampleTask:
    """What an objective with labels adds: examples with answers, each scored once.

    N is the number of examples of an evaluation.
    """

    read_labels: Callable[[list[str | None]], Ragged]
    """read_labels(labels of records as text, None without a label) -> one row of numbers for each
    record, empty without a label. Raises DataError. It must be picklable."""
    predict: Callable[..., dict[str, Any]]
    """predict(apply, params, batch) -> {name: array [B, E, ...], or [B, axis, ...]}: what the model
    says of each example of the rows."""
    report: Callable[[Mapping[str, Any], Any], list[dict[str, Any]]]
    """report(predictions by name, raw examples (Objective.arrangement)) -> for each record an
    object for predictions.jsonl; its "prediction" has the form of a label in the source. The
    predictions are arrays [N, ...], or, on another axis than "E", N arrays [length, ...]."""
    score: Callable[[list[dict[str, Any]], list[str]], dict[str, float]]
    """score(reports of the records with labels, their labels as text) -> metrics by name."""
    metric: str
    """The metric of `score` that chooses the best checkpoint; greater is better."""
    axis: str = "E"
    """The axis of the predictions: "E", "L" or "P". Objective.lengths gives the exact length of
    each example on it."""
    texts: int = 0
    """Texts of a record; 0 = as many as the source has."""
    fewer: bool = False
    """Whether a record may have fewer texts than `texts`."""
    resolve: Callable[[int], dict[str, Any]] = lambda texts: {"texts": texts}
    """resolve(most texts of a record of the source) -> the options of `build` that follow."""
    default_texts: tuple[str, ...] = ("text",)
    """The text columns of a record where data.fields names none."""
    default_label: str = "label"
    """The column of labels where data.label_key names none."""
    implied_label: str = ""
    """The label of every record, where the place of a text is its label; "" = a column has it."""
    places: str = ""
    """What has a place in the texts: "words", "answers" or "" (data.sources.Columns)."""
    parse_label: Callable[[str], Any] = str
    """parse_label(label as text) -> its value, in the form of a prediction."""
    labels: tuple[str, ...] | None = None
    """The names of the classes, in their order; () = not read from the source yet, None = the
    labels are no classes."""

    def classes(self, label: str) -> list[str]:
        """The names of the classes in a label: its own, or one for each word."""
        value = self.parse_label(label)
        return value if isinstance(value, list) else [value]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What the data path, the trainer and the start-up checks need to know about an objective.

    In the signatures below, vocab is a Tokenizer.
    """

    fields: tuple[str, ...]
    """The fields of the contract (batch.py) that `corrupt` writes."""
    attention: str
    """The attention mask of the predicting stream: "causal", "prefix" or "full"."""
    arrangement: str
    """How documents become raw examples: "chunks" or "texts" (data/examples.py), "pairs"
    (data/sentence_pairs.py), "records" and "choices" (data/records.py), "preferences",
    "conversations", "words" or "windows" (the file of that name in data/). With
    data.cross_documents, chunks that have a begin or end token are cut from all documents as one
    text."""
    arrange: Callable[[int], dict[str, Any]]
    """arrange(seq_len) -> the arrangement's keyword arguments. `begin` and `end` are names of
    special ids ("bos", "eos") or None."""
    lengths: Callable[[Any], dict[str, Any]]
    """lengths(n) -> upper bounds of the axes "L", "M", "P", "E" for raw examples of n tokens. n may
    be an array [N]; for "texts" it is [..., 2], inputs and targets."""
    budgets: Callable[[int], dict[str, int]]
    """budgets(seq_len) -> the length of each axis of a row."""
    corrupt: Callable[..., Fields]
    """corrupt(raw examples, uniform, vocab) -> their fields, all as ragged sequences (ragged.py).
    Pure. It calls uniform (corruption/uniform.py) equally often for all examples."""
    baselines: tuple[str, ...]
    """The baselines of data/baselines.py that score the same tokens."""
    special_tokens: tuple[str, ...] = ()
    """Special ids that the tokenizer must have: "mask", "cls", "sep", "pad", "bos", "eos"."""
    sentinels: Callable[[int], int] = lambda seq_len: 0
    """sentinels(seq_len) -> the maximum number of sentinel ids that one example may use."""
    annotation_kind: str = ""
    """What the annotations of the text (data/annotations.py) mean to the objective: "spans"
    (data.spans_key), "targets" (data.target_key), "records" (data.fields and data.label_key),
    "conversation" (data/conversations.py), or "" for an objective that ignores them."""
    template: str = ""
    """The chat template of conversations (chat_template.py); "" for other texts."""
    copies: int = 0
    """0: noise is drawn anew in every epoch. n: epoch e repeats the noise of epoch e mod n, which
    is BERT's static masking."""
    sequences: int = 1
    """Sequences of an example: each is a segment of its own in the row and has an entry on axis
    "E". What belongs to the example (labels) is in the first entry."""
    supports_cross_document: bool = False
    """Whether a row may be one text that crosses documents (data.cross_documents)."""
    covers_text: bool = False
    """Whether the objective predicts every token of a document once per epoch, from the tokens
    before it alone, so that the model can continue any text."""
    heads: tuple[tuple[str, Factory], ...] = ()
    """Named modules on top of the stack, called as head(hidden [B, L, D], batch, readout, train).
    Their results are in the model's output under their names."""
    model_methods: tuple[str, ...] = ("__call__",)
    """Methods of the model that `loss` calls. A model with other methods is refused."""
    predicts_tokens: bool = True
    """Whether the model has a token read-out. Without one, it has only `heads`, and an ELECTRA only
    its discriminator."""
    borrows: Mapping[str, str] = field(default_factory=dict)
    """Parameters of `heads` -> those of other objectives that they start from, where the run of
    init_from has them: {"classify/pooler": "next_sentence/pooler"}."""
    example_task: ExampleTask | None = None
    """For an objective with labels, which is evaluated by examples instead of tokens."""
    answer_metric: str = ""
    """For the arrangement "texts": the metric of scores.score_texts that chooses the best
    checkpoint. Evaluations then generate the targets of all validation records; "" = of none."""
    loss: Callable[..., dict[str, tuple[Any, Any]]] = losses.token_loss
    """loss(apply, params, batch, rng, train) -> {term: (sum, weight)}. Members of a mixture must
    have equal losses (==), so use a module's function, not a new one per `build`."""
    coefficients: Mapping[str, float] = field(default_factory=lambda: {"loss": 1.0})
    """Training minimizes the sum over these terms of coefficient x sum / weight."""
    metrics: Callable[..., dict[str, tuple[Any, Any]]] = losses.token_metrics
    """metrics(apply, params, batch, rng, special) -> {name: (sum, weight)} of an evaluation batch:
    "text" (nats of the predicted text tokens) and further metrics. Names that begin with
    "yardstick/" are baselines."""
    needs_reference: bool = False
    """Whether the raw examples need the log-probabilities that the model of step 0 gives them: the
    prediction "logprobs" (evaluation/reference.py)."""
    teacher: str = ""
    """The workdir of a teacher; "" = none. `loss` then takes teach(params, batch, rng, train) as
    its first argument, and params["teacher"] are the teacher's parameters."""
    teacher_objective: Mapping[str, Any] = field(default_factory=dict)
    """The section `objective` of the teacher, which says what its model needs."""
    data_warning: Callable[[Any, Any], str] = lambda examples, vocab: ""
    """data_warning(raw examples (data/examples.py), vocab) -> a sentence that warns of training
    text for which the objective does not work as its authors intended; "" for all other text."""
    pll_examples: Callable[..., Fields] | None = None
    """pll_examples(raw example, positions [n], vocab) -> the fields of n examples. Each masks and
    predicts one text token, the one at its position: pseudo-log-likelihood (Salazar et al. 2020).
    Encoders have it."""

    prompt: Callable[[np.ndarray, Any], dict[str, np.ndarray]] | None = None
    """prompt(ids of a text [n], vocab) -> the fields of the row that the trained model reads to
    continue the text, without a batch axis: "tokens", and "memory_tokens" or "prefix". Where
    attention is full, the model predicts the masks in the text instead."""

    @property
    def best_metric(self) -> str:
        """The metric that chooses the best checkpoint; "" = none does."""
        return self.example_task.metric if self.example_task else self.answer_metric

    @property
    def generates(self) -> bool:
        """Whether a model with this objective continues texts."""
        return self.prompt is not None and self.attention != "full"
