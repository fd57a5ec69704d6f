"""Imports a folder of transformers: as a workdir with one checkpoint of step 0, or to use at once.

The workdir has config.json, tokenizer/ and checkpoints/0 with the parameters alone: commands that
restore a model read it, and another run trains on with `init_from`.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from pretrain_jax import code_version, registry
from pretrain_jax.composition import config as configs
from pretrain_jax.composition import corpora
from pretrain_jax.composition.build import Design, build_design, fix_schedule
from pretrain_jax.composition.tokenizer import load_trained
from pretrain_jax.errors import ConfigError, InputMissing, list_names, short_repr
from pretrain_jax.files import draft_folder, outputs, parsing
from pretrain_jax.huggingface import _check, _heads, _tokenizer_files
from pretrain_jax.huggingface._families import (
    CONFIG,
    family_of_subfolders,
    load_families,
    model_type,
)
from pretrain_jax.huggingface._settings import Settings
from pretrain_jax.huggingface._table import Folder, Imported, Opened, Run, read_params
from pretrain_jax.huggingface._tensors import AGAIN, Tensors
from pretrain_jax.inference import restore
from pretrain_jax.inference.restore import Restored
from pretrain_jax.inference.trained_model import TrainedModel
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)
MAX_SEQ_LEN = 1024
"""Longest rows of an imported run's config."""


class Read(NamedTuple):
    """What a folder holds, in our terms."""

    source: Path
    design: Design
    """Of the imported run, on one CPU."""
    folders: tuple[Folder, ...]
    tokenizer: Mapping[str, bytes]
    """The files of a workdir's tokenizer/."""
    params: dict[str, np.ndarray]
    """By path, with stacked layers."""


def import_folder(source: str, workdir: str) -> None:
    """Writes the model in the folder `source` to `workdir`, which must be new or empty.

    The workdir appears at the end, complete and checked (_check.py). Raises ConfigError for a
    model that this package cannot represent, InputMissing, DataError, UnwritableWorkdir.
    """
    target = draft_folder.check_free(workdir, "--workdir")
    root = Path(source)
    read = read_folder(root)
    design = read.design
    with draft_folder.publish(target) as draft:
        run_config.write_config(draft, design.spec.config_dict)
        trained = restore_into(draft, design, read)
        write_checkpoint(draft, trained)
        _check.check(trained, read.folders, root)
    log.info(
        "wrote %s to %s; train on with --config.init_from=%s and another --workdir",
        *(source, target, target),
    )


def load_folder(source: epath.PathLike, dtype: str, mesh: Mapping[str, int] | None) -> TrainedModel:
    """The model in a folder, to use. See `pretrain_jax.load` and `import_folder`."""
    read = read_folder(Path(source))
    config = restore.adapt_config(read.design.spec.config_dict, dtype, mesh)
    design = build_design(config, restore.devices_of(mesh))
    with tempfile.TemporaryDirectory() as folder:
        restored = restore_into(Path(folder), design, read)
    return restore.use(restored)


def restore_into(folder: Path, design: Design, read: Read) -> Restored:
    """The model of `read`, with its tokenizer written to a folder. Empties `read.params`.

    Raises ConfigError for a finetuned model whose tokenizer lacks ids that our format has.
    """
    write_files(folder / "tokenizer", read.tokenizer)
    tokenizer = load_trained(design.spec, epath.Path(folder))
    objective = design.task.objective
    missing = [name for name in objective.special_tokens if name not in tokenizer.special_ids]
    if missing and objective.example_task:
        raise ConfigError(
            f"a finetuned {design.spec.model.name} of this package reads the special ids "
            f"{', '.join(objective.special_tokens)} around a text, and the tokenizer of "
            f"{read.source} has no {' and no '.join(missing)}. Finetune the pretrained model here"
        )
    return Restored(design, tokenizer, as_tree(design, read.params), step=0)


