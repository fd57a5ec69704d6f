"""The tables of all families, both ways, without torch: parameters and configs come back."""

import contextlib
import dataclasses
import json

import jax
import numpy as np
import pytest
import tiny_runs
from safetensors.numpy import save_file

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.huggingface import _export, _tensors
from pretrain_jax.huggingface import _transforms as transforms
from pretrain_jax.huggingface._settings import Settings
from pretrain_jax.huggingface._table import Opened, Run, read_params, used_paths, write_tensors
from pretrain_jax.optim.trees import named_leaves

SIZE = tiny_runs.SIZES["vocab_size"]
all_runs = pytest.mark.parametrize("name", tiny_runs.RUNS)


def run_of(name):
    """(family, Run, random parameters by path)."""
    design = tiny_runs.design_of(*tiny_runs.RUNS[name])
    heads = tuple(name for name, _ in design.task.objective.heads)
    params = {n: np.asarray(x) for n, x in named_leaves(tiny_runs.random_params(design))}
    family = _export.find_family(design.spec.model.name)
    return family, Run(dict(design.spec.model), heads, 256, tiny_runs.LENGTH), params


def write(folder, part, params, max_shard=_tensors.MAX_SHARD, dtype="float32"):
    (folder / part.name).mkdir(parents=True, exist_ok=True)
    config = {"pad_token_id": 256, **part.config}
    (folder / part.name / "config.json").write_text(json.dumps(config))
    tensors = list(write_tensors(part, params))
    _tensors.write(folder / part.name, tensors, dtype, max_shard)


def reopened(folder, family, stack):
    for name in family.FOLDERS:
        values = json.loads((folder / name / "config.json").read_text())
        tensors = stack.enter_context(_tensors.Tensors(folder / name))
        yield name, Opened(Settings(str(folder / name), values), tensors)


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


ADDED = {"gpt_without_bias": {"bias": True}, "t5_shared": {"shared": False},
         "electra_equal": {"embedding_width": 24}}  # fmt: skip
"""Options that come back with another value, which computes the same."""
LOST = ("remat", "unroll", "attention_backend", "position_std", "init_std", "name")


@all_runs
def test_parameters_and_options_come_back_with_their_bits(name, tmp_path, stack):
    family, run, params = run_of(name)
    folders = family.folders(run)
    for part in folders:
        write(tmp_path, part, params, max_shard=20_000)
        assert len(list((tmp_path / part.name).glob("*.safetensors"))) > 1
    opened = dict(reopened(tmp_path, family, stack))
    imported = family.from_config(opened)
    expected = {**run.model, **ADDED.get(name, {})}
    assert {k: v for k, v in imported.model.items() if k not in LOST} == {
        k: expected[k] for k in imported.model if k not in LOST
    }
    again = family.folders(Run(imported.model, imported.heads, imported.pad, imported.longest))
    design = tiny_runs.design_of(dict(imported.objective), dict(imported.model))
    shapes = {n: leaf.shape for n, leaf in named_leaves(design.model.param_shapes)}
    read: dict[str, np.ndarray] = {}
    for part in again:
        assert read_params(part, opened[part.name].tensors, shapes, read) == []
    assert read.keys() == shapes.keys() == used_paths(again)
    for path, array in read.items():
        if path not in params:
            assert name in ADDED and (not array.any() or path.startswith("encoder/"))
            continue
        rows = SIZE if len(array) == 384 else len(array)
        assert np.array_equal(array[:rows], params[path][:rows]) and not array[rows:].any()
    left = {path.partition("/")[0] for path in params.keys() - read.keys()}
    assert left == ({"span_boundary"} if name == "spanbert" else set())


def test_every_model_has_a_family_or_a_reason():
    families = [registry.load("huggingface", n, "") for n in registry.names("huggingface")]
    exported = [model for family in families for model in family.MODELS]
    listed, names = [*exported, *_export.NO_CLASS], set(registry.names("models"))
    assert len(listed) == len(set(listed)) and set(listed) <= names
    for model in names.difference(exported):  # a new architecture is one file, and needs no row
        why = _export.NO_CLASS.get(model, f"no class for model.name={model}")
        with pytest.raises(ConfigError, match=why):
            _export.find_family(model)


