"""Schedules and optimizers over optax, and what all optimizers share.

The parameters of a stack of layers are stored with a leading layers axis, but LAMB, Adafactor and
Muon use properties of a whole parameter: its norm, its rows, its singular values. So **an optimizer
sees one layer at a time** (`per_layer`) and takes the step that it would take if every layer were
stored separately. Clipping by the global norm uses the whole tree and happens outside of the
optimizer (`clip_by_norm`). An optimizer's state is a plain tree, sharded like the parameters
(`like_params`).

Parameters are nested dicts, as Linen makes them. Their names are '/'-joined paths:
"layers/attention/out/bias".
"""
