"""How the demo puts its results into words and tables. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from textwrap import fill
from typing import Any

from node.attributing import Attributed
from node.demo.measure import GROUPS, Priority, Solved, by_group, by_task, mean, task_of
from node.demo.tamper import Caught
from node.demo.world import World

_WIDTH = 92
_COLUMNS = (*GROUPS, "all")


def opening(world: World) -> str:
    """Say what the world is."""
    people = ", ".join(each.name for each in world.contributors)
    return _paragraphs(
        "pnode demo: eight people, one system, nobody in charge",
        f"""A tiny decoder knows public operations on strings of 16 symbols. Four private
        operations are known to two contributors each ({people}), and each of them knows its
        operation on 10 of the 16 symbols only. Everyone trained one rank-8 LoRA adapter on its
        own data and shows that data to nobody.""",
    )


def published(folder: Path, ids: Mapping[str, str]) -> str:
    """Say who published what."""
    lines = [f"  {name:<6} {id_}" for name, id_ in ids.items()]
    intro = f"""1. Each contributor publishes from a home of its own: the adapter is inspected
    without running it, stored by content, signed, and appended to the contributor's log. Homes and
    copies are below {folder}."""
    return "\n".join([_text(intro), *lines])


def systems(
    base: Solved, alone: Collection[str], solved: Mapping[str, Solved], tasks: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the mean scores of every system by group of tasks, as exact fractions."""
    rows = {"base alone": by_task(base, tasks)}
    single = {name: by_task(solved[name], tasks) for name in alone}
    rows["best single"] = {task: max(each[task] for each in single.values()) for task in tasks}
    composed = {name: each for name, each in solved.items() if name not in alone}
    rows |= {name: by_task(each, tasks) for name, each in composed.items()}
    return {
        name: {group: str(value) for group, value in by_group(scores).items()}
        for name, scores in rows.items()
    }


def system_table(scores: Mapping[str, Mapping[str, str]], emergent: Mapping[str, str]) -> str:
    """Show every system, losses like gains."""
    intro = """2. The composition node pulls all logs, verified, and composes by several methods.
    Mean score by kind of task; 'best single' picks the best adapter for every task with
    hindsight. E is the emergent rate: of the items that the base and every single adapter get
    wrong, how many the system solves."""
    head = f"  {'system':<14}" + "".join(f"{name:>8}" for name in _COLUMNS) + f"{'E':>12}"
    lines = [
        f"  {name:<14}"
        + "".join(f"{float(Fraction(row[column])):>8.3f}" for column in _COLUMNS)
        + f"{_rate(emergent.get(name)):>12}"
        for name, row in scores.items()
    ]
    return "\n".join([_text(intro), "", head, *lines])


def task_table(
    base: Solved, solved: Mapping[str, Solved], alone: Collection[str], methods: Sequence[str]
) -> str:
    """Show the score on each task."""
    tasks = list(dict.fromkeys(task_of(item) for item in base))
    columns = {"base": by_task(base, tasks)}
    single = [by_task(solved[name], tasks) for name in alone]
    columns["single"] = {task: max(each[task] for each in single) for task in tasks}
    columns |= {method.partition(".")[2]: by_task(solved[method], tasks) for method in methods}
    size = len(base) // len(tasks)
    head = f"  {'task':<10}" + "".join(f"{name:>9}" for name in columns)
    lines = [
        f"  {task:<10}" + "".join(f"{float(row[task]):>9.2f}" for row in columns.values())
        for task in tasks
    ]
    return "\n".join([f"   Per task ({size} items each):", "", head, *lines])


def priorities(rows: Sequence[Priority]) -> str:
    """Show what each contributor gains on its own task and loses on its special field."""
    gains = [row.own_system - row.own_alone for row in rows]
    worst = min(rows, key=lambda row: (row.cover_system - row.cover_alone, row.name))
    cost = worst.cover_alone - worst.cover_system
    text = f"""   On its own operation over all symbols, a contributor scores
    {float(mean([row.own_alone for row in rows])):.2f} alone and
    {float(mean([row.own_system for row in rows])):.2f} inside the system (mean; smallest gain
    {float(min(gains)):+.2f}). On the symbols it knows best, the largest loss is
    {float(cost):.2f} ({worst.name}: {float(worst.cover_alone):.2f} alone,
    {float(worst.cover_system):.2f} in the system)."""
    return _text(text)


def values(attributed: Attributed, names: Mapping[str, str]) -> str:
    """Show what each contribution is worth."""
    counts = attributed.coalitions
    intro = f"""3. What is each contribution worth? Exact Shapley values over all
    {counts["total"]} coalitions of the logit.select system, in points of mean accuracy, with a
    95 % interval over test items. Efficiency gap {attributed.efficiency_gap}: nothing is lost or
    invented."""
    head = f"  {'contribution':<28}{'value':>8}{'95 % interval':>20}{'share':>8}"
    best_first = sorted(attributed.values, key=lambda value: -Fraction(value["value"]))
    lines = [_value(value, names[value["contribution"]]) for value in best_first]
    return "\n".join([_text(intro), "", head, *lines])


def _value(value: Mapping[str, Any], name: str) -> str:
    low, high = (100 * float(value["interval"][end]) for end in ("low", "high"))
    share = float(Fraction(value["share"])) if value["share"] else 0.0
    points = 100 * float(Fraction(value["value"]))
    interval = f"[{low:+.1f}, {high:+.1f}]"
    who = f"{name} ({value['contribution'][:16]}...)"
    return f"  {who:<28}{points:>+8.2f}{interval:>20}{share:>8.1%}"


def replays(verdicts: Sequence[Mapping[str, str]], digest: str) -> str:
    """Show what the auditor confirmed."""
    intro = """4. Why believe it? An auditor who received nothing but copied bytes checks every
    signature, log, block, count and value, then rebuilds each system in a fresh process and
    answers every item again."""
    lines = [f"  {row['what']:<14}{row['verdict']:<14}{row['detail']}" for row in verdicts]
    return "\n".join([_text(intro), "", *lines, f"  system digest of logit.select: {digest}"])


def caught(attempts: Sequence[Caught]) -> str:
    """Show what happens to a forger."""
    lines = ["5. And if somebody cheats?"]
    for attempt in attempts:
        lines += [
            "",
            f"  {attempt.attempt}",
            f"    {attempt.check}: exit code {attempt.exit_code}",
            fill(attempt.finding, _WIDTH, initial_indent="    ", subsequent_indent="    "),
        ]
    return "\n".join(lines)


def limits() -> str:
    """Say what the demo does not show."""
    return _text(
        """What this does not show: the emergence is built into this world (complementary coverage,
        chains nobody was trained on). The fair rival, one model of the same size trained on
        everybody's pooled data, is not trained here; in the pilot of this experiment it solved 98 %
        of all items. One world seed, small suites, and values that hold for these suites, this
        method and these members only."""
    )


def closing(report: str, seconds: float, keep: Path | None) -> str:
    """Say where the report is and what to try next."""
    lines = [f"Done in {seconds:.0f} s."]
    if keep is not None:
        home = Path(report).parent / "homes" / "auditor"
        lines.append(f"Check it yourself: pnode --home {home} audit")
    lines.append(f"The governance report: {report}")
    return "\n".join(lines)


def _rate(text: str | None) -> str:
    if text is None:
        return "-"
    solved, failed = (int(part) for part in text.split("/"))
    return f"{solved / failed:.2f} of {failed}" if failed else "-"


def _paragraphs(title: str, text: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n{_text(text)}"


def _text(text: str) -> str:
    return fill(" ".join(text.split()), _WIDTH)