CASES = [
    (transforms.SAME, [(3, 2)]),
    (transforms.VECTOR, [(3, 2)]),
    (transforms.LINEAR, [(5, 3, 2)]),
    (transforms.LINEAR_OUT, [(3, 2, 5)]),
    (transforms.CONV1D, [(5, 3, 2)]),
    (transforms.CONV1D_OUT, [(3, 2, 5)]),
    (transforms.Joined(transforms.CONV1D), [(5, 3, 2)] * 3),
    (transforms.Joined(transforms.VECTOR), [(3, 2)] * 3),
    (transforms.Vocabulary(7), [(7, 2)]),
    (transforms.Shifted(4), [(5, 2)]),
    (transforms.Zeros((3, 2)), []),
]


@pytest.mark.parametrize(("transform", "shapes"), CASES, ids=lambda x: repr(x)[:24])
def test_transforms_are_inverted(transform, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    theirs = transform.to_theirs(arrays)
    assert theirs.shape == transform.shape(shapes)
    back = transform.to_ours(theirs, shapes)
    assert len(back) == len(arrays)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, back, strict=True))
    assert np.array_equal(transform.to_theirs(back), theirs)


def test_padding_of_the_vocabulary_is_cut_and_comes_back_as_zeros():
    ours = np.ones((8, 2), np.float32)
    (back,) = transforms.Vocabulary(7).to_ours(
        transforms.Vocabulary(7).to_theirs([ours]), [ours.shape]
    )
    assert back[:7].all() and not back[7:].any()


def test_positions_that_begin_a_row_earlier_lose_an_unused_row():
    ours = np.ones((5, 2), np.float32)
    theirs = transforms.Shifted(-1).to_theirs([ours])
    assert theirs.shape == transforms.Shifted(-1).shape([ours.shape]) == (4, 2)
    (back,) = transforms.Shifted(-1).to_ours(theirs, [ours.shape])
    assert back[1:].all() and not back[0].any()


# --- what is refused ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt():
    """(folder of the table, parameters, shapes) of a GPT-2."""
    family, run, params = run_of("gpt")
    (part,) = family.folders(run)
    return part, params, {name: array.shape for name, array in params.items()}


def arrays_of(part, params):
    return {t.name: np.ascontiguousarray(t.make()) for t in write_tensors(part, params)}


def read_changed(folder, gpt, change):
    """Reads the folder of a GPT-2 whose tensors `change` has changed."""
    part, params, shapes = gpt
    arrays = arrays_of(part, params)
    change(arrays)
    save_file(arrays, folder / "model.safetensors")
    read: dict[str, np.ndarray] = {}
    with _tensors.Tensors(folder) as tensors:
        left = read_params(part, tensors, shapes, read)
    return read, left


WTE, WPE = "transformer.wte.weight", "transformer.wpe.weight"
NORM = "transformer.h.2.ln_1.bias"
BAD = {
    "missing: transformer.h.2.ln_1.bias": lambda a: a.pop(NORM),
    "unknown: transformer.h.3.ln_1.bias": lambda a: a.update({NORM.replace("2", "3"): a[NORM]}),
    r"wpe.weight \(25, 24\) instead of \(24, 24\)": lambda a: a.update({WPE: np.ones((25, 24))}),
    "lm_head.weight .* must equal": lambda a: a.update({"lm_head.weight": a[WTE] + 1}),
    "wpe.weight .* is F64": lambda a: a.update({WPE: a[WPE].astype(np.float64)}),
    "wte.weight .* is I8": lambda a: a.update({WTE: a[WTE].astype(np.int8)}),
}


@pytest.mark.parametrize("message", BAD)
def test_wrong_tensors_are_named(message, gpt, tmp_path):
    with pytest.raises(DataError, match=message):
        read_changed(tmp_path, gpt, BAD[message])


