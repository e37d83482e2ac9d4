"""Families of checkpoints: how each is recognised, how its names become ours, which positions it was trained with.

Ours are the names of VideoMAE's fine-tuning state dict; ``attn.{q,k,v}.*`` and ``attn.qkv.bias`` are fused afterwards
(``far.weights.source``). Sources: MCG-NJU/VideoMAE, OpenGVLab/VideoMAEv2, ruiwang2021/mvd, facebookresearch/mae_st,
facebookresearch/omnivore, Hugging Face transformers (both layouts of its VideoMAE).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from far.registry import Registry

Shapes = Mapping[str, tuple[int, ...]]
IMPOSSIBLE, POSSIBLE, SURE = 0, 1, 2
OURS = "farlab"
"""The family of this project's own files."""

Rule = tuple[str, str | None]
"""A regular expression for a whole name, and our name for it (None: not used by a classifier)."""

LINEAR = r"\.(weight|bias)"
ENCODER: tuple[Rule, ...] = (
    (r"patch_embed\.proj" + LINEAR, r"patch_embed.proj.\1"),
    (r"blocks\.(\d+)\.(norm1|norm2|attn\.(?:qkv|proj|q|k|v)|mlp\.fc[12])" + LINEAR, r"blocks.\1.\2.\3"),
    (r"blocks\.(\d+)\.attn\.([qv]_bias)", r"blocks.\1.attn.\2"),
)
CLASSIFIER: tuple[Rule, ...] = ((r"(fc_norm|head)" + LINEAR, r"\1.\2"),)
K710 = 710
"""Classes of Kinetics-710, on which VideoMAE V2's networks were fine-tuned."""
PRETRAINING: tuple[Rule, ...] = (
    (r"norm" + LINEAR, None),  # over tokens; the classifier normalises their mean instead
    (r"(encoder_to_decoder|decoder)\..*|mask_token", None),
)


@dataclass(frozen=True)
class Family:
    """One lineage of checkpoints.

    Attributes:
        title: what people call it.
        position_embedding: the table it was trained with (``far.architecture.position_embeddings``).
        evidence: from names and shapes, whether a file is of this family: impossible, possible or sure.
        rules: names, the first rule that matches a whole name decides.
        note: what is worth knowing of every file of the family.
    """

    title: str
    position_embedding: str
    evidence: Callable[[Shapes], int]
    rules: tuple[Rule, ...]
    note: str = ""

    def translate(self, name: str) -> tuple[bool, str | None]:
        """Return whether the family has the name, and our name for it (None: not used)."""
        for pattern, ours in self.rules:
            match = re.fullmatch(pattern, name)
            if match:
                return True, None if ours is None else match.expand(ours)
        return False, None


FAMILIES: Registry[Family] = Registry("family of weights", "init.family")
"""In order of preference where names alone are ambiguous."""


def _any(shapes: Shapes, pattern: str) -> bool:
    return any(re.match(pattern, name) for name in shapes)


def _plain(shapes: Shapes) -> bool:
    """Whether the names are those of VideoMAE's own code, pre-trained or fine-tuned."""
    return _any(shapes, r"(encoder\.)?blocks\.0\.attn\.qkv\.weight") and _any(
        shapes, r"(encoder\.)?blocks\.0\.attn\.q_bias"
    )


MVD_STUDENT = r"(decoder|mask_token|pos_embed|down)_(img|vid)\b"
PRETRAINED_VIDEOMAE = r"encoder\.|encoder_to_decoder\.|decoder\."
"""MVD's students have no prefix, and two decoders."""
OPTIONAL_ENCODER: tuple[Rule, ...] = tuple((r"(?:encoder\.)?" + pattern, ours) for pattern, ours in ENCODER)
LEARNED: Rule = (r"(?:encoder\.)?pos_embed", r"pos_embed")
"""A table in the file: one that was trained, or MVD's, which its students store."""


def _is_710(shapes: Shapes) -> bool:
    return shapes.get("head.weight", ())[:1] == (K710,)


def _videomae(shapes: Shapes) -> int:
    """A fine-tuned file's names are MVD's as well; only a pre-trained one has the prefix."""
    if not _plain(shapes) or _any(shapes, MVD_STUDENT) or _is_710(shapes):
        return IMPOSSIBLE
    return SURE if _any(shapes, PRETRAINED_VIDEOMAE) else POSSIBLE


def _videomae_v2(shapes: Shapes) -> int:
    if not _plain(shapes) or _any(shapes, MVD_STUDENT):
        return IMPOSSIBLE
    return SURE if _is_710(shapes) else POSSIBLE


def _mvd(shapes: Shapes) -> int:
    if not _plain(shapes) or _any(shapes, PRETRAINED_VIDEOMAE):
        return IMPOSSIBLE
    return SURE if _any(shapes, MVD_STUDENT) else POSSIBLE


