"""Writes an adapter as a folder that peft loads on top of its base.

adapter_config.json          what kind of adapter, and where it stands
adapter_model.safetensors    its tensors, and those of the objective's head

LoRA      a linear map [in, out] has lora_A [rank, in] and lora_B [out, rank]. Queries, keys and
          values that one tensor joins (GPT-2) become one map whose rank is the sum of theirs
          and whose lora_B has a block for each; alpha grows with the rank
prompt    prompt_embeddings [tokens, width]
prefix    prompt_embeddings [tokens, layers x 2 x heads x head width]: keys and values of layer
          0, of layer 1, ...; zeros after those of each layer of an encoder-decoder
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from pretrain_jax.adapters import _soft, lora, prefix
from pretrain_jax.errors import ConfigError
from pretrain_jax.files import draft_folder, outputs
from pretrain_jax.huggingface import _export, _heads
from pretrain_jax.huggingface._table import Folder, Row, write_tensors
from pretrain_jax.inference import restore
from pretrain_jax.inference.restore import Restored
from pretrain_jax.optim.trees import named_leaves

log = logging.getLogger(__name__)
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
BEGIN = "base_model.model."
TASKS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "LMHeadModel": "CAUSAL_LM",
    "ForCausalLM": "CAUSAL_LM",
    "ForMaskedLM": "FEATURE_EXTRACTION",
}
"""The task_type of peft by the ending of a class of transformers; other classes have none."""
Arrays = Mapping[str, np.ndarray]


def export_adapter(workdir: str, out: str, *, step: int | None = None) -> None:
    """Writes the adapter of a workdir to the folder `out`, which must be new or empty.

    Raises ConfigError for an adapter that peft does not have, InputMissing, UnwritableWorkdir.
    """
    target = draft_folder.check_free(out, "--to_peft")
    design = restore.load_design(workdir, jax.devices("cpu")[:1], dtype="float32")
    name = design.spec.adapter.name
    if name not in WRITERS:
        raise ConfigError(
            f"peft directories hold {', '.join(sorted(WRITERS))}; {workdir} has adapter.name={name}"
            + (". Export the model with --to_hf" if name in ("none", "freeze", "bitfit") else "")
        )
    if design.model.adapter.train:
        raise ConfigError(
            "peft directories hold an adapter and the objective's heads; this run also trains "
            f"parameters of its base (adapter.train={design.spec.adapter.train}). Export the model "
            "with --to_hf"
        )
    family = _export.find_family(design.spec.model.name)
    trained = restore.restore_params(design, workdir, step)
    folder, *others = _heads.folders(family, _export.describe_run(design, trained.tokenizer))
    if others:
        raise ConfigError(
            f"an adapter stands on one model; {workdir} has those of {folder.architecture} and "
            f"{others[0].architecture}"
        )
    arrays = {path: np.asarray(leaf) for path, leaf in named_leaves(trained.params)}
    config, tensors = WRITERS[name](trained, folder, arrays)
    heads = set(folder.heads)
    rows = [row for row in folder.rows if any(path.split("/")[0] in heads for path in row.paths)]
    saved = {f"{BEGIN}{t.name}": t.make() for t in write_rows(folder, rows, arrays)}
    if rows:
        config["modules_to_save"] = sorted({row.theirs.split(".")[0] for row in rows})
    config |= {"task_type": task_type(folder), "inference_mode": True}
    with draft_folder.publish(target) as draft, outputs.report_unwritable(target, OSError):
        everything = {name: np.ascontiguousarray(x) for name, x in (tensors | saved).items()}
        save_file(everything, draft / TENSORS, metadata={"format": "pt"})
        _export.write_json(draft / CONFIG, config)
        (draft / TENSORS).chmod((draft / CONFIG).stat().st_mode)  # safetensors makes it 0600
    log.info("wrote the adapter of step %d of %s to %s", trained.step, workdir, target)


def task_type(folder: Folder) -> str | None:
    """What peft calls the use of a class; None for a class without one."""
    return next((task for end, task in TASKS.items() if folder.architecture.endswith(end)), None)


def write_rows(folder: Folder, rows: list[Row], arrays: Arrays) -> Iterator[Any]:
    """The tensors of some rows of a folder."""
    return write_tensors(replace(folder, rows=tuple(rows)), arrays)


def write_lora(
    trained: Restored, folder: Folder, arrays: Arrays
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(adapter_config.json, tensors by name) of LoRA."""
    section = trained.design.spec.adapter
    tensors, ranks = {}, {}
    for row in folder.rows:
        maps = [path.removesuffix("/kernel") for path in row.paths]
        adapted = [path for path in maps if f"{path}/{lora.IN}" in arrays]
        if not adapted:
            continue
        module = row.theirs.removesuffix(".weight")
        # peft compares the end of a name: "c_proj" alone would name two maps of a GPT-2.
        ranks[module.partition("{}.")[2] or module] = section.rank * len(adapted)
        for layer in range(folder.layers if row.per_layer else 1):
            a, b = join_maps(maps, arrays, layer if row.per_layer else None)
            name = BEGIN + module.format(layer)
            tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
    factors = {name: rank / section.rank for name, rank in ranks.items()}
    return {
        "peft_type": "LORA",
        "r": section.rank,
        "lora_alpha": section.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(ranks),
        "rank_pattern": {name: rank for name, rank in ranks.items() if factors[name] != 1},
        "alpha_pattern": {n: section.alpha * f for n, f in factors.items() if f != 1},
        "fan_in_fan_out": folder.architecture.startswith(("GPT2", "OpenAIGPT")),
    }, tensors


