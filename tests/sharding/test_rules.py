"""No layout fails silently: every refusal has a message with a fix."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.axes import box_all
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _base
from pretrain_jax.sharding import mesh as meshes
from pretrain_jax.sharding import rules

SIZES = {
    "vocab_size": 200,
    "layers": 2,
    "width": 32,
    "heads": 4,
    "kv_heads": 2,
    "head_width": 8,
    "feed_forward": 64,
    "max_length": 16,
}
TRANSFORMERS = [
    name for name in registry.names("models") if "heads" in registry.options(_base.load(name).build)
]


def mesh(**sizes):
    count = 1
    for size in sizes.values():
        count *= size
    return meshes.build(jax.devices()[:count], **{"data": 1, **sizes})


def boxed(name, **changes):
    """Shapes of a model's parameters, in boxes with the names of their axes."""
    architecture = _base.load(name)
    sizes = registry.accepted_kwargs(architecture.build, SIZES | changes)
    model = architecture.build(BuildContext(architecture.attention[0]), **sizes)
    fields = ("tokens", "segments", "positions")
    names = [*fields, *(f"memory_{field}" for field in fields)]
    batch = {field: jnp.ones((1, 16), jnp.int32) for field in names}
    return jax.eval_shape(lambda: model.init(jax.random.key(0), batch, False)["params"])


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (("width", "heads", "head_width"), P(("fsdp", "sequence"), "tensor", None)),
        (("layers", "feed_forward", "width"), P(None, "tensor", ("fsdp", "sequence"))),
        (("vocabulary", "width"), P("tensor", ("fsdp", "sequence"))),
        (("batch", "length", "hidden"), P(("dcn", "data", "fsdp"), "sequence", None)),
        ((None, "heads"), P(None, "tensor")),
        ((), P()),
    ],
)
def test_axes_become_mesh_axes(axes, expected):
    assert rules.partition_spec(axes) == expected


def test_an_axis_without_a_rule_is_refused():
    with pytest.raises(
        ConfigError, match=r"needs a rule in sharding/rules.py; .* 'experts' has no rule"
    ):
        rules.partition_spec(("experts", "width"))


def test_a_mesh_axis_used_twice_is_refused():
    with pytest.raises(ConfigError, match=r"uses 'tensor' for both 'heads' and 'feed_forward'"):
        rules.partition_spec(("heads", "feed_forward"))
    with pytest.raises(ConfigError, match=r"uses 'fsdp' for both 'batch' and 'width'"):
        rules.partition_spec(("batch", "width"))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_parameter_of_every_transformer_has_axes_with_rules(name):
    # ELECTRA's generator has a head for each 64 of its width: two are wanted here.
    wider = {"width": 128, "generator_fraction": 1.0} if name == "electra" else {}
    tree = boxed(name, **wider)
    is_box = lambda x: isinstance(x, nn.Partitioned)  # noqa: E731
    for box in jax.tree.leaves(tree, is_leaf=is_box):
        assert is_box(box)
        assert len(box.names) == len(box.value.shape)
        assert None not in box.names
    placed = rules.named_shardings(tree, mesh(data=2, fsdp=2, tensor=2))
    assert jax.tree.structure(placed) == jax.tree.structure(nn.meta.unbox(tree))
    kernels = {
        jax.tree_util.keystr(path): set(jax.tree.leaves(tuple(sharding.spec)))
        for path, sharding in jax.tree_util.tree_leaves_with_path(placed)
        if jax.tree_util.keystr(path).endswith("['kernel']")
    }
    layers = {path: split for path, split in kernels.items() if "['layers']" in path}
    assert layers
    # Every matrix is split, and those of the layers are split both ways.
    assert all({"fsdp", "sequence"} <= split for split in kernels.values())
    assert all({"fsdp", "sequence", "tensor"} <= split for split in layers.values())


def test_heads_that_do_not_divide_name_the_nearest_sizes():
    """gpt2_xl's 25 heads: 1 and 5 divide, 2 does not."""
    with pytest.raises(ConfigError) as caught:
        rules.named_shardings(boxed("gpt", width=200, heads=25), mesh(tensor=2))
    message = str(caught.value)
    assert "the heads axis of" in message
    assert "has 25 entries and must divide over mesh.tensor; received mesh.tensor=2" in message
    assert "The nearest sizes that divide are 1, 5, 25" in message


