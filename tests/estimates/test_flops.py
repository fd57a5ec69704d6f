"""FLOPs per token of the stream and of the memory, and the MFU computed from them."""

import jax
import jax.numpy as jnp
import pytest

from pretrain_jax import step
from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.phases import Phase
from pretrain_jax.devices import chips
from pretrain_jax.estimates import flops
from pretrain_jax.reporting.writer import SILENT
from pretrain_jax.training.reports import Reports
from pretrain_jax.training.startup import Startup
from pretrain_jax.training.throughput import Throughput


def of_config(name):
    settings = fix_schedule(config.read(f"configs/{name}.py", []))
    return build_design(settings, (jax.devices()[0],))


def test_t5_base_by_hand():
    """Twelve layers of width 768 on each side; 32,128 ids; three passes of 2 FLOPs per weight."""
    found = flops.per_axis(of_config("t5_base"), 512)
    square, wide = 768 * 768, 2 * 768 * 3072
    memory = 6 * 12 * (4 * square + wide + 2 * square) + 12 * 12 * 768 * 512
    self_attention, cross = 12 * 12 * 768 * 114, 12 * 12 * 768 * 512
    stream = 6 * (12 * (4 * square + wide + 2 * square) + 32128 * 768) + self_attention + cross
    assert found == {"L": stream, "M": memory}


@pytest.mark.parametrize("name", ["t5_nano", "ul2_nano", "t5_1_1_base", "gpt2_nano", "bert_nano"])
def test_stream_and_memory_add_up_to_the_row(name):
    design = of_config(name)
    seq_len = design.spec.data.seq_len
    budgets, costs = design.task.budgets(seq_len), flops.per_axis(design, seq_len)
    total = sum(costs[axis] * budgets[axis] for axis in costs)
    expected = flops.per_token(design, seq_len) * design.task.tokens_per_row(seq_len)
    assert total == pytest.approx(expected, rel=1e-12)
    assert ("M" in costs) == ("M" in budgets) and min(costs.values()) > 0


def test_a_step_is_worth_the_count_tokens_of_each_side():
    design = of_config("ul2_nano")
    costs = flops.per_axis(design, 128)
    found = flops.per_step(design, 128, {"tokens": 300.0, "memory_tokens": 200.0})
    assert found == 100 * costs["L"] + 200 * costs["M"]
    one = of_config("gpt2_nano")
    assert flops.per_step(one, 128, {"tokens": 300.0}) == 300 * flops.per_token(one, 128)


def test_real_tokens_of_stream_and_memory():
    batch = {
        "segments": jnp.array([[1, 1, 0], [1, 2, 2]]),
        "memory_segments": jnp.array([[1, 0, 0, 0], [1, 1, 2, 2]]),
    }
    found = {name: float(count) for name, count in step.count_tokens(batch).items()}
    assert found == {"tokens": 10, "memory_tokens": 5}
    del batch["memory_segments"]
    assert step.count_tokens(batch) == {"tokens": 5}


@pytest.mark.parametrize("filled, share", [((0.91, 0.43), 0.93), ((0.5, 0.5), 1.0)])
def test_mfu_counts_stream_and_memory_separately(monkeypatch, filled, share):
    """UL2 fills 0.91 of the memory and 0.43 of the stream, whose tokens cost 1.5 times as much:
    tokens times the mean cost of a slot would be 7 % too high."""
    design = of_config("ul2_nano")
    budgets, peak = design.task.budgets(128), 1e9
    memory, stream = filled[0] * budgets["M"], filled[1] * budgets["L"]
    values = {"tokens": memory + stream, "memory_tokens": memory}
    reports = Reports(design, SILENT, SILENT, Startup())
    reports.begin(Phase(0, 9, 128, 8, 1), 0)
    reports.throughput = Throughput(clock=iter([0.0, 2.0]).__next__)
    monkeypatch.setattr(chips, "peak_flops", lambda *_: peak)
    reports.throughput.count(memory + stream, reports.flops(values))
    tokens_per_second = reports.throughput.read() or 0.0
    by_slots = tokens_per_second * flops.per_token(design, 128) / peak
    assert reports.mfu() == flops.per_step(design, 128, values) / 2 / peak
    assert (reports.mfu() or 0.0) / by_slots == pytest.approx(share, abs=0.01)
    monkeypatch.setattr(chips, "peak_flops", lambda *_: None)
    assert reports.mfu() is None and reports.flops(values) == 0


def test_flops_per_second_cover_the_same_time_as_tokens_per_second():
    throughput = Throughput(clock=iter([0.0, 2.0, 3.0, 4.0]).__next__)
    throughput.count(10, 100.0)
    throughput.count(10, 300.0)
    assert (throughput.read(), throughput.flops_per_second) == (10.0, 200.0)
    assert (throughput.read(), throughput.flops_per_second) == (None, None)
    throughput.count(5)
    assert (throughput.read(), throughput.flops_per_second) == (5.0, 0.0)
