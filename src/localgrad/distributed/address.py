"""Where a process stands among the others, and the store at which all of them meet."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import final

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

from localgrad.errors import LocalgradError

WORDS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@final
@dataclass(frozen=True)
class Address:
    """Where this process stands among the others, as torchrun tells it in the environment."""

    rank: int
    size: int
    host: str
    port: int
    served: bool = False
    """Whether somebody else, torchrun's agent, keeps the store; else rank 0 does."""
    attempt: str = "0"
    """Which start of the processes this is: torchrun starts them again after a failure."""
    local_rank: int = 0

    @staticmethod
    def from_environment(words: Mapping[str, str]) -> "Address":
        """Raises LocalgradError when this process was not started by torchrun."""
        missing = [name for name in WORDS if name not in words]
        if missing:
            raise LocalgradError(
                f"runtime distributed: {', '.join(missing)} not found in the environment, so this process does not "
                "know the others. Start it with `torchrun --nproc-per-node N -m localgrad train ...`, give --processes "
                "N without torchrun, or train in this one process with --runtime sequential."
            )
        rank, size, port = (int(words[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
        return Address(
            rank,
            size,
            words["MASTER_ADDR"],
            port,
            words.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            words.get("TORCHELASTIC_RESTART_COUNT", "0"),
            int(words.get("LOCAL_RANK", rank)),
        )


def restarted() -> bool:
    """Whether torchrun started this process again after a failure."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def connect(address: Address, timeout: float) -> TCPStore:
    """The store of all processes, which rank 0 keeps unless torchrun does. Raises LocalgradError."""
    keeps = address.rank == 0 and not address.served
    try:
        return TCPStore(
            address.host,
            address.port,
            is_master=keeps,
            timeout=timedelta(seconds=timeout),
            wait_for_workers=False,
        )
    except (RuntimeError, dist.DistError) as error:
        if keeps:
            why = "the port is in use" if "EADDRINUSE" in str(error) or "in use" in str(error) else first_line(error)
            raise LocalgradError(
                f"runtime distributed: rank 0 cannot listen at {address.host}:{address.port}: {why}. Give another "
                "port (torchrun --master-port N, or --standalone on one machine)."
            ) from error
        raise LocalgradError(
            f"runtime distributed: rank {address.rank} found nobody at {address.host}:{address.port} within "
            f"{timeout:g} s: rank 0 did not come ({first_line(error)}). Check address and port, or start rank 0."
        ) from error


def first_line(error: BaseException) -> str:
    """The beginning of an error's text, without addresses of C++ code."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
