"""--mode=preflight: a checklist of whether a job would start, without its devices.

Each line is ok or says how to fix it; a check that depends on a failed one is skipped. Nothing is
compiled, and the workdir is not claimed. A preview of the data follows (preview.py).
"""

import contextlib
import math
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import jax
from etils import epath

from pretrain_jax.composition import init_from, resume, source_params
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.unknown_counts import UnknownCounts
from pretrain_jax.devices import chips
from pretrain_jax.errors import ConfigError, DataError, UnwritableWorkdir, UserError
from pretrain_jax.estimates import mesh_proposal, sizes
from pretrain_jax.files.paths import is_remote
from pretrain_jax.planning import preview
from pretrain_jax.reporting.tables import format_gib, format_mesh
from pretrain_jax.training import finished, schedule_preview
from pretrain_jax.workdir import claim, run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

WIDTH = 100
FEW_EPOCHS = 16
"""Passes over a text after which more passes bring little (Muennighoff et al. 2023, arXiv
2305.16264: up to 4 are nearly as good as new text; by 16 most of the value of a pass is gone, at 40
all of it)."""
MAX_EPOCHS = 300
"""More passes than any published recipe makes: far more than those 40, and than GPT-1's 100."""


def preflight(config: Any, directory: str, devices: Sequence[Any], simulated: str = "") -> int:
    """Prints the checklist of a run on these devices; returns 0 or the exit code of the first
    failure.

    simulated: the kind of GPU that CPU devices stand for ("NVIDIA H100"), else "".

    Tokens are cached as in a run. A tokenizer that must be trained is stored where the run looks
    for it, or in a temporary folder while there is no workdir.
    """
    path, checklist = epath.Path(directory), Checklist()
    with contextlib.ExitStack() as stack:
        resolved = checklist.run("configuration", check_config, config, path)
        design = checklist.run("model", check_model, resolved, devices, simulated)
        divided = checklist.run("mesh", check_mesh, design)
        checklist.run("memory", check_memory, divided)
        checklist.run("workdir", check_workdir, divided, path)
        if design is not None and design.spec.init_from:
            checklist.run("init_from", check_init_from, divided, path)
        fingerprints = checklist.run("resuming", check_resume, divided, path)
        checklist.run("schedule", check_schedule, divided, path)
        feed = checklist.run("data", check_data, design, path, fingerprints, stack)
        checklist.run("epochs", check_epochs, feed)
        checklist.run("tokenizer", check_tokenizer, feed)
        if feed is not None:
            for caution in feed.data_warnings:
                print_item("NOTE", "data", caution)
            print("\n".join(["", *preview.format_preview(feed)]))
    return checklist.exit_code


class Checklist:
    """Runs checks, prints a line for each, and keeps the exit code of the first failure."""

    def __init__(self):
        self.exit_code = 0

    def run(self, name: str, check: Callable[..., tuple[Any, str]], *inputs: Any) -> Any:
        """The value of check(*inputs) -> (value, message); None if it, or a check that it needs,
        failed."""
        if any(value is None for value in inputs):
            print_item("--", name, "skipped until the failures above are fixed")
            return None
        try:
            value, message = check(*inputs)
        except UserError as error:
            self.exit_code = self.exit_code or error.exit_code
            print_item("FIX", name, str(error))
            return None
        print_item("ok", name, message)
        return value


def print_item(verdict: str, name: str, message: str) -> None:
    """One item of the checklist, wrapped and indented."""
    lead = f"{verdict:<4} {name:<14} "
    print(textwrap.fill(message, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)))


# --- checks: each returns (a value for later checks, a message) ----------------------------------


def check_config(config: Any, path: epath.Path) -> tuple[Any, str]:
    """The workdir is new or belongs to this configuration."""
    resolved, exists = resume.config_to_resume(config, path)
    return resolved, f"{path} {'belongs to this configuration' if exists else 'is new'}"


def check_model(config: Any, devices: Sequence[Any], simulated: str) -> tuple[Design, str]:
    """Objectives and architecture fit, and sizes are possible."""
    design = build_design(config, tuple(devices), simulated)
    names = dict.fromkeys(member.name for member in design.task.members)
    count = f"{sizes.total_parameters(design):,} parameters"
    if not design.model.adapter.trains_all:
        trained = sizes.trained_parameters(design)
        count += f", of which {trained:,} train ({config.adapter.name})"
    return design, f"{config.model.name}, {count}; {', '.join(names)}"


def check_mesh(design: Design) -> tuple[Design, str]:
    """Batches, lengths and parameters divide over the mesh."""
    mesh_proposal.check_design(design)
    mesh = format_mesh(design.placement.mesh.shape) or "not sharded"
    return design, f"{len(design.target.devices)} x {design.target.kind}, {mesh}"


def check_memory(design: Design) -> tuple[int, str]:
    """The estimated memory fits into a device, where the size of its memory is known."""
    memory, needed = chips.memory(design.target.kind), sizes.memory_per_device(design)["total"]
    if memory is None:
        return needed, f"about {format_gib(needed)} per device, whose memory size is unknown"
    if needed > memory:
        changes = mesh_proposal.propose_fit(design, needed, memory)
        fix = f". Should fit: {mesh_proposal.format_options(changes)}" if changes else ""
        raise ConfigError(
            f"a device must hold about {format_gib(needed)} and has {format_gib(memory)}; "
            "--mode=compile with the same --topology and --search looks for changes that make it "
            f"fit{fix}"
        )
    return needed, (
        f"about {format_gib(needed)} of {format_gib(memory)} per device (estimate; "
        "--mode=compile measures)"
    )


