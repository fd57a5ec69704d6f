"""Installing pretrain_jax: `pip install .` is for CPUs; an extra names each other device.

Bounds are tested: the lowest versions and the newest have both passed the tests. jax 0.10.2 is the
newest that Python 3.11 gets, 0.12 the newest for 3.12 and 3.13.
"""

from pathlib import Path

from setuptools import find_packages, setup

RUNTIME = [
    "absl-py>=2.1,<3",
    "array_record>=0.8.1,<0.9",  # reads what TFDS prepared, without TensorFlow
    "etils[epath]>=1.13,<2",
    "flax>=0.12.8,<0.13",
    "grain>=0.2.18,<0.3",
    "jax>=0.10.2,<0.13",
    "matplotlib>=3.10.8,<4",
    "ml_collections>=1.1,<2",
    "numpy>=2.1,<3",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<0.13",
    "packaging>=24",  # whether the libtpu that is here is the one that jax asks for
    "protobuf>=7.34,<8",  # sentencepiece's own models are protocol buffers
    "sentencepiece>=0.2.2,<0.3",
    "tensorflow-datasets>=4.9.10,<4.10",
    "tiktoken>=0.14,<0.15",
    "tokenizers>=0.21,<0.24",
    "tqdm>=4.67,<5",
]
DOCS = ["furo>=2025.12.19", "myst-parser>=5,<6", "sphinx>=9,<10"]
EXTRAS = {
    "docs": DOCS,
    "test": [
        *DOCS,
        "pyright>=1.1.414,<1.2",
        "pytest>=8.4,<10",
        "pytest-xdist>=3.8,<4",
        "pyyaml>=6,<7",
        "ruff>=0.17.5,<0.18",
    ],
    "tpu": ["jax[tpu]>=0.10.2,<0.13"],
    "cuda12": ["jax[cuda12]>=0.10.2,<0.13"],
    "cuda13": ["jax[cuda13]>=0.10.2,<0.13"],
    # Hugging Face checkpoints: converting them, and making the golden arrays of the tests.
    "hf": ["safetensors>=0.8,<1", "torch>=2.13,<3", "transformers>=5.23,<6"],
    # Preparing a data set with TFDS where its own code needs TensorFlow; reading one does not.
    "tfds": ["tensorflow>=2.21,<3"],
}

setup(
    name="pretrain_jax",
    version="0.1.0",
    description="Pretrains Transformers with JAX and Flax, from a laptop to a mesh.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["pretrain_jax", "pretrain_jax.*"]),
    python_requires=">=3.11,<3.14",
    install_requires=RUNTIME,
    extras_require=EXTRAS,
)
