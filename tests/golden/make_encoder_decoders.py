"""Writes t5.npz and t5_1_1.npz: what Hugging Face's T5 computes, to compare with.

    python tests/golden/make_encoder_decoders.py

For developers: it needs torch and transformers, which this package does not. The arrays in the
repository were made with torch 2.13.0 (CPU), transformers 5.23.0 and numpy 2.4.6. No network.

Each file holds a tiny model with random parameters that are large enough for every part to
matter (all ~ N(0, 0.2), norm gains ~ 1 + N(0, 0.2); queries ~ N(0, 0.2 K^-0.5), since T5 does not
divide scores and float32 is coarse where softmax saturates), eager attention, no dropout:

    config/NAME         layers (of each stack), width, heads, head_width, feed_forward, vocab_size
    memory_tokens       [2, 40] int32, of which the first memory_lengths [2] count
    tokens, targets     [2, 24] int32, of which the first lengths [2] count
    parameters/NAME     float32, under Hugging Face's names and in its orientation; tied once
    memory              [2, 40, 32]: the encoder's output, behind its final norm
    hidden              [2, 24, 32]: the decoder's, before the output's scale
    logits              [2, 24, 61]
    loss                mean cross entropy of the targets that count, in nats
    gradients/NAME      of that loss
    noise/NAME          largest |float32 - float64| over largest |float64|, of logits and hidden,
                        and of the worst array among the gradients

Results are computed in float64 and stored as float32, as in make_decoders.py.
"""

# torch and transformers are not dependencies of the package.
# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from make_decoders import NoFloat32, Results, deviations

LAYERS, WIDTH, HEADS, VOCAB = 3, 32, 4, 61
MEMORY, LENGTH = 40, 24
MEMORY_LENGTHS, LENGTHS = np.array([40, 27]), np.array([24, 17])
MODELS = {
    # head_width, feed_forward, and what tells the two apart
    "t5": (8, 64, {"feed_forward_proj": "relu", "tie_word_embeddings": True}),
    "t5_1_1": (6, 48, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
}


class FloatsAlone(NoFloat32):
    """Leaves whole numbers to float32: the bucket of a distance is computed in it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float and not args[0].is_floating_point():
            return func(*args)
        return super().__torch_function__(func, types, args, kwargs)


def main() -> None:
    """Writes the files next to this one and prints the noise of float32 in each."""
    torch.set_num_threads(1)  # the same bytes in every run
    for seed, (name, (head_width, feed_forward, _)) in enumerate(MODELS.items(), start=11):
        rng = np.random.default_rng(seed)
        batch = {"memory_tokens": rng.integers(VOCAB, size=(2, MEMORY), dtype=np.int32)}
        batch |= {
            key: rng.integers(VOCAB, size=(2, LENGTH), dtype=np.int32)
            for key in ("tokens", "targets")
        }
        parameters = draw(name, rng)
        with FloatsAlone():
            exact = compute(name, parameters, batch, torch.float64)
        noise, worst = deviations(compute(name, parameters, batch, torch.float32), exact)
        sizes = {"layers": LAYERS, "width": WIDTH, "heads": HEADS, "head_width": head_width}
        sizes |= {"feed_forward": feed_forward, "vocab_size": VOCAB}
        golden = {f"config/{key}": np.asarray(value) for key, value in sizes.items()} | batch
        golden |= {"memory_lengths": MEMORY_LENGTHS, "lengths": LENGTHS}
        golden |= {f"parameters/{key}": value for key, value in parameters.items()}
        golden |= {key: value.astype(np.float32) for key, value in exact.items()}
        golden |= {f"noise/{key}": np.asarray(value) for key, value in noise.items()}
        path = Path(__file__).with_name(f"{name}.npz")
        np.savez_compressed(path, **golden)  # pyright: ignore[reportArgumentType]
        print(f"{name}: loss {exact['loss']:.4f}, noise {noise} of {worst}")


def draw(name: str, rng: np.random.Generator) -> Results:
    """Random float32 parameters under Hugging Face's names; tied ones appear once."""
    head_width, *_ = MODELS[name]
    parameters = {}
    for key, value in model_of(name).named_parameters():
        std = 0.2 * head_width**-0.5 if key.endswith(".q.weight") else 0.2
        parameters[key] = (("norm" in key) + rng.normal(0, std, value.shape)).astype(np.float32)
    return parameters


def model_of(name: str) -> Any:
    head_width, feed_forward, more = MODELS[name]
    config = transformers.T5Config(
        vocab_size=VOCAB,
        d_model=WIDTH,
        d_kv=head_width,
        d_ff=feed_forward,
        num_layers=LAYERS,
        num_heads=HEADS,
        dropout_rate=0.0,
        **{"attn_implementation": "eager", **more},
    )
    model = transformers.T5ForConditionalGeneration(config)
    if not more["tie_word_embeddings"]:
        # transformers 5 ties the output for every configuration, and separates the two when a
        # checkpoint has both; the configuration decides only that 1.1 has no scale.
        model.lm_head = torch.nn.Linear(WIDTH, VOCAB, bias=False)
    return model


def compute(name: str, parameters: Results, batch: Results, dtype: torch.dtype) -> Results:
    """memory, hidden, logits, loss and gradients/NAME by Hugging Face's code in one dtype."""
    torch.set_default_dtype(dtype)
    model = model_of(name).to(dtype).train()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(parameters[key]))
    ids = {key: torch.from_numpy(value).long() for key, value in batch.items()}
    counts = torch.arange(LENGTH) < torch.from_numpy(LENGTHS)[:, None]
    out = model(
        input_ids=ids["memory_tokens"],
        attention_mask=(torch.arange(MEMORY) < torch.from_numpy(MEMORY_LENGTHS)[:, None]).long(),
        decoder_input_ids=ids["tokens"],
        decoder_attention_mask=counts.long(),
        use_cache=False,
        output_hidden_states=True,
    )
    loss = torch.nn.functional.cross_entropy(out.logits[counts], ids["targets"][counts])
    loss.backward()
    results = {"memory": out.encoder_last_hidden_state, "hidden": out.decoder_hidden_states[-1]}
    results |= {"logits": out.logits, "loss": loss}
    results |= {f"gradients/{key}": p.grad for key, p in model.named_parameters()}
    return {key: value.detach().numpy() for key, value in results.items()}


if __name__ == "__main__":
    main()
