"""LLaMA 1 to 3: LlamaForCausalLM (our model `llama`).

Rotary positions pair the two halves of a head on both sides. There is no table of positions, so
max_position_embeddings is the length of the rows that the run trained on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.huggingface import _settings
from pretrain_jax.huggingface._heads import Head
from pretrain_jax.huggingface._settings import Fixed, Settings, Sizes
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import LINEAR, LINEAR_OUT, VECTOR, Vocabulary

MODELS = ("llama",)
FOLDERS = ("",)
SIZES: Sizes = {
    "vocab_size": ("vocab_size", 32000),
    "layers": ("num_hidden_layers", 32),
    "width": ("hidden_size", 4096),
    "heads": ("num_attention_heads", 32),
    "feed_forward": ("intermediate_size", 11008),
    "norm_epsilon": ("rms_norm_eps", 1e-6),
    "init_std": ("initializer_range", 0.02),
}
FIXED: Fixed = {
    "hidden_act": (("silu", "swish"), "silu"),
    "attention_bias": ((False,), False),
    "mlp_bias": ((False,), False),
}
ROPE: Sizes = {
    "rope_base": ("rope_theta", 10000.0),
    "rope_factor": ("factor", 1.0),
    "rope_low_freq_factor": ("low_freq_factor", 1.0),
    "rope_high_freq_factor": ("high_freq_factor", 4.0),
}
ORIGINAL = ("rope_original_length", "original_max_position_embeddings")
SCALINGS = {
    "none": (),
    "linear": ("rope_factor",),
    "llama3": ("rope_factor", "rope_low_freq_factor", "rope_high_freq_factor", ORIGINAL[0]),
    "yarn": ("rope_factor", ORIGINAL[0]),
}
"""Our options that each model.rope_scaling reads."""
YARN: Fixed = {
    "attention_factor": ((None,), None),
    "beta_fast": ((None, 32, 32.0), None),
    "beta_slow": ((None, 1, 1.0), None),
    "mscale": ((None,), None),
    "mscale_all_dim": ((None,), None),
    "truncate": ((True,), True),
    "partial_rotary_factor": ((1.0,), 1.0),
}
"""Settings of rope_parameters without an option of ours."""

SCORE = Head("score", bias=False)
HEADS = {
    "classify": SCORE,
    "regress": SCORE,
    "reward": SCORE,
    "tag": Head("score"),
}


def body(run: Run) -> Folder:
    """LlamaModel. Raises ConfigError for a width that the heads do not divide."""
    model, heads = run.model, run.model["heads"]
    if model["width"] % heads:
        raise ConfigError(
            "LLaMA's classes need a width that is a multiple of the number of heads; this run "
            f"has model.width={model['width']} and model.heads={heads}"
        )
    config = _settings.write(model, SIZES, FIXED) | {
        "num_key_value_heads": model["kv_heads"] or heads,
        "head_dim": model["head_width"] or model["width"] // heads,
        "max_position_embeddings": run.longest,
        "rope_parameters": rope_parameters(model),
        "tie_word_embeddings": model["tied"],
    }
    return Folder(
        "LlamaModel",
        "AutoModel",
        base="model.",
        config=config,
        layers=model["layers"],
        rows=tuple(table(model["vocab_size"])),
    )


def folders(run: Run) -> tuple[Folder, ...]:
    """The one folder."""
    stack, tied, name = body(run), run.model["tied"], "lm_head.weight"
    output = Row("output/table", name, Vocabulary(run.model["vocab_size"]))
    folder = replace(
        stack,
        architecture="LlamaForCausalLM",
        auto_class="AutoModelForCausalLM",
        rows=stack.rows if tied else (*stack.rows, output),
        tied={name: "model.embed_tokens.weight"} if tied else {},
    )
    return (folder,)


def rope_parameters(model: Mapping[str, Any]) -> dict[str, Any]:
    """The positions as transformers names them since version 5."""
    name = model["rope_scaling"]
    theirs = {**{ours: key for ours, (key, _) in ROPE.items()}, ORIGINAL[0]: ORIGINAL[1]}
    options = ("rope_base", *SCALINGS[name])
    values = {theirs[option]: model[option] for option in options}
    return {"rope_type": "default" if name == "none" else name, **values}


def table(vocab_size: int) -> Iterator[Row]:
    """The rows of the one table."""
    yield Row("embedding/tokens", "model.embed_tokens.weight", Vocabulary(vocab_size))
    yield Row("stack/final_norm/scale", "model.norm.weight", VECTOR)
    ours, theirs = "stack/layers/", "model.layers.{}."
    for part in ("query", "key", "value"):
        yield Row(
            f"{ours}attention/{part}/kernel", f"{theirs}self_attn.{part[0]}_proj.weight", LINEAR
        )
    yield Row(f"{ours}attention/out/kernel", f"{theirs}self_attn.o_proj.weight", LINEAR_OUT)
    for part in ("gate", "up", "down"):
        yield Row(f"{ours}feed_forward/{part}/kernel", f"{theirs}mlp.{part}_proj.weight", LINEAR)
    yield Row(f"{ours}attention_norm/scale", f"{theirs}input_layernorm.weight", VECTOR)
    yield Row(f"{ours}feed_forward_norm/scale", f"{theirs}post_attention_layernorm.weight", VECTOR)


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of a LLaMA."""
    settings = opened[""].settings
    model = settings.read(SIZES, FIXED)
    heads, head_width = model["heads"], model["width"] // model["heads"]
    kv_heads = settings.number("num_key_value_heads", heads)
    wide = settings.number("head_dim", head_width)
    model |= {
        "kv_heads": 0 if kv_heads == heads else kv_heads,
        "head_width": 0 if wide == head_width else wide,
        "tied": settings.number("tie_word_embeddings", False),
    }
    length = settings.number("max_position_embeddings", 2048)
    return Imported(
        {"name": "llama", **model, **read_rope(settings, length)},
        {"name": "causal_lm"},
        longest=length,
    )


def read_rope(settings: Settings, length: int) -> dict[str, Any]:
    """Our options for the positions. Raises ConfigError for a scaling that we do not have.

    Since version 5, transformers writes {"rope_parameters": {"rope_type": ..., "rope_theta": ...}};
    before, {"rope_theta": ..., "rope_scaling": {"type": ...} or null}, which counts first.
    length: the default of the original length, as there.
    """
    key = "rope_scaling" if settings.get("rope_scaling", None) else "rope_parameters"
    given = settings.get(key, None) or {}
    if not isinstance(given, Mapping):
        raise DataError(f"{key} in {settings.path} must be an object or null; it is {given!r}")
    values = {"rope_theta": settings.get("rope_theta", ROPE["rope_base"][1]), **given}
    kind = values.get("rope_type", values.get("type", "default"))
    rope = Settings(settings.path, {**values, "rope_type": kind})
    kinds = ("default", *(name for name in SCALINGS if name != "none"))
    rope.require({"rope_type": (kinds, "default"), **YARN})
    name = "none" if kind == "default" else kind
    known: Sizes = {**ROPE, ORIGINAL[0]: (ORIGINAL[1], length)}
    options = ("rope_base", *SCALINGS[name])
    return {"rope_scaling": name, **{o: rope.number(*known[o]) for o in options}}
