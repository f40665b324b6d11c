"""The folder of a search: Optuna's journal, a manifest, and at the end the table, the front and the figure."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.errors import InputError, Problem
from accsim.report.folder import MANIFEST, WRITTEN_BY, cannot_write, check_folder, write_files
from accsim.report.html.page import PAGE
from accsim.report.manifest import versions
from accsim.sweep.expressions import Expression
from accsim.sweep.manifest import COMPLETE, PACKAGES, RUNNING, SCHEMA_VERSION, about_space, now
from accsim.sweep.search_result import SearchResult, front_of_trials
from accsim.sweep.space import Space
from accsim.sweep.studies import JOURNAL, Plan

if TYPE_CHECKING:
    import pandas as pd

TRIALS, FRONT, FIGURE = "trials.parquet", "front.csv", "search.png"
OURS = (MANIFEST, TRIALS, FRONT, FIGURE, PAGE)
KEY = "search"


def about_search(space: Space, objectives: Sequence[Expression], plan: Plan) -> dict[str, Any]:
    """What must not change when a search goes on, but for the number of trials."""
    return {
        "space": about_space(space),
        "objectives": [goal.text for goal in objectives],
        "sampler": plan.sampler,
        "batch": plan.batch,
        "seed": plan.seed,
    }


def checked(folder: str | Path, about: dict[str, Any], *, resume: bool) -> Path:
    """A folder that a search may write into: missing, empty, or with ``resume`` that of the same search.

    Raises
    ------
    InputError
        For a folder with anything else, and a search of something else.
    """
    path = check_folder(folder)
    held = sorted(item.name for item in path.iterdir()) if path.exists() else []
    foreign = [name for name in held if name not in OURS and not name.startswith((".", JOURNAL))]
    known = _manifest(path)
    if foreign or (MANIFEST in held and known is None):
        names = ", ".join((foreign or [MANIFEST])[:5])
        allowed = "allowed is a folder that is missing, empty, or that of a search"
        raise InputError(Problem(str(folder), "", f"holds what no search wrote there ({names}); {allowed}"))
    if known is None:
        return path
    if not resume:
        raise InputError(Problem(str(folder), "", "holds a search; add --resume, or name another folder"))
    plain_about = json.loads(json.dumps(about))
    differ = [key for key in about if known[KEY].get(key) != plain_about[key]]
    if differ:
        message = f"holds a search that differs in {', '.join(differ)}; give the same, or name another folder"
        raise InputError(Problem(str(folder), "", message))
    return path


def begun(folder: Path, about: dict[str, Any], *, resume: bool, command: str) -> None:
    """Write the manifest of a search that begins; raises as :func:`checked`. No other process may be here meanwhile."""
    checked(folder, about, resume=resume)
    if _manifest(folder) is None:
        plain = {
            "schema_version": SCHEMA_VERSION,
            "written_by": WRITTEN_BY,
            "command": command,
            "versions": versions((*PACKAGES, "optuna")),
            KEY: about,
            "started_at": now(),
            "status": RUNNING,
        }
        write_files(folder, {MANIFEST: _encoded(plain)})


def finished(folder: Path, result: SearchResult, *, complete: bool) -> None:
    """Write what a search found so far."""
    table, figure = io.BytesIO(), io.BytesIO()
    result.trials.to_parquet(table, index=False)
    result.plot().savefig(figure, format="png")
    status = {"status": COMPLETE if complete else RUNNING, "ended_at": now()}
    manifest = {**(_manifest(folder) or {}), **status}
    contents = {TRIALS: table.getvalue(), FRONT: result.front.to_csv(index=False).encode(), FIGURE: figure.getvalue()}
    write_files(folder, {**contents, MANIFEST: _encoded(manifest)})


@dataclass(frozen=True)
class SavedSearch:
    """The folder of a search that came to an end, at least once.

    Attributes
    ----------
    manifest : that of the folder; ``search`` says what was asked for.
    trials : a row for each trial, as :class:`~accsim.sweep.search_result.SearchResult` has them.
    """

    manifest: Mapping[str, Any]
    trials: pd.DataFrame

    @property
    def about(self) -> Mapping[str, Any]:
        """What was asked for."""
        found: Mapping[str, Any] = self.manifest[KEY]
        return found

    @property
    def space(self) -> Mapping[str, Any]:
        """The space as plain data."""
        found: Mapping[str, Any] = self.about["space"]
        return found

    @property
    def objectives(self) -> tuple[str, ...]:
        """What was minimized."""
        return tuple(self.about["objectives"])

    @property
    def samplers(self) -> tuple[str, ...]:
        """Those that asked, the one that was asked for first."""
        return tuple(self.trials["sampler"].unique())

    @property
    def varied(self) -> tuple[str, ...]:
        """Fields that have several values."""
        return tuple(name for name, about in self.space["axes"].items() if about["values"] != 1)

    @cached_property
    def front(self) -> pd.DataFrame:
        """Designs on the front of all trials."""
        keys = (*self.space["axes"], *self.space["linked"])
        return front_of_trials(self.trials, keys, self.objectives)


def read_search(folder: Path, manifest: Mapping[str, Any]) -> SavedSearch:
    """What a search wrote into its folder.

    Raises
    ------
    InputError
        When there is no table of its trials, or it cannot be read.
    """
    import pandas as pd
    import pyarrow as pa

    path = folder / TRIALS
    if not path.is_file():
        raise InputError(Problem(str(path), "", "is not there yet: the search has to end first, go on with --resume"))
    try:
        return SavedSearch(manifest, pd.read_parquet(path))
    except (OSError, pa.ArrowException) as error:
        raise InputError(Problem(str(path), "", f"cannot be read: {error}")) from error


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a search; None where there is none that can be read."""
    try:
        plain = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise cannot_write(folder, error) from error
    ours = isinstance(plain, dict) and plain.get("written_by") == WRITTEN_BY and isinstance(plain.get(KEY), dict)
    return plain if ours else None


def _encoded(plain: dict[str, Any]) -> bytes:
    return (json.dumps(plain, indent=2, allow_nan=False) + "\n").encode()
