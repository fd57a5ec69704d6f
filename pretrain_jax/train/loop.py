"""The training loop: dispatch this step, then read the numbers of the step before.

Nothing that can be switched on or off here (evaluation, saving, logging) changes a training bit.
"""

import contextlib
import json
import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from pretrain_jax.errors import InputMissing, Interrupted, NonFinite
from pretrain_jax.parallel import chips, rules
from pretrain_jax.parallel.hosts import ALONE, Hosts
from pretrain_jax.train import begin, flops, pseudo, sample, workdir
from pretrain_jax.train.checkpoint import Checkpoints
from pretrain_jax.train.compiled import Steps
from pretrain_jax.train.compose import Design
from pretrain_jax.train.feed import Feed
from pretrain_jax.train.metrics import SILENT, Progress, Silent, Throughput, Writer
from pretrain_jax.train.signals import Signals
from pretrain_jax.train.startup import Startup
from pretrain_jax.train.step import TrainState, eval_step

log = logging.getLogger(__name__)


def train(config: Any, directory: str, hosts: Hosts = ALONE) -> None:
    """Trains to `train.steps` in a workdir, going on from its last checkpoint.

    Raises errors for people before anything is compiled; Interrupted after a signal, saved. Of
    several processes all raise what any of them has to say.
    """
    startup = Startup()
    with contextlib.ExitStack() as stack:
        with startup.part("configuration"):
            path = stack.enter_context(begin.claimed(directory, hosts))
            design = begin.designed(config, path, hosts)
        with hosts.together("the checkpoints"):
            checkpoints = Checkpoints(path / "checkpoints", **config.checkpoint)
            stack.enter_context(checkpoints)
        last = begin.last_step(checkpoints, hosts)
        steps = stack.enter_context(Steps(design))
        with startup.part("data"):
            sources, stored = begin.open_texts(design, checkpoints, last, hosts)
            for phase in design.phases_after(last or 0)[:1]:
                steps.begin(phase)
            feed = begin.open_feed(design, sources, stored, path, hosts)
        with hosts.together("config.json"):
            if hosts.first:
                workdir.write_config(path, design.config.to_dict())
        with startup.part("state"):
            step, state = begin.start(design, checkpoints, last, hosts)
        writer, progress = SILENT, SILENT
        if hosts.first:
            writer = stack.enter_context(Writer(path, step))
            progress = stack.enter_context(Progress(design.train.steps, step))
        signals = stack.enter_context(Signals())
        Loop(design, feed, checkpoints, writer, progress, signals, steps, startup).run(state, step)


def evaluate(config: Any, directory: str, hosts: Hosts = ALONE) -> None:
    """Evaluates the last checkpoint of a workdir and prints the line; writes nothing."""
    path = epath.Path(directory)
    with hosts.together("the workdir"):
        if workdir.read_config(path) is None:
            raise InputMissing(
                f"--mode=eval needs a workdir that a run has begun in; {path} has none"
            )
    design = begin.designed(config, path, hosts)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        last = begin.last_step(checkpoints, hosts)
        if last is None:
            raise InputMissing(f"--mode=eval needs a checkpoint; {path}/checkpoints has none")
        sources, stored = begin.open_texts(design, checkpoints, last, hosts)
        feed = begin.open_feed(design, sources, stored, path, hosts)
        step, state = begin.start(design, checkpoints, last, hosts)
    function = jax.jit(partial(eval_step, program=design.program))
    special = jnp.asarray(feed.tokenizer.special)
    values = evaluation(design, feed, state.params, function, special)
    values |= pseudo.perplexity(design, feed, state.params, special)
    if hosts.first:
        print(json.dumps({"step": step, **values}))


