"""The bytes read from a compiled program's text are those that it moves, loops included."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from pretrain_jax.planning import hlo, hlo_text

TURNS, SIZE = 5, 256


def compiled(function, *arguments, **options):
    text = jax.jit(function, **options).lower(*arguments).compile().as_text()
    return hlo.parse(text or "", len(jax.devices()))


def on_mesh(*axes):
    mesh = jax.make_mesh((8,), ("all",), axis_types=(jax.sharding.AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec(*axes))


def test_a_collective_in_a_loop_counts_every_turn():
    """Each turn multiplies over an axis that eight devices share: one all-reduce of 256 x 256."""

    def scanned(x, weights):
        return jax.lax.scan(lambda y, w: (jnp.tanh(y @ w), None), x, weights)[0]

    x = jax.ShapeDtypeStruct((SIZE, SIZE), jnp.float32, sharding=on_mesh(None, "all"))
    weights = jax.ShapeDtypeStruct(
        (TURNS, SIZE, SIZE), jnp.float32, sharding=on_mesh(None, "all", None)
    )
    program = compiled(scanned, x, weights, out_shardings=on_mesh(None, "all"))
    found = program.collectives()
    assert {one.ways for one in found} == {8} and program.unknown_loops == []
    each = SIZE * SIZE * 4
    # An all-reduce sends the array twice around the ring; the compiler may choose a reduce-scatter.
    sent = {"all-reduce": 2 * each * 7 / 8, "reduce-scatter": each * 7 / 8}
    expected = TURNS * sum(sent[one.kind] for one in found if one.trips == TURNS)
    assert expected > 0
    assert sum(one.bytes_sent for one in found if one.trips == TURNS) == pytest.approx(expected)


def test_without_a_mesh_nothing_is_sent():
    assert compiled(lambda x: x @ x, jnp.ones((8, 8))).collectives() == []


def test_memory_is_that_of_the_slices_a_loop_reads():
    """A scan reads 4 MB once, row by row, and not 4 MB each turn."""
    rows = jnp.ones((1000, 1024))

    def total(rows):
        return jax.lax.scan(lambda y, row: (jnp.sin(y) + row, None), rows[0], rows)[0]

    moved = compiled(total, rows).memory_bytes()
    assert rows.nbytes < moved < 8 * rows.nbytes


def test_memory_of_one_sum_is_its_operands_and_its_result():
    x = jnp.ones((512, 1024))
    assert compiled(lambda a, b: jnp.sin(a) + b, x, x).memory_bytes() == 3 * x.nbytes


def test_a_slice_written_in_place_is_all_that_is_written():
    x, row = jnp.ones((1000, 1024)), jnp.ones((1, 1024))
    put = lambda x, row, at: jax.lax.dynamic_update_slice(x, row, (at, 0))  # noqa: E731
    moved = compiled(put, x, row, 3, donate_argnums=0).memory_bytes()
    assert row.nbytes <= moved <= 4 * row.nbytes + 64


BESIDE = """HloModule jit_step, is_scheduled=true

%part (w: f32[12,64], at: s32[]) -> f32[1,64] {
  %w = f32[12,64]{1,0} parameter(0)
  %at = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %one = f32[1,64]{1,0} dynamic-slice(%w, %at, %zero), dynamic_slice_sizes={1,64}
}

ENTRY %main (a: f32[12,64], n: s32[]) -> f32[1,64] {
  %a = f32[12,64]{1,0} parameter(0)
  %n = s32[] parameter(1)
  %begun = ((f32[12,64]{1,0}, s32[]), f32[1,64]{1,0}, u32[]) fusion-start(%a, %n), \
kind=kLoop, calls=%part
  ROOT %done = f32[1,64]{1,0} fusion-done(%begun)
}
"""


def test_a_fusion_that_runs_beside_others_moves_what_it_would_alone():
    """As in a program for a GPU: its slice is read and written, its array of twelve is not."""
    assert hlo.parse(BESIDE, 1).memory_bytes() == 2 * 64 * 4 + 4


CUT = """HloModule jit_step, is_scheduled=true

%cut (w: f32[12,64]) -> f32[1,64] {
  %w = f32[12,64]{1,0} parameter(0)
  ROOT %one = f32[1,64]{1,0} slice(%w), slice={[3:4], [0:64]}
}

