"""The logits that transformers computes for a folder, in a process of its own.

This is the only file of the package that imports torch (tests/test_imports.py holds that), and only
inside its function, which _check.py calls in a child process (process/child.py).
"""

import numpy as np


def write_logits(folder: str, auto_class: str, inputs: str, outputs: str) -> list[str]:
    """Loads a folder with a class of transformers and writes its outputs for a batch.

    inputs: .npz with the arguments of the model's forward; outputs: .npz for its arrays whose names
    end in "logits", float32. Returns their names.
    """
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    load = getattr(transformers, auto_class).from_pretrained
    model = load(folder, dtype=torch.float32, local_files_only=True).eval()
    with np.load(inputs) as batch:
        arguments = {name: torch.from_numpy(batch[name]) for name in batch}
    with torch.no_grad():
        results = model(**arguments)
    logits = {name: x.numpy() for name, x in results.items() if name.endswith("logits")}
    np.savez(outputs, **logits)
    return sorted(logits)
