"""The samples, the lab and an engine, once for all tests of images that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.images.engine import Engine, Output
from tasks.images.variants import Variant
from tests.images_lab import Lab

Make = Callable[..., list[Output]]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab() as running:
        yield running


@pytest.fixture(scope="session")
def samples(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    lab.make(folder)
    return folder


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        yield running


@pytest.fixture
def make(engine: Engine, samples: Path, tmp_path: Path) -> Make:
    """``make("rgb.jpg", Variant(…), …)``: all outputs of all variants."""

    def made(name: str, *variants: Variant) -> list[Output]:
        encodings = [(variant, image_format) for variant in variants for image_format in variant.formats]
        return list(engine.render(samples / name, encodings, tmp_path).outputs)

    return made
