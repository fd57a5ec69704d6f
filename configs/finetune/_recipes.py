"""What the configs of this folder share: the source run, and the published finetuning recipes.

    BERT      batches of 32, learning rate 2e-5 (of 5e-5, 4e-5, 3e-5, 2e-5), 3 epochs, Adam without
              bias correction, weight decay 0.01, 10 % warm-up (Devlin et al. 2019, appendix A.3;
              google-research/bert run_classifier.py)
    RoBERTa   batches of 16 or 32, learning rate 1e-5, 2e-5 or 3e-5, 10 epochs, weight decay 0.1,
              6 % warm-up (Liu et al. 2019, table 10)
    ELECTRA   batches of 32, learning rate 3e-4 (small), 1e-4 (base) or 5e-5 (large) with a
              layer-wise decay of 0.8 (0.9 for large), 3 epochs, no weight decay, 10 % warm-up
              (Clark et al. 2020, appendix B)
    GPT       batches of 32, learning rate 6.25e-5, 3 epochs, weight decay 0.01, 0.2 % warm-up
              (Radford et al. 2018, section 4.1)
    T5        Adafactor with a constant learning rate of 1e-3 (Raffel et al. 2020, section 3.1.2);
              here with batches of 32 and 3 epochs too, since the paper's 2^18 steps on a mixture of
              tasks have no epochs

A row has up to 4 examples and a batch has 8 rows, so an update sees up to 32 examples, the papers'
batch. Dropout is 0.1, the papers' value, even where pretraining had none.
"""

from typing import Any

from pretrain_jax.composition.init_from import read_source_config, split_source
from pretrain_jax.errors import ConfigError
from pretrain_jax.models import _base

EXAMPLES, ROWS = 4, 8
ADAM = dict(name="adamw", schedule="linear", b1=0.9, b2=0.999, eps=1e-6, clip_norm=1.0)
BERT = dict(ADAM, learning_rate=2e-5, weight_decay=0.01, bias_correction=False)
RECIPES = {
    "bert": BERT,
    "roberta": dict(ADAM, learning_rate=2e-5, weight_decay=0.1, b2=0.98),
    "electra": dict(ADAM, learning_rate=1e-4, weight_decay=0.0, layer_decay=0.8),
    "gpt": dict(ADAM, learning_rate=6.25e-5, weight_decay=0.01),
    "t5": dict(name="adafactor", schedule="constant", learning_rate=1e-3),
}
EPOCHS = {"roberta": 10}
WARMUP = {"bert": 0.1, "roberta": 0.06, "electra": 0.1, "gpt": 0.002, "t5": 0.0}


def family(model: dict[str, Any]) -> str:
    """The recipe of a model: that of its own name, or of the architecture that it is most like."""
    name = model["name"]
    if name in RECIPES:
        return name
    others = ("t5_1_1", "t5_encoder", "t5_1_1_encoder", "transformer")
    return "t5" if name in others else "gpt"


STEPS = 1000
"""Updates where the config does not know the size of the training set."""


def steps_of(examples: int, epochs: float) -> int:
    """Updates of so many passes over a set of examples."""
    return round(epochs * examples / (EXAMPLES * ROWS))


def read_run(run: str) -> dict[str, Any]:
    """The config of the run in a workdir. Raises ConfigError for none."""
    if not run:
        raise ConfigError(
            "a config of configs/finetune needs the workdir of a trained run after a colon, such "
            "as --config=configs/finetune/classify.py:runs/bert_nano; received none"
        )
    return read_source_config(split_source(run)[0])


def reads_both_ways(model: str) -> bool:
    """Whether tokens of an architecture see those after them, as in BERT."""
    return "full" in _base.load(model).attention


def is_t5(run: str) -> bool:
    """Whether the model of a run is an encoder-decoder."""
    return family(read_run(run)["model"]) == "t5"


def from_model(
    run: str, name: str, *, rate: float, warmup: float, **options: Any
) -> dict[str, Any]:
    """The config of a run with the objective `name` that starts from the run in the workdir `run`:
    STEPS updates of ROWS full rows with AdamW, a cosine after a share `warmup` of the updates.

    options: of the objective.
    """
    source = read_run(run)
    return dict(
        seed=0,
        init_from=run,
        data=dict(source="stdlib", seq_len=source["data"]["seq_len"]),
        tokenizer=source["tokenizer"],
        objective=dict(name=name, **options),
        model=dict(source["model"]),
        optimizer=dict(
            name="adamw",
            schedule="cosine",
            learning_rate=rate,
            warmup_steps=round(warmup * STEPS),
            b2=0.999,
            weight_decay=0.0,
            clip_norm=1.0,
        ),
        train=dict(steps=STEPS, batch_size=ROWS),
        checkpoint=dict(every=STEPS // 10),
        eval=dict(every=STEPS // 10),
    )


def finetune(
    run: str, objective: dict[str, Any], data: dict[str, Any], examples: int, epochs: float = 0.0
) -> dict[str, Any]:
    """The config of a run that starts from the run in the workdir `run`, with its recipe.

    examples: those of the training set, for the number of updates. epochs: 0 = the recipe's.
    """
    source = read_run(run)
    model = dict(source["model"])
    if "dropout" in model:
        model["dropout"] = 0.1
    name = family(model)
    steps = steps_of(examples, epochs or EPOCHS.get(name, 3))
    seq_len = min(128, model.get("max_length", 128))
    every = max(steps // 10, 1)
    return dict(
        seed=0,
        init_from=run,
        data=dict(seq_len=seq_len, **data),
        tokenizer=source["tokenizer"],
        objective=dict(per_row=EXAMPLES, **objective),
        model=model,
        optimizer=dict(RECIPES[name], warmup_steps=round(WARMUP[name] * steps)),
        train=dict(steps=steps, batch_size=ROWS),
        checkpoint=dict(every=every),
        eval=dict(every=every),
    )


def keep_encoder(model: dict[str, Any], part: str) -> None:
    """Makes the section `model` of a T5 that of its encoder alone."""
    if part != "encoder" or model["name"] not in ("t5", "t5_1_1") or model.pop("shared", False):
        raise ConfigError(
            "after the workdir of a T5 with two stacks of its own may be `,encoder`, to finetune "
            f"its encoder alone; received `,{part}` with model.name={model['name']}. Leave it out"
        )
    model["name"] += "_encoder"


def own_records(argument: str, name: str) -> dict[str, Any]:
    """The config for the user's own records: the objective `name` for STEPS updates.

    argument: RUN, or RUN,encoder for the encoder of a T5 without its decoder.
    """
    run, _, part = argument.partition(",")
    examples = STEPS * EXAMPLES * ROWS
    config = finetune(run, dict(name=name), dict(source="stdlib"), examples, epochs=1)
    if part:
        keep_encoder(config["model"], part)
    return config
