"""Text-to-text tasks: what is read, what is written, and how long both may be."""

import numpy as np
import objective_toys as toys
import pytest

from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import span_corruption, text_to_text
from pretrain_jax.tokenizers.bytes import Bytes

VOCAB = Bytes(0)
PREFIX = "translate English to German: "


def example(inputs="That is good.", targets="Das ist gut."):
    return {"inputs": VOCAB.encode(inputs), "targets": VOCAB.encode(targets)}


def corrupt(how, raw, vocab=VOCAB):
    return toys.corrupt(how, raw, None, vocab)


def made(**options):
    return corrupt(text_to_text.build(**options), example())


def test_the_encoder_reads_the_task_and_the_decoder_writes_the_answer():
    fields = made(prefix=PREFIX)
    assert VOCAB.decode(fields["memory_tokens"]) == PREFIX + "That is good."
    assert VOCAB.decode(fields["targets"]) == "Das ist gut."
    assert fields["memory_tokens"][-1] == fields["targets"][-1] == VOCAB.eos
    np.testing.assert_array_equal(fields["tokens"], [VOCAB.pad, *fields["targets"][:-1]])
    assert np.all(fields["weights"] == 1)


@pytest.mark.parametrize("inputs", ["prefix", "stream"])
def test_one_stream_has_the_answer_behind_the_task(inputs):
    fields = made(prefix=PREFIX, inputs=inputs)
    assert VOCAB.decode(fields["tokens"]) == PREFIX + "That is good." + "Das ist gut."
    assert VOCAB.decode(fields["targets"]) == "Das ist gut."
    at = fields["predict_at"]
    np.testing.assert_array_equal(fields["tokens"][at[1:]], fields["targets"][:-1])
    assert fields["tokens"][at[0]] == VOCAB.eos
    if inputs == "prefix":
        np.testing.assert_array_equal(fields["prefix"], np.arange(len(fields["tokens"])) <= at[0])


def test_a_label_is_a_text_like_another():
    how = text_to_text.build(prefix="mnli: ", targets_length=16)
    fields = corrupt(how, example(targets="entailment"))
    assert VOCAB.decode(fields["targets"]) == "entailment"


@pytest.mark.parametrize("inputs", ["memory", "prefix", "stream"])
@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("inputs_length", [0, 80])
def test_the_longest_texts_that_are_arranged_fit_a_row(inputs, prefix, inputs_length):
    how = text_to_text.build(
        prefix=prefix, inputs=inputs, inputs_length=inputs_length, targets_length=32
    )
    most, budgets = how.arrange(128), how.budgets(128)
    bounds = how.lengths(np.array([[1, 1], [most["inputs"], most["targets"]]]))
    longest = example("a" * most["inputs"], "b" * most["targets"])
    fields = corrupt(how, longest)
    assert all(np.all(bounds[axis] <= budgets[axis]) for axis in bounds)
    if not inputs_length:
        assert {axis: int(bound[1]) for axis, bound in bounds.items()} == budgets
    read = "memory_tokens" if inputs == "memory" else "tokens"
    unused = 1 if prefix else 0  # a prefix is one byte a token here; the bound has one more
    assert len(fields[read]) == int(bounds["M" if inputs == "memory" else "L"][1]) - unused
    assert len(fields["targets"]) == 32


def test_lengths_of_one_example_are_those_in_an_array():
    how = text_to_text.build(prefix=PREFIX)
    together = how.lengths(np.array([[13, 12], [1, 1]]))
    alone = how.lengths((13, 12))
    assert alone == {axis: bound[0] for axis, bound in together.items()}
    assert alone == {"M": 13 + len(PREFIX) + 2, "L": 13}


def test_it_can_be_mixed_with_span_corruption():
    tasks, spans = text_to_text.build(targets_length=114), span_corruption.build()
    assert (tasks.fields, tasks.attention, tasks.loss) == (
        spans.fields,
        spans.attention,
        spans.loss,
    )
    assert tasks.budgets(512) == spans.budgets(512)


@pytest.mark.parametrize(
    "options, seq_len",
    [
        ({"prefix": PREFIX}, 31),
        ({"prefix": PREFIX, "inputs_length": 31}, 64),
        ({"inputs": "stream", "targets_length": 64}, 64),
        ({"inputs": "decoder"}, 64),
    ],
)
def test_rows_without_room_and_unknown_layouts_are_refused(options, seq_len):
    with pytest.raises(ConfigError, match=r"objective\.|data\.seq_len"):
        text_to_text.build(**options).budgets(seq_len)


def test_a_prefix_that_takes_more_tokens_than_planned_is_refused():
    class Doubled(Bytes):
        def encode(self, text):
            return np.repeat(super().encode(text), 2)

    how = text_to_text.build(prefix=PREFIX)
    with pytest.raises(ConfigError, match="prefix may have at most 30 tokens"):
        corrupt(how, example(), Doubled(0))