@dataclass
class Loop:
    """What the loop works with; `run` is the loop."""

    design: Design
    feed: Feed
    checkpoints: Checkpoints
    writer: Writer | Silent
    progress: Progress | Silent
    signals: Signals
    steps: Steps
    startup: Startup

    def __post_init__(self):
        self.train = self.design.train
        self.eval_function = jax.jit(partial(eval_step, program=self.design.program))
        self.special = jnp.asarray(self.feed.tokenizer.special)
        self.throughput = Throughput()
        self.seq_len = self.design.data.seq_len
        self.measured_after = 0

    def run(self, state: TrainState, step: int) -> None:
        """From `step` updates done to `train.steps`."""
        pending: tuple[int, Any] | None = None
        left = self.design.phases_after(step)
        with self.startup.part("compiling"):
            for phase in left[:1]:
                self.steps(phase)
        first = step
        for phase in left:
            self.seq_len = phase.seq_len
            self.measured_after = step + 2  # compilation, and the first step's page faults
            batches = iter(self.feed.batches(phase, max(step, phase.first)))
            for _ in range(max(step, phase.first), phase.last):
                if self.signals.stop():
                    break
                batch = self.design.rows.place(next(batches), phase.batch_size)
                measured = step >= self.measured_after
                with contextlib.nullcontext() if measured else self.throughput.aside():
                    state, metrics = self.steps(phase)(state, batch)
                    if not measured:
                        jax.block_until_ready(metrics)
                if step == first:
                    self.progress.say(self.startup.line())
                step += 1
                self.report(pending)
                pending = (step, metrics)
                if self.pause_due(step) or step == phase.last:
                    self.report(pending)
                    pending = None
                    with self.throughput.aside():
                        self.pause(state, step)
        self.report(pending)
        self.finish(state, step)

    def pause_due(self, step: int) -> bool:
        return self.checkpoints.due(step) or self.evaluation_due(step)

    def evaluation_due(self, step: int) -> bool:
        every = self.design.eval.every
        return bool(every and step and step % every == 0)

    def pause(self, state: TrainState, step: int) -> None:
        """Between two steps: evaluate, then save, each when it is due.

        In this order, a step that is committed has all its lines: whoever is killed in between
        evaluates again and does not miss a line.
        """
        if self.evaluation_due(step):
            self.evaluate(state, step)
        if self.checkpoints.due(step):
            self.save(state, step)

    def finish(self, state: TrainState, step: int) -> None:
        """The end of a run, or a stop: the last state is always committed."""
        stopped = self.signals.received if step < self.train.steps else None
        if not stopped and not self.evaluation_due(step):
            self.evaluate(state, step)
        self.save(state, step)
        self.checkpoints.wait()
        if stopped:
            raise Interrupted(
                f"stopped by {stopped.name} and saved at step {step} of {self.train.steps}; "
                "start the same command again to go on"
            )

    def save(self, state: TrainState, step: int) -> None:
        data = {
            "seed": self.design.config.seed,
            "step": step,
            "fingerprints": self.feed.fingerprints,
        }
        self.checkpoints.save(step, state, data, self.design.config.to_dict(), force=True)

    def report(self, pending: tuple[int, Any] | None) -> None:
        """Reads the numbers of a step that is done: stops on NaN, writes a line when it is due."""
        if pending is None:
            return
        step, metrics = pending
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        if not values["finite"]:
            raise NonFinite(
                f"loss and gradients must be finite; update {step} had loss {values['loss']} and "
                f"gradient norm {values['grad_norm']}. Its step was not taken. Lower "
                "optimizer.learning_rate, lengthen optimizer.warmup_steps or set train.z_loss=1e-4 "
                "and start again from the last checkpoint in a new --workdir"
            )
        if step > self.measured_after:
            self.throughput.count(int(values["tokens"]))
        if step % self.train.log_every and step != self.train.steps:
            self.progress.update(step)
            return
        rate = self.throughput.read()
        mfu = self.mfu(rate)
        line = {f"train/{name}": values[name] for name in ("loss", "grad_norm", "learning_rate")}
        extra = set(self.design.program.coefficients) - {"loss"}
        line |= {f"train/{name}": values[name] for name in sorted(extra)}
        self.writer.write(step, {**line, "tokens_per_second": rate, "mfu": mfu})
        self.progress.update(step, loss=values["loss"], tokens_per_second=rate, mfu=mfu)

    def mfu(self, tokens_per_second: float | None) -> float | None:
        """Share of the chips' peak; None where the peak of this device is not known."""
        peak = chips.peak_flops(self.design.device_kind, self.design.dtype)
        if tokens_per_second is None or peak is None:
            return None
        flops_per_token = flops.per_token(self.design, self.seq_len)
        return tokens_per_second * flops_per_token / (peak * len(self.design.devices))

    def evaluate(self, state: TrainState, step: int) -> None:
        """Writes the line of an evaluation, draws loss.png, samples a continuation."""
        values = evaluation(self.design, self.feed, state.params, self.eval_function, self.special)
        if step >= self.train.steps:
            values |= pseudo.perplexity(self.design, self.feed, state.params, self.special)
        self.writer.write(step, values)
        self.progress.say(summary(step, values))
        self.writer.draw()
        if self.design.eval.sample_tokens and self.design.objective.covers_text:
            self.writer.sample(step, continuation(self.design, self.feed, state.params, step))


