"""Pretraining objectives: every module without a leading "_" is a value of `objective.name`.

Such a module defines `build(**options) -> Objective`; its keyword-only options are the keys of the
config section `objective`. An objective has two halves: the host half (`corrupt`, numpy) turns raw
examples into fields of the batch contract (batch.py), the device half (`loss`, `metrics`, jax)
turns fields into sums. Modules with a leading "_" hold code that several objectives share.

An objective that depends on the architecture, as those for finetuning do, defines
`build(model, **options)`; `model` is the Architecture (models/_base.py).

Keys that mean the same in several objectives, described here for the reference of config keys; a
builder's own docstring comes first:

rate: share of the tokens that are predicted
replaced: share of the predicted tokens that the model reads as [MASK]
random: share of the predicted tokens that the model reads as a random token; the rest stay
    unchanged
noise: unit of masking: "tokens", "words" (whole words, as many as fit) or "spans" (SpanBERT)
copies: 0 = new noise in every epoch; n = epoch e repeats the noise of epoch e - n (BERT's static
    masking has 10)
inputs: how the model reads the inputs: "memory" (an encoder reads them, a decoder writes the
    targets), "prefix" (one stack; inputs see each other in full) or "stream" (one causal stack)
labels: names of the classes or tags in their order; () = those of the training records, sorted. A
    run stores them with its model
texts: texts of a record, 1 or 2; 0 = as many as the training records have. A run stores it
metric: the metric that chooses the best checkpoint and stops early (eval.patience)
dropout: dropout rate of the head
per_row: most examples of a row; 0 = one per 8 tokens, 1 = no packing
mode: number of the mode token in front of the inputs (UL2); 0 = no mode token
"""

from pretrain_jax.objectives._base import ExampleTask as ExampleTask
from pretrain_jax.objectives._base import Objective as Objective
