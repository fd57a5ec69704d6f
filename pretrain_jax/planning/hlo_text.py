"""Instructions, shapes and replica groups in the text of an HLO module."""

import math
import re
from dataclasses import dataclass

BYTES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4,
    "s64": 8, "u64": 8, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
"""Bytes per element, by type. All 8-bit floats begin with f8; types without an entry (token) have
no bytes."""
ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


@dataclass(frozen=True)
class Instruction:
    """One HLO instruction."""

    name: str
    shape: str
    """Text of the result's shape; tuples are in parentheses."""
    kind: str
    """The opcode: "add", "fusion", ..."""
    operands: tuple[str, ...]
    """Names of the operands."""
    rest: str
    """The text after the operands: attributes."""
    root: bool
    """Whether it is the result of its computation."""

    @property
    def called(self) -> list[str]:
        """Names of the computations that it calls."""
        computations = CALLED.findall(self.rest)
        for names in BRANCHES.findall(self.rest):
            computations += [name.strip().lstrip("%") for name in names.split(",")]
        return computations


def parse_instruction(name: str, text: str, root: bool) -> Instruction:
    """Parses the part after "=": `f32[2]{0} add(%a, %b), metadata={}`."""
    end = closing_parenthesis(text, 0) + 1 if text.startswith("(") else text.index(" ")
    shape, call = text[:end], text[end:].lstrip()
    opening = call.index("(")
    last = closing_parenthesis(call, opening)
    kind = call[:opening]
    if kind == "fusion-start":  # an asynchronous fusion: ((operands), result, context)
        kind, shape = "fusion", shape[closing_parenthesis(shape, 1) + 3 :].rpartition(", ")[0]
    inside = re.sub(r"/\*.*?\*/", "", call[opening + 1 : last])
    operands = tuple(
        part.strip().rpartition(" ")[2].lstrip("%") for part in inside.split(", ") if part
    )
    return Instruction(name, shape, kind, operands, call[last + 1 :], root)


def closing_parenthesis(text: str, opening: int) -> int:
    """The index of the parenthesis that closes the one at index `opening`."""
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"no closing parenthesis in {text[opening : opening + 80]!r}")


def size_of(kind: str, dims: str, _layout: str = "") -> float:
    """size_of("bf16", "16,100,1600") is 5,120,000 bytes."""
    number = BYTES.get(kind, 1 if kind.startswith("f8") else 0)
    return number * math.prod(int(n) for n in dims.split(",") if n)


def array_bytes(shape: str) -> float:
    """Bytes of all arrays in a shape."""
    return sum(size_of(*array) for array in ARRAY.findall(shape))


def in_memory(shape: str) -> float:
    """Bytes of the arrays in a shape that are in main memory; S(1) is a TPU's vector memory."""
    return sum(size_of(*array) for array in ARRAY.findall(shape) if "S(1)" not in array[2])


def group_size(rest: str, devices: int) -> int:
    """The number of devices in one group of a collective, from any form of `replica_groups`.

    >>> group_size("replica_groups={{0,1,2,3},{4,5,6,7}}", 8)
    4
    >>> group_size("replica_groups=[2,4]<=[8]", 8)
    4
    >>> group_size("replica_groups=mesh['a'=2,'b'=4] {'b'}", 8)
    4
    """
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", rest)
    if listed:
        return listed[1].count(",") + 1
    counted = re.search(r"replica_groups=\[(\d+),(\d+)\]", rest)
    if counted:
        return int(counted[2])
    named = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", rest)
    if named:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        used = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", named[2])
        return math.prod(int(part or sizes[axis]) for axis, part in used)
    return devices