def test_a_width_that_does_not_divide_names_the_nearest_sizes():
    with pytest.raises(ConfigError, match=r"width axis .* 36 entries .* mesh.fsdp=8.* 4, 6, 9"):
        rules.named_shardings(boxed("gpt", width=36), mesh(fsdp=8))
    over_both = r"over mesh.fsdp x mesh.sequence; received mesh.fsdp=4 x mesh.sequence=2\."
    with pytest.raises(ConfigError, match=over_both):
        rules.named_shardings(boxed("gpt", width=36), mesh(fsdp=4, sequence=2))


def test_parameters_without_axis_names_are_replicated_with_a_warning(caplog):
    named = nn.Partitioned(jnp.ones((8, 4)), ("width", "feed_forward"))
    tree = box_all({"cell": {"kernel": jnp.ones((3, 5)), "count": jnp.ones(())}, "map": named})
    assert tree["map"] is named
    placed = rules.named_shardings(tree, mesh(fsdp=4, tensor=2))
    assert placed["cell"]["kernel"].is_fully_replicated
    assert placed["cell"]["count"].is_fully_replicated
    assert placed["map"].spec == P(("fsdp", "sequence"), "tensor")
    (record,) = caplog.records
    assert "1 parameters, such as cell/kernel, have no axis names" in record.getMessage()
    rules.named_shardings(tree, mesh(data=1))  # one device holds everything anyway
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"data": -1, "fsdp": 2, "tensor": 2}, (2, 2, 2)),
        ({"data": 1, "fsdp": -1, "sequence": 4, "tensor": 1}, (1, 2, 4, 1)),
        ({"data": -1, "fsdp": 1, "tensor": 1}, (8, 1, 1)),
        ({"data": 1, "fsdp": -1, "tensor": 4}, (1, 2, 4)),
        ({"data": 2, "fsdp": 2, "tensor": 2}, (2, 2, 2)),
    ],
)
def test_an_axis_of_minus_1_takes_the_remaining_devices(sizes, expected):
    assert tuple(meshes.resolve_sizes(8, **sizes).values()) == expected


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"data": -1, "fsdp": -1}, "only one mesh axis may be -1; received mesh.data=-1 x mesh"),
        ({"data": 2, "fsdp": 2}, "multiply to the number of devices, 8; .*device_count=4"),
        ({"data": 2, "fsdp": 2}, "The nearest valid sizes are mesh.data=4, mesh.fsdp=4. Set"),
        ({"data": -1, "fsdp": 3}, "divide the number of devices, 8; .*Set one axis to -1"),
        ({"data": -1, "fsdp": 3, "tensor": 2}, "valid sizes are mesh.fsdp=2 or 4. Set one"),
        ({"data": 16, "fsdp": 1}, "multiply to the number of devices, 8; .*device_count=16"),
    ],
)
def test_impossible_meshes_are_refused(sizes, message):
    with pytest.raises(ConfigError, match=message):
        meshes.resolve_sizes(8, **sizes)


def test_a_batch_that_does_not_divide_names_the_nearest():
    layout = mesh(data=2, fsdp=2, tensor=2)
    rules.check_batch(16, 2, layout, "train.batch_size")
    with pytest.raises(ConfigError) as caught:
        rules.check_batch(20, 2, layout, "train.batch_size")
    assert "train.batch_size must be a multiple of" in str(caught.value)
    assert "4 x 2; received 20. The nearest valid value is 16 or 24" in str(caught.value)
    with pytest.raises(ConfigError, match=r"received 3\. The nearest valid value is 8$"):
        rules.check_batch(3, 2, layout, "train.batch_size")


def test_rows_of_a_batch_are_split_over_data_and_fsdp():
    layout = mesh(data=2, fsdp=2, tensor=2)
    assert rules.batch_ways(layout) == 4
    assert rules.field_sharding(layout, "L").shard_shape((16, 5)) == (4, 5)
    assert rules.replicated(layout).shard_shape((16, 5)) == (16, 5)


def test_lengths_are_split_over_sequence_and_predictions_are_not():
    layout = mesh(fsdp=2, sequence=4)
    assert rules.field_sharding(layout, "L").shard_shape((16, 20)) == (8, 5)
    assert rules.field_sharding(layout, "M").shard_shape((16, 8)) == (8, 2)
    assert rules.field_sharding(layout, "P").shard_shape((16, 6)) == (8, 6)
    rules.check_length(20, layout, "axis L")
    with pytest.raises(ConfigError) as caught:
        rules.check_length(114, layout, "axis L at data.seq_len=512")
    assert "axis L at data.seq_len=512 has 114 slots" in str(caught.value)
    assert "received mesh.sequence=4. The nearest sizes that divide are 2, 3, 6" in str(
        caught.value
    )
