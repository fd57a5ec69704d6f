"""Tiny models of every family."""

SHARED = {
    "train.steps": 30,
    "train.batch_size": 16,
    "data.seq_len": 32,
    "eval.every": 0,
    "eval.tokens": 300,
    "checkpoint.every": 20,
    "tokenizer.sentinels": 2,
    "model.vocab_size": 264,
    "eval.sample_tokens": 20,
}
STACK = {"model.max_length": 32}
FAMILIES = {
    "gpt": STACK,
    "prefix": {**STACK, "objective.name": "prefix_lm", "objective.inputs": "prefix"},
    "bert": {**STACK, "model.name": "bert", "objective.name": "next_sentence"},
    "electra": {**STACK, "model.name": "electra", "objective.name": "replaced_token"},
    "t5": {"model.name": "t5", "model.head_width": 8, "objective.name": "span_corruption"},
    "shared": {"model.name": "t5", "model.head_width": 8, "model.shared": True,
               "objective.name": "span_corruption"},
}  # fmt: skip
