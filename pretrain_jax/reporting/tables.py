"""Lines of the tables that commands print."""

from collections.abc import Mapping


def format_row(name: str, value: str) -> str:
    """A name, and a value that ends at column 66."""
    return f"{name:<40}{value:>26}"


def format_mesh(mesh: Mapping[str, int]) -> str:
    """The axes with more than one device: "fsdp 4 x tensor 2"; "" on one device."""
    return " x ".join(f"{axis} {size}" for axis, size in mesh.items() if size > 1)


def format_gib(size: float) -> str:
    """Bytes as GiB: format_gib(1536 * 2**20) is "1.500 GiB"."""
    return f"{size / 2**30:,.3f} GiB"