def test_names_without_the_base_prefix_buffers_and_equal_copies_are_accepted(gpt, tmp_path):
    def change(arrays):
        copies = {name.removeprefix("transformer."): array for name, array in arrays.items()}
        arrays.clear()
        arrays.update(copies)
        arrays["h.0.attn.bias"] = np.ones((1, 1, 24, 24), np.float32)
        arrays["h.0.attn.masked_bias"] = np.array(-1e4, np.float32)
        arrays["lm_head.weight"] = copies["wte.weight"]

    read, left = read_changed(tmp_path, gpt, change)
    assert left == []
    assert np.array_equal(read["embedding/positions"], gpt[1]["embedding/positions"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_dtypes_are_written_and_read_exactly(gpt, tmp_path, dtype):
    part, params, shapes = gpt
    write(tmp_path, part, params, dtype=dtype)
    read: dict[str, np.ndarray] = {}
    with _tensors.Tensors(tmp_path) as tensors:
        read_params(part, tensors, shapes, read)
    low = _tensors.DTYPES[dtype]
    for path, array in params.items():
        rows = SIZE if len(array) == 384 else len(array)
        assert np.array_equal(read[path][:rows], array[:rows].astype(low).astype(np.float32))


def test_a_dtype_that_cannot_hold_a_number_is_refused(tmp_path):
    tensor = _tensors.Tensor("big", (2,), lambda: np.array([1.0, 1e6], np.float32))
    with pytest.raises(ConfigError, match="float16 must hold all parameters; big has 1e"):
        _tensors.write(tmp_path, [tensor], "float16")
    _tensors.write(tmp_path, [tensor], "bfloat16")


def damaged(folder, content):
    (folder / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, (9).to_bytes(8, "little") + b"{}"])
def test_a_damaged_header_is_refused(tmp_path, content):
    damaged(tmp_path, content)
    with pytest.raises(DataError, match="must be a complete safetensors file"):
        _tensors.Tensors(tmp_path)


def test_a_truncated_file_is_refused(tmp_path, gpt):
    part, params, _ = gpt
    write(tmp_path, part, params)
    content = (tmp_path / "model.safetensors").read_bytes()
    damaged(tmp_path, content[:-100])
    with pytest.raises(DataError, match="must be a complete safetensors file"):
        _tensors.Tensors(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "tf_model.h5", "model.ckpt"])
def test_a_pickle_is_refused_and_the_way_out_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(InputMissing, match=rf"only {name}.*save_pretrained"):
        _tensors.Tensors(tmp_path)


def test_an_index_that_leads_out_of_its_folder_or_to_nothing_is_refused(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "../a.safetensors"}}')
    with pytest.raises(DataError, match="must name files of its own folder"):
        _tensors.Tensors(tmp_path)
    index.write_text('{"weight_map": {"a": "a.safetensors"}}')
    with pytest.raises(InputMissing, match=r"a\.safetensors must exist"):
        _tensors.Tensors(tmp_path)


REFUSED = {
    "gpt": [
        ("activation_function", "relu"),
        ("layer_norm_epsilon", 1e-6),
        ("scale_attn_by_inverse_layer_idx", True),
        ("scale_attn_weights", False),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
        ("quantization_config", {"bits": 4}),
    ],
    "gpt1": [("afn", "relu"), ("layer_norm_epsilon", 1e-12)],
    "llama": [
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("sliding_window", 64),
        ("rope_parameters", {"rope_type": "dynamic", "factor": 2.0}),
        ("rope_scaling", {"type": "longrope"}),
        ("rope_parameters", {"rope_type": "yarn", "factor": 2.0, "beta_fast": 16}),
    ],
    "bert_masked": [
        ("hidden_act", "relu"),
        ("layer_norm_eps", 1e-5),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("tie_word_embeddings", False),
    ],
    "roberta": [("layer_norm_eps", 1e-12), ("hidden_act", "gelu_new")],
    "electra": [("hidden_act", "gelu_new"), ("num_hidden_layers", 2)],
    "t5": [
        ("feed_forward_proj", "gated-gelu"),
        ("feed_forward_proj", "gated-silu"),
        ("tie_word_embeddings", False),
        ("relative_attention_num_buckets", 16),
        ("relative_attention_max_distance", 64),
        ("layer_norm_epsilon", 1e-5),
        ("num_decoder_layers", 2),
        ("is_encoder_decoder", False),
    ],
}
PAIRS = [(name, *change) for name, changes in REFUSED.items() for change in changes]