ENTRY %main (a: f32[12,64]) -> f32[1,64] {
  %a = f32[12,64]{1,0} parameter(0)
  %first = f32[1,64]{1,0} fusion(%a), kind=kLoop, calls=%cut
  ROOT %second = f32[1,64]{1,0} slice(%a), slice={[4:5], [0:64]}
}
"""


def test_of_a_stack_from_which_a_layer_is_cut_the_layer_is_read():
    """As unrolled layers are cut from theirs, in a fusion and by itself."""
    assert hlo.parse(CUT, 1).memory_bytes() == 2 * (2 * 64 * 4)


SCRATCH = """HloModule jit_step, is_scheduled=true

ENTRY %main (a: bf16[8,16], b: bf16[16,4]) -> bf16[8,4] {
  %a = bf16[8,16]{1,0} parameter(0)
  %b = bf16[16,4]{1,0} parameter(1)
  %call = (bf16[8,4]{1,0}, s8[33554432]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm"
  ROOT %product = bf16[8,4]{1,0} get-tuple-element(%call), index=0
}
"""


def test_what_a_kernel_gets_to_work_in_is_not_what_it_moves():
    assert hlo.parse(SCRATCH, 1).memory_bytes() == 2 * (8 * 16 + 16 * 4 + 8 * 4)


TWICE = """HloModule jit_step, is_scheduled=true

%both (p: f32[4,8], q: f32[4,8]) -> f32[4,8] {
  %p = f32[4,8]{1,0} parameter(0)
  %q = f32[4,8]{1,0} parameter(1)
  ROOT %sum = f32[4,8]{1,0} add(%p, %q)
}

ENTRY %main (a: f32[4,8]) -> f32[4,8] {
  %a = f32[4,8]{1,0} parameter(0)
  ROOT %made = f32[4,8]{1,0} fusion(%a, %a), kind=kLoop, calls=%both
}
"""


def test_an_array_that_a_fusion_gets_twice_is_read_once():
    assert hlo.parse(TWICE, 1).memory_bytes() == 2 * 4 * 8 * 4


TEXT = """HloModule jit_step, is_scheduled=true

%body (p: (s32[], bf16[8,16])) -> (s32[], bf16[8,16]) {
  %p = (s32[]{:T(128)}, bf16[8,16]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %x = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%p), index=1
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one)
  %sent = (bf16[8,16]{1,0}, bf16[8,16]{1,0}, u32[]) collective-permute-start(%x), channel_id=7, \
source_target_pairs={{0,1},{1,0}}
  %got = bf16[8,16]{1,0} collective-permute-done(%sent)
  ROOT %out = (s32[], bf16[8,16]) tuple(%next, %got)
}

%condition (q: (s32[], bf16[8,16])) -> pred[] {
  %q = (s32[]{:T(128)}, bf16[8,16]{1,0}) parameter(0)
  %bound = s32[]{:T(128)} constant(48)
  %at = s32[]{:T(128)} get-tuple-element(%q), index=0
  ROOT %less = pred[]{:T(512)} compare(%at, %bound), direction=LT
}

ENTRY %main (a: bf16[8,16]) -> bf16[8,16] {
  %a = bf16[8,16]{1,0} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %first = (s32[], bf16[8,16]) tuple(%zero, %a)
  %loop = (s32[], bf16[8,16]) while(%first), condition=%condition, body=%body
  ROOT %end = bf16[8,16]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_a_loop_without_a_note_is_counted_by_its_bound():
    """As a TPU's compiler writes it: tiled layouts, asynchronous pairs, arrays on the chip."""
    program = hlo.parse(TEXT, 2)
    (one,) = program.collectives()
    assert (one.kind, one.trips, one.bytes_sent) == ("collective-permute", 48, 48 * 8 * 16 * 2)
    assert program.unknown_loops == []


def test_a_loop_whose_turns_nobody_knows_is_named():
    program = hlo.parse(TEXT.replace("constant(48)", "parameter(1)"), 2)
    assert [one.trips for one in program.collectives()] == [1]
    assert set(program.unknown_loops) == {"loop"}


@pytest.mark.parametrize(
    "groups, expected",
    [
        ("replica_groups={{0,1,2,3},{4,5,6,7}}", 4),
        ("replica_groups=[4,2]<=[8]", 2),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", 4),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}", 4),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("replica_groups=mesh['a'=8] {'a':(1)4}", 4),
        ("replica_groups={}", 8),
    ],
)
def test_groups(groups, expected):
    assert hlo_text.group_size(f", channel_id=1, {groups}, to_apply=%add", 8) == expected
