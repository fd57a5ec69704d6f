"""transformers' pipelines on exported folders, compared with the model of the run."""

import pytest
import tiny_runs

import pretrain_jax
from pretrain_jax import convert
from pretrain_jax.huggingface import _check

transformers = pytest.importorskip("transformers")
TEXT = "a ship"


@pytest.fixture
def export(tmp_path, monkeypatch):
    """export(name) -> (our model, the folder)."""
    monkeypatch.setattr(_check, "find_spec", lambda name: None)  # test_parity.py is for the check

    def write(name):
        workdir, out = tiny_runs.write(tmp_path, name), tmp_path / "hf"
        assert convert.main([f"--workdir={workdir}", f"--to_hf={out}"]) == 0
        return pretrain_jax.load(workdir), out

    return write


@pytest.mark.parametrize("name", ["gpt", "gpt1", "llama_grouped"])
def test_text_generation(export, name):
    ours, folder = export(name)
    pipe = transformers.pipeline("text-generation", model=str(folder))
    begin = "" if name.startswith("llama") else pipe.tokenizer.bos_token  # LLaMA's adds its own
    options = {"max_new_tokens": 9, "do_sample": False, "return_full_text": False}
    (theirs,) = pipe(begin + TEXT, **options)
    assert theirs["generated_text"] == ours.generate([TEXT], 9, temperature=0.0)[0].text


@pytest.mark.parametrize("name", ["bert_masked", "roberta", "electra"])
def test_fill_mask(export, name):
    ours, folder = export(name)
    folder = folder / "generator" if name == "electra" else folder
    pipe = transformers.pipeline("fill-mask", model=str(folder))
    theirs = pipe(f"a s{pipe.tokenizer.mask_token}ip", top_k=5)
    (blank,) = ours.fill("a s<mask>ip", top=5)
    assert [x["score"] for x in theirs] == pytest.approx(
        [2.718281828459045**filling.log_probability for filling in blank], abs=1e-5
    )
    texts = [pipe.tokenizer.decode([x["token"]]) for x in theirs if x["token"] < 128]
    assert texts == [f.text for f, x in zip(blank, theirs, strict=True) if x["token"] < 128]


def test_t5_generates(export):
    """T5 has no pipeline in transformers 5."""
    ours, folder = export("t5")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = f"{TEXT} <extra_id_0> dawn"
    inputs = tokenizer(text, return_tensors="pt")
    made = model.generate(inputs.input_ids, max_new_tokens=9, do_sample=False)[0, 1:].tolist()
    (ours_made,) = ours.generate([text], 9, temperature=0.0)
    assert made[: len(ours_made.tokens)] == ours_made.tokens.tolist()