@pytest.mark.parametrize(("name", "key", "value"), PAIRS)
def test_settings_that_our_model_cannot_represent_are_refused(name, key, value, tmp_path, stack):
    family, run, params = run_of(name)
    for part in family.folders(run):
        write(tmp_path, part, params)
    opened = dict(reopened(tmp_path, family, stack))
    first = family.FOLDERS[0]
    changed = Settings(first, {**opened[first].settings.values, key: value})
    opened[first] = Opened(changed, opened[first].tensors)
    named = "rope_type|beta_fast" if key.startswith("rope") else key
    with pytest.raises(ConfigError, match=named):
        family.from_config(opened)


@pytest.mark.parametrize("value", [0, -1, "768", 7.5, True, [1]])
def test_sizes_that_are_none_are_refused(value, tmp_path, stack):
    settings = Settings("config.json", {"n_embd": value})
    with pytest.raises(DataError, match=r"n_embd in config\.json must be"):
        settings.read({"width": ("n_embd", 768)}, {})


def test_unequal_tables_of_a_generator_and_a_discriminator_are_refused(tmp_path, stack):
    family, run, params = run_of("electra")
    shapes = {name: array.shape for name, array in params.items()}
    for number, part in enumerate(family.folders(run)):
        changed = {
            name: x + number if name == "embedding/types" else x for name, x in params.items()
        }
        write(tmp_path, part, changed)
    opened, read = dict(reopened(tmp_path, family, stack)), {}
    generator, discriminator = family.folders(run)
    read_params(generator, opened["generator"].tensors, shapes, read)
    with pytest.raises(DataError, match="differs from that of the other folder"):
        read_params(discriminator, opened["discriminator"].tensors, shapes, read)


def test_a_model_without_biases_writes_zeros():
    family, run, params = run_of("gpt_without_bias")
    (part,) = family.folders(run)
    arrays = arrays_of(part, params)
    _, full, all_params = run_of("gpt")
    (other,) = family.folders(full)
    shapes = {name: array.shape for name, array in arrays_of(other, all_params).items()}
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert not any(array.any() for name, array in arrays.items() if name.endswith(".bias"))


def test_with_the_published_id_of_padding_positions_are_the_same_table():
    family, run, params = run_of("roberta")
    (part,) = family.folders(dataclasses.replace(run, pad=1))
    arrays = arrays_of(part, params)
    name = "roberta.embeddings.position_embeddings.weight"
    assert np.array_equal(arrays[name], params["embedding/positions"])
    assert part.config["max_position_embeddings"] == len(arrays[name])
    with pytest.raises(ConfigError, match="from the id of padding"):
        family.folders(dataclasses.replace(run, pad=None))


def test_old_names_of_norms_are_read(tmp_path):
    save_file({"bert.embeddings.LayerNorm.gamma": np.ones(2, np.float32)},
              tmp_path / "model.safetensors")  # fmt: skip
    with _tensors.Tensors(tmp_path) as tensors:
        assert tensors.read("bert.embeddings.LayerNorm.weight").tolist() == [1, 1]


def test_llama_reads_positions_of_old_and_new_configs():
    llama = registry.load("huggingface", "llama", "")
    old = {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}}
    new = {"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 4.0}}
    wanted = {"rope_base": 5e5, "rope_scaling": "linear", "rope_factor": 4.0}
    for values in (old, new):
        assert llama.read_rope(Settings("config.json", values), 2048) == wanted
    plain = {"rope_base": 1e4, "rope_scaling": "none"}
    assert llama.read_rope(Settings("config.json", {"rope_scaling": None}), 2048) == plain
    with pytest.raises(DataError, match="must be an object or null"):
        llama.read_rope(Settings("config.json", {"rope_scaling": "linear"}), 2048)


def test_jax_arrays_are_not_copied_to_write_them():
    """A big model needs its own memory and that of one file."""
    leaf = jax.numpy.ones((4, 2))
    assert np.shares_memory(np.asarray(leaf), transforms.LINEAR.to_theirs([np.asarray(leaf)]))
