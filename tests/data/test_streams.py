"""Every objective's rows are the same bytes for any number of hosts and worker processes."""

import contextlib
import itertools
import json
from typing import Any

import numpy as np
import pytest
import text_objectives
from data_toys import ByteTokenizer

from pretrain_jax.chat_template import DEFAULT
from pretrain_jax.data.arrangements import ARRANGEMENTS
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.pipeline import MemberRows, Stream, train_batches
from pretrain_jax.data.sources import Columns
from pretrain_jax.objectives import prefer

SEQ_LEN = 64
OPTIONS = {"text_to_text": {"targets_length": 24}}
KEYS: dict[str, Any] = {
    "text_to_text": {"target_key": "answer"},
    "salient_spans": {"spans_key": "spans"},
    "instruct": {"columns": Columns(required=False, kind="conversation", template=DEFAULT)},
    "prefer": {"columns": Columns(prefer.FIELDS, required=False, implied_label=prefer.CHOSEN)},
}
STEPS = 4


class WholeTokenizer(ByteTokenizer):
    """Bytes with every special id that an objective may ask for."""

    pad, unk, mask, cls, sep = range(258, 263)
    sentinels = tuple(range(362, 262, -1))
    size = 363


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "a.jsonl"
    records = []
    for i in range(150):
        text = f"Number {i}. " + "Some words of it, and more. " * (i * 7 % 11)
        record = {"text": text, "answer": f"reply {i}", "spans": [[0, 6], [7, 8]]}
        record |= {"prompt": text, "chosen": f"yes {i}", "rejected": "no " * (1 + i % 4)}
        roles = zip(("user", "assistant"), (text[:11], f"reply {i}"), strict=True)
        record["messages"] = [{"role": role, "content": said} for role, said in roles]
        records.append(record)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return f"text:{path}"


def stream_of(name, source):
    """A stream of one member, composed as a run does it."""
    objective = text_objectives.build(name, **OPTIONS.get(name, {}))
    tokenizer = WholeTokenizer()
    folder = source.removeprefix("text:") + ".cache"
    cache = open_token_cache(open_corpus(source, **KEYS.get(name, {})), "train", tokenizer, folder)
    options = dict(objective.arrange(SEQ_LEN))
    if objective.arrangement == "chunks":
        for end in ("begin", "end"):
            options[end] = options[end] and getattr(tokenizer, options[end])
    if objective.arrangement == "pairs":
        options["sentence_ends"] = tokenizer.sentence_ends
    arrange = ARRANGEMENTS[objective.arrangement]
    budgets = objective.budgets(SEQ_LEN)
    member = MemberRows.plan(
        arrange(cache, **options),
        lengths=objective.lengths,
        budgets=budgets,
        corrupt=objective.corrupt,
        vocab=tokenizer,
        copies=objective.copies,
        sequences=objective.sequences,
    )
    return Stream([member], objective.fields, budgets)


def take(stream, **options):
    with contextlib.closing(train_batches(stream, seed=5, batch_size=4, **options)) as made:
        return list(itertools.islice(made, STEPS))


def same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


@pytest.mark.parametrize("name", text_objectives.ALL)
def test_the_number_of_hosts_changes_nothing(name, source):
    stream = stream_of(name, source)
    whole = take(stream)
    assert all(batch["weights"].any() for batch in whole)
    for hosts in (2, 4):
        again = stream_of(name, source)  # as another process would make it
        shares = np.split(np.arange(4), hosts)
        parts = [take(again, here=share) for share in shares]
        for step, batch in enumerate(whole):
            joined = {key: np.concatenate([part[step][key] for part in parts]) for key in batch}
            same(joined, batch)


@pytest.mark.parametrize("name", ["next_sentence", "text_to_text", "instruct", "prefer"])
def test_worker_processes_change_nothing(name, source):
    stream = stream_of(name, source)
    for alone, made in zip(take(stream), take(stream, workers=2), strict=True):
        same(alone, made)
