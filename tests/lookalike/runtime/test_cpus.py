from __future__ import annotations

import math
from pathlib import Path

import pytest

from lookalike.runtime import cpus


def group(root: Path, path: str, **files: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / path / name.replace("__", ".")).write_text(content)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("0::/pods/pod/container\n", 1.5),  # the pod's, which is less than the container's
        ("0::/pods\n", 4.0),
        ("0::/\n", math.inf),
        ("0::/of/the/host\n", math.inf),
        ("1:cpu,cpuacct:/docker/x\n2:memory:/docker/x\n", 0.5),
        ("1:cpu:/docker\n", math.inf),
        ("1:memory:/docker/x\n", math.inf),
        ("", math.inf),
        ("nonsense\n", math.inf),
    ],
)
def test_the_least_quota_of_all_groups_counts(tmp_path: Path, own: str, expected: float) -> None:
    root = tmp_path / "cgroup"
    group(root, "pods", cpu__max="400000 100000\n")
    group(root, "pods/pod", cpu__max="150000 100000\n")
    group(root, "pods/pod/container", cpu__max="200000 100000\n")
    group(root, "cpu/docker", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    group(root, "cpu/docker/x", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    (tmp_path / "own").write_text(own)
    assert cpus.quota(root, tmp_path / "own") == expected


@pytest.mark.parametrize("content", ["max 100000\n", "", "100000 0\n", "x", "-1 100000"])
def test_what_is_not_a_quota_binds_nothing(tmp_path: Path, content: str) -> None:
    group(tmp_path, "", cpu__max=content)
    (tmp_path / "own").write_text("0::/\n")
    assert cpus.quota(tmp_path, tmp_path / "own") == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 3), (0.2, 1), (1.5, 2), (8.0, 3)])
def test_processors_are_those_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int
) -> None:
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda process: {1, 4, 9})
    monkeypatch.setattr(cpus, "quota", lambda *arguments: quota)
    assert cpus.available_cpus() == expected
