"""Pseudo-log-likelihoods against a direct implementation with transformers."""

import random

import numpy as np
import pytest
import tiny_runs

import pretrain_jax
from pretrain_jax import convert

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)  # rows are tiny
WORDS = "the river runs past an old mill and nobody knows where über Brücke it ends".split()


def sentences(count):
    """Texts that fit in 24 positions, with two special tokens."""
    draw, found = random.Random(0), []
    while len(found) < count:
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 5)))
        found += [text] if len(text.encode()) <= 22 else []
    return found


def direct(model, tokenizer, text, whole_words):
    """The sum of log p of each token with it masked, and if `whole_words` the rest of its word."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"][0]
    inside = range(1, len(ids) - 1)
    starts = [i for i in inside if i == 1 or tokenizer.decode(ids[i : i + 1]) in (" ", "\u0120")]
    total = 0.0
    for i in inside:
        masked = ids.clone()
        end = next((s for s in starts if s > i), len(ids) - 1) if whole_words else i + 1
        masked[i:end] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(masked[None]).logits[0, i]
        total += torch.log_softmax(logits.double(), -1)[ids[i]].item()
    return total


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_100_sentences_have_the_pseudo_likelihood_of_a_direct_implementation(name, tmp_path):
    workdir, out = tiny_runs.write(tmp_path, name), tmp_path / "hf"
    assert convert.main([f"--workdir={workdir}", f"--to_hf={out}"]) == 0
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(out).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    ours, texts = pretrain_jax.load(out), sentences(100)
    for likelihood in ("masked", "masked_words"):
        found = [-score.nats for score in ours.score(texts, likelihood=likelihood)]
        expected = [direct(theirs, tokenizer, text, likelihood == "masked_words") for text in texts]
        assert np.abs(np.array(found) - expected).max() < 1e-4
