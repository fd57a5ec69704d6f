"""The side of transformers in generation.py: generates for the prompts on standard input.

    echo '{"folder": ..., "batches": [...], "settings": {...}}' | python transformers_generate.py

It prints the tokens by setting, without end tokens, as JSON.
"""

# pyright: reportMissingImports=false

import json
import sys
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM


def main() -> None:
    question = json.load(sys.stdin)
    shared, batches = question["shared"], question["batches"]
    has_memory = "memory_tokens" in batches[0]
    family = AutoModelForSeq2SeqLM if has_memory else AutoModelForCausalLM
    model = family.from_pretrained(question["folder"]).eval()
    found: dict[str, list[Any]] = {setting: [] for setting in question["settings"]}
    for batch in batches:
        inputs = torch.tensor(batch["memory_tokens" if has_memory else "tokens"])
        for setting, options in question["settings"].items():
            made = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                do_sample=False,
                use_cache=True,
                **shared,
                **options,
            )
            start = len(batch["tokens"][0])
            found[setting] += [cut(row[start:], shared["eos_token_id"]) for row in made.tolist()]
    print(json.dumps(found))


def cut(tokens: list[int], end: int) -> list[int]:
    """The tokens before the end token."""
    return tokens[: tokens.index(end)] if end in tokens else tokens


if __name__ == "__main__":
    main()
