"""Exports the model of a workdir as a folder that transformers loads."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from etils import epath

from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError
from pretrain_jax.files import draft_folder, outputs
from pretrain_jax.huggingface import _card, _check, _heads, _tensors, _tokenizer_files
from pretrain_jax.huggingface._families import CONFIG, load_families, model_type
from pretrain_jax.huggingface._table import Folder, Run, used_paths, write_tensors
from pretrain_jax.inference import restore
from pretrain_jax.inference.restore import Restored
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives._formats import pick_format
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.tokenizers import Tokenizer

log = logging.getLogger(__name__)
NO_CLASS = {
    "gopher": "Transformer-XL's relative positions",
    "lamda": "T5's relative positions in one stack",
    "t5_lm": "T5's relative positions in one stack",
    "transformer": "the layer norm and the sinusoids of 2017 with one embedding",
}
"""What no class of transformers computes, by model.name."""


def export_run(
    workdir: str,
    out: str,
    *,
    step: int | None = None,
    dtype: str = "float32",
    max_shard: int = _tensors.MAX_SHARD,
) -> None:
    """Writes the model of a workdir to the folder `out`, which must be new or empty.

    step: that of the checkpoint; None = the last one. dtype: a key of _tensors.DTYPES. max_shard:
    bytes of a file.

    The folder appears at the end, complete and checked (_check.py). Raises ConfigError for a model
    without a class in transformers, InputMissing, DataError, UnwritableWorkdir.
    """
    target = draft_folder.check_free(out, "--to_hf")
    design = restore.load_design(workdir, jax.devices("cpu")[:1], dtype="float32")
    family = find_family(design.spec.model.name)
    trained = restore.merge_adapter(restore.restore_params(design, workdir, step))
    folders = _heads.folders(family, describe_run(trained.design, trained.tokenizer))
    params = {name: np.asarray(leaf) for name, leaf in named_leaves(trained.params)}
    log_left_behind(params.keys() - used_paths(folders), folders)
    with draft_folder.publish(target) as draft:
        for folder in folders:
            path = draft / folder.name
            with outputs.report_unwritable(target, OSError):
                path.mkdir(exist_ok=True)
            write_folder(path, folder, trained, model_type(family), dtype)
            _tensors.write(path, list(write_tensors(folder, params)), dtype, max_shard)
            card = _card.card(trained, folder, epath.Path(workdir), dtype)
            outputs.write_atomic(epath.Path(path) / "README.md", card.encode())
        _check.check(rounded(trained, dtype), folders, draft)
    classes = " and ".join(f"{target / folder.name} ({folder.architecture})" for folder in folders)
    log.info("wrote step %d of %s to %s", trained.step, workdir, classes)


def find_family(name: str) -> ModuleType:
    """The module for our model `name`. Raises ConfigError if transformers has no class for it."""
    modules = load_families().values()
    for module in modules:
        if name in module.MODELS:
            return module
    known = ", ".join(sorted(model for module in modules for model in module.MODELS))
    why = f": none computes {NO_CLASS[name]}" if name in NO_CLASS else ""
    raise ConfigError(
        f"transformers has no class for model.name={name}{why}. Models that can be exported are "
        f"{known}"
    )


def describe_run(design: Design, tokenizer: Tokenizer) -> Run:
    """What a family may know of a run."""
    spec, heads = design.spec, dict(design.task.objective.heads)
    return Run(
        dict(spec.model), tuple(heads), tokenizer.pad, max(spec.seq_lens), dict(spec.objective)
    )


def log_left_behind(paths: set[str], folders: tuple[Folder, ...]) -> None:
    """Logs which parameters the classes have no place for: heads of the objective."""
    if paths:
        classes = " and ".join(folder.architecture for folder in folders)
        parts = sorted({path.partition("/")[0] for path in paths})
        log.warning("%s has no %s: left behind", classes, ", ".join(parts))


def write_folder(
    path: Path, folder: Folder, trained: Restored, model_type: str, dtype: str
) -> None:
    """Writes config.json, generation_config.json and the tokenizer of a folder."""
    tokenizer, design = trained.tokenizer, trained.design
    ids = {f"{name}_token_id": getattr(tokenizer, name) for name in ("bos", "eos", "pad")}
    format = None
    if _heads.task_head(dict(design.task.objective.heads)):
        format = pick_format(design.model.architecture)
        ids["pad_token_id"] = _heads.padding(tokenizer, format)
    config = {
        "architectures": [folder.architecture],
        "model_type": model_type,
        "dtype": dtype,
        **ids,
        **folder.config,
    }
    write_json(path / CONFIG, config)
    if folder.auto_class in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM"):
        ids["pad_token_id"] = tokenizer.eos if tokenizer.pad is None else tokenizer.pad
        if "decoder_start_token_id" in config:
            ids["decoder_start_token_id"] = config["decoder_start_token_id"]
        known = {key: i for key, i in ids.items() if i is not None}
        write_json(path / "generation_config.json", known)
    length = design.spec.model.get("max_length", max(design.spec.seq_lens))
    _tokenizer_files.write(
        tokenizer,
        epath.Path(path),
        model_type=model_type,
        max_length=length,
        pad=ids["pad_token_id"],
        format=format,
    )
    write_chat_template(path, design.task.objective)


def write_chat_template(folder: Path, objective: Objective) -> None:
    """Writes the template of an objective that has one, for the folder's tokenizer."""
    if not objective.template:
        return
    template = "{{ bos_token }}" + objective.template
    if "memory_tokens" in objective.fields:  # an encoder reads one text, with its end alone
        hide = "{% set end = eos_token %}{% set eos_token = '' %}"
        template = hide + objective.template + "{{ end }}"
    outputs.write_atomic(epath.Path(folder) / "chat_template.jinja", template.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    outputs.write_atomic(epath.Path(path), text.encode())


def rounded(trained: Restored, dtype: str) -> Restored:
    """The model with its parameters rounded to `dtype`, in float32."""
    if dtype == "float32":
        return trained
    low = _tensors.DTYPES[dtype]
    params = jax.tree.map(lambda x: x.astype(low).astype(x.dtype), trained.params)
    return replace(trained, params=params)
