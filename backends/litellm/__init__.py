"""The long tail of providers, through litellm in a worker process of its own.

`process` starts and watches the worker, `worker` is its program, `backend` the adapter that sends it calls.
Nothing here imports litellm into the gateway.
"""

from backends.litellm.backend import LitellmBackend
from backends.litellm.plan import LitellmPlan, LitellmRow, fault_of
from backends.litellm.process import LitellmWorker

__all__ = ["LitellmBackend", "LitellmPlan", "LitellmRow", "LitellmWorker", "fault_of"]
