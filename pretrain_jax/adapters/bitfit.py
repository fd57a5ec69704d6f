"""BitFit (Ben Zaken et al. 2022): only the biases train.

Models without biases (T5, LLaMA) have nothing to train and are refused. Biases of norms train too,
as in the paper.
"""

from pretrain_jax.adapters._base import Adapter

BIASES = r"(^|/)bias$"


def build(*, train: tuple[str, ...] = ()) -> Adapter:
    """Adds no parameters. BERT-base has 102,912 biases, 0.09 % of its parameters."""
    return Adapter(own_train=(BIASES,), train=train)
