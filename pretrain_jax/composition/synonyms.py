"""Names that other programs use for our config keys, for suggestions in error messages."""

from collections.abc import Iterable

SYNONYMS = {
    "lr": "optimizer.learning_rate",
    "max_lr": "optimizer.learning_rate",
    "peak_lr": "optimizer.learning_rate",
    "wd": "optimizer.weight_decay",
    "beta1": "optimizer.b1",
    "beta2": "optimizer.b2",
    "epsilon": "optimizer.eps",
    "warmup": "optimizer.warmup_steps",
    "lr_scheduler": "optimizer.schedule",
    "scheduler": "optimizer.schedule",
    "layerwise_lr_decay": "optimizer.layer_decay",
    "freeze": "optimizer.unfreeze",
    "grad_clip": "optimizer.clip_norm",
    "max_grad_norm": "optimizer.clip_norm",
    "bs": "train.batch_size",
    "batch": "train.batch_size",
    "per_device_train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.accumulate",
    "grad_accum": "train.accumulate",
    "epochs": "train.steps",
    "num_train_epochs": "train.steps",
    "max_steps": "train.steps",
    "max_iters": "train.steps",
    "iterations": "train.steps",
    "precision": "train.dtype",
    "log_interval": "train.log_every",
    "logging_steps": "train.log_every",
    "row_length": "data.seq_len",
    "seq_length": "data.seq_len",
    "sequence_length": "data.seq_len",
    "block_size": "data.seq_len",
    "context": "data.seq_len",
    "context_length": "data.seq_len",
    "dataset": "data.source",
    "num_workers": "data.workers",
    "d_model": "model.width",
    "n_embd": "model.width",
    "hidden_size": "model.width",
    "embed_dim": "model.width",
    "d_ff": "model.feed_forward",
    "d_kv": "model.head_width",
    "head_dim": "model.head_width",
    "intermediate_size": "model.feed_forward",
    "n_layer": "model.layers",
    "num_layers": "model.layers",
    "depth": "model.layers",
    "n_head": "model.heads",
    "num_heads": "model.heads",
    "num_kv_heads": "model.kv_heads",
    "num_key_value_heads": "model.kv_heads",
    "tie_word_embeddings": "model.tied",
    "rope_theta": "model.rope_base",
    "original_max_position_embeddings": "model.rope_original_length",
    "vocab": "model.vocab_size",
    "n_positions": "model.max_length",
    "attention_form": "model.attention_backend",
    "checkpointing": "model.remat",
    "gradient_checkpointing": "model.remat",
    "architecture": "model.name",
    "mask_prob": "objective.rate",
    "mlm_probability": "objective.rate",
    "save_steps": "checkpoint.every",
    "save_interval": "checkpoint.every",
    "save_total_limit": "checkpoint.keep",
    "eval_interval": "eval.every",
    "eval_steps": "eval.every",
    "tp": "mesh.tensor",
    "dp": "mesh.data",
    "random_seed": "seed",
    "resume_from": "init_from",
}
"""{name in other programs: config key}; every value is a key of some config."""


def find_keys(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of the dotted keys `known` that a dotted or plain name may mean.

    >>> keys = ["train.steps", "train.batch_size", "optimizer.learning_rate"]
    >>> [find_keys(name, keys) for name in ("steps", "optimizer.lr", "config.batch-size")]
    [['train.steps'], ['optimizer.learning_rate'], ['train.batch_size']]
    """
    normalized = name.lower().replace("-", "_").removeprefix("config.")
    section, _, last = normalized.rpartition(".")
    similar = {key for key in known if key == SYNONYMS.get(last) or key.rpartition(".")[2] == last}
    if normalized in similar:
        return [normalized]
    return sorted(similar, key=lambda key: (key.partition(".")[0] != section, key))[:3]
