from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.engine import contenders, curves
from benchmarks.engine.builds import Build
from benchmarks.engine.catalogue import Catalogue, Spec, load_or_generate
from benchmarks.engine.cli import main
from benchmarks.engine.contenders import Contender, lookalike
from benchmarks.engine.curves import Run, groups
from benchmarks.engine.engines.base import UnavailableError
from benchmarks.engine.levels import Point
from benchmarks.engine.measure import recall_of, same_product_recall
from benchmarks.engine.processes import Child, ChildError, State

SMALL = ["--dim", "32", "--items", "2000", "--queries", "200", "--rounds", "2"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def result(cache: Path) -> dict[str, Any]:
    own = ["--engines", "lookalike,lookalike_after_churn"]
    assert main([*SMALL, *own, "--only", "curves", "--cache", str(cache), "--out", str(cache / "out")]) == 0
    found: dict[str, Any] = json.loads((cache / "out/curves-cat-32-2000-seed7-200-queries.json").read_text())
    return found


def test_the_json_holds_every_measurement(result: dict[str, Any]) -> None:
    engines = {run["engine"] for run in result["runs"]}
    assert engines == {"Lookalike", "Lookalike after 20 % churn"}
    for run in result["runs"]:
        assert run["memory"]["float32_bytes"] == 2_000 * 32 * 4
        assert run["build"]["seconds"] > 0
        measured = [s for s in run["settings"] if s["single"]]
        assert measured
        for setting in measured:
            for mode in ("single", "batch"):
                assert len(setting[mode]) == 2
                assert all(m["queries"] == 200 and m["seconds"] > 0 for m in setting[mode])
                # The same search gives the same answers in every round.
                assert len({m["recall"] for m in setting[mode]}) == 1
    best = max(m["recall"] for run in result["runs"] for s in run["settings"] for m in s["single"])
    assert best > 0.95


def test_the_rates_are_read_off_the_medians(result: dict[str, Any]) -> None:
    for mode in ("single", "batch"):
        measured = [
            m["queries"] / m["seconds"]
            for run in result["runs"]
            if run["engine"] == "Lookalike"
            for s in run["settings"]
            for m in s[mode]
        ]
        rates = [entry["queries_per_second"] for entry in result["rates"][mode]["Lookalike"].values()]
        assert all(rate is None or min(measured) <= rate <= max(measured) for rate in rates)


def test_the_result_names_the_machine_and_the_command(result: dict[str, Any]) -> None:
    assert result["machine"]["cores"] == os.cpu_count()
    assert result["machine"]["versions"]["numpy"] == np.__version__
    assert "processor" in result["machine"]


def test_the_table_is_written_next_to_it(result: dict[str, Any], cache: Path) -> None:
    report = (cache / "out/report.md").read_text()
    assert "## 2,000 × 32" in report
    assert "| Lookalike |" in report


def test_a_second_run_takes_the_cached_index(result: dict[str, Any], cache: Path) -> None:
    stored = {file: file.stat().st_mtime_ns for file in cache.glob("indexes/*/*/build.json")}
    assert len(stored) == len(lookalike(32, 2_000))
    arguments = [*SMALL, "--engines", "lookalike", "--only", "prebuild", "--cache", str(cache)]
    assert main(arguments) == 0
    assert stored == {file: file.stat().st_mtime_ns for file in cache.glob("indexes/*/*/build.json")}


def test_searches_go_on_while_items_are_written(cache: Path) -> None:
    arguments = [*SMALL, "--only", "live", "--seconds", "0.3", "--upserts", "1000"]
    assert main([*arguments, "--cache", str(cache), "--out", str(cache / "out")]) == 0
    figures = json.loads((cache / "out/live-cat-32-2000-seed7-200-queries.json").read_text())
    phases = next(entry for name, entry in figures.items() if name.startswith("Lookalike"))
    assert phases["idle"]["writes_per_second"] == 0
    assert phases["upserts"]["writes_per_second"] > 0
    # Upserts write each item as it was, so that the exact answers stay.
    assert phases["upserts"]["recall"] == pytest.approx(phases["idle"]["recall"], abs=0.02)
    for phase in ("idle", "upserts", "inserts"):
        assert 0 < phases[phase]["p50_us"] <= phases[phase]["p99_us"] <= phases[phase]["max_us"]


def test_the_cost_against_size_is_one_table(cache: Path) -> None:
    arguments = ["--dim", "32", "--items", "1000", "2000", "--queries", "200", "--rounds", "1"]
    assert main([*arguments, "--only", "scale", "--cache", str(cache), "--out", str(cache / "out")]) == 0
    figures = json.loads((cache / "out/scale.json").read_text())
    assert {"cat-32-1000-seed7-200-queries", "cat-32-2000-seed7-200-queries"} <= set(figures)
    rows = (cache / "out/scale.md").read_text().splitlines()
    assert sum("1,000 × 32" in row or "2,000 × 32" in row for row in rows) == 2


def test_real_photos_must_be_named(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "real", "--cache", str(cache), "--out", str(cache / "real")]) == 0
    assert "--photos" in capsys.readouterr().err
    assert not (cache / "real").exists()


