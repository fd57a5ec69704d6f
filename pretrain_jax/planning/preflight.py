"""Whether a job would start, on one page and without the devices that it is for.

Every line is ok or says its fix; a line that depends on one that failed waits for it. Nothing is
compiled and the workdir is not claimed. Behind the page stands a look at the data (preview.py).
"""

import contextlib
import math
import os
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import jax
from etils import epath

from pretrain_jax.composition import resume
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.unknown_counts import UnknownCounts
from pretrain_jax.devices import chips
from pretrain_jax.errors import ConfigError, DataError, UnwritableWorkdir, UserError
from pretrain_jax.estimates import mesh_proposal, sizes
from pretrain_jax.planning import preview
from pretrain_jax.reporting.tables import axes, gib
from pretrain_jax.training import finished, schedule_preview
from pretrain_jax.workdir import claim, run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

WIDTH = 100
FEW_EPOCHS = 16
"""Passes over a text from which repeating it brings little (Muennighoff et al. 2023, arXiv
2305.16264: up to 4 are nearly as good as new text; by 16 what a pass is worth has mostly decayed,
at 40 all of it)."""
MOST_EPOCHS = 300
"""Passes that no recipe makes: far beyond those 40, and GPT-1's 100."""


def preflight(config: Any, directory: str, devices: Sequence[Any], simulated: str = "") -> int:
    """Prints the page for a run on these devices; returns 0, or the exit code of the first failure.

    simulated: the kind of GPU that they stand for, where they do.

    Tokens are cached as a run caches them. A tokenizer that has to be trained goes where the run
    will look for it, or nowhere when there is no workdir yet.
    """
    path, page = epath.Path(directory), Page()
    with contextlib.ExitStack() as stack:
        fixed = page.line("configuration", configuration, config, path)
        design = page.line("model", model, fixed, devices, simulated)
        placed = page.line("mesh", mesh, design)
        page.line("memory", memory, placed)
        page.line("workdir", room, placed, path)
        fingerprints = page.line("resuming", resuming, placed, path)
        page.line("schedule", schedule, placed, path)
        feed = page.line("data", data, design, path, fingerprints, stack)
        page.line("epochs", epochs, feed)
        page.line("tokenizer", tokenizer, feed)
        if feed is not None:
            for said in feed.cautions:
                show("NOTE", "data", said)
            print("\n".join(["", *preview.page(feed)]))
    return page.code


class Page:
    """Prints lines, and keeps the exit code of the first that is not ok."""

    def __init__(self):
        self.code = 0

    def line(self, name: str, check: Callable[..., tuple[Any, str]], *given: Any) -> Any:
        """What check(*given) -> (value, said) found; None where it failed, or a check before it."""
        if any(one is None for one in given):
            show("--", name, "waits for what is to be mended above")
            return None
        try:
            value, said = check(*given)
        except UserError as error:
            self.code = self.code or error.exit_code
            show("FIX", name, str(error))
            return None
        show("ok", name, said)
        return value


def show(verdict: str, name: str, said: str) -> None:
    """One line of the page, wrapped below itself."""
    lead = f"{verdict:<4} {name:<14} "
    print(textwrap.fill(said, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)))


# --- the checks: each returns what later ones need, and what to say ------------------------------


def configuration(config: Any, path: epath.Path) -> tuple[Any, str]:
    """Against the one that the workdir already belongs to."""
    fixed, begun = resume.against_stored(config, path)
    return fixed, f"{path} {'belongs to it' if begun else 'is new'}"


def model(config: Any, devices: Sequence[Any], simulated: str) -> tuple[Design, str]:
    """Objectives and architecture fit; sizes are possible."""
    design = build_design(config, tuple(devices), simulated)
    names = dict.fromkeys(member.name for member in design.task.members)
    count = sum(sizes.parameters(design).values())
    return design, f"{config.model.name}, {count:,} parameters; {', '.join(names)}"


def mesh(design: Design) -> tuple[Design, str]:
    """Everything divides."""
    mesh_proposal.check(design)
    split = axes(design.placement.mesh.shape) or "not split"
    return design, f"{len(design.target.devices)} x {design.target.kind}, {split}"


def memory(design: Design) -> tuple[int, str]:
    """An estimate beside the memory of the device, where it is known."""
    chip, need = chips.lookup(design.target.kind), sizes.memory_per_device(design)["total"]
    if chip is None or chip.memory is None:
        return need, f"about {gib(need)} a device, of an unknown size"
    if need > chip.memory:
        near = mesh_proposal.fitting(design, need, chip.memory)
        should = f". Should fit: {mesh_proposal.written(near)}" if near else ""
        raise ConfigError(
            f"a device must hold about {gib(need)} and has {gib(chip.memory)}; --mode=compile "
            f"with the same --topology and --search tries what would make it fit{should}"
        )
    return need, f"about {gib(need)} of {gib(chip.memory)} a device (--mode=compile knows exactly)"


