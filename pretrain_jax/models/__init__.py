"""Architectures: `model.name` is the name of a module in this folder, without a leading "_".

A module lists the layers of one architecture and the source of each number; `_base.Architecture`
says what it must define.
"""
