"""All measurements that need a GPU, in one call: parity, speed next to PyTorch, a real run.

    python benchmarks/gpu.py [--parts=parity,speed,peers,run,profile] [--nanogpt=FOLDER]
                             [--torch_python=PYTHON] [--text=GLOB] [--out=FOLDER] [--limit=1500]

parity    tests/layers/test_attention_gpu.py: gradients through cuDNN's attention against the plain
          backend in float32, causal, prefix, full, packed, with a bias and over a memory
speed     benchmarks/speed.py for GPT-2 124M and XL, BERT-large packed at 512 and T5-1.1-large
          512/114, without dropout, next to the published rates to beat
peers     the same shapes in PyTorch with torch.compile and bfloat16: nanoGPT's model (--nanogpt
          names the folder with its model.py), Hugging Face's BERT and T5
run       a complete run of shakespeare_char_gpu: valid/loss at most 1.47 (--shakespeare: its text)
profile   a trace of three steps of GPT-2 124M
ahead     not a default part, because it needs no GPU but the extra cuda12 or cuda13: the programs
          of `speed` compiled for an H200, with their bytes and lower bounds of their seconds

Workdirs and profiles go into a new folder in --out. Every process prints its output when it ends;
--limit is in seconds for all processes together, and the output names processes that it stops. Each
figure is printed next to the one to beat. The exit code is 1 if one is missed, a process fails, or
there is no GPU. --tiny runs everything on tiny shapes, on any device, to test this script.
"""

# pyright: reportMissingImports=false

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMMON = {"train.accumulate": 1, "train.phases": "()", "mesh.data": -1, "mesh.fsdp": 1}
COMMON |= {"model.remat": "none"}  # 141 GB are enough for all activations
SPEED = {  # name: config, changes, unit, to beat
    "GPT-2 124M": ("gpt2_small", {"train.batch_size": 64}, "tokens_per_second", 470_000),
    "GPT-2 XL": ("gpt2_xl", {"train.batch_size": 24}, "tokens_per_second", 48_500),
    "BERT-large at 512": (
        "bert_large",
        {"train.batch_size": 64, "data.seq_len": 512, "model.dropout": 0.0},
        "tokens_per_second",
        200_000,
    ),
    "T5-1.1-large 512/114": (
        "t5_1_1_large",
        {"train.batch_size": 64},
        "rows_per_second",
        180,
    ),
}
MAX_LOSS = 1.47
"""Of shakespeare_char_gpu; nanoGPT's README has 1.4697."""
TINY = {"model.layers": 2, "model.width": 64, "model.heads": 2, "model.feed_forward": 128}
TINY |= {"train.batch_size": 4, "model.vocab_size": 1024, "train.dtype": "bfloat16"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default="parity,speed,peers,run,profile")
    parser.add_argument("--nanogpt", default="")
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--text", default="", help="a glob of text; default: the standard library")
    parser.add_argument("--shakespeare", default="input.txt")
    parser.add_argument("--out", default="gpu_out", help="parent of a new folder for each call")
    parser.add_argument("--limit", type=float, default=1500.0)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        {"nanogpt": nanogpt, "bert": bert, "t5": t5}[options.only](options)
        return
    end = time.monotonic() + options.limit
    options.out = str(Path(options.out, time.strftime("%Y%m%d-%H%M%S")))
    parts = options.parts.split(",")
    if "peers" in parts and not Path(options.nanogpt, "model.py").is_file():
        parser.error("the part peers needs --nanogpt, the folder with nanoGPT's model.py")
    if "run" in parts and not Path(options.shakespeare).is_file():
        parser.error(f"the part run needs --shakespeare; no such file: {options.shakespeare!r}")
    if set(parts) - {"ahead"} and not options.tiny:
        require_gpu()
    all_good = True
    for part in parts:
        for name, command in commands(part, options).items():
            code, lines = run(command, end - time.monotonic())
            good = code == 0
            if good and not options.tiny:
                good = beats(part, name, lines, options)
            all_good &= good
    sys.exit(0 if all_good else 1)


