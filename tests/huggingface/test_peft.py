"""Exported adapters: peft computes the same logits on the exported base, to 1e-5."""

import functools
import json

import jax
import numpy as np
import pytest
import tiny_runs
from etils import epath

from pretrain_jax import code_version, convert
from pretrain_jax.composition import config as configs
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.restore_source import BASE
from pretrain_jax.digest import digest_arrays
from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _check
from pretrain_jax.inference import restore
from pretrain_jax.optim.trees import join_trees
from pretrain_jax.tokenizers import bytes as byte_tokenizer
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

pytestmark = pytest.mark.filterwarnings("ignore")  # of peft and transformers
MAPS = ("query", "key", "value", "out", "up", "gate", "down")
LENGTH = 9


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """The checks of exported bases run here, which is quicker."""
    monkeypatch.setattr(_check, "call_in_child", lambda function, **options: function(**options))


@pytest.fixture(scope="module")
def base_of(tmp_path_factory):
    """base_of(name) -> the workdir of a tiny model; its export is in "hf" beside it."""

    @functools.cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        base = tiny_runs.write(folder, name)
        assert convert.main([f"--workdir={base}", f"--to_hf={folder / 'hf'}"]) == 0
        return base

    return make


def write_adapter(folder, base, adapter):
    """A run with a random adapter over a base; returns its workdir."""
    stored = run_config.read_config(base)
    assert stored is not None
    values = {**stored, "init_from": str(base), "adapter": adapter}
    values["tokenizer"] = {**stored["tokenizer"], "path": ""}
    design = build_design(fix_schedule(configs.resolve(values, ())), (jax.devices("cpu")[0],))
    trained, _ = design.model.split(tiny_runs.random_params(design, seed=1))
    restored = restore.restore_params(restore.load_design(base), base)
    path = epath.Path(folder / "adapter")
    path.mkdir()
    run_config.write_config(path, design.spec.config_dict)
    (path / "tokenizer").mkdir()
    byte_tokenizer.train([], path / "tokenizer", vocab_size=300, sentinels=13)
    _, frozen = design.model.split(join_trees(restored.params, {}))
    with Checkpoints(path / "checkpoints", **design.spec.checkpoint) as checkpoints:
        data = {"seed": 0, "step": 7, "code": code_version.VERSION,
                "fingerprints": {"sources": [], "tokenizer": tiny_runs.VOCAB.fingerprint},
                BASE: digest_arrays(frozen)}  # fmt: skip
        checkpoints.save(7, {"params": trained}, data, design.spec.config_dict, force=True)
    return folder / "adapter"


def our_logits(workdir):
    """(ids [2, L], memory ids or None, logits [2, L, V]) of a workdir with an adapter."""
    trained = restore.restore_params(restore.load_design(workdir), workdir)
    design = trained.design
    adapter, draw = design.model.adapter, np.random.default_rng(0)
    ids = draw.integers(0, 250, (2, LENGTH)).astype(np.int32)
    memory = draw.integers(0, 250, (2, LENGTH)).astype(np.int32)
    has_memory = "memory_tokens" in design.task.objective.fields
    places = np.tile(-1 - np.arange(adapter.places, dtype=np.int32), (2, 1))
    in_memory = adapter.in_memory and has_memory
    fields = stream(ids if in_memory else np.concatenate([places, ids], axis=1))
    if has_memory:
        read = np.concatenate([places, memory], axis=1) if in_memory else memory
        fields |= {f"memory_{name}": field for name, field in stream(read).items()}
    apply = jax.jit(design.model.apply, static_argnums=3)
    output = apply(trained.params, fields, jax.random.key(0), False)
    table = output.readout.table[: output.readout.vocab_size]
    logits = output.hidden @ table.T * output.readout.scale
    logits = logits if output.readout.bias is None else logits + output.readout.bias[: len(table)]
    return ids, memory if has_memory else None, np.asarray(logits)[:, -LENGTH:]


def stream(tokens):
    ones = np.ones_like(tokens)
    positions = ones * np.arange(tokens.shape[1], dtype=np.int32)
    return {"tokens": tokens, "segments": ones, "positions": positions}


LORA = {"name": "lora", "rank": 3, "alpha": 7.0}
CASES = {
    **{f"lora-{name}": (name, LORA) for name in ("gpt", "bert_masked", "roberta", "llama", "t5")},
    "lora-all-gpt": ("gpt", {**LORA, "targets": tuple(m for m in MAPS if m != "gate")}),
    "lora-key-gpt": ("gpt", {**LORA, "targets": ("key",)}),
    "lora-all-llama_grouped": ("llama_grouped", {**LORA, "targets": MAPS}),
    **{
        f"{kind}-{name}": (name, {"name": kind, "tokens": 4})
        for kind in ("prompt", "prefix")
        for name in ("gpt", "bert_masked", "t5")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_peft_computes_the_same_logits(case, base_of, tmp_path):
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)
    name, adapter = CASES[case]
    workdir = write_adapter(tmp_path, base_of(name), adapter)
    exported = base_of(name).parent / "hf"
    assert convert.main([f"--workdir={workdir}", f"--to_peft={tmp_path / 'peft'}"]) == 0
    architecture = json.loads((exported / "config.json").read_text())["architectures"][0]
    base = getattr(transformers, architecture).from_pretrained(exported)
    model = peft.PeftModel.from_pretrained(base, tmp_path / "peft").eval()
    ids, memory, wanted = our_logits(workdir)
    arguments = {"input_ids": torch.from_numpy(ids).long()}
    if memory is not None:
        arguments = {
            "input_ids": torch.from_numpy(memory).long(),
            "decoder_input_ids": arguments["input_ids"],
        }
    arguments["attention_mask"] = torch.ones_like(arguments["input_ids"])
    with torch.no_grad():
        logits = model(**arguments).logits.numpy()[:, -LENGTH:]
    assert (
        np.abs(logits[..., : wanted.shape[-1]] - wanted).max() < 1e-5 * np.abs(wanted).max() + 1e-5
    )


@pytest.mark.parametrize(("name", "hint"), [("bitfit", "--to_hf"), ("bottleneck", "hold lora")])
def test_adapters_that_peft_does_not_have_are_refused(name, hint, base_of, tmp_path):
    workdir = write_adapter(tmp_path, base_of("gpt"), {"name": name})
    with pytest.raises(ConfigError, match=hint):
        convert.main([f"--workdir={workdir}", f"--to_peft={tmp_path / 'peft'}"])
    assert not (tmp_path / "peft").exists()
