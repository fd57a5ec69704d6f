"""The libraries of the scores are imported when a score is computed, not before."""

import subprocess
import sys

CODE = """
import sys
from pretrain_jax.scores import answers, classification, regression, tags, texts
answers.best_no_answer_threshold([["fox"]], ["fox"], [0.5]), tags.score_tags([["O"]], [["O"]])
print(*sorted({"sklearn", "scipy", "sacrebleu", "jax"} & sys.modules.keys()))
texts.score_texts(["fox"], ["fox"])
print(*sorted({"sklearn", "scipy", "sacrebleu", "jax"} & sys.modules.keys()))
"""


def test_a_library_is_imported_by_the_score_that_needs_it():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["", "sacrebleu"], done.stderr
