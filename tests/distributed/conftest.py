"""One pool of ranks for all tests here."""

from collections.abc import Iterator

import pytest

from tests.distributed.pool import Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Four processes."""
    made = Pool(4)
    yield made
    made.close()
