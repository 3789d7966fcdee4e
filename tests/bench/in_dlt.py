"""`python -m tests.bench in-dlt`: a source in a plain `pipeline.run`, whole and in pieces, against `gapless sync`.

Each loads the same records into an empty folder, then those that are new. CPU is judged, as it is steady on a machine
that is shared; peak memory at two sizes shows whether a run holds everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench import table
from tests.bench.contenders import CONTENDERS, Contender
from tests.bench.environments import pythons
from tests.bench.trial import Trial, Vendor, Work, served, trial

SYNC = CONTENDERS["gapless"]
ARROW, ROWS = "`pipeline.run(source())`", "`pipeline.run(source(rows=True))`"
PIECES = "`pipeline.run(source().add_limit(100))`, in a loop"
FORMS = {SYNC.what: "", ARROW: "arrow", ROWS: "rows", PIECES: "pieces"}
MOST = 1.3
"""Times the CPU of `gapless sync` that the Arrow form may take."""


def in_dlt(works: Sequence[Work], venvs: Path) -> str:
    """Returns one table for all sizes; a figure that is not met is bold."""
    interpreters = pythons(SYNC, venvs)
    lines = []
    for work in works:
        with served(work) as vendor:
            trials = {name: _trial(form, interpreters, vendor, work) for name, form in FORMS.items()}
        lines += rendered(work, trials)
    head = ["logs", "how", "CPU s", "x sync", "peak MB", "then CPU s", "rows"]
    return table.markdown(head, lines)


def _trial(form: str, interpreters: dict[str, Path], vendor: Vendor, work: Work) -> Trial:
    how: Contender = replace(SYNC, name="in_dlt") if form else SYNC
    # A script is told by variables; the trial hands on those that name interpreters.
    return trial(how, {**interpreters, "BENCH_FORM": Path(form)}, vendor, work)


def rendered(work: Work, trials: dict[str, Trial]) -> list[list[str]]:
    """Returns the lines of one size."""
    base, lines = trials[SYNC.what].first.cost.cpu, []
    for name, one in trials.items():
        ratio = one.first.cost.cpu / base
        told = f"{ratio:.2f}" if name != ARROW or ratio <= MOST else f"**{ratio:.2f}**"
        verdict = one.first.verdict if one.first.verdict != "same" else one.then.verdict
        verdict = verdict if verdict == "same" else f"**{verdict}**"
        cells = [f"{one.first.cost.cpu:.1f}", told, f"{one.first.cost.peak_mb:.0f}", f"{one.then.cost.cpu:.1f}"]
        lines.append([f"{work.records:,}", name, *cells, verdict])
    return lines