def require_gpu() -> None:
    """Exits if jax has no GPU: tests would be skipped, and figures would be meaningless."""
    # In another process, which releases the GPU's memory.
    program = "import jax, sys; sys.exit(jax.default_backend() != 'gpu')"
    if subprocess.run([sys.executable, "-c", program]).returncode:
        raise SystemExit("all parts but ahead need a GPU; jax has none. --tiny runs anywhere")


def beats(part: str, name: str, lines: list[str], options: argparse.Namespace) -> bool:
    """Prints a figure and its goal; returns whether it meets the goal. True without a goal."""
    if part == "speed":
        _, _, unit, least = SPEED[name]
        found = json.loads(lines[-1])[unit]
        good, target = found >= least, f"{unit} at least {least:,}"
    elif part == "run":
        metrics = Path(options.out, "shakespeare", "metrics.jsonl").read_text().splitlines()
        found = min(json.loads(line).get("valid/loss", math.inf) for line in metrics)
        good, target = found <= MAX_LOSS, f"valid/loss at most {MAX_LOSS}"
    else:
        return True
    print(f"# {'met' if good else 'MISSED'}: {name}, {target}, measured {found:,.3f}", flush=True)
    return good


def commands(part: str, options: argparse.Namespace) -> dict[str, list[str]]:
    """The processes of a part, by name."""
    this_script = [__file__, f"--nanogpt={options.nanogpt}", *(["--tiny"] if options.tiny else [])]
    if part == "parity":
        tests = Path("tests", "layers", "test_attention_gpu.py")
        return {part: [sys.executable, "-m", "pytest", "-q", "-n", "0", str(tests)]}
    if part == "speed":
        return {name: speed(name, options) for name in SPEED}
    if part == "ahead":
        mode = ["-m", "pretrain_jax.main", "--mode=compile", "--topology=h200:1"]
        return {name: [sys.executable, *mode, *words(name, options)] for name in SPEED}
    if part == "peers":
        names = ("nanogpt", "bert", "t5")
        return {name: [options.torch_python, *this_script, f"--only={name}"] for name in names}
    if part == "run":
        config = f"--config=configs/shakespeare_char_gpu.py:{options.shakespeare}"
        main = [sys.executable, "-m", "pretrain_jax.main", config]
        short = ["--config.train.steps=4", "--config.train.batch_size=4"] if options.tiny else []
        return {"shakespeare_char_gpu": [*main, f"--workdir={options.out}/shakespeare", *short]}
    if part == "profile":
        trace = [f"--profile={options.out}/profile", "--steps=5"]
        return {part: [*speed("GPT-2 124M", options), *trace]}
    raise SystemExit(f"--parts are parity, speed, peers, run, profile, ahead; received {part!r}")


def speed(name: str, options: argparse.Namespace) -> list[str]:
    """benchmarks/speed.py on one of SPEED."""
    steps = ["--steps=3", "--warm=1"] if options.tiny else []
    return [sys.executable, str(HERE / "speed.py"), *steps, *words(name, options)]


def words(name: str, options: argparse.Namespace) -> list[str]:
    """The command line options of one of SPEED: its config and changes."""
    config, changes, _, _ = SPEED[name]
    changes = {
        **COMMON,
        **changes,
        **({"data.source": f"text:{options.text}"} if options.text else {}),
    }
    changes |= TINY if options.tiny else {}
    changed = [f"--config.{key}={value}" for key, value in changes.items()]
    return [f"--config=configs/{config}.py", *changed]


