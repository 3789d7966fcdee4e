"""Texts that a hostile vendor puts where people read: ids, names of fields, messages; and texts that people write."""

from __future__ import annotations

from unicodedata import category

FORGED = "acme: complete, 99 rows"
"""What an attacker wants to stand as a line of its own."""
BIDI = [chr(one) for one in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)]
CONTROLS = [chr(one) for one in (*range(0x20), *range(0x7F, 0xA0))]
UNSEEN = [*"\u00ad\u034f\u115f\u180e\u200b\u2060\u2063\u3164\ufeff\ufff9\U000e0041\U000e0101\ue000\uffff\U0010ffff"]
HALVES = ["\ud800", "\udfff"]
DANGEROUS = {*BIDI, *CONTROLS, *UNSEEN, *HALVES, "\u2028", "\u2029"}
ATTACKS = [
    *sorted(DANGEROUS),
    f"\n{FORGED}",
    f"\r{FORGED}",
    f"\u2028{FORGED}",
    f"\x85{FORGED}",
    "\x1b[2J\x1b[1;1H",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.test\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1bP+q\x1b\\",
    "\x9b31m",
    "\b\b\b\bgone",
    "\u202egnp.exe",
]
MARKUP = ["[bold]", "[link=https://evil.test]x[/link]", "[/]", ":smile:", "<b>&", "{0}", "%s %(x)d", "\\x1b"]
"""What a library that prints could read as a command of its own."""
OF_PEOPLE = [
    "日本語", "한국어", "Ελληνικά", "Кириллица", "עברית", "العربية", "ไทย", "e\u0301te\u0301", "naïve ☃", "👍🏽",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a joiner within a word
    "\u0915\u094d\u200d\u0937",  # Hindi
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308", "1\ufe0f\u20e3", "\u2764\ufe0f",
    "\u845b\U000e0100", "10\u202f000 €", "全角\u3000空白",
]  # fmt: skip
_JOINERS = "\u200c\u200d"


def harmful(text: str) -> list[str]:
    """Returns what of a printed text would be obeyed or is not seen; line ends and joiners in their place are not."""
    return [
        one
        for at, one in enumerate(text)
        if category(one) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        and one != "\n"
        and not (
            one in _JOINERS and 0 < at < len(text) - 1 and not (text[at - 1].isascii() or text[at + 1].isascii())
        )
    ]
