"""What a source should have: variant name → format → spec hash.  Sources that should have the same share one set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from tasks.images.variants import Variant

VariantSet: TypeAlias = Mapping[str, Mapping[str, str]]


def set_of(variants: Sequence[Variant]) -> VariantSet:
    """What a start with these variants wants."""
    return {variant.name: {each: variant.spec_hash(each) for each in variant.formats} for variant in variants}


def merged(before: VariantSet, wanted: VariantSet) -> VariantSet:
    """A start decides about the variants that it names, and leaves those of other names as they were."""
    return {**before, **wanted}


def includes(whole: VariantSet, wanted: VariantSet) -> bool:
    """Whether ``whole`` says of each variant of ``wanted`` just what ``wanted`` says."""
    return all(whole.get(name) == formats for name, formats in wanted.items())


def specs_of(variants: VariantSet) -> frozenset[str]:
    """The spec hashes in a set; variants of different names may share some."""
    return frozenset(spec for formats in variants.values() for spec in formats.values())


def text_of(variants: VariantSet) -> str:
    """The set as its row keeps it; equal sets are equal texts."""
    return json.dumps(variants, sort_keys=True, separators=(",", ":"))


def hash_of(variants: VariantSet) -> str:
    """The set's name."""
    return hashlib.sha256(text_of(variants).encode()).hexdigest()
