"""Parameters for inference: separate layers, on the devices of training's."""

import flax.linen as nn
import jax
import numpy as np
import pytest
import tiny_job

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.inference.restore import for_inference


@pytest.mark.parametrize("mesh", [{}, {"data": 2, "tensor": 2}, {"fsdp": 2, "tensor": 2}], ids=str)
def test_separate_layers_keep_the_shardings(tmp_path, mesh):
    """A layer is split over the mesh as a model with separate layers would be."""
    overrides = [(f"mesh.{axis}", str(size)) for axis, size in mesh.items()]
    settings = fix_schedule(config.read(str(tiny_job.write(tmp_path)), overrides))
    design = build_design(settings, tuple(jax.devices()[: 4 if mesh else 1]))
    init = jax.jit(
        lambda: nn.meta.unbox(design.model.init(0)), out_shardings=design.placement.param_shardings
    )
    stacked = init()
    served, params = for_inference(design, stacked)
    jax.tree.map(check_sharding, params, served.placement.param_shardings)
    want = stacked["stack"]["layers"]["feed_forward"]["down"]["kernel"]
    for number in range(2):
        made = params["stack"][f"layers_{number}"]["feed_forward"]["down"]["kernel"]
        np.testing.assert_array_equal(made, want[number])


def check_sharding(x: jax.Array, wanted: jax.sharding.Sharding) -> None:
    assert x.sharding.is_equivalent_to(wanted, x.ndim)
