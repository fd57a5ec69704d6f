"""Workdirs of small runs, for tests of their reports."""

import json

EVIL = "</script><script>alert(1)</script>"


def write_run(folder, name, losses, rate=0.1):
    """A workdir with a line for each loss, an evaluation, a sample and the results of a task."""
    run = folder / name
    (run / "tasks" / "20").mkdir(parents=True)
    config = {"model": {"name": "gpt"}, "objective": {"name": "causal_lm"}, "note": EVIL}
    (run / "config.json").write_text(json.dumps({**config, "optimizer": {"rate": rate}}))
    lines = [
        {"step": step, "train/loss": loss, "train/objective": loss, "train/grad_norm": 1 / step,
         "train/learning_rate": rate, "tokens_per_second": 100.5, "mfu": None,
         "tokens": step * 64, "seconds": step / 4}
        for step, loss in enumerate(losses, start=1)
    ]  # fmt: skip
    end = len(losses)
    lines.append({"step": end, "valid/loss": 2.25, "valid/objective": 2.5, "valid/tokens": 500.0,
                  "valid/accuracy": 0.375, "valid/bits_per_byte": 1.125, "yardstick/unigram": 3.5,
                  "tasks/blimp/accuracy": 0.5, "tasks/blimp/items": 64.0})  # fmt: skip
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "samples.txt").write_text(f"==== step {end} ====\nfirst {EVIL}\n\n")
    value = {"value": 0.625, "low": 0.5, "high": 0.75}
    result = {"task": "blimp", "step": 20, "items": 200,
              "metrics": {"accuracy": {**value, "chance": 0.5}},
              "yardsticks": {"bigram": {"accuracy": 0.5625}},
              "groups": {"passive": {"items": 9, "accuracy": value, "yardsticks": {}}}}  # fmt: skip
    (run / "tasks" / "20" / "blimp.json").write_text(json.dumps(result))
    start = {"step": 0, "command": "python -m pretrain_jax.main --config=x.py", "time": "2026",
             "packages": {"jax": "0.10"}, "devices": "1 x cpu", "processes": 1,
             "python": "3.11", "platform": "Linux"}  # fmt: skip
    (run / "starts.jsonl").write_text(json.dumps(start) + "\nbroken\n")
    return run


def data_of(page):
    """The numbers of the charts of a page."""
    text = page.partition('id="data">')[2].partition("</script>")[0]
    return json.loads(text)