def join_maps(maps: list[str], arrays: Arrays, layer: int | None) -> tuple[np.ndarray, np.ndarray]:
    """lora_A [ranks, in] and lora_B [outs, ranks] of the linear maps that one tensor joins."""
    firsts, seconds = [], []
    for path in maps:
        kernel = pick(arrays[f"{path}/kernel"], layer)
        if f"{path}/{lora.IN}" in arrays:
            a, b = (pick(arrays[f"{path}/{name}"], layer) for name in (lora.IN, lora.OUT))
            firsts.append(a.reshape(-1, a.shape[-1]).T)
            seconds.append(b.reshape(b.shape[0], -1).T)
        else:  # a map of the same inputs without LoRA: a block without columns
            outputs_of = kernel.size // firsts_in(maps, arrays, layer)
            seconds.append(np.zeros((outputs_of, 0), np.float32))
    ranks = [block.shape[1] for block in seconds]
    joined = np.zeros((sum(block.shape[0] for block in seconds), sum(ranks)), np.float32)
    row = column = 0
    for block in seconds:
        joined[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return np.concatenate(firsts), joined


def firsts_in(maps: list[str], arrays: Arrays, layer: int | None) -> int:
    """The number of inputs of the maps that one tensor joins."""
    name = next(path for path in maps if f"{path}/{lora.IN}" in arrays)
    a = pick(arrays[f"{name}/{lora.IN}"], layer)
    return a.size // a.shape[-1]


def pick(array: np.ndarray, layer: int | None) -> np.ndarray:
    """The slice of one layer; the array itself if it has no layers."""
    return array if layer is None else array[layer]


def write_prompt(
    trained: Restored, folder: Folder, arrays: Arrays
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(adapter_config.json, tensors by name) of prompt tuning."""
    table = arrays[f"embedding/{_soft.PROMPT}"]
    config = soft_config(trained, "PROMPT_TUNING", len(table))
    if config["num_transformer_submodules"] == 2:  # peft reads the first half, in the encoder
        table = np.concatenate([table, np.zeros_like(table)])
    return {**config, "prompt_tuning_init": "RANDOM"}, {"prompt_embeddings": table}


def write_prefix(
    trained: Restored, folder: Folder, arrays: Arrays
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(adapter_config.json, tensors by name) of prefix tuning."""
    names = [path for path in arrays if path.endswith(f"/{prefix.KEYS}")]
    (keys,) = (arrays[name] for name in names)  # [layers, tokens, heads, head width]
    (values,) = (arrays[name.replace(prefix.KEYS, prefix.VALUES)] for name in names)
    both = np.stack([keys, values], axis=1)  # [layers, 2, tokens, ...]
    heads, head_width = keys.shape[2:]
    # peft divides token_dim into heads: it is the width of the keys, not that of the model.
    config = soft_config(trained, "PREFIX_TUNING", keys.shape[1])
    config |= {"token_dim": heads * head_width, "num_attention_heads": heads}
    if config["num_transformer_submodules"] == 2:
        # peft takes the pairs in turn for a decoder layer's self-attention and cross-attention, and
        # then drops those of cross-attention.
        both = np.stack([both, np.zeros_like(both)], axis=1).reshape(-1, *both.shape[1:])
        config["num_layers"] = len(both)
    table = np.moveaxis(both, 2, 0).reshape(keys.shape[1], -1)
    return {**config, "prefix_projection": False}, {"prompt_embeddings": table}


def soft_config(trained: Restored, kind: str, tokens: int) -> dict[str, Any]:
    """The part of adapter_config.json that prompts and prefixes share."""
    model = trained.design.spec.model
    both_sides = "memory_tokens" in trained.design.task.objective.fields
    return {
        "peft_type": kind,
        "num_virtual_tokens": tokens,
        "token_dim": model.width,
        "num_transformer_submodules": 2 if both_sides else 1,
        "num_attention_heads": model.heads,
        "num_layers": model.layers,
    }


WRITERS = {"lora": write_lora, "prompt": write_prompt, "prefix": write_prefix}
