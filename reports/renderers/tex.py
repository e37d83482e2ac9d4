r"""Text for TeX: what each character becomes, in pdfLaTeX with its own fonts and no package, or in a Unicode engine.

Letters are composed of a base and its accents, as LaTeX's encodings have them (``\v{Z}``); Greek and symbols are those
of its mathematics; what only the encoding T1 has switches to it; dingbats (U+2701-27BE) come from ZapfDingbats, a font
of every distribution. The same text then compiles in pdfLaTeX, XeLaTeX and LuaLaTeX. Cyrillic stays as it is: pdfLaTeX
sets it once T2A is loaded. Anything else can be set by a Unicode engine alone, with a font that has it.

Sources: LaTeX's ``ltoutenc.dtx``, ``utf8ienc.dtx`` and ``fntguide`` (what OT1, T1 and TS1 hold); ``pzdr.afm``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum

from far.text import printable


class Engine(StrEnum):
    """A TeX that a file is written for; what is written for pdfLaTeX compiles in the others too."""

    PDFLATEX = "pdflatex"
    XELATEX = "xelatex"
    LUALATEX = "lualatex"


def _pairs(text: str, form: str) -> dict[str, str]:
    """Read ``character command`` pairs, each command put into a form."""
    words = text.split()
    return {a: form.replace("#", b) for a, b in zip(words[::2], words[1::2], strict=True)}


T1 = r"{\ifcsname\csname f@encoding\endcsname\string#\endcsname\else\fontencoding{T1}\selectfont\fi#}"
"""Switches to the encoding T1, which LaTeX knows without a package, where the one in force lacks a command."""

# fmt: off
ASCII = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}", '"': T1.replace("#", r"\textquotedbl"),
    "[": "{[}",  # after the \\ of the row above it would be taken for that command's argument
}
PROSE = {"'": "'", '"': "''"}
"""Quotes as typesetters have them, in text where nobody looks for the very character."""
LETTERS = _pairs(
    "Æ AE æ ae Œ OE œ oe Ø O ø o Ł L ł l ß ss ı i ȷ j ƒ textflorin", r"\#{}") | _pairs(
    "Đ DJ đ dj Ð DH ð dh Þ TH þ th Ŋ NG ŋ ng « guillemotleft » guillemotright ‹ guilsinglleft › guilsinglright "
    "„ quotedblbase ‚ quotesinglbase", T1.replace("#", r"\#"))
TEXT = _pairs(
    "€ texteuro £ textsterling ¥ textyen ¢ textcent ¤ textcurrency § textsection ¶ textparagraph © textcopyright "
    "® textregistered ™ texttrademark ° textdegree µ textmu · textperiodcentered • textbullet † textdagger "
    "‡ textdaggerdbl ‰ textperthousand ª textordfeminine º textordmasculine ¦ textbrokenbar ¨ textasciidieresis "
    "¯ textasciimacron ´ textasciiacute ½ textonehalf ¼ textonequarter ¾ textthreequarters ‖ textbardbl "
    "¡ textexclamdown ¿ textquestiondown № textnumero ℃ textcelsius Ω textohm … dots ␣ textvisiblespace "
    "‽ textinterrobang ※ textreferencemark", r"\#{}")
QUOTES = {"‘": "`", "’": "\\textquoteright{}", "“": "``", "”": "''", "–": "--", "—": "---"}
SPACES = {"\u00a0": "~", "\u2009": r"\,", "\u202f": r"\thinspace{}", "\u2003": r"\hspace{1em}", "\u2002": r"\enspace{}"}
MATH = _pairs(
    "α alpha β beta γ gamma δ delta ϵ epsilon ε varepsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa "
    "λ lambda μ mu ν nu ξ xi π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon ϕ phi φ varphi χ chi "
    "ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon Φ Phi Ψ Psi Ω Omega ± pm ∓ mp "
    "× times ÷ div ∗ ast ∘ circ ⋅ cdot ⋆ star ⊕ oplus ⊖ ominus ⊗ otimes ⊙ odot ≤ le ≥ ge ≪ ll ≫ gg ≠ ne ≡ equiv "
    "≈ approx ≃ simeq ≅ cong ∼ sim ∝ propto ∞ infty ∂ partial ∇ nabla ∅ emptyset ∈ in ∉ notin ∋ ni ⊂ subset "
    "⊃ supset ⊆ subseteq ⊇ supseteq ∪ cup ∩ cap ∧ wedge ∨ vee ¬ neg ∀ forall ∃ exists ∑ sum ∏ prod ∫ int √ surd "
    "⊥ perp ⊤ top ∥ parallel ∣ mid ∠ angle △ triangle ▷ triangleright ◁ triangleleft ◇ diamond ○ bigcirc ⟨ langle "
    "⟩ rangle ⌈ lceil ⌉ rceil ⌊ lfloor ⌋ rfloor ♭ flat ♮ natural ♯ sharp ⋯ cdots ⋮ vdots ⋱ ddots ℓ ell ℏ hbar "
    "ℜ Re ℑ Im ℵ aleph → to ← leftarrow ↑ uparrow ↓ downarrow ↔ leftrightarrow ↕ updownarrow ⇒ Rightarrow "
    "⇐ Leftarrow ⇔ Leftrightarrow ⇑ Uparrow ⇓ Downarrow ↦ mapsto ↗ nearrow ↘ searrow ↙ swarrow ↖ nwarrow "
    "⟶ longrightarrow", r"$\#$") | _pairs(
    "Α A Β B Ε E Ζ Z Η H Ι I Κ K Μ M Ν N Ο O Ρ P Τ T Χ X", r"$\mathrm{#}$") | {
    "ο": "$o$", "−": "$-$", "′": "$'$", "″": "$''$"}
RAISED = _pairs(
    "¹ 1 ² 2 ³ 3 ⁰ 0 ⁴ 4 ⁵ 5 ⁶ 6 ⁷ 7 ⁸ 8 ⁹ 9 ⁺ + ⁿ n ⁱ i", r"\textsuperscript{#}") | _pairs(
    "₀ 0 ₁ 1 ₂ 2 ₃ 3 ₄ 4 ₅ 5 ₆ 6 ₇ 7 ₈ 8 ₉ 9 ₊ +", r"\textsubscript{#}") | _pairs(
    "⁻ $-$", r"\textsuperscript{#}") | _pairs("₋ $-$", r"\textsubscript{#}")
NOT_IN_ZAPF = {0x2705, 0x270A, 0x270B, 0x2728, 0x274C, 0x274E, 0x2753, 0x2754, 0x2755, 0x2757,
               0x2795, 0x2796, 0x2797, 0x27B0}
ZAPF = {chr(n): n - 0x26E0 for n in range(0x2701, 0x275F)}
ZAPF |= {chr(n): n - 0x26C0 for n in (*range(0x2761, 0x2768), *range(0x2776, 0x27BF))}
ZAPF |= {chr(n): n - 0x23B4 for n in range(0x2460, 0x246A)}
ZAPF = {c: code for c, code in ZAPF.items() if ord(c) not in NOT_IN_ZAPF}
ZAPF |= {"★": 72, "●": 108, "■": 110, "▲": 115, "▼": 116, "◆": 117, "♣": 168, "♦": 169, "♥": 170, "♠": 171, "☎": 37}
ABOVE = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
         "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v"}
BELOW = {"\u0323": "d", "\u0331": "b", "\u0327": "c", "\u0326": "textcommabelow"}
DOTLESS = {"i": r"\i", "j": r"\j"}
OGONEK = "\u0328"
OVER_MATH = {"\u0300": "grave", "\u0301": "acute", "\u0302": "hat", "\u0303": "tilde", "\u0304": "bar",
             "\u0306": "breve", "\u0307": "dot", "\u0308": "ddot", "\u030a": "mathring", "\u030c": "check",
             "\u20d7": "vec"}
# fmt: on
CHARACTERS: Mapping[str, str] = {
    **ASCII,
    **LETTERS,
    **TEXT,
    **QUOTES,
    **SPACES,
    **MATH,
    **RAISED,
    **{c: rf"{{\usefont{{U}}{{pzd}}{{m}}{{n}}\char{code} }}" for c, code in ZAPF.items()},
}  # fmt: skip
"""What a character becomes, whatever stands beside it."""
CYRILLIC = re.compile("[\u0400-\u045f\u0490\u0491]")
VARIATION = re.compile("[\ufe0e\ufe0f]")
"""Selects how a symbol is drawn where a font has several forms of it; TeX's fonts have one."""
LONG = 20
"""Characters of a word beyond which it may be broken."""
MARKS = "/_.,:;=+-)"
"""Characters after which it is."""
BREAK = r"\allowbreak{}"


