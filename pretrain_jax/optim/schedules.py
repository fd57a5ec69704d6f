"""Learning-rate schedules; the names of SCHEDULES are the values of `optimizer.schedule`.

**Which update gets which rate.** Update n, counted from 1, uses schedule(n - 1), as in optax.

    warm-up   update n <= warmup_steps gets peak x n / warmup_steps: the first update is not wasted
    after it  the schedule is evaluated at the count n - 1: update warmup_steps + 1 gets the peak;
              the first update after decay_steps, and all later ones, get the final rate

With a peak of 1, 4 warm-up steps and a linear decay to 0 at 8, updates 1 to 9 get
0.25 0.5 0.75 1 | 1 0.75 0.5 0.25 | 0: no update within decay_steps is wasted either.

The decay is the same as in nanoGPT, optax and PyTorch. Their warm-ups differ: nanoGPT uses
peak x n / (warmup + 1). The released BERT uses peak x (n - 1) / warmup, so its first update changes
nothing, and its decay starts at step 0 instead of at the end of the warm-up (a jump of
warmup / decay_steps, 1 % in its recipe). The papers of GPT-3 and LLaMA do not specify it.

Keys of all schedules, described here for the reference of config keys:

learning_rate: the peak, reached at the end of the warm-up; for inverse_square_root, a factor
warmup_steps: updates over which the rate rises linearly to its peak
decay_steps: update at which the decay ends; 0 = the train.steps of the first start, at least
    warmup_steps
final: rate at the end of the decay, as a fraction of the peak
decay_fraction: share of decay_steps over which the rate falls at the end
ramp: whether the rate rises during the warm-up; False = constant during the warm-up, as in T5
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from pretrain_jax.errors import ConfigError
from pretrain_jax.registry import accepted_kwargs, pick

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def build_schedule(
    name: str,
    *,
    learning_rate: float,
    warmup_steps: int = 0,
    decay_steps: int = 0,
    **options: float | bool,
) -> Schedule:
    """A function: count of past updates (int, or int32 scalar under jit) -> learning rate, float32
    scalar. Counts are exact up to 2^24 updates.

    options: the keyword-only options of the named schedule. All schedules accept warmup_steps and
    decay_steps here, even those that ignore them, so that a config can change the name alone.

    Raises ConfigError for an unknown name, and where decay_steps does not fit warmup_steps.

    >>> schedule = build_schedule("cosine", learning_rate=6e-4, warmup_steps=100, decay_steps=1000)
    >>> [round(float(schedule(count)), 7) for count in (0, 99, 550, 1000, 5000)]
    [6e-06, 0.0006, 0.00033, 6e-05, 6e-05]
    """
    builder = pick(SCHEDULES, name, "optimizer.schedule")
    steps = accepted_kwargs(builder, {"warmup_steps": warmup_steps, "decay_steps": decay_steps})
    rate = builder(learning_rate=learning_rate, **steps, **options)

    # Compiled, so that the logged rate has the bits of the rate in the training step: XLA rounds a
    # division by a constant differently than separate operations do.
    @jax.jit
    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(rate(jnp.asarray(count, jnp.int32)), jnp.float32)

    return schedule


def resolve_decay_steps(*, decay_steps: int, warmup_steps: int, train_steps: int) -> int:
    """The `decay_steps` to store at the first start; 0 means the length of the run.

    A run shorter than its warm-up stays in the warm-up, so its decay starts and ends there:

    >>> resolve_decay_steps(decay_steps=0, warmup_steps=2000, train_steps=100)
    2000
    """
    return decay_steps or max(train_steps, warmup_steps)


def end_of_decay(name: str, *, warmup_steps: int, decay_steps: int) -> int | None:
    """The count of past updates after which the rate stays at `final` x peak; None for schedules
    that never end.

    >>> end_of_decay("linear", warmup_steps=4, decay_steps=8)
    8
    """
    if pick(SCHEDULES, name, "optimizer.schedule") not in (linear, cosine, warmup_stable_decay):
        return None
    return warmup_steps + _steps_of_decay(name, warmup_steps, decay_steps)


def constant(*, learning_rate: float, warmup_steps: int = 0) -> optax.Schedule:
    """Warm-up, then the peak forever."""
    return _warm_up(optax.constant_schedule(learning_rate), learning_rate, warmup_steps)


def linear(
    *, learning_rate: float, warmup_steps: int = 0, decay_steps: int = 0, final: float = 0.0
) -> optax.Schedule:
    """Warm-up, then a straight line to `final` x peak at decay_steps: BERT, RoBERTa, ELECTRA."""
    steps = _steps_of_decay("linear", warmup_steps, decay_steps)
    decay = _line(learning_rate, final * learning_rate, steps)
    return _warm_up(decay, learning_rate, warmup_steps)


def cosine(
    *, learning_rate: float, warmup_steps: int = 0, decay_steps: int = 0, final: float = 0.1
) -> optax.Schedule:
    """Warm-up, then half a cosine to `final` x peak at decay_steps, then flat: GPT-3, LLaMA."""
    steps = _steps_of_decay("cosine", warmup_steps, decay_steps)
    decay = optax.cosine_decay_schedule(learning_rate, steps, alpha=final)
    return _warm_up(decay, learning_rate, warmup_steps)


def inverse_square_root(
    *, learning_rate: float, warmup_steps: int = 0, ramp: bool = False
) -> optax.Schedule:
    """learning_rate / sqrt(max(count, warmup_steps)): `learning_rate` is a factor, not the peak.

    T5 (section 3.1.2) uses factor 1 and 10,000 warm-up steps with a constant rate of 0.01. With
    `ramp` the rate rises to that value instead: Vaswani et al. 2017 (section 5.3) use factor D^-0.5
    and 4,000 warm-up steps.
    """
    floor = max(warmup_steps, 1)

    def decay(count):
        return learning_rate / jnp.sqrt(jnp.maximum(count, floor).astype(jnp.float32))

    if not ramp:
        return decay
    shifted = lambda count: decay(count + warmup_steps)  # noqa: E731
    return _warm_up(shifted, learning_rate / floor**0.5, warmup_steps)


def warmup_stable_decay(
    *,
    learning_rate: float,
    warmup_steps: int = 0,
    decay_steps: int = 0,
    final: float = 0.0,
    decay_fraction: float = 0.1,
) -> optax.Schedule:
    """Warm-up, the peak, then a straight line to `final` x peak at decay_steps: "wsd" for short.

    Use it for training of open length: until the line starts, the rate does not depend on
    `decay_steps`. A run that changes decay_steps before that has the bits of a run that started
    with the new value.

    The line takes the last `decay_fraction` of decay_steps and never overlaps the warm-up. MiniCPM
    (Hu et al. 2024) finds a tenth enough; Hägele et al. 2024 (section 4) use 10 to 20 %.
    """
    available = _steps_of_decay("warmup_stable_decay", warmup_steps, decay_steps)
    steps = min(available, max(1, round(decay_fraction * decay_steps)))
    line = _line(learning_rate, final * learning_rate, steps)
    flat = optax.constant_schedule(learning_rate)
    stable_decay = optax.join_schedules([flat, line], [available - steps])
    return _warm_up(stable_decay, learning_rate, warmup_steps)


SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    builder.__name__: builder
    for builder in (constant, linear, cosine, inverse_square_root, warmup_stable_decay)
} | {"wsd": warmup_stable_decay}


def _warm_up(after: optax.Schedule, peak: float, warmup_steps: int) -> optax.Schedule:
    """Rises to `peak`, then follows `after`, which counts from the end of the warm-up."""
    if warmup_steps == 0:
        return after
    rise = lambda count: peak * ((count + 1) / warmup_steps)  # noqa: E731
    return optax.join_schedules([rise, after], [warmup_steps])


def _line(start: float, end: float, steps: int) -> optax.Schedule:
    """A straight line from `start` to `end` in `steps`, then flat.

    It subtracts integers before it divides. optax.linear_schedule computes 1 - count / steps, with
    a rounding error of 1e-7 of the peak: 6 % of the last rate of a million steps, and a rate after
    them that is not quite 0.
    """

    def line(count):
        left = jnp.clip(steps - count, 0, steps)
        return end + (start - end) * (left / steps)

    return line


def _steps_of_decay(name: str, warmup_steps: int, decay_steps: int) -> int:
    """The number of steps from the end of the warm-up to decay_steps, at least 1."""
    if decay_steps == 0:
        raise ConfigError(
            f"optimizer.schedule={name} needs the update at which its decay ends; received "
            "optimizer.decay_steps=0. Set it, usually to train.steps"
        )
    if decay_steps < warmup_steps:
        raise ConfigError(
            "optimizer.decay_steps must be at least optimizer.warmup_steps, both counted from the "
            f"first update; received {decay_steps} and {warmup_steps}. Raise decay_steps to "
            f"{warmup_steps} or more. In a new workdir, you can also lower warmup_steps, for "
            f"example to {decay_steps // 10}"
        )
    return max(decay_steps - warmup_steps, 1)
