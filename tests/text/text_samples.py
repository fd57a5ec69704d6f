"""Text to train small vocabularies on and to hurt them with."""

import argparse
import inspect

CORPUS = inspect.getsource(argparse)
NASTY = (
    "  two spaces first\r\n\ttab\x00NUL\x1f family \U0001f469\u200d\U0001f469\u200d\U0001f467 "
    "flag \U0001f1e9\U0001f1ea e\u0301 \u0301\u0302 lone marks \ufeff\u200b\u2028"
    + " " * 300
    + "\n\n\n Ünïcödé 中文 العربية \U0010ffff ''' <|endoftext|> [MASK] </s> <extra_id_0> end \n"
)
