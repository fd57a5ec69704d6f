"""Schedules and optimizers over optax, and what holds for every optimizer.

The parameters of a stack of layers are stored with a leading layers axis, but LAMB, Adafactor and
Muon look at a parameter as a whole (its norm, its rows, its singular values). So **an optimizer
sees one layer at a time** (`per_layer`), and takes the step it would take if every layer were
stored by itself. Clipping by the global norm belongs to the whole tree and stays outside
(`clip_by_norm`). An optimizer's state is a plain tree that is sharded like the parameters
(`like_params`).

Parameters are nested dicts, as Linen makes them, and go by their '/'-joined names:
"layers/attention/out/bias".
"""
