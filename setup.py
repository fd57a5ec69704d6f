"""Installing pretrain_jax: `pip install .` is for CPUs; an extra adds each other device.

The bounds are tested: the lowest and the newest versions have passed the tests. The newest jax is
0.10.2 for Python 3.11, and 0.12 for 3.12 and 3.13.
"""

from pathlib import Path

from setuptools import find_packages, setup

RUNTIME = [
    "absl-py>=2.1,<3",
    "array_record>=0.8.1,<0.9",  # reads data sets that TFDS prepared, without TensorFlow
    "etils[epath]>=1.13,<2",
    "flax>=0.12.8,<0.13",
    "grain>=0.2.18,<0.3",
    "jax>=0.10.2,<0.13",
    "jinja2>=3.1.6,<4",  # chat templates
    "matplotlib>=3.10.8,<4",
    "ml_collections>=1.1,<2",
    "ml_dtypes>=0.5.4,<1",
    "numpy>=2.1,<3",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<0.13",
    "packaging>=24",  # checks that the installed libtpu is the one that jax requires
    "protobuf>=7.34,<8",  # sentencepiece's own models are protocol buffers
    "sacrebleu>=2.5,<3",
    "safetensors>=0.8,<1",
    "scikit-learn>=1.6,<2",
    "scipy>=1.14.1,<2",
    "sentencepiece>=0.2.2,<0.3",
    "tensorflow-datasets>=4.9.10,<4.10",
    "tiktoken>=0.14,<0.15",
    "tokenizers>=0.21,<0.24",
    "tqdm>=4.67,<5",
]
DOCS = ["furo>=2025.12.19", "myst-parser>=5,<6", "sphinx>=9,<10"]
# Any task of lm-evaluation-harness on a run; it needs no torch for that.
EVAL = ["lm_eval>=0.4.13,<0.5"]
TRACKERS = ["mlflow-skinny>=3.17,<4", "trackio>=0.43,<1", "wandb>=0.31,<1"]
EXTRAS = {
    "docs": DOCS,
    "test": [
        *DOCS,
        *EVAL,
        *TRACKERS,
        "pyright>=1.1.414,<1.2",
        "pytest>=8.4,<10",
        "pytest-xdist>=3.8,<4",
        "pyyaml>=6,<7",
        "ruff>=0.17.5,<0.18",
        "setuptools>=77.0.3,<85",  # builds the wheel that the tests try; as in pyproject.toml
    ],
    "tpu": ["jax[tpu]>=0.10.2,<0.13"],
    "cuda12": ["jax[cuda12]>=0.10.2,<0.13"],
    "cuda13": ["jax[cuda13]>=0.10.2,<0.13"],
    "eval": EVAL,
    "trackers": TRACKERS,
    # Checks conversions to and from Hugging Face, and makes the golden arrays of the tests.
    "hf": ["peft>=0.21,<1", "torch>=2.13,<3", "transformers>=5.23,<6"],
    # Prepares TFDS data sets whose own code needs TensorFlow. Reading one does not need it.
    "tfds": ["tensorflow>=2.21,<3"],
}

setup(
    name="pretrain_jax",
    version="0.1.0",
    description="Pretrains Transformers with JAX and Flax, from a laptop to a mesh.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the pretrain_jax authors",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    # The named configs travel with the package: `--config=gpt2_nano` finds them in every folder.
    packages=[
        *find_packages(include=["pretrain_jax", "pretrain_jax.*"]),
        "pretrain_jax.configs",
        "pretrain_jax.configs.finetune",
    ],
    package_dir={
        "pretrain_jax.configs": "configs",
        "pretrain_jax.configs.finetune": "configs/finetune",
    },
    package_data={"pretrain_jax": ["py.typed"], "pretrain_jax.reporting.page": ["*.css", "*.js"]},
    entry_points={"console_scripts": ["pretrain-jax = pretrain_jax.__main__:script"]},
    python_requires=">=3.11,<3.14",
    install_requires=RUNTIME,
    extras_require=EXTRAS,
)
