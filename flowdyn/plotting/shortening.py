"""Texts that fit: broken between words, else cut in the middle, while labels that differ stay different.

a_very_long_name_of_an_observable  ->  a_very_…observable
"""

from collections.abc import Callable, Sequence

CUT = "…"
LEAST = 4  # letters that are left of a text
Measure = Callable[[str], float]


def cut(text: str, length: int) -> str:
    """A text of at most so many letters, the middle left out."""
    if len(text) <= length:
        return text
    head = length // 2
    tail = length - 1 - head
    return text[:head].rstrip() + CUT + text[len(text) - tail :].lstrip()


def cut_apart(texts: Sequence[str], length: int) -> list[str]:
    """Texts of at most so many letters that differ where the whole ones do: what all begin and end with goes first."""
    short = [cut(text, length) for text in texts]
    if len(set(short)) == len(set(texts)):
        return short
    head = _common(texts)
    tail = _common([text[head:][::-1] for text in texts])
    own = [text[head : len(text) - tail] for text in texts]
    room = max(length - max(map(len, own)) - 2, 0)
    before, after = texts[0][: min(head, room // 2)], texts[0][len(texts[0]) - min(tail, room - room // 2) :]
    short = [f"{before}{CUT}{part}{CUT}{after if room and tail else ''}" for part in own]
    if max(map(len, short)) <= length + 2:
        return short
    return [f"{cut(text, length - 3)} {i}" for i, text in enumerate(texts)]


def _common(texts: Sequence[str]) -> int:
    """How many letters all begin with."""
    for i, letters in enumerate(zip(*texts, strict=False)):
        if len(set(letters)) > 1:
            return i
    return min(map(len, texts))


def broken(text: str, limit: float, measure: Measure, lines: int) -> str | None:
    """The text in as few lines as it fits into, of about the same length; None where more than `lines` are needed."""
    if measure(text) <= limit:
        return text
    words = text.split(" ")
    for count in range(2, min(lines, len(words)) + 1):
        best = _even(words, count)
        if all(measure(line) <= limit for line in best):
            return "\n".join(best)
    return None


def _even(words: list[str], count: int) -> list[str]:
    """Words in so many lines, the longest as short as can be."""
    if count == 1:
        return [" ".join(words)]
    found = [
        [" ".join(words[:i]), *_even(words[i:], count - 1)] for i in range(1, len(words) - count + 2)
    ]  # a label has few words
    return min(found, key=lambda lines: max(map(len, lines)))


def fitted(texts: Sequence[str], limit: float, measure: Measure, lines: int) -> list[str]:
    """Texts of which no line is longer than the limit, cut by as little as that needs."""
    found = [broken(text, limit, measure, lines) for text in texts]
    whole = [text for text in found if text is not None]
    if len(whole) == len(texts):
        return whole
    low, high = LEAST, max(map(len, texts))
    while low < high:  # the longest that fit
        middle = (low + high + 1) // 2
        fits = all(broken(text, limit, measure, lines) is not None for text in cut_apart(texts, middle))
        low, high = (middle, high) if fits else (low, middle - 1)
    short = cut_apart(texts, low)
    return [broken(text, limit, measure, lines) or text for text in short]
