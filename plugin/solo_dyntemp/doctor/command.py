"""`dyntemp doctor [TOPIC...] [--json]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from solo_dyntemp.doctor import gpu, libraries, solo
from solo_dyntemp.doctor.probe import Finding
from solo_registry.console import terminal
from solo_registry.errors import UserError, nearest

CHECKS: dict[str, tuple[Callable[[], list[Finding]], ...]] = {
    "core": (libraries.requirements, libraries.imports, libraries.lightnings, libraries.bf16),
    "cuda": (libraries.cuda,),
    "dali": (libraries.dali,),
    "loggers": (libraries.loggers,),
    "hydra": (solo.hydra_plugin,),
    "solo": (solo.solo,),
}
COLORS = {"ok": "green", "known": "yellow", "missing": "dim", "broken": "red"}


def run(words: Sequence[str]) -> None:
    """Check the environment and print a table, or JSON.

    Args:
        words: topics and flags.

    Raises:
        UserError: an unknown topic.
        SystemExit: with 1 if a topic that was named, or core, cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="dyntemp doctor",
        description="Check which parts of this environment work, and name the command that repairs "
        "what does not. Each check is a process of its own; nothing is installed or changed. "
        "The exit code is 1 if a topic you name cannot be used; without topics, if core is broken.",
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(CHECKS)}")
    parser.add_argument("--gpu", action="store_true", help="measure the GPU, in a minute")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    given = parser.parse_args(words)
    for topic in given.topics:
        if topic not in CHECKS:
            hint = nearest(topic, CHECKS)
            raise UserError(f"unknown topic '{topic}'.{hint} Known: {', '.join(CHECKS)}")
    checks = [check for topic in given.topics for check in CHECKS[topic]]
    if not checks and not given.gpu:
        checks = [check for of_topic in CHECKS.values() for check in of_topic]
    findings = examine([*checks, gpu.gpu] if given.gpu else checks)
    if given.json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        show(findings)
    unusable = {"broken", "missing"} if given.topics or given.gpu else {"broken"}
    asked = [*given.topics, "gpu"] if given.topics or given.gpu else ["core"]
    if any(finding.topic in asked and finding.state in unusable for finding in findings):
        raise SystemExit(1)


def examine(checks: Sequence[Callable[[], list[Finding]]]) -> list[Finding]:
    """Run checks, several at a time, and return their findings in order."""
    console = terminal()
    with ThreadPoolExecutor(4) as pool, console.status("checking ..."):
        return [finding for findings in pool.map(lambda f: f(), checks) for finding in findings]


def show(findings: Sequence[Finding]) -> None:
    """Print the findings as a table, and below it the repair commands, whole lines to copy."""
    from rich.table import Table
    from rich.text import Text

    console = terminal()
    table = Table("topic", "what", "state", "seen", box=None, header_style="bold")
    for finding in findings:
        state = Text(finding.state, COLORS[finding.state])
        table.add_row(finding.topic, finding.what, state, finding.detail)
    console.print(table)
    for finding in findings:
        if finding.cure:
            console.print(f"\n{finding.what} ({finding.state}):", highlight=False)
            console.print(f"  {finding.cure}", soft_wrap=True, highlight=False, markup=False)