def check_workdir(design: Design, path: epath.Path) -> tuple[int, str]:
    """The workdir is writable and has room for `checkpoint.keep` checkpoints and one more."""
    leaves = jax.tree.leaves(design.update.abstract_state)
    checkpoint = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    keep = design.spec.checkpoint.keep
    needed = checkpoint * (keep + 1)
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    claim.probe(existing)
    purpose = f"{format_gib(needed)} for {keep + 1} checkpoints (checkpoint.keep={keep}, plus one)"
    if is_remote(path):
        return needed, f"{existing} is writable; {purpose} in a bucket of unknown size"
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UnwritableWorkdir(
            f"the workdir must have room: {purpose}; {existing} has {format_gib(free)} free. Free "
            "some, lower checkpoint.keep, or choose another --workdir"
        )
    return needed, f"{existing} is writable and has {format_gib(free)} free; {purpose}"


def check_resume(design: Design, path: epath.Path) -> tuple[dict[str, Any], str]:
    """The last checkpoint has the arrays of this configuration; its fingerprints of the data."""
    if run_config.read_config(path) is None:
        return {}, "starts at step 0"
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest()
        if step is None:
            return {}, "starts at step 0: no checkpoint yet"
        finished.check_steps(path, step, design.spec.train.steps)
        resume.check_code_version(checkpoints, step, design.spec, accept=False)
        checkpoints.check_arrays(step, design.update.abstract_state)
        fingerprints = resume.read_fingerprints(checkpoints, step, design.spec) or {}
        left = design.spec.train.steps - step
        return fingerprints, f"resumes from step {step}; {left} steps left"


def check_schedule(design: Design, path: epath.Path) -> tuple[str, str]:
    """No remaining update has a learning rate of 0; a note if the schedule ends before the run."""
    done = 0
    if run_config.read_config(path) is not None:
        with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
            done = checkpoints.latest() or 0
    tail = schedule_preview.after_decay(design.spec, done)
    if tail.is_wasted:
        raise ConfigError(tail.warning)
    section = design.spec.optimizer
    summary = f"{section.schedule}, learning rate {section.learning_rate:g}"
    notes = [tail.warning, schedule_preview.warn_of_warmup(design.spec)]
    return summary, "; note: ".join([summary, *filter(None, notes)])


def check_data(
    design: Design, path: epath.Path, fingerprints: dict[str, Any], stack: contextlib.ExitStack
) -> tuple[Feed, str]:
    """All files are readable text, the tokenizer has the special ids, and rows can be planned."""
    if not path.exists():
        path = epath.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    feed = Feed.open(design, path, fingerprints or None)
    counts = [
        f"{source.corpus.name}: {len(feed.cache(source, 'train').tokens):,} training tokens, "
        f"{len(feed.cache(source, 'valid').tokens):,} held-out tokens"
        for source in feed.sources
    ]
    return feed, "; ".join(dict.fromkeys(counts))


def check_init_from(design: Design, path: epath.Path) -> tuple[Design, str]:
    """The parameters of the source run fit; a run with checkpoints no longer needs it."""
    if any((path / "checkpoints").glob("[0-9]*")):
        return design, "the run has started: it no longer reads the source run"
    init_from.check(design.spec)
    init_from.check_rows(design)
    return design, source_params.read_source(design).describe()


def check_epochs(feed: Feed) -> tuple[Feed, str]:
    """The run does not repeat its text too often."""
    design = feed.design
    passes = [0.0] * len(feed.sources)
    for seq_len in {phase.seq_len for phase in design.spec.phases}:
        more = preview.count_epochs(design, feed.stream("train", seq_len), seq_len)
        passes = [sum(pair) for pair in zip(passes, more, strict=True)]
    most, member = max(zip(passes, design.task.members, strict=True), key=lambda pair: pair[0])
    summary = f"{most:,.1f} passes over {member.source}"
    if most <= FEW_EPOCHS:
        return feed, summary
    fewer = [int(design.spec.train.steps * passes / most) for passes in (MAX_EPOCHS, FEW_EPOCHS)]
    if most > MAX_EPOCHS and design.task.objective.example_task is None:
        default = ", the default until data.source names your text"
        default = default if member.source == "stdlib" else ""
        raise DataError(
            f"a run should make at most {MAX_EPOCHS} passes over its text: more teach it nothing. "
            f"This one makes {summary}{default}. Add text to data.source, or set "
            f"train.steps={fewer[0]} or less (the run itself would start)"
        )
    return feed, f"{summary}; more than {FEW_EPOCHS} (from about step {fewer[1]}) bring little"


def check_tokenizer(feed: Feed) -> tuple[Feed, str]:
    """Name, size and origin of the tokenizer, and how much text it cannot represent (not an
    error)."""
    name, origin = feed.design.spec.tokenizer.name, preview.tokenizer_origin(feed.design)
    summary = f"{name}, {feed.tokenizer.size:,} ids, {origin}"
    if feed.tokenizer.unk is not None:
        caches = {cache.folder: cache for s in feed.sources for cache in [feed.cache(s, "train")]}
        summary += f"; {sum((cache.unknown for cache in caches.values()), UnknownCounts())}"
    return feed, summary