class UnsettableError(ValueError):
    """A character that an engine cannot set; ``characters`` holds it with its accents."""

    def __init__(self, characters: str) -> None:
        super().__init__(characters)
        self.characters = characters


def named(text: str, engine: str = Engine.PDFLATEX) -> str:
    """Return a name as TeX sets it: different names stay different.

    Raises:
        UnsettableError: the engine cannot set one of its characters.
    """
    return _joined(text, engine, {})


def prose(text: str, engine: str = Engine.PDFLATEX) -> str:
    """Return running text as TeX sets it: quotes are curled, and what cannot be set is named (``U+6A21``)."""
    return _joined(text, engine, PROSE, lenient=True)


def unsettable(text: str, engine: str) -> list[str]:
    """Return what an engine cannot set of a text, each once."""
    found = []
    for cluster in _clusters(printable(text)):
        try:
            _piece(cluster, engine, {})
        except UnsettableError as error:
            found.append(error.characters)
    return list(dict.fromkeys(found))


def described(characters: str) -> str:
    """Return a character with its code and its Unicode name."""
    names = ", ".join(unicodedata.name(c, "no name") for c in characters)
    return f"{characters} ({' '.join(f'U+{ord(c):04X}' for c in characters)}, {names})"


def is_raw(text: str) -> bool:
    """Whether TeX text holds characters that need a font or an encoding of their own."""
    return not text.isascii()


