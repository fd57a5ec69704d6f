"""Lines of the tables that commands print."""


def row(name: str, value: str) -> str:
    """A name, and a value that ends at column 66."""
    return f"{name:<40}{value:>26}"


def gib(size: float) -> str:
    """gib(1536 * 2**20) is "1.500 GiB"."""
    return f"{size / 2**30:,.3f} GiB"
