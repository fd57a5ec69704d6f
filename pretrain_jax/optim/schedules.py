"""Learning-rate schedules; the names of SCHEDULES are the values of `optimizer.schedule`.

**Which update gets which rate.** Update n, counted from 1, uses schedule(n - 1), as in optax.

    warm-up   update n <= warmup_steps gets peak x n / warmup_steps: the first update is not wasted
    after it  the shape is read at the count n - 1: update warmup_steps + 1 gets the peak, the
              first update after decay_steps gets the final rate, and all later ones too

With a peak of 1, 4 warm-up steps and a linear decay to 0 at 8, updates 1 to 9 get
0.25 0.5 0.75 1 | 1 0.75 0.5 0.25 | 0: no update within decay_steps is wasted either.

The decay side is nanoGPT's, optax's and PyTorch schedulers'. Their warm-ups differ: nanoGPT has
peak x n / (warmup + 1); the released BERT has peak x (n - 1) / warmup, so that its first update
changes nothing, and its decay starts at step 0 rather than at the end of the warm-up (a jump of
warmup / decay_steps, 1 % in its recipe). GPT-3's and LLaMA's papers do not say.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from pretrain_jax.errors import ConfigError
from pretrain_jax.registry import pick, taken

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def build_schedule(
    name: str,
    *,
    learning_rate: float,
    warmup_steps: int = 0,
    decay_steps: int = 0,
    **own: float | bool,
) -> Schedule:
    """count of past updates (int, or int32 scalar under jit) -> learning rate, float32 scalar.

    `own` are the keyword-only options of the named schedule, which takes those of the three numbers
    that it reads: with all of them here, another name needs no other change.
    Counts are exact up to 2^24 updates.

    Raises ConfigError for an unknown name or a number out of range.

    >>> schedule = build_schedule("cosine", learning_rate=6e-4, warmup_steps=100, decay_steps=1000)
    >>> [round(float(schedule(count)), 7) for count in (0, 99, 550, 1000, 5000)]
    [6e-06, 0.0006, 0.00033, 6e-05, 6e-05]
    """
    builder = pick(SCHEDULES, name, "optimizer.schedule")
    if learning_rate < 0:
        raise ConfigError(
            f"optimizer.learning_rate must be 0 or more; received {learning_rate}; "
            "the sign of the step is the optimizer's business"
        )
    _require_count("warmup_steps", warmup_steps)
    _require_count("decay_steps", decay_steps)
    read = taken(builder, {"warmup_steps": warmup_steps, "decay_steps": decay_steps})
    shape = builder(learning_rate=learning_rate, **read, **own)

    # Compiled, because XLA divides by a constant with other roundings than single operations do:
    # the rate that is logged has the bits of the rate that was used.
    @jax.jit
    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(shape(jnp.asarray(count, jnp.int32)), jnp.float32)

    return schedule


def resolve_decay_steps(*, decay_steps: int, warmup_steps: int, train_steps: int) -> int:
    """The `decay_steps` to store at the first start: 0 stands for the length of the run.

    A run shorter than its warm-up stays in warm-up, so its decay begins and ends there:

    >>> resolve_decay_steps(decay_steps=0, warmup_steps=2000, train_steps=100)
    2000
    """
    return decay_steps or max(train_steps, warmup_steps)


def end_of_decay(name: str, *, warmup_steps: int, decay_steps: int) -> int | None:
    """The count of past updates from which on the rate stays at `final` x peak; None for schedules
    that have no such end.

    >>> end_of_decay("linear", warmup_steps=4, decay_steps=8)
    8
    """
    if pick(SCHEDULES, name, "optimizer.schedule") not in (linear, cosine, warmup_stable_decay):
        return None
    return warmup_steps + _steps_of_decay(name, warmup_steps, decay_steps)


def constant(*, learning_rate: float, warmup_steps: int = 0) -> optax.Schedule:
    """Warm-up, then the peak for ever."""
    return _warm_up(optax.constant_schedule(learning_rate), learning_rate, warmup_steps)


def linear(
    *, learning_rate: float, warmup_steps: int = 0, decay_steps: int = 0, final: float = 0.0
) -> optax.Schedule:
    """Warm-up, then a straight line to `final` x peak at decay_steps: BERT, RoBERTa, ELECTRA."""
    steps = _steps_of_decay("linear", warmup_steps, decay_steps)
    _require_fraction("final", final)
    decay = _line(learning_rate, final * learning_rate, steps)
    return _warm_up(decay, learning_rate, warmup_steps)


def cosine(
    *, learning_rate: float, warmup_steps: int = 0, decay_steps: int = 0, final: float = 0.1
) -> optax.Schedule:
    """Warm-up, then half a cosine to `final` x peak at decay_steps, then flat: GPT-3, LLaMA."""
    steps = _steps_of_decay("cosine", warmup_steps, decay_steps)
    _require_fraction("final", final)
    decay = optax.cosine_decay_schedule(learning_rate, steps, alpha=final)
    return _warm_up(decay, learning_rate, warmup_steps)


def inverse_square_root(
    *, learning_rate: float, warmup_steps: int = 0, ramp: bool = False
) -> optax.Schedule:
    """learning_rate / sqrt(max(count, warmup_steps)): `learning_rate` is a factor, not the peak.

    T5 (section 3.1.2): factor 1 and 10,000 warm-up steps, which are flat at 0.01. With `ramp`
    they rise to that value instead: Vaswani et al. 2017 (section 5.3), factor D^-0.5 and 4,000.
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

    For training whose length is open: until the line begins, the rate depends on no `decay_steps`,
    so a run that moves it before then has the bits of a run that began with the later one.

    The line takes the last `decay_fraction` of decay_steps, and never part of the warm-up: MiniCPM
    (Hu et al. 2024) found a tenth enough; Hägele et al. 2024 (section 4) use 10 to 20 %.
    """
    room = _steps_of_decay("warmup_stable_decay", warmup_steps, decay_steps)
    _require_fraction("final", final)
    _require_fraction("decay_fraction", decay_fraction)
    steps = min(room, max(1, round(decay_fraction * decay_steps)))
    line = _line(learning_rate, final * learning_rate, steps)
    flat = optax.constant_schedule(learning_rate)
    stable_decay = optax.join_schedules([flat, line], [room - steps])
    return _warm_up(stable_decay, learning_rate, warmup_steps)


SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    builder.__name__: builder
    for builder in (constant, linear, cosine, inverse_square_root, warmup_stable_decay)
} | {"wsd": warmup_stable_decay}


def _warm_up(after: optax.Schedule, peak: float, warmup_steps: int) -> optax.Schedule:
    """Rises to `peak`, then is `after`, which counts from the end of the warm-up."""
    if warmup_steps == 0:
        return after
    rise = lambda count: peak * ((count + 1) / warmup_steps)  # noqa: E731
    return optax.join_schedules([rise, after], [warmup_steps])


def _line(start: float, end: float, steps: int) -> optax.Schedule:
    """From `start` to `end` in `steps`, then flat.

    Whole numbers are subtracted before dividing. optax.linear_schedule has 1 - count / steps, whose
    rounding is 1e-7 of the peak: 6 % of the last rate of a million steps, and not quite 0 after it.
    """

    def line(count):
        left = jnp.clip(steps - count, 0, steps)
        return end + (start - end) * (left / steps)

    return line


def _steps_of_decay(name: str, warmup_steps: int, decay_steps: int) -> int:
    """Steps between the end of the warm-up and decay_steps, at least 1."""
    if decay_steps == 0:
        raise ConfigError(
            f"optimizer.schedule={name} needs the update at which its decay ends; received "
            "optimizer.decay_steps=0; set it, usually to train.steps"
        )
    if decay_steps < warmup_steps:
        raise ConfigError(
            "optimizer.decay_steps must be at least optimizer.warmup_steps, both counted from the "
            f"first update; received {decay_steps} and {warmup_steps}; raise decay_steps or "
            f"lower warmup_steps, to {decay_steps // 10} for instance"
        )
    return max(decay_steps - warmup_steps, 1)


def _require_count(key: str, value: int) -> None:
    if not isinstance(value, int) or value < 0:
        raise ConfigError(
            f"optimizer.{key} is a number of updates, a whole number of 0 or more; "
            f"received {value!r}"
        )


def _require_fraction(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"optimizer.{key} is a fraction between 0 and 1; received {value}")