VIDEOMAE = (*OPTIONAL_ENCODER, *CLASSIFIER, LEARNED, (r"encoder\.norm" + LINEAR, None), *PRETRAINING)
FAMILIES.register(OURS)(
    Family(
        "FARLab",
        "auto",  # its files say which
        lambda s: (
            SURE
            if _any(s, r"blocks\.0\.interaction\.") or ("farlab" in s and "patch_embed.proj.weight" in s)
            else IMPOSSIBLE
        ),
        (
            *ENCODER,
            (r"(blocks\.\d+\.interaction\..*)", r"\1"),  # of whatever parts: no ancestor has one
            *CLASSIFIER,
            (r"pos_embed", r"pos_embed"),
        ),
    )
)
FAMILIES.register("videomae")(Family("VideoMAE", "sinusoid-1d", _videomae, VIDEOMAE))
FAMILIES.register("videomae-v2")(Family("VideoMAE V2", "sinusoid-1d", _videomae_v2, VIDEOMAE))
FAMILIES.register("mvd")(
    Family(
        "MVD",
        "sincos-3d",
        _mvd,
        (*OPTIONAL_ENCODER, *CLASSIFIER, (MVD_STUDENT + r".*", None), LEARNED, *PRETRAINING),
    )
)
FAMILIES.register("st-mae")(
    Family(
        "ST-MAE",
        "learned",
        lambda s: SURE if _any(s, r"blocks\.0\.attn\.q\.weight") and _any(s, r"pos_embed") else IMPOSSIBLE,
        (
            *ENCODER,
            (r"norm" + LINEAR, r"fc_norm.\1"),  # mae_st applies it to the mean of the tokens
            (r"head(?:\.projection)?" + LINEAR, r"head.\1"),
            (r"(pos_embed(?:_spatial|_temporal)?)", r"\1"),
            (r"pos_embed_class|mask_token|decoder_.*|pred_head\..*", None),
        ),
        "mae_st trains on frames of mean 0.45 and deviation 0.225 (data.mean, data.std), and leaves its first token "
        "out of the mean",
    )
)
FAMILIES.register("omnimae")(
    Family(
        "OmniMAE",
        "sinusoid-1d",
        lambda s: SURE if _any(s, r"trunk\.blocks\.0\.attn\.qkv\.weight") else IMPOSSIBLE,
        (
            (r"trunk\.patch_embed\.proj\.1" + LINEAR, r"patch_embed.proj.\1"),
            *((r"trunk\." + pattern, ours) for pattern, ours in ENCODER[1:]),
            (r"trunk\.norm" + LINEAR, r"fc_norm.\1"),
            (r"trunk\.pos_embed", r"pos_embed"),
            (r"trunk\.(decoder\..*|mask_token)", None),
            (r"head" + LINEAR, r"head.\1"),
            (r"head\..*", None),
        ),
    )
)
_MODEL = r"(?:videomae\.)?"  # VideoMAEModel alone is saved without it
_LAYER = _MODEL + r"encoder\.layer\.(\d+)\."
_HF_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    r"attention\.attention\.query": "attn.q",
    r"attention\.attention\.key": "attn.k",
    r"attention\.attention\.value": "attn.v",
    r"attention\.output\.dense": "attn.proj",
    r"intermediate\.dense": "mlp.fc1",
    r"output\.dense": "mlp.fc2",
}
FAMILIES.register("huggingface")(
    Family(
        "Hugging Face VideoMAE",
        "sinusoid-1d",
        lambda s: SURE if _any(s, _LAYER) else IMPOSSIBLE,
        (
            (_MODEL + r"embeddings\.patch_embeddings\.projection" + LINEAR, r"patch_embed.proj.\1"),
            *((_LAYER + theirs + LINEAR, rf"blocks.\1.{ours}.\2") for theirs, ours in _HF_NAMES.items()),
            (_LAYER + r"attention\.attention\.([qv]_bias)", r"blocks.\1.attn.\2"),
            (r"fc_norm" + LINEAR, r"fc_norm.\1"),
            (r"classifier" + LINEAR, r"head.\1"),
            (_MODEL + r"layernorm" + LINEAR, None),
            (_MODEL + r"embeddings\.position_embeddings", r"pos_embed"),
            (r"position_embeddings", None),  # the decoder's
            *PRETRAINING,
        ),
    )
)


def candidates(shapes: Shapes) -> dict[str, int]:
    """Return the families that a file may be of with the evidence for each, the likeliest first."""
    evidence = {name: found for name, family in FAMILIES.items() if (found := family.evidence(shapes))}
    return dict(sorted(evidence.items(), key=lambda item: -item[1]))
