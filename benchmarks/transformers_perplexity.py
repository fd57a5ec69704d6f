"""The side of transformers in exported.py: reads a question as JSON, prints the answer as JSON.

It imports nothing of this package.
"""

# pyright: reportMissingImports=false

import json
import logging
import math
import sys

import torch
import transformers


class Count(logging.Handler):
    """Counts warnings."""

    warnings = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings += record.levelno >= logging.WARNING


def main() -> None:
    question = json.load(sys.stdin)
    counter = Count()
    logging.getLogger("transformers").addHandler(counter)
    folder = question["folder"]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    begin, nats, tokens = tokenizer.bos_token, 0.0, 0
    with torch.no_grad():
        for text in question["texts"]:
            ids = tokenizer(begin + text, return_tensors="pt", add_special_tokens=False).input_ids
            log_p = torch.log_softmax(model(ids).logits[0, :-1].double(), -1)
            nats -= log_p.gather(1, ids[0, 1:, None]).sum().item()
            tokens += ids.shape[1] - 1
    warnings = counter.warnings
    pipe = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    made = []
    for prompt in question["prompts"]:
        options = {"max_new_tokens": question["tokens"], "do_sample": False}
        (answer,) = pipe(begin + prompt, return_full_text=False, **options)
        made.append(answer["generated_text"])
    answer = {"tokens": tokens, "perplexity": math.exp(nats / tokens), "made": made}
    print(json.dumps({**answer, "warnings": warnings}))


if __name__ == "__main__":
    main()
