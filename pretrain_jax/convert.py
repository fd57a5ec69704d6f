"""Convert a model to or from a folder of Hugging Face's transformers.

    python -m pretrain_jax.convert --workdir=runs/gpt2_nano --to_hf=FOLDER [--step=1000]
                                   [--dtype=float32|bfloat16|float16]
    python -m pretrain_jax.convert --workdir=runs/lora --to_peft=FOLDER [--step=1000]
    python -m pretrain_jax.convert --from_hf=FOLDER --workdir=runs/imported

--workdir   Folder of the run to export; with --from_hf, a new folder for the imported model.
--to_hf     New folder to write config.json, model.safetensors, tokenizer and model card to.
--to_peft   New folder to write an adapter to, as peft loads it on top of its base.
--from_hf   Folder to read; it needs config.json, safetensors files and a tokenizer.
--step      The checkpoint to export; default: the last one.
--dtype     Dtype of the exported parameters.

With torch and transformers installed (pip install 'pretrain_jax[hf]'), both directions end with a
check: transformers must compute the same logits as this package. A folder appears only if all of it
is written and checked.
"""

import sys

from pretrain_jax import command
from pretrain_jax.composition.ranges import FROM_0
from pretrain_jax.errors import ConfigError
from pretrain_jax.files import paths

FLAGS = {"workdir": "", "to_hf": "", "to_peft": "", "from_hf": "", "step": "", "dtype": "float32"}
CHOICES = {"dtype": ("float32", "bfloat16", "float16")}
EXPORT_ONLY = ("step", "dtype")


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    line = command.parse(argv, FLAGS, CHOICES, takes_config=False)
    flags = line.flags
    asked = [name for name in ("to_hf", "to_peft", "from_hf") if flags[name]]
    if len(asked) != 1:
        raise ConfigError(
            "convert needs --to_hf=FOLDER or --to_peft=FOLDER to write a folder, or "
            f"--from_hf=FOLDER to read one; received {' and '.join(asked) or 'none of them'}"
        )
    if not flags["workdir"]:
        raise ConfigError("--workdir must name the workdir of a run, such as runs/gpt2_nano")
    if flags["from_hf"]:
        for name in EXPORT_ONLY:
            if flags[name] != FLAGS[name]:
                raise ConfigError(f"--{name} belongs to --to_hf; received --from_hf")
        from pretrain_jax.huggingface import _import

        _import.import_folder(expand(line, "from_hf"), flags["workdir"])
        return 0
    step = command.parse_number(line, "step", int, FROM_0) if flags["step"] else None
    if flags["to_peft"]:
        if flags["dtype"] != FLAGS["dtype"]:
            raise ConfigError("--dtype belongs to --to_hf; received --to_peft")
        from pretrain_jax.huggingface import _peft

        _peft.export_adapter(flags["workdir"], expand(line, "to_peft"), step=step)
        return 0
    from pretrain_jax.huggingface import _export

    _export.export_run(flags["workdir"], expand(line, "to_hf"), step=step, dtype=flags["dtype"])
    return 0


def expand(line: command.CommandLine, name: str) -> str:
    """The path of an option, with ~ expanded."""
    return paths.expand_user(line.flags[name], f"--{name}")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