def _joined(text: str, engine: str, special: Mapping[str, str], *, lenient: bool = False) -> str:
    text = re.sub(r"[\t\r\n]", " ", printable(text))
    pieces: list[str] = []
    for word in re.split("( )", text):
        clusters = list(_clusters(word))
        since = 0
        for index, cluster in enumerate(clusters):
            try:
                piece = _piece(cluster, engine, special)
            except UnsettableError as error:
                if not lenient:
                    raise
                piece = " ".join(f"U+{ord(c):04X}" for c in error.characters)
            pieces.append(_after(pieces, piece))
            since += 1
            if len(word) > LONG and index + 1 < len(clusters) and (cluster in MARKS or since == LONG):
                pieces.append(BREAK)
                since = 0
    found = "".join(pieces)
    if not lenient:  # spaces at the ends of a cell, and those that follow each other, are lost
        found = re.sub(r"^ | $|(?<= ) ", r"\\ ", found)
    return f"{{*}}{found[1:]}" if found.startswith("*") else found  # \\* is a command too


def _after(pieces: list[str], piece: str) -> str:
    """Keep what TeX would join with the piece before it apart: -- is a dash, ,, a quote, ?` turned upside down."""
    last = pieces[-1][-1:] if pieces else ""
    joined = (last == piece[:1] and last in "-,'`") or (last in "?!" and piece[:1] == "`")
    return f"{{}}{piece}" if joined and last else piece


def _clusters(text: str) -> Iterator[str]:
    """Yield each character with the combining ones that follow it."""
    start = 0
    for index in range(1, len(text) + 1):
        if index == len(text) or not (unicodedata.combining(text[index]) or VARIATION.match(text[index])):
            yield text[start:index]
            start = index


def _piece(cluster: str, engine: str, special: Mapping[str, str]) -> str:
    """Return what becomes of a character and its accents.

    Raises:
        UnsettableError: the engine cannot set it.
    """
    if cluster in special:
        return special[cluster]
    if cluster in CHARACTERS:
        return CHARACTERS[cluster]
    if cluster.isascii():
        return cluster
    bare = VARIATION.sub("", cluster)
    if bare in CHARACTERS and bare not in ASCII:
        return CHARACTERS[bare]
    parts = unicodedata.normalize("NFD", cluster)
    found = _accented(parts[0], parts[1:])
    if found is not None:
        return found
    if engine == Engine.PDFLATEX and not CYRILLIC.fullmatch(cluster):
        raise UnsettableError(cluster)
    return cluster


def _accented(base: str, accents: str) -> str | None:
    """Compose a letter of its accents, at most one of which stands above it; None where LaTeX cannot."""
    above = [accent for accent in accents if accent in OVER_MATH or accent in ABOVE]
    below = [accent for accent in accents if accent in BELOW or accent == OGONEK]
    if not accents or len(above) > 1 or len(below) > 1 or len(above) + len(below) < len(accents):
        return None
    if base in MATH and not below and above[0] in OVER_MATH:
        return rf"$\{OVER_MATH[above[0]]}{{{MATH[base].strip('$')}}}$"
    if not (base.isascii() and base.isalnum()) and base not in LETTERS:
        return None
    if above and above[0] not in ABOVE:
        return None
    text = LETTERS.get(base, base)
    if above:
        text = rf"\{ABOVE[above[0]]}{{{ {'i': chr(92) + 'i', 'j': chr(92) + 'j'}.get(text, text) }}}"
    if below and below[0] == OGONEK:
        return None if above else T1.replace("#}", rf"\k{{{text}}}}}").replace("#", r"\k")
    return rf"\{BELOW[below[0]]}{{{text}}}" if below else text
