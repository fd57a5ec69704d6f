"""Text to train small vocabularies on and to hurt them with."""

# ruff: noqa: RUF001

import argparse
import inspect

CORPUS = inspect.getsource(argparse)
NASTY = (
    "  two spaces first\r\n\ttab\x00NUL\x1f family \U0001f469\u200d\U0001f469\u200d\U0001f467 "
    "flag \U0001f1e9\U0001f1ea e\u0301 \u0301\u0302 lone marks \ufeff\u200b\u2028"
    + " " * 300
    + "\n\n\n Ünïcödé 中文 العربية \U0010ffff ''' <|endoftext|> [MASK] </s> <extra_id_0> end \n"
)
LANGUAGES = {
    "English": "The river runs past the old mill, and nobody knows where it ends. We walk on. ",
    "German": "Über den Fluß führt eine schöne alte Brücke; dahinter wächst grünes Gras. ",
    "Russian": "Мы идём по берегу реки и смотрим, как медленно плывут лодки. ",
    "Greek": "Ο ήλιος λάμπει πάνω από τη θάλασσα και τα νησιά. ",
    "Arabic": "نمشي على ضفة النهر وننظر إلى القوارب الصغيرة. ",
    "Hindi": "हम नदी के किनारे चलते हैं और नावों को देखते हैं। ",
    "Thai": "เราเดินเล่นริมแม่น้ำและมองดูเรือลำเล็กที่ลอยช้าๆผ่านสะพานเก่า",
    "Chinese": "我们沿着河边散步，看着小船慢慢地漂过老桥。天黑以前要回家。",
    "Japanese": "私たちは川のほとりを歩き、小さな舟が古い橋の下を流れていくのを見ました。",
    "Korean": "우리는 강가를 걸으며 작은 배들이 천천히 지나가는 것을 보았다. ",
}
