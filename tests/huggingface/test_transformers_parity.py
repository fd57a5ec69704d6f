"""Against transformers: equal logits both ways, and tensors that come back with their bits.

The checks of the command run here in this process and with a smaller tolerance.
"""

import collections
import json
import logging

import numpy as np
import pytest
import tiny_runs
from etils import epath
from safetensors.numpy import load_file, save_file

from pretrain_jax import convert, registry
from pretrain_jax.errors import DataError
from pretrain_jax.huggingface import _check, _export, _import, _tokenizer_files
from pretrain_jax.tokenizers.bytes import Bytes

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
SIZE, LENGTH = tiny_runs.SIZES["vocab_size"], tiny_runs.LENGTH


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """The largest differences of the checks, which run in this process."""
    differences = []
    compare = _check.compare

    def recorded(*arguments):
        result = compare(*arguments)
        differences.append(result[0])
        return result

    monkeypatch.setattr(_check, "call_in_child", lambda function, **options: function(**options))
    monkeypatch.setattr(_check, "compare", recorded)
    monkeypatch.setattr(_check, "TOLERANCE", 1e-5)
    return differences


@pytest.fixture
def loud():
    """What transformers logs while it loads a model."""
    messages = []

    class Recorder(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    handler = Recorder()
    logger = transformers.logging.get_logger()
    transformers.logging.set_verbosity_warning()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def folders_of(path):
    return [path] if (path / "config.json").exists() else sorted(path.iterdir())


WARNINGS = collections.defaultdict(
    tuple, t5_1_1="The tied weights mapping and config for this model specifies to tie"
)
"""How warnings of from_pretrained begin; docs/howto/huggingface.md lists them."""


@pytest.mark.parametrize("name", tiny_runs.RUNS)
def test_an_exported_run_has_our_logits(name, tmp_path, measured, loud):
    workdir, out = tiny_runs.write(tmp_path, name), tmp_path / "hf"
    assert convert.main([f"--workdir={workdir}", f"--to_hf={out}", "--step=7"]) == 0
    assert len(measured) == len(folders_of(out))
    transformers.logging.set_verbosity_warning()
    for folder in folders_of(out):
        config = json.loads((folder / "config.json").read_text())
        architecture = getattr(transformers, config["architectures"][0])
        model = architecture.from_pretrained(folder)
        assert all(message.startswith(WARNINGS[name]) for message in loud), loud
        assert {x.dtype for x in model.parameters()} == {torch.float32}
        assert model.config.pad_token_id == 256 and model.config.eos_token_id == 258


GPT = {"vocab_size": SIZE, "n_positions": LENGTH, "n_embd": 24, "n_layer": 3, "n_head": 4}
LLAMA_3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
           "high_freq_factor": 4.0, "original_max_position_embeddings": 16}  # fmt: skip
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
        "original_max_position_embeddings": 8}  # fmt: skip
THEIRS = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT, n_inner=50)),
    "openai-gpt": lambda: transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig(**GPT)),
    "llama": lambda: llama(),
    "llama grouped": lambda: llama(num_key_value_heads=2, head_dim=10),
    "llama tied": lambda: llama(num_key_value_heads=1, tie_word_embeddings=True),
    "llama 3": lambda: llama(rope_parameters=LLAMA_3),
    "llama linear": lambda: llama(rope_parameters=LINEAR),
    "llama yarn": lambda: llama(rope_parameters=YARN),
    "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**encoder())),
    "bert two heads": lambda: transformers.BertForPreTraining(transformers.BertConfig(**encoder())),
    "roberta": lambda: roberta(),
    "t5": lambda: t5(),
    "t5 1.1": lambda: untied(t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
}


def llama(**changes):
    settings = {"vocab_size": SIZE, "hidden_size": 24, "intermediate_size": 44,
                "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": LENGTH,
                "rms_norm_eps": 1e-5}  # fmt: skip
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings, **changes))


def encoder(**changes):
    return {"vocab_size": SIZE, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
            "intermediate_size": 50, "max_position_embeddings": LENGTH, **changes}  # fmt: skip


def roberta():
    positions = {"max_position_embeddings": LENGTH + 257, "pad_token_id": 256}
    sizes = encoder(type_vocab_size=1, layer_norm_eps=1e-5, **positions)
    return transformers.RobertaForMaskedLM(transformers.RobertaConfig(**sizes))


def t5(**changes):
    config = transformers.T5Config(vocab_size=SIZE, d_model=24, d_kv=5, d_ff=50, num_layers=3,
                                   num_heads=4, n_positions=LENGTH, **changes)  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def untied(model):
    model.lm_head.weight = torch.nn.Parameter(torch.zeros(SIZE, 24))
    return model


