"""The group of ranks that `torchrun` started, for as long as a verb works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch.distributed as dist

from untrain.core.engine import join_ranks


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the group where there is one, and leave it at the end; a group that was joined before is left alone."""
    ours = join_ranks()
    try:
        yield
    finally:
        if ours:
            dist.destroy_process_group()
