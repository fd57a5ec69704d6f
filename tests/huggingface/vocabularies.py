"""The text that vocabularies are learned from, and the kinds of vocabularies."""

import inspect
import textwrap

# ruff: noqa: RUF001
CORPUS = [
    inspect.getsource(textwrap),
    "The river runs past the old mill, and nobody knows where it ends. We walk on. " * 3,
    "Über den Fluß führt eine schöne alte Brücke; dahinter wächst grünes Gras. " * 3,
    "Мы идём по берегу реки и смотрим, как медленно плывут лодки. " * 3,
    "نمشي على ضفة النهر وننظر إلى القوارب الصغيرة. हम नदी के किनारे चलते हैं। " * 3,
    "我们沿着河边散步，看着小船慢慢地漂过老桥。เราเดินเล่นริมแม่น้ำ 우리는 강가를 걸으며 " * 3,
]
KINDS = {
    "bytes": {},
    "chars": {},
    "byte_bpe": {},
    "wordpiece": {},
    "wordpiece cased": {"lower_case": False},
    "sentencepiece unigram": {},
    "sentencepiece bpe": {"kind": "bpe"},
    "sentencepiece unigram lossy": {"lossless": False},
    "sentencepiece bpe lossy": {"kind": "bpe", "lossless": False},
}