def run(command: list[str], seconds: float) -> tuple[int | None, list[str]]:
    """Runs a process and prints its output; returns (exit code, None if stopped; lines)."""
    print(f"# {' '.join(command[1:])}", flush=True)
    if seconds <= 0:
        print("# not started: --limit is over", flush=True)
        return None, []
    start = time.monotonic()
    # Tests set JAX_PLATFORMS=cpu unless it is set; "" lets jax choose.
    environment = {"JAX_PLATFORMS": "", **os.environ}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        output, code = process.communicate(timeout=seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        output, code = process.communicate()[0], None
    print(output, end="")
    how = f"stopped after {seconds:.0f} s"
    if code is not None:
        how = f"ended with {code} after {time.monotonic() - start:.0f} s"
    print(f"# {how}", flush=True)
    return code, output.splitlines()


# --- peers, in PyTorch ---------------------------------------------------------------------------


def timed(
    name: str, model: Any, batch: dict[str, Any], per_step: dict[str, int], tiny: bool
) -> None:
    """Times the steps of a compiled model with fused AdamW; prints rates from the median."""
    import statistics

    import torch

    device = torch.device(torch_device(tiny))
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda")
    compiled = model if tiny else torch.compile(model)
    ends = []
    for _ in range(3 if tiny else 60):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            out = compiled(**batch)
            loss = out[1] if isinstance(out, tuple) else out.loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        ends.append(time.monotonic())
    seconds = statistics.median(b - a for a, b in itertools.pairwise(ends[-51:]))
    rates = {f"{what}_per_second": count / seconds for what, count in per_step.items()}
    print(json.dumps({"peer": name, "step_seconds": seconds, **rates, "torch": torch.__version__}))


def torch_device(tiny: bool) -> str:
    """The device of PyTorch: a GPU, or with --tiny any device."""
    import torch

    if not (tiny or torch.cuda.is_available()):
        raise SystemExit("peers need a GPU; torch has none. --tiny runs them anywhere")
    torch.set_float32_matmul_precision("high")
    return "cuda" if torch.cuda.is_available() else "cpu"


def nanogpt(options: argparse.Namespace) -> None:
    """GPT-2 124M and XL in nanoGPT's model."""
    sys.path.insert(0, options.nanogpt)
    import torch
    from model import GPT, GPTConfig  # nanoGPT's

    sizes = {"124M": (12, 12, 768, 64), "XL": (48, 25, 1600, 24)}
    for name, (layers, heads, width, rows) in sizes.items():
        if options.tiny:
            layers, heads, width, rows = 2, 2, 64, 2
        shape = {"n_layer": layers, "n_head": heads, "n_embd": width, "dropout": 0.0, "bias": True}
        model = GPT(GPTConfig(block_size=1024, vocab_size=50304, **shape))
        tokens = torch.randint(50257, (rows, 1024), device=torch_device(options.tiny))
        batch = {"idx": tokens, "targets": tokens.roll(-1, 1)}
        timed(f"nanoGPT {name}", model, batch, {"tokens": rows * 1024}, options.tiny)


def bert(options: argparse.Namespace) -> None:
    """BERT-large in Hugging Face's transformers, full rows of 512, one text each."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    depth: Any = {"num_hidden_layers": 2} if options.tiny else {"num_hidden_layers": 24}
    no_dropout: Any = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    large: Any = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
    model = BertForMaskedLM(BertConfig(**large, **depth, **no_dropout))
    rows = 2 if options.tiny else 64
    tokens = torch.randint(30522, (rows, 512), device=torch_device(options.tiny))
    chosen = torch.rand(tokens.shape, device=torch_device(options.tiny)) < 0.15
    batch = {"input_ids": tokens, "labels": torch.where(chosen, tokens, -100)}
    timed("Hugging Face BERT-large", model, batch, {"tokens": rows * 512}, options.tiny)


def t5(options: argparse.Namespace) -> None:
    """T5-1.1-large in Hugging Face's transformers, 512 in and 114 out."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    layers = 2 if options.tiny else 24
    shape: Any = {"d_model": 1024, "d_kv": 64, "d_ff": 2816, "num_heads": 16, "num_layers": layers}
    gated: Any = {
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "dropout_rate": 0.0,
    }
    other: Any = {"vocab_size": 32128, "decoder_start_token_id": 0, "use_cache": False}
    config = T5Config(**other, **shape, **gated)
    model = T5ForConditionalGeneration(config)
    rows = 2 if options.tiny else 64
    inputs = torch.randint(32000, (rows, 512), device=torch_device(options.tiny))
    batch = {"input_ids": inputs, "labels": inputs[:, :114].contiguous()}
    counts = {"rows": rows, "tokens": rows * 626}
    timed("Hugging Face T5-1.1-large", model, batch, counts, options.tiny)


if __name__ == "__main__":
    main()
