"""Contents that no file of a run should have."""

STRAY = {
    "nested": b"[" * 200_000 + b"]" * 200_000,
    "nested objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "cut": b'{"step": 1, "tr',
    "empty": b"",
    "null": b"null",
    "number": b"5",
    "text": b'"step"',
    "list": b'[{"step": 1}]',
    "latin-1": b'{"step": "\xe9"}',
    "utf-16": '{"step": 1}'.encode("utf-16"),
    "nul": b"\0" * 100,
    "digits": b'{"step": ' + b"9" * 5000 + b"}",
}
