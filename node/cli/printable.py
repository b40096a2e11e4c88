"""Making text that others wrote safe to print on a terminal.

Titles, names and reasons come from strangers. A terminal obeys escape sequences in them: they can
rewrite lines above, change the window title or, on some terminals, type for the user. And a
right-to-left override makes a line read other than it is. So whatever is not a visible character
is removed before a line is printed; JSON output needs none of this because it escapes everything
outside ASCII.

The grammar of escape sequences is ECMA-48 (control sequences, and the string sequences OSC, DCS,
SOS, PM and APC that run to their terminator).
"""

from __future__ import annotations

import re
import unicodedata

# Compiled when first used: almost every text is plain.
_ESCAPES = (
    "(?:\x1b\\[|\x9b)[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]"  # control sequence
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"  # string
    "|\x1b[\x20-\x2f]*[\x30-\x7e]"  # any other escape
)
_BREAKS = "[\t\n\v\f\r\x85\u2028\u2029]+"
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    """Return the text on one line, without escape sequences or invisible characters."""
    if text.isascii() and text.isprintable():
        return text
    flat = re.sub(_BREAKS, " ", re.sub(_ESCAPES, "", text))
    return "".join(char for char in flat if unicodedata.category(char) not in _INVISIBLE)


def shortened(id_: str, *, keep: int = 16) -> str:
    """Return the beginning of an id, long enough to be accepted as an argument."""
    return id_[:keep]
