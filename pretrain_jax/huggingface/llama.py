"""LLaMA: LlamaForCausalLM (our model `llama`).

Rotary positions pair the two halves of a head on both sides. There is no table of positions, so
max_position_embeddings is the length of the rows that the run trained on.
"""

from collections.abc import Iterator, Mapping

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.huggingface import _settings
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
    "tie_word_embeddings": ((False,), False),
}
ROPE_BASE = 10000.0


def folders(run: Run) -> tuple[Folder, ...]:
    """The one folder."""
    model = run.model
    config = _settings.write(model, SIZES, FIXED) | {
        "num_key_value_heads": model["heads"],
        "head_dim": model["width"] // model["heads"],
        "max_position_embeddings": run.longest,
        "rope_parameters": {"rope_type": "default", "rope_theta": model["rope_base"]},
    }
    folder = Folder(
        "LlamaForCausalLM",
        "AutoModelForCausalLM",
        base="model.",
        config=config,
        layers=model["layers"],
        rows=tuple(table(model["vocab_size"])),
    )
    return (folder,)


def table(vocab_size: int) -> Iterator[Row]:
    """The rows of the one table."""
    yield Row("embedding/tokens", "model.embed_tokens.weight", Vocabulary(vocab_size))
    yield Row("stack/final_norm/scale", "model.norm.weight", VECTOR)
    yield Row("output/table", "lm_head.weight", Vocabulary(vocab_size))
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
    heads, width = model["heads"], model["width"]
    settings.require(
        {
            "num_key_value_heads": ((heads, None), heads),
            "head_dim": ((width // heads, None), width // heads),
        }
    )
    return Imported(
        {"name": "llama", **model, "rope_base": rope_base(settings)},
        {"name": "causal_lm"},
        longest=settings.number("max_position_embeddings", 2048),
    )


def rope_base(settings: Settings) -> float:
    """The base of the rotary positions. Raises ConfigError for positions that are scaled.

    Since version 5, transformers writes {"rope_parameters": {"rope_type": ..., "rope_theta": ...}};
    before, {"rope_theta": ..., "rope_scaling": {"type": ...} or null}.
    """
    rope: dict = {}
    for key in ("rope_scaling", "rope_parameters"):
        value = settings.get(key, None) or {}
        if not isinstance(value, Mapping):
            raise DataError(f"{key} in {settings.path} must be an object or null; it is {value!r}")
        rope |= value
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ConfigError(
            f"rope_type in {settings.path} must be 'default', because our model has no option for "
            f"anything else; it is {kind!r}"
        )
    base = {"rope_theta": rope.get("rope_theta", settings.get("rope_theta", ROPE_BASE))}
    return Settings(settings.path, base).number("rope_theta", ROPE_BASE)
