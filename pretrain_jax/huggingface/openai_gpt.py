"""GPT-1: OpenAIGPTLMHeadModel (our model `gpt1`); the output is tied to the embedding."""

from collections.abc import Mapping
from dataclasses import replace

from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _gpt, _settings
from pretrain_jax.huggingface._heads import Head
from pretrain_jax.huggingface._settings import Fixed
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Run

MODELS = ("gpt1",)
FOLDERS = ("",)
SIZES = _gpt.sizes(vocab_size=40478, length=512)
FIXED: Fixed = {
    "afn": (("gelu", "gelu_new"), "gelu"),  # this class computes "gelu" with tanh
    "layer_norm_epsilon": ((1e-5,), 1e-5),
    "tie_word_embeddings": ((True,), True),
}

SCORE = Head("score", bias=False)
HEADS = {"classify": SCORE, "regress": SCORE, "reward": SCORE}


def body(run: Run) -> Folder:
    """OpenAIGPTModel. Raises ConfigError unless the feed-forward width is 4 times the width."""
    model = run.model
    if model["feed_forward"] != 4 * model["width"]:
        raise ConfigError(
            "GPT-1's classes have a feed-forward width of 4 times their width; this run has "
            f"model.feed_forward={model['feed_forward']} and model.width={model['width']}"
        )
    rows = _gpt.table(model["vocab_size"], tokens="tokens_embed", positions="positions_embed")
    return Folder(
        "OpenAIGPTModel",
        "AutoModel",
        base=_gpt.BASE,
        config=_settings.write(model, SIZES, FIXED) | _gpt.dropout(model),
        layers=model["layers"],
        rows=tuple(rows),
    )


def folders(run: Run) -> tuple[Folder, ...]:
    """The one folder."""
    folder = replace(
        body(run),
        architecture="OpenAIGPTLMHeadModel",
        auto_class="AutoModelForCausalLM",
        tied={"lm_head.weight": "transformer.tokens_embed.weight"},
    )
    return (folder,)


def from_config(opened: Mapping[str, Opened]) -> Imported:
    """The sections of a GPT-1."""
    model = opened[""].settings.read(SIZES, FIXED)
    return Imported(
        {"name": "gpt1", **model, "feed_forward": 4 * model["width"]},
        _gpt.CAUSAL,
        longest=model["max_length"],
    )
