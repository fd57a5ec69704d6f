"""The layers whose vectors tasks look at."""

LAYERS = {"last": "", "first": "_first", "middle": "_middle"}
"""Name -> what it adds to the name of a metric."""


def pick_layers(count: int) -> dict[str, int]:
    """The layer of each name, for a model of `count` blocks: -1 is after the final norm.

    >>> pick_layers(12)
    {'last': -1, 'first': 0, 'middle': 6}
    """
    return {"last": -1, "first": 0, "middle": count // 2}
