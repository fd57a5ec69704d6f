"""Adapters: `adapter.name` is the name of a module in this folder, without a leading "_".

An adapter trains a small part of a model whose other parameters stay those of `init_from`. It
changes no file of models/: `_base.Adapter` says what a module's `build` returns. To add an adapter,
add a file.

Keys that mean the same in every adapter:

train: regular expressions; parameters of the base whose names match one are trained too
"""
