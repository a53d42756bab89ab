"""The group of ranks that `torchrun` started, for as long as a verb works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch.distributed as dist

from untrain.core.engine import join_ranks
from untrain.core.errors import Resources
from untrain.core.wording import said

GONE = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed", "Connection refused"),
    *("remote process exited", "unhandled system error", "communicator was aborted"),
)
"""What gloo and nccl say where the other end of a connection has gone; what else nccl says, of a wrong use or of memory, is another fault."""


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the group where there is one, and leave it at the end; a group that was joined before is left alone.

    Raises:
        Resources: another rank has ended.
    """
    ours = join_ranks()
    try:
        yield
    except RuntimeError as error:
        if not (dist.is_available() and dist.is_initialized() and any(words in said(error) for words in GONE)):
            raise
        raise Resources(f"another of the {dist.get_world_size()} ranks has ended, so this one does; see to why it did, and call it again with as many: it goes on") from error
    finally:
        if ours:
            dist.destroy_process_group()