def evaluation(
    design: Design, feed: Feed, params: Any, eval_function: Any, special: jax.Array
) -> dict[str, float | None]:
    """Held-out loss, what else says whether the model learns, and the yardsticks beside them."""
    totals: dict[str, list[float]] = {}
    size = feed.eval_batch_size
    for rows in feed.eval_batches(design.rows.here(size)):
        batch = design.rows.place(rows, size)
        for term, pair in jax.device_get(eval_function(params, batch, special)).items():
            found = totals.setdefault(term, [0.0, 0.0])
            for place, number in enumerate(pair):
                found[place] += float(number)
    means = {term: total / weight for term, (total, weight) in totals.items() if weight}
    coefficients = design.program.coefficients
    loss = means["text"]
    per_byte = feed.tokens_per_byte
    known = {"text", "loss"} | ({"z_loss"} - coefficients.keys())
    return {
        "valid/loss": loss,
        "valid/objective": sum(c * means.get(term, 0.0) for term, c in coefficients.items()),
        "valid/perplexity": math.exp(min(loss, 700.0)),
        "valid/bits_per_byte": None if per_byte is None else loss / math.log(2) * per_byte,
        "valid/tokens": totals["text"][1],
        **{in_valid(name): value for name, value in means.items() if name not in known},
        **feed.yardsticks,
    }


def in_valid(name: str) -> str:
    """ "accuracy" -> "valid/accuracy"; a yardstick keeps its name."""
    return name if name.startswith("yardstick/") else f"valid/{name}"


def continuation(design: Design, feed: Feed, params: Any, step: int) -> str:
    """A held-out prompt and what the model makes of it, marked apart."""
    prompt = feed.prompt()
    made = sample.continuation(
        params,
        design.program,
        prompt,
        design.eval.sample_tokens,
        ids=feed.tokenizer.size,
        window=design.data.seq_len,
        rows=rules.batch_ways(design.mesh),
        seed=step,
    )
    return f"{feed.tokenizer.decode(prompt)}>>>{feed.tokenizer.decode(made)}"


def summary(step: int, values: dict[str, float | None]) -> str:
    """One line for the terminal: the loss beside what counting alone would reach."""
    sticks = [
        f"{name.removeprefix('yardstick/')} {value:.3f}"
        for name, value in values.items()
        if name.startswith("yardstick/") and value is not None
    ]
    said = {"loss", "objective", "perplexity", "bits_per_byte", "tokens"}
    named = ((name.partition("/"), value) for name, value in values.items())
    more = "".join(
        f", {name.replace('_', ' ')} {value:.3f}"
        for (half, _, name), value in named
        if half == "valid" and name not in said and value is not None
    )
    per_byte = values["valid/bits_per_byte"]
    bits = "" if per_byte is None else f", {per_byte:.3f} bits a byte"
    return (
        f"step {step}: valid loss {values['valid/loss']:.4f}, perplexity "
        f"{values['valid/perplexity']:.1f}{bits}{more} ({', '.join(sticks)})"
    )
