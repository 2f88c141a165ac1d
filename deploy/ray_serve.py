"""The engines as a Ray Serve application: `serve run deploy.ray_serve:app`, or a RayService's import path.

Settings come from the environment: CONVAI_MODEL, CONVAI_ADAPTERS (folders, commas between them),
CONVAI_REPLICAS (N, or MIN:MAX), CONVAI_THREADS, CONVAI_PRECISION, and CONVAI_TOKEN, which doors must know
(`convai serve --engine ray://HOST:8000 --engine-token-file F`). Without a token replicas listen on their own
machine alone.
"""

from __future__ import annotations

import os
from typing import Any, cast

from convai.core.settings import EngineConfig
from convai.server.on_ray import Scaling, application

app = application(
    model=os.environ.get("CONVAI_MODEL") or None,
    config=EngineConfig(precision=cast(Any, os.environ.get("CONVAI_PRECISION", "auto"))),
    token=os.environ.get("CONVAI_TOKEN", ""),
    threads=int(os.environ.get("CONVAI_THREADS", "1")),
    adapters=[folder for folder in os.environ.get("CONVAI_ADAPTERS", "").split(",") if folder],
    scaling=Scaling.parse(os.environ.get("CONVAI_REPLICAS", "1")),
)
