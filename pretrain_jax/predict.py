"""Predict the labels of a file with a finetuned model.

    python -m pretrain_jax.predict --workdir=runs/sst2 --source=text:new.tsv --out=predictions.jsonl
                                   [--step=300] [--fields=FIRST,SECOND] [--label_key=LABEL]

--workdir     Folder of the run, or of one of its checkpoints, such as runs/sst2/checkpoints/300.
--source      The records: text:FILE with .tsv, .csv or .jsonl files, or the .conll files of tags
              and the .json files of SQuAD. They need no labels.
--out         New file with one JSON object per record: its number from 0, the prediction with its
              probabilities and, if the source has them, the label and the id.
--step        The checkpoint; default: the last one. The end of a run names the best one.
--fields      The text columns of the source, separated by commas; default: those of the run.
--label_key   The column of labels; default: that of the run.
--batch_size  Rows that run together (default: 8).

If every record has a label, the metrics of the task are printed as one JSON object.
"""

import json
import re
import sys

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT, FROM_0
from pretrain_jax.errors import ConfigError, UserError
from pretrain_jax.files import paths

FLAGS = {
    "workdir": "",
    "source": "",
    "out": "",
    "step": "",
    "fields": "",
    "label_key": "",
    "batch_size": "8",
}


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    line = command.parse(argv, FLAGS, takes_config=False)
    flags = line.flags
    for name, example in (
        ("workdir", "the folder of a run, such as runs/sst2"),
        ("source", "the records, such as text:new.tsv"),
        ("out", "a new file for the predictions, such as predictions.jsonl"),
    ):
        if not flags[name]:
            raise ConfigError(f"--{name} must name {example}")
    step = command.parse_number(line, "step", int, FROM_0) if flags["step"] else None
    size = command.parse_number(line, "batch_size", int, COUNT)
    fields = tuple(flags["fields"].split(",")) if flags["fields"] else ()
    workdir, out = (paths.expand_user(flags[name], f"--{name}") for name in ("workdir", "out"))
    from pretrain_jax.evaluation import predicting

    try:
        values = predicting.predict_to_file(
            workdir,
            flags["source"],
            out,
            step=step,
            fields=fields,
            label_key=flags["label_key"],
            batch_size=size,
        )
    except UserError as error:
        error.args = (with_options(str(error)),)
        raise
    if values is not None:
        print(json.dumps(values))
    return 0


def with_options(message: str) -> str:
    """A message about keys of a config, with the options of this command in their place.

    >>> with_options("name them with data.fields=('TEXT',) and data.label_key=LABEL")
    'name them with --fields=TEXT and --label_key=LABEL'
    """
    message = re.sub(r"data\.fields=\('([^',]*)',?\)", r"--fields=\1", message)
    return re.sub(r"data\.(source|fields|label_key)\b", r"--\1", message)


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