def test_an_unknown_engine_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*SMALL, "--engines", "lookalike,nope", "--out", str(tmp_path / "out")])
    assert "unknown engine nope; use faiss, " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_engines_are_chosen_in_every_section(cache: Path) -> None:
    assert {c.adapter for c in contenders.contenders("filtered", 32, 2_000, ["lookalike"])} == {"lookalike"}
    assert {c.adapter for c in contenders.contenders("build", 32, 2_000, ["scann"])} == {"scann"}
    arguments = [*SMALL, "--rounds", "1", "--only", "filtered", "--engines", "lookalike"]
    assert main([*arguments, "--cache", str(cache), "--out", str(cache / "out")]) == 0
    figures = json.loads((cache / "out/filtered-cat-32-2000-seed7-200-queries.json").read_text())
    names = {entry["engine"] for entry in figures["measured"]}
    assert names
    assert all(name.startswith("Lookalike") for name in names)
    assert not figures["left_out"]


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "curves,nothing"])
    assert "unknown section nothing" in capsys.readouterr().err


@pytest.mark.usefixtures("default_signals")
def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.engine",
        "--dim",
        "16",
        "--items",
        "3000",
        "--queries",
        "2000",
    ]
    command += ["--only", "curves", "--engines", "lookalike", "--rounds", "1000"]
    command += ["--cache", str(tmp_path), "--out", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "screening" in line:
                break
        assert _members(process.pid) - {process.pid}
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
    deadline = time.monotonic() + 10
    while _members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _members(process.pid)


def _members(group: int) -> set[int]:
    """The living processes of a process group."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group_of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group_of) == group and state != "Z":
            found.add(int(stat.parent.name))
    return found


def remember(state: State, value: int) -> int:
    state["sum"] = state.get("sum", 0) + value
    total: int = state["sum"]
    return total


def fail(state: State, how: str) -> None:
    if how == "unavailable":
        raise UnavailableError("not on this machine")
    if how == "exit":
        os._exit(3)
    raise ValueError(how)


def where(state: State) -> tuple[set[int], str]:
    return os.sched_getaffinity(0), os.environ["OMP_NUM_THREADS"]


def test_a_child_keeps_its_state_and_its_core() -> None:
    core = min(os.sched_getaffinity(0))
    with Child({core}) as child:
        assert child.call(remember, 2) == 2
        assert child.call(remember, value=3) == 5
        assert child.call(where) == ({core}, "1")


def test_failures_in_a_child_keep_their_kinds() -> None:
    with Child(os.sched_getaffinity(0)) as child:
        with pytest.raises(UnavailableError, match="not on this machine"):
            child.call(fail, "unavailable")
        with pytest.raises(ChildError, match="ValueError: broken"):
            child.call(fail, "broken")
        assert child.call(remember, 1) == 1
        with pytest.raises(ChildError, match="exit code 3"):
            child.call(fail, "exit")


def run_of(engine: str, adapter: str, size: int, **build: Any) -> Run:
    contender = Contender(engine, "", adapter, build, ({"x": 1},))
    return Run(contender, Build(Path(), 1.0, 1, 0.0, size, "1"))


def test_groups_fit_in_memory_and_each_has_lookalike() -> None:
    gib = 2**30
    runs = [run_of("Lookalike", "lookalike", gib), *(run_of(f"peer {n}", "faiss", 2 * gib) for n in range(5))]
    runs.append(run_of("Lookalike after churn", "lookalike", gib, churn=0.2))
    found = groups(runs, 6 * gib)
    assert [sorted(run.contender.engine for run in group) for group in found] == [
        ["Lookalike", "peer 0", "peer 1"],
        ["Lookalike", "peer 2", "peer 3"],
        ["Lookalike", "Lookalike after churn", "peer 4"],
    ]


def test_an_engine_is_compared_with_lookalike_of_its_own_group() -> None:
    from benchmarks.engine.report import _rate_rows

    def run(engine: str, adapter: str, group: int, rate: float) -> Run:
        entry = run_of(engine, adapter, 1)
        entry.group = group
        entry.rounds[0, "single"] = [{"queries": 100, "seconds": 100 / rate, "recall": 0.95}]
        return entry

    runs = [
        run("Lookalike", "lookalike", 0, 1_000),
        run("peer a", "faiss", 0, 500),
        run("Lookalike", "lookalike", 1, 800),
        run("peer b", "scann", 1, 400),
    ]
    assert runs[0].points("single") == [Point(0.95, 1_000, " x=1")]
    rows = {row[0]: row[1:] for row in _rate_rows(runs, "single", curves.Plan((0.95,)))}
    assert rows["peer a"] == ["500", "2.00"]
    assert rows["peer b"] == ["400", "2.00"]
    # Its own row has the median over all groups, not the best group.
    assert rows["Lookalike"][0] == "900"
    plan = curves.Plan((0.95,), baseline="peer a")
    assert {row[0]: row[2] for row in _rate_rows(runs, "single", plan)}["peer b"] == "0.80"


def test_libraries_that_are_absent_are_left_out(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "installed", lambda adapter: False)
    catalogue = load_or_generate(Spec(32, 2_000, 7, 200), cache, lambda text: None)
    options = curves.Options(cache, 0, frozenset({0}), 1, 2**30, lambda text: None)
    chosen = contenders.contenders("curves", 32, 2_000, ["hnswlib"])
    assert curves.prepare(chosen, catalogue, options) == ([], {"hnswlib M 24": "not installed"})


def test_every_peer_has_a_sweep_of_its_cells_and_enough_settings() -> None:
    for dim, items in ((256, 100_000), (512, 1_100_000), (256, 5_000_000)):
        found = contenders.contenders("curves", dim, items)
        names = [contender.name for contender in found]
        assert len(set(names)) == len(names)
        assert all(len(contender.searches) >= 12 for contender in found)
    factories = {
        c.build["factory"] for c in contenders.contenders("curves", 256, 1_100_000, ["faiss_rabitq"])
    }
    assert {f.split(",")[0] for f in factories} == {"IVF1024", "IVF2048", "IVF4096"}


def test_recall_counts_each_true_neighbour_once() -> None:
    truth = np.array([[1, 2, 3], [4, 5, 6]])
    assert recall_of(np.array([[3, 9, 1], [7, 8, -1]]), truth) == pytest.approx(2 / 6)
    assert recall_of(np.array([[1, 1, 1], [4, 4, 4]]), truth) == pytest.approx(2 / 6)


def test_same_product_recall_is_of_what_could_be_found() -> None:
    catalogue = Catalogue(
        folder=Path(),
        vectors=np.zeros((5, 2), np.float32),
        products=np.array([0, 0, 0, 1, 2], np.uint64),
        queries=np.zeros((3, 2), np.float32),
        # Product 3 has no image in the catalogue.
        query_products=np.array([0, 1, 3], np.uint64),
        truth=np.zeros((3, 2), np.int64),
    )
    found = np.array([[0, 4], [3, -1], [0, 1]])
    assert same_product_recall(found, catalogue) == pytest.approx((1 / 2 + 1) / 2)
