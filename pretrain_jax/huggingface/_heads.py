"""The heads of finetuned models: one class of transformers for each objective with labels.

Such a run has one head, with the name of its objective. Its class has the name of the family and an
ending: BertForSequenceClassification. A token read-out, as of classify with lm_weight, is left
behind. A family says in HEADS what this class calls the parts of a head (bert.py):

    HEADS = {"classify": Head("classifier", pooler="bert.pooler.dense")}

Our decoders predict from the last token of a text, which these classes find as the last one that is
not padding. An encoder-decoder reads the text twice on both sides.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from pretrain_jax.composition.fix_labels import OUTSIDE
from pretrain_jax.errors import ConfigError, DataError, short_repr
from pretrain_jax.huggingface._families import load_families, model_type
from pretrain_jax.huggingface._settings import Fixed, Settings
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import LINEAR, VECTOR
from pretrain_jax.objectives._formats import Format
from pretrain_jax.tokenizers import Tokenizer


@dataclass(frozen=True)
class Kind:
    """What the classes of all families have in common for one objective."""

    ending: str
    """Of the name of the class: "ForSequenceClassification"."""
    pipeline: str
    """The pipeline_tag of the model card."""
    logits: tuple[str, ...] = ("logits",)
    """Names of the head's columns in the output of the class; one name has all columns."""
    options: tuple[str, ...] = ("dropout",)
    """Keys of the section `objective` that follow from config.json."""
    problem: str = ""
    """Its problem_type."""
    takes_choices: bool = False
    """See Folder."""


SEQUENCE = "ForSequenceClassification", "text-classification"
CLASSES, NUMBER = "single_label_classification", "regression"
KINDS = {
    "classify": Kind(*SEQUENCE, options=("labels", "dropout"), problem=CLASSES),
    "regress": Kind(*SEQUENCE, problem=NUMBER),
    "reward": Kind(*SEQUENCE, problem=NUMBER),  # imported as regress: config.json says no more
    "tag": Kind(
        "ForTokenClassification", "token-classification", options=("labels", "fallback", "dropout")
    ),
    "extract_span": Kind(
        "ForQuestionAnswering", "question-answering", ("start_logits", "end_logits"), options=()
    ),
    "multiple_choice": Kind("ForMultipleChoice", "multiple-choice", takes_choices=True),
}
"""By the name of the objective, which is that of its head."""
PIPELINES = {f"AutoModel{kind.ending}": kind.pipeline for kind in KINDS.values()}


@dataclass(frozen=True)
class Head:
    """What the class of a family calls a head."""

    output: str
    """Its last linear map."""
    pooler: str = ""
    """The linear map before it; "" = none."""
    bias: bool = True
    base: str | None = None
    """The first part of names of the body, if it is not that of Folder.base."""
    dropout: str = "classifier_dropout"
    """The key in config.json of the head's dropout rate."""
    settings: Fixed = field(default_factory=dict)
    """What the head reads of config.json besides."""

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of our head `name`."""
        for part, theirs in (("pooler", self.pooler), ("output", self.output)):
            if theirs:
                yield Row(f"{name}/{part}/kernel", f"{theirs}.weight", LINEAR)
            if theirs and self.bias:
                yield Row(f"{name}/{part}/bias", f"{theirs}.bias", VECTOR)


def folders(family: ModuleType, run: Run) -> tuple[Folder, ...]:
    """The folders of a run: one for a finetuned model, otherwise those of the family.

    Raises ConfigError if the family has no class for the objective.
    """
    name = task_head(run.heads)
    if not name:
        return family.folders(run)
    if run.objective.get("symmetric"):
        raise ConfigError(
            "the classes of transformers read a pair in one order; this run has "
            "objective.symmetric=True, which reads both"
        )
    head, kind, body = pick_head(family, name), KINDS[name], family.body(run)
    base = body.base if head.base is None else head.base

    def renamed(theirs: str) -> str:
        return base + theirs.removeprefix(body.base)

    folder = replace(
        body,
        architecture=body.architecture.removesuffix("Model") + kind.ending,
        auto_class=f"AutoModel{kind.ending}",
        base=base,
        config={**body.config, **write_settings(head, kind, run.objective)},
        rows=(*(row._replace(theirs=renamed(row.theirs)) for row in body.rows), *head.rows(name)),
        tied={renamed(copy): renamed(original) for copy, original in body.tied.items()},
        output="",
        heads={name: kind.logits},
        takes_choices=kind.takes_choices,
    )
    return (folder,)


def task_head(heads: Iterable[str]) -> str:
    """The name of the head of a finetuned run among those of its objective; "" for another run."""
    return next((name for name in heads if name in KINDS), "")


def pick_head(family: ModuleType, name: str) -> Head:
    """The head of a family for an objective. Raises ConfigError if it has none."""
    if name in family.HEADS:
        return family.HEADS[name]
    families = load_families()
    others = sorted(known for known, module in families.items() if name in module.HEADS)
    raise ConfigError(
        f"{name} of a model with model_type={model_type(family)} cannot be exchanged. Such a model "
        f"can have {' or '.join(sorted(family.HEADS))}; {name} needs {' or '.join(others)}"
    )


def write_settings(head: Head, kind: Kind, objective: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of a head: its dropout and the names of its classes."""
    settings = {key: accepted[0] for key, (accepted, _) in head.settings.items()}
    if "dropout" in kind.options:
        settings[head.dropout] = objective["dropout"]
    if kind.problem:
        settings["problem_type"] = kind.problem
    names = default_labels(1) if kind.problem == NUMBER else ()
    if "labels" in kind.options:
        names = objective["labels"]
    if names:
        settings["id2label"] = {str(number): name for number, name in enumerate(names)}
        settings["label2id"] = {name: number for number, name in enumerate(names)}
    return settings


