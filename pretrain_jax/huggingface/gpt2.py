"""GPT-2: GPT2LMHeadModel (our model `gpt`: GPT-2, GPT-3's dense shapes, Jurassic-1, MT-NLG).

The output is tied to the embedding. A prefix LM has the same parameters: in transformers it needs a
mask (_card.py). A run without biases gets biases of zero.
"""

from collections.abc import Mapping
from dataclasses import replace

from pretrain_jax.huggingface import _gpt, _settings
from pretrain_jax.huggingface._heads import Head
from pretrain_jax.huggingface._settings import Fixed
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Row, Run
from pretrain_jax.huggingface._transforms import Zeros

MODELS = ("gpt",)
FOLDERS = ("",)
SIZES = _gpt.sizes(vocab_size=50257, length=1024)
FIXED: Fixed = {
    "activation_function": (("gelu_new", "gelu_pytorch_tanh"), "gelu_new"),
    "layer_norm_epsilon": ((1e-5,), 1e-5),
    "scale_attn_weights": ((True,), True),
    "scale_attn_by_inverse_layer_idx": ((False,), False),
    "tie_word_embeddings": ((True,), True),
}

SCORE = Head("score", bias=False)
HEADS = {
    "classify": SCORE,
    "regress": SCORE,
    "reward": SCORE,
    "tag": Head("classifier"),
}


def body(run: Run) -> Folder:
    """GPT2Model."""
    model = run.model
    rows = [
        *_gpt.table(model["vocab_size"], tokens="wte", positions="wpe"),
        *_gpt.norm("stack/final_norm", f"{_gpt.BASE}ln_f"),
    ]
    if not model["bias"]:
        rows = [without_bias(row, model["width"], model["feed_forward"]) for row in rows]
    config = _settings.write(model, SIZES, FIXED) | _gpt.dropout(model)
    return Folder(
        "GPT2Model",
        "AutoModel",
        base=_gpt.BASE,
        config={**config, "n_inner": model["feed_forward"]},
        layers=model["layers"],
        rows=tuple(rows),
    )


def folders(run: Run) -> tuple[Folder, ...]:
    """The one folder."""
    folder = replace(
        body(run),
        architecture="GPT2LMHeadModel",
        auto_class="AutoModelForCausalLM",
        tied={"lm_head.weight": "transformer.wte.weight"},
    )
    return (folder,)


def without_bias(row: Row, width: int, feed_forward: int) -> Row:
    """The row, or one that writes zeros if it has a bias."""
    if not row.theirs.endswith(".bias"):
        return row
    sizes = {"c_attn": 3 * width, "c_fc": feed_forward}
    size = sizes.get(row.theirs.split(".")[-2], width)
    return Row((), row.theirs, Zeros((size,)))


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of a GPT-2."""
    settings = opened[""].settings
    model = settings.read(SIZES, FIXED)
    inner = settings.get("n_inner", None) or 4 * model["width"]
    return Imported(
        {"name": "gpt", **model, "feed_forward": inner, "bias": True},
        _gpt.CAUSAL,
        longest=model["max_length"],
    )