def room(design: Design, path: epath.Path) -> tuple[int, str]:
    """The workdir can be written to, and has space for the checkpoints that are kept and one."""
    leaves = jax.tree.leaves(design.update.abstract_state)
    one = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    wanted = one * (design.spec.checkpoint.keep + 1)
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    claim.probe(there)
    told = f"{gib(wanted)} for {design.spec.checkpoint.keep} + 1 checkpoints"
    if "://" in os.fspath(path):
        return wanted, f"{there} can be written to; {told}, of a bucket without a known end"
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise UnwritableWorkdir(
            f"the workdir must have room: {told}; {there} has {gib(free)} free. Free some, lower "
            "checkpoint.keep, or choose another --workdir"
        )
    return wanted, f"{there} can be written to and has {gib(free)} free; {told}"


def resuming(design: Design, path: epath.Path) -> tuple[dict[str, Any], str]:
    """The last checkpoint holds the arrays of this configuration."""
    if run_config.read_config(path) is None:
        return {}, "begins at step 0"
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest()
        if step is None:
            return {}, "begins at step 0: no checkpoint yet"
        finished.check(path, step, design.spec.train.steps)
        resume.check_code(checkpoints, step, design.spec, accept=False)
        checkpoints.compare(step, design.update.abstract_state)
        found = resume.fingerprints(checkpoints, step, design.spec) or {}
        return found, f"goes on from step {step}, {design.spec.train.steps - step} to go"


def schedule(design: Design, path: epath.Path) -> tuple[str, str]:
    """No update of the rest of the run has a learning rate of 0; where it has the last one of the
    schedule, says so."""
    done = 0
    if run_config.read_config(path) is not None:
        with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
            done = checkpoints.latest() or 0
    tail = schedule_preview.tail(design.spec, done)
    if tail.wasted:
        raise ConfigError(tail.said)
    section = design.spec.optimizer
    plain = f"{section.schedule}, learning rate {section.learning_rate:g}"
    return plain, f"note: {tail.said}" if tail.updates else plain


def data(
    design: Design, path: epath.Path, fingerprints: dict[str, Any], stack: contextlib.ExitStack
) -> tuple[Feed, str]:
    """All files can be read and decoded; special ids are there; rows can be planned."""
    if not path.exists():
        path = epath.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    feed = Feed.open(design, path, fingerprints or None)
    halves = [
        f"{source.corpus.name}: {len(feed.cache(source, 'train').tokens):,} tokens to train on, "
        f"{len(feed.cache(source, 'valid').tokens):,} held out"
        for source in feed.sources
    ]
    return feed, "; ".join(dict.fromkeys(halves))


def epochs(feed: Feed) -> tuple[Feed, str]:
    """How often the run passes over its text, and that the text is the user's own."""
    design = feed.design
    passes = [0.0] * len(feed.sources)
    for seq_len in {phase.seq_len for phase in design.spec.phases}:
        more = preview.epochs(design, feed.stream("train", seq_len), seq_len)
        passes = [sum(pair) for pair in zip(passes, more, strict=True)]
    most, member = max(zip(passes, design.task.members, strict=True), key=lambda pair: pair[0])
    said = f"{most:,.1f} passes over {member.source}"
    if most <= FEW_EPOCHS:
        return feed, said
    fewer = [int(design.spec.train.steps * passes / most) for passes in (MOST_EPOCHS, FEW_EPOCHS)]
    if most > MOST_EPOCHS:
        stands = ", which stands in until you name your text" if member.source == "stdlib" else ""
        raise DataError(
            f"a run that makes more than {MOST_EPOCHS} passes over its text learns nothing from "
            f"them; this one makes {said}{stands}. Name more text in data.source, or set "
            f"train.steps={fewer[0]} or less (the run would start all the same)"
        )
    return feed, f"{said}; more than {FEW_EPOCHS}, from about step {fewer[1]} on, bring little"


def tokenizer(feed: Feed) -> tuple[Feed, str]:
    """Whose it is, and how much of the text it loses; much is no fault that stops a run."""
    section = feed.design.spec.tokenizer
    origin = section.path or "trained on the run's own corpus"
    said = f"{section.name}, {feed.tokenizer.size:,} ids, {origin}"
    if feed.tokenizer.unk is not None:
        caches = {cache.folder: cache for s in feed.sources for cache in [feed.cache(s, "train")]}
        said += f"; {sum((cache.unknown for cache in caches.values()), UnknownCounts())}"
    return feed, said
