"""What deploy/ says is true of convai: options, metrics, names of settings, and the proxy's own check."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from convai.__main__ import _parse
from convai.engine import Stats
from convai.server.health import SECONDS
from convai.server.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
WORDS = {"sum", "by", "rate", "max", "le", "reason", "outcome", "histogram_quantile", "m"}
"""Of PromQL and labels: whatever else stands in an expression is a metric."""


def kept(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_every_metric_of_the_dashboard_is_measured() -> None:
    metrics = Metrics(Stats, lambda: 0)
    metrics.first_token.labels("socket").observe(1.0)
    metrics.inter_token.labels("socket").observe(1.0)
    metrics.replies.labels("socket", "finished").inc()
    metrics.rejected.labels("rate").inc()
    there = set(re.findall(r"^(\w+)", metrics.text().decode(), re.MULTILINE))
    panels = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) >= 10
    for expression in asked:
        names = set(re.findall(r"[a-z_]+", expression)) - WORDS
        assert names, expression
        assert names <= there, expression


def test_the_commands_of_compose_are_commands() -> None:
    compose = kept("compose.yaml")
    services = compose["services"]
    doors = [name for name, one in services.items() if "serve" in one.get("command", [])]
    engines = [name for name, one in services.items() if "engine" in one.get("command", [])]
    assert len(doors) == len(engines) == 2
    for name in doors + engines:
        _, args = _parse(services[name]["command"])
        if name in doors:
            assert {one.split(":")[0] for one in args.engine.removeprefix("tcp://").split(",")} == set(
                engines
            )
            assert set(services[name]["depends_on"]) == {"postgres", *engines}
        assert set(services[name]["secrets"]) <= set(compose["secrets"])
    proxied = services["proxy"]["command"]
    assert {to.split(":")[0] for option, to in pairwise(proxied) if option == "--to"} == set(doors)


def test_kuberay_sets_what_the_application_reads() -> None:
    service = kept("kuberay.yaml")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    [application] = config["applications"]
    assert application["import_path"] == "deploy.ray_serve:app"
    assert application["route_prefix"] == "/engines"
    reads = set(re.findall(r"CONVAI_[A-Z]+", (DEPLOY / "ray_serve.py").read_text(encoding="utf-8")))
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        assert {one["name"] for one in container["env"]} <= reads
    ours = re.search(
        r"ray\[serve\]==([\d.]+)", (DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert ours is not None
    assert cluster["rayVersion"] == ours[1]


def test_the_proxy_goes_by_what_the_page_sends() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    [parameter] = set(re.findall(r"(?:url_param|urlp\()\s*(\w+)", text))
    page = (DEPLOY.parent / "web/static/js/socket.js").read_text(encoding="utf-8")
    assert f'searchParams.set("{parameter}"' in page


def test_the_proxy_gives_a_busy_door_the_time_that_it_takes_to_say_how_it_is() -> None:
    """Or it takes all doors for dead where the machine is only busy."""
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    [seconds] = re.findall(r"timeout check (\d+)s", text)
    assert int(seconds) > SECONDS


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_haproxy_takes_its_configuration() -> None:
    done = subprocess.run(
        ["haproxy", "-c", "-f", os.fspath(DEPLOY / "haproxy.cfg")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
