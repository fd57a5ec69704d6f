"""The documentation site: python -m sphinx -W -b html docs docs/_build

`./check` builds it with warnings as errors. Tables of configs, keys, objectives and models are made
from the package itself while the site is built (docs/_ext/).
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # shapes alone are computed

project = "pretrain_jax"
extensions = ["myst_parser", "sphinx.ext.autodoc", "generated_pages"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "pretrain_jax"
html_show_copyright = False
smartquotes = False  # "--mode" would become a dash

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_docstring_signature = False  # "f(x) -> y: ..." is a description here
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}

# A reference that leads nowhere is an error. Python and the libraries are not linked: that needs
# the network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!pretrain_jax\b).*"),
    # In signatures of documented classes, but not part of their interface.
    ("py:.*", r"pretrain_jax\.(composition\.build|inference\.generation)\.(Design|Generator)"),
]