def read_folder(root: Path) -> Read:
    """The design, the tokenizer and the parameters of a folder. Raises as `import_folder`."""
    family, names = family_in(root)
    with open_folders(root, family, names) as opened:
        imported = _heads.read(family, opened)
        first = root / names[0]
        size = imported.model["vocab_size"]
        tokens = _tokenizer_files.read(epath.Path(first), vocab_size=size)
        config = make_config(imported, {"name": tokens.name, **tokens.options})
        design = build_design(config, jax.devices("cpu")[:1])
        run = Run(
            imported.model, imported.heads, imported.pad, imported.longest, imported.objective
        )
        folders = _heads.folders(family, run)
        shapes = {name: leaf.shape for name, leaf in named_leaves(design.model.param_shapes)}
        params: dict[str, np.ndarray] = {}
        for folder in folders:
            if left := read_params(folder, opened[folder.name].tensors, shapes, params):
                log.warning("left behind: %s, which our model does not have", list_names(left))
    return Read(root, design, folders, tokens.files, params)


def family_in(root: Path) -> tuple[ModuleType, tuple[str, ...]]:
    """The module for the folder `root`, and the names of the model's folders in it.

    Raises InputMissing, DataError, ConfigError.
    """
    if not root.is_dir():
        raise InputMissing(
            f"--from_hf must name an existing folder; received {str(root)!r}. Nothing is "
            "downloaded: fetch the folder first, and name it"
        )
    if not (root / CONFIG).exists() and (module := family_of_subfolders(root)):
        return module, module.FOLDERS
    values = parsing.read_json(root / CONFIG, AGAIN, {"model_type": str})
    named = f"model_type in {root / CONFIG}"
    module = registry.pick(load_families(), values["model_type"], named)
    is_finetuned = _heads.find_objective(Settings(str(root / CONFIG), values))
    if not is_finetuned and "" not in module.FOLDERS:
        raise ConfigError(
            f"{named} is {values['model_type']}, a model of two folders: --from_hf must name a "
            f"folder that has both, as {' and '.join(module.FOLDERS)}; {root} is one of them"
        )
    return module, ("",)


@contextmanager
def open_folders(
    root: Path, family: ModuleType, names: tuple[str, ...]
) -> Iterator[Mapping[str, Opened]]:
    """The folders of a model by name."""
    wanted = model_type(family)
    with ExitStack() as stack:
        opened = {}
        for name in names:
            path = root / name
            values = parsing.read_json(path / CONFIG, AGAIN, {"model_type": str})
            if values["model_type"] != wanted:
                raise ConfigError(
                    f"model_type in {path / CONFIG} must be {wanted}; it is "
                    f"{short_repr(values['model_type'])}"
                )
            tensors = stack.enter_context(Tensors(path))
            opened[name] = Opened(Settings(str(path / CONFIG), values), tensors)
        yield opened


def make_config(imported: Imported, tokenizer: Mapping[str, Any]) -> ConfigDict:
    """The complete config of the imported run: 0 updates on the package's own text."""
    config = configs.resolve(
        {
            "data": {"source": "stdlib", "seq_len": min(imported.longest, MAX_SEQ_LEN)},
            "tokenizer": tokenizer,
            "objective": imported.objective,
            "model": imported.model,
            "optimizer": {"name": "adamw", "schedule": "constant", "learning_rate": 1e-4},
            "train": {"steps": 0, "batch_size": 8},
        },
        (),
    )
    return fix_schedule(config)


def as_tree(design: Design, params: dict[str, np.ndarray]) -> Any:
    """The parameters as the tree of the design, on its devices. Empties `params`."""
    shardings = dict(named_leaves(design.placement.param_shardings))
    names = [name for name, _ in named_leaves(design.model.param_shapes)]
    structure = jax.tree.structure(design.model.param_shapes)
    leaves = [jax.device_put(params.pop(name), shardings[name]) for name in names]
    return jax.tree.unflatten(structure, leaves)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    with outputs.report_unwritable(folder):
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)


def write_checkpoint(workdir: Path, trained: Restored) -> None:
    """Writes the parameters as the committed step 0, with what `init_from` compares."""
    spec = trained.design.spec
    sources = []
    if trained.design.task.objective.example_task is None:  # the package's text has no labels
        sources = [c.corpus.fingerprint for c in corpora.open_corpora(trained.design, None)]
    data = {
        "seed": spec.seed,
        "step": 0,
        "code": code_version.VERSION,
        "fingerprints": {"tokenizer": trained.tokenizer.fingerprint, "sources": sources},
        "tokens": 0,
        "seconds": 0.0,
    }
    with Checkpoints(workdir / "checkpoints", **spec.checkpoint) as checkpoints:
        checkpoints.save(0, {"params": trained.params}, data, spec.config_dict, force=True)
