"""Architectures; every module of this folder is a name for `model.name`.

A module offers `build(execution, *, vocab_size, ...) -> nn.Module`: a page of choices among
layers, with the source of each number, and

    ATTENTION   the ways in which its predicting stream may look at itself
    FIELDS      the fields of the contract that it reads, beside tokens, segments and positions
"""