def save(model, folder, model_type):
    """Saves a model of transformers with random parameters and our tokenizer of bytes."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        gain = any(norm in name.lower() for norm in ("norm.w", "_norm.w", "layernorm.w", ".ln_"))
        parameter.data = float(gain) + 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    tokenizer = Bytes(13)
    path = epath.Path(folder)
    _tokenizer_files.write(tokenizer, path, model_type=model_type, max_length=LENGTH)
    return folder


POSITIONS = "roberta.embeddings.position_embeddings.weight"


def there_and_back(source, tmp_path):
    """Imports the folder, exports the workdir; returns the tensors before and after."""
    _import.import_folder(str(source), str(tmp_path / "run"))
    _export.export_run(str(tmp_path / "run"), str(tmp_path / "again"))
    pairs = zip(folders_of(source), folders_of(tmp_path / "again"), strict=True)
    return [tuple(load_file(path / "model.safetensors") for path in pair) for pair in pairs]


def assert_same_bits(before, after):
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.dtype == after[name].dtype and array.shape == after[name].shape
        assert array.tobytes() == after[name].tobytes(), name


@pytest.mark.parametrize("name", THEIRS)
def test_a_model_of_theirs_comes_back_with_its_bits(name, tmp_path, measured):
    source = save(THEIRS[name](), tmp_path / "theirs", name.split()[0])
    ((before, after),) = there_and_back(source, tmp_path)
    if name == "roberta":  # rows that no position reads, but the two that our table has too
        before[POSITIONS][:255], after[POSITIONS][:255] = 0, 0
    assert_same_bits(before, after)
    assert len(measured) == 2


def test_a_generator_and_a_discriminator_of_theirs_come_back_with_their_bits(tmp_path, measured):
    sizes = encoder(hidden_size=128, embedding_size=20, intermediate_size=70)
    large = transformers.ElectraForPreTraining(transformers.ElectraConfig(**sizes))
    small = {**sizes, "hidden_size": 96, "num_attention_heads": 1, "intermediate_size": 384}
    generator = transformers.ElectraForMaskedLM(transformers.ElectraConfig(**small))
    folder = tmp_path / "theirs"
    save(large, folder / "discriminator", "electra")
    save(generator, folder / "generator", "electra")
    arrays = load_file(folder / "discriminator" / "model.safetensors")
    file = folder / "generator" / "model.safetensors"
    shared = {k: x for k, x in arrays.items() if k.startswith("electra.embeddings.")}
    save_file({**load_file(file), **shared}, file, metadata={"format": "pt"})
    for before, after in there_and_back(folder, tmp_path):
        assert_same_bits(before, after)
    assert len(measured) == 4


def test_the_check_finds_a_wrong_table(tmp_path, monkeypatch):
    """With two rows exchanged, nothing is written."""
    gpt2 = registry.load("huggingface", "gpt2", "")
    folders = gpt2.folders

    def exchanged(run):
        (part,) = folders(run)
        by_name = {row.theirs: row for row in part.rows}
        one, two = (by_name[f"transformer.h.{{}}.ln_{n}.weight"] for n in (1, 2))
        change = {one: one._replace(ours=two.ours), two: two._replace(ours=one.ours)}
        object.__setattr__(part, "rows", tuple(change.get(row, row) for row in part.rows))
        return (part,)

    monkeypatch.setattr(gpt2, "folders", exchanged)
    workdir, out = tiny_runs.write(tmp_path, "gpt"), tmp_path / "hf"
    with pytest.raises(DataError, match="must compute the logits of our model"):
        convert.main([f"--workdir={workdir}", f"--to_hf={out}"])
    assert [path.name for path in tmp_path.iterdir()] == ["gpt"]


def test_a_folder_that_transformers_does_not_load_ends_with_its_message(tmp_path, monkeypatch):
    def fail(function, **options):
        raise RuntimeError("no such activation")

    monkeypatch.setattr(_check, "call_in_child", fail)
    workdir, out = tiny_runs.write(tmp_path, "gpt"), tmp_path / "hf"
    with pytest.raises(DataError, match=r"must load GPT2LMHeadModel from .*: no such activation"):
        convert.main([f"--workdir={workdir}", f"--to_hf={out}"])
    assert not out.exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_lower_dtype_is_compared_with_the_same_rounded_parameters(dtype, tmp_path, measured):
    workdir, out = tiny_runs.write(tmp_path, "t5_1_1"), tmp_path / "hf"
    convert.main([f"--workdir={workdir}", f"--to_hf={out}", f"--dtype={dtype}"])
    assert len(measured) == 1
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(out)
    assert model.lm_head.weight.dtype == getattr(torch, dtype)


def test_the_mask_of_the_card_gives_a_prefix_lm(tmp_path):
    """The code of the card runs, and position 0 sees the whole prefix and nothing after it."""
    workdir, out = tiny_runs.write(tmp_path, "prefix_lm"), tmp_path / "hf"
    convert.main([f"--workdir={workdir}", f"--to_hf={out}"])
    text = (out / "README.md").read_text()
    code = text.split("prefix LM")[1].split("```python\n")[1].split("```")[0]
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    ids = torch.arange(9)[None]
    names = {"torch": torch, "model": model, "input_ids": ids, "prefix_length": 4}
    exec(code, names)
    mask = names["prefix_mask"](9, 4)

    def first(changed):
        other = ids.clone()
        other[0, changed] = 100
        return model(other, attention_mask=mask).logits[0, 0].detach().numpy()

    before = first([])
    assert np.abs(first([3]) - before).max() > 1e-3
    assert np.array_equal(first([4]), before)