def default_labels(count: int) -> tuple[str, ...]:
    """The names that transformers gives to classes without names.

    >>> default_labels(2)
    ('LABEL_0', 'LABEL_1')
    """
    return tuple(f"LABEL_{number}" for number in range(count))


def read(family: ModuleType, opened: Mapping[str, Opened]) -> Imported:
    """The sections of our config for the model in opened folders.

    Raises ConfigError for a model that this package cannot represent, DataError.
    """
    found = family.from_config(opened)
    name = find_objective(opened[""].settings) if "" in opened else ""
    if not name:
        return found
    settings, head, kind = opened[""].settings, pick_head(family, name), KINDS[name]
    settings.require(head.settings)
    objective: dict[str, Any] = {"name": name}
    if "labels" in kind.options:
        objective["labels"] = labels = read_labels(settings)
        if "fallback" in kind.options:
            objective["fallback"] = OUTSIDE if OUTSIDE in labels else labels[0]
    if "dropout" in kind.options:
        rate = settings.number(head.dropout, float(found.model.get("dropout", 0.0)))
        objective["dropout"] = rate
    return replace(found, objective=objective, heads=(name,))


def find_objective(settings: Settings) -> str:
    """The objective of the class that config.json names; "" for a pretrained model.

    Raises ConfigError for classes of which several may be true, DataError.
    """
    named = settings.get("architectures", None)
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    names = [name for name, kind in KINDS.items() if architecture.endswith(kind.ending)]
    if "regress" not in names:
        return "".join(names)
    settings.require({"problem_type": ((CLASSES, NUMBER, None), None)})
    outputs = len(read_labels(settings))
    problem = settings.get("problem_type", None) or (NUMBER if outputs == 1 else CLASSES)
    if problem == NUMBER and outputs != 1:
        raise ConfigError(
            f"a regression in {settings.path} must have one output, as ours has; it has {outputs}"
        )
    return next(name for name in names if KINDS[name].problem == problem)


def read_labels(settings: Settings) -> tuple[str, ...]:
    """The names of the classes in their order. Raises DataError."""
    names = settings.get("id2label", None)
    if names is None:
        return default_labels(settings.number("num_labels", 2))
    given = names if isinstance(names, Mapping) else {}
    found = tuple(str(given.get(str(number), "")) for number in range(len(given)))
    if not found or len({*found} - {""}) < len(found):
        raise DataError(
            f"id2label in {settings.path} must give each class from 0 on a name of its own; it is "
            f"{short_repr(names)}"
        )
    return found


def padding(tokenizer: Tokenizer, format: Format) -> int:
    """The id with which rows of a finetuned model are padded: pad, or without it another special id
    that no text ends with. Raises ConfigError without such an id.
    """
    ids = tokenizer.special_ids
    last = ids.get(format.after[-1]) if format.reads_last else None
    for name in ("pad", "eos", "bos", "sep", "cls"):
        if name in ids and ids[name] != last:
            return ids[name]
    raise ConfigError(
        "the classes of decoders predict from the last token that is not padding, so the tokenizer "
        f"must have an id for pad, or one other than {format.after[-1]}={last}; it has none"
    )
