"""The engines as a Ray Serve application: `serve run deploy.ray_serve:app`, or a RayService's import path.

Settings come from the environment: CONVAI_MODEL, CONVAI_ADAPTERS (folders, commas between them),
CONVAI_REPLICAS (N, or MIN:MAX), CONVAI_THREADS, CONVAI_PRECISION, and CONVAI_TOKEN, which doors must know
(`convai serve --engine ray://HOST:8000 --engine-token-file F`). Without a token replicas listen on their own
machine alone.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, cast

from convai.conversation.adapters import start
from convai.core.settings import EngineConfig
from convai.server.on_ray import Scaling, application

app = application(
    partial(
        start,
        os.environ.get("CONVAI_MODEL") or None,
        EngineConfig(precision=cast(Any, os.environ.get("CONVAI_PRECISION", "auto"))),
        adapters=[folder for folder in os.environ.get("CONVAI_ADAPTERS", "").split(",") if folder],
    ),
    token=os.environ.get("CONVAI_TOKEN", ""),
    threads=int(os.environ.get("CONVAI_THREADS", "1")),
    scaling=Scaling.parse(os.environ.get("CONVAI_REPLICAS", "1")),
)
