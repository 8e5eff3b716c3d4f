"""What the doctor sees: in this environment for real, and in others that are acted out."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from solo_dyntemp.doctor import gpu, libraries, solo
from solo_dyntemp.doctor.command import run
from solo_dyntemp.doctor.probe import Finding, attempt
from solo_dyntemp.hosts.found import solo_learn


def findings(capsys: Any, *words: str) -> tuple[dict[str, Any], int]:
    """Run it with --json; return what it says by name, and the exit code."""
    code = 0
    try:
        run([*words, "--json"])
    except SystemExit as error:
        code = int(str(error.code))
    found = json.loads(capsys.readouterr().out)["findings"]
    return {finding["what"]: finding for finding in found}, code


@pytest.fixture
def without_solo(monkeypatch: Any) -> Path | None:
    """Hide a solo-learn that is on the path."""
    folder = solo_learn()
    kept = [path for path in sys.path if not folder or Path(path) != folder.parent]
    monkeypatch.setattr(sys, "path", kept)
    for name in [name for name in sys.modules if name == "solo" or name.startswith("solo.")]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    return folder


def test_an_attempt_tells_what_went_wrong_and_survives_a_crash() -> None:
    assert attempt("print(1 + 1)") == (True, "2")
    assert attempt("import no_such") == (False, "ModuleNotFoundError: No module named 'no_such'")
    assert attempt("import os; os.abort()") == (False, "exit code -6")


@pytest.mark.nightly
@pytest.mark.slow
def test_this_environment_is_fit_for_our_engine(capsys: Any) -> None:
    found, code = findings(capsys, "core")
    assert code == 0 and {finding["state"] for finding in found.values()} == {"ok"}
    assert "needs >=2.10" in found["torch"]["detail"] and "imports" in found


def test_without_solo_learn_it_gives_the_command(capsys: Any, without_solo: Path | None) -> None:
    found, code = findings(capsys, "solo")
    assert code == 1
    (only,) = found.values()
    assert only["state"] == "missing" and "git clone" in only["cure"]


def test_another_package_called_solo_is_named(
    capsys: Any, without_solo: Path | None, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found, code = findings(capsys, "solo")
    assert code == 1 and found["solo-learn"]["state"] == "broken"
    assert str(tmp_path) in found["solo-learn"]["detail"]


def test_another_version_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text('setup(version="1.0.5")')
    finding = solo.version_of(tmp_path / "solo")
    assert finding.state == "broken" and "known is 1.0.6" in finding.detail
    assert finding.cure == f"git -C {tmp_path} checkout 9187ea3"


def test_a_requirement_that_is_not_met_is_broken(monkeypatch: Any) -> None:
    monkeypatch.setattr(libraries, "installed", {"torch": "2.1.0"}.get)
    found = {finding.what: finding for finding in libraries.requirements()}
    assert found["torch"].state == found["timm"].state == "broken"
    assert found["torch"].cure == "pip install 'torch>=2.10'"


@pytest.mark.parametrize(("other", "state"), [(None, "ok"), ("2.6.6", "ok"), ("1.9", "broken")])
def test_two_lightnings_of_different_versions_are_broken(
    other: str | None, state: str, monkeypatch: Any
) -> None:
    versions = {"lightning": "2.6.6", "pytorch-lightning": other}
    monkeypatch.setattr(libraries, "installed", versions.get)
    (finding,) = libraries.lightnings()
    assert finding.state == state
    assert finding.cure == ("" if state == "ok" else "pip install pytorch-lightning==2.6.6")


@pytest.mark.parametrize(
    ("package", "works", "state"),
    [("cuda130", True, "ok"), ("cuda110", True, "broken"), ("cuda130", False, "broken")],
)
def test_dali_must_work_and_fit_the_cuda_of_torch(
    package: str, works: bool, state: str, monkeypatch: Any
) -> None:
    class Distribution:
        metadata = {"Name": f"nvidia-dali-{package}"}  # noqa: RUF012
        version = "2.4"

    def acted(program: str) -> tuple[bool, str]:
        return (True, "13.0") if "torch" in program else (works, "ImportError: libcuda")

    monkeypatch.setattr(libraries, "distributions", lambda: [Distribution])
    monkeypatch.setattr(libraries, "attempt", acted)
    (finding,) = libraries.dali()
    assert finding.state == state
    assert ("install nvidia-dali-cuda130" in finding.cure) is (state != "ok")


@pytest.mark.parametrize(
    ("driver", "built", "state"),
    [(None, "13.0", "missing"), ("/bin/x", "None", "broken"), ("/bin/x", "13.0", "broken")],
)
def test_a_gpu_that_cannot_be_used_says_why(
    driver: str | None, built: str, state: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: driver)
    monkeypatch.setattr(
        libraries, "attempt", lambda program: ("version" in program, built if "version" in program
                                            else "RuntimeError: no")
    )  # fmt: skip
    (finding,) = libraries.cuda()
    assert finding.state == state and bool(finding.cure) is (state == "broken")


@pytest.mark.parametrize("clone", [None, Path("solo")])
def test_an_editable_install_that_hydra_cannot_see_is_told(
    clone: Path | None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(solo, "attempt", lambda _: (True, "['Other']"))
    monkeypatch.setattr(solo, "editable_project", lambda: "/a b")
    monkeypatch.setattr(solo, "solo_learn", lambda: clone)
    (finding,) = solo.hydra_plugin()
    assert finding.state == ("broken" if clone else "known")
    assert finding.detail.startswith("not needed") is (clone is None)
    assert finding.cure == "pip install --no-deps -e '/a b' --config-settings editable_mode=strict"


def test_the_exit_code_is_of_what_was_asked(monkeypatch: Any, capsys: Any) -> None:
    from solo_dyntemp.doctor import command

    def gives(topic: str, state: str) -> Any:
        return (lambda: [Finding(topic, topic, state, "[seen]", "mend it")],)

    checks = {"core": gives("core", "ok"), "dali": gives("dali", "broken"),
              "solo": gives("solo", "missing")}  # fmt: skip
    monkeypatch.setattr(command, "CHECKS", checks)
    run([])
    out = capsys.readouterr().out
    assert "[seen]" in out and "mend it" in out
    for asked in ("dali", "solo"):
        with pytest.raises(SystemExit, match="1"):
            run([asked])
    monkeypatch.setitem(checks, "core", gives("core", "broken"))
    with pytest.raises(SystemExit, match="1"):
        run([])
    with pytest.raises(ValueError, match=r"unknown topic 'dail'\. Did you mean 'dali'"):
        run(["dail"])


@pytest.mark.solo
@pytest.mark.slow
@pytest.mark.skipif(solo_learn() is None, reason="solo-learn is not on the path")
def test_with_solo_learn_each_known_fault_is_tried(capsys: Any) -> None:
    found, code = findings(capsys, "solo")
    assert code == 0
    assert found["solo-learn"]["state"] == found["its methods and ours"]["state"] == "ok"
    assert found["solo-learn"]["detail"].startswith("1.0.6")
    assert found["its torch.load"]["state"] == "known"
    assert "compute_on_step=False" in found["its kNN"]["cure"]


def test_scripts_that_hydra_cannot_start_get_another_command(monkeypatch: Any) -> None:
    """As it is on Python 3.14."""
    monkeypatch.setattr(solo, "attempt", lambda program: (False, "ValueError: badly formed"))
    found = solo.scripts()
    assert found.state == "known" and found.detail.endswith("this Python: ValueError: badly formed")
    assert found.cure.startswith("dyntemp solo main_pretrain.py")


def test_the_doctor_says_of_this_python_whether_hydra_starts() -> None:
    assert solo.scripts().state == ("known" if sys.version_info >= (3, 14) else "ok")


@pytest.mark.solo
@pytest.mark.skipif(solo_learn() is None, reason="solo-learn is not on the path")
def test_the_cure_of_its_knn_cures_it(tmp_path: Path) -> None:
    folder = solo_learn()
    assert folder is not None
    copy = shutil.copytree(folder, tmp_path / "solo")
    cure = solo.knn(folder).cure.replace(str(folder), str(copy))
    subprocess.run(cure, shell=True, check=True)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import torch, solo;"
        "from solo.utils.knn import WeightedKNNClassifier as K; y = torch.arange(9) % 3;"
        "x = torch.randn(9, 3); knn = K(k=1);"
        "knn.update(train_features=x, train_targets=y, test_features=x, test_targets=y);"
        "print(solo.__file__, knn.compute()[0])"
    )
    good, said = attempt(program)
    assert good and said.startswith(str(tmp_path)) and said.endswith("100.0"), said


@pytest.mark.parametrize(("cost", "verdict"), [("0.41", "faster"), ("12.3", "slower")])
def test_bfloat16_is_measured(cost: str, verdict: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(libraries, "attempt", lambda program: (True, cost))
    (finding,) = libraries.bf16()
    assert finding.state == "ok" and f"trains {verdict} on this CPU" in finding.detail
    monkeypatch.setattr(libraries, "attempt", lambda program: (False, "no module named torch"))
    assert libraries.bf16() == []


def test_without_a_card_it_says_what_it_would_measure(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(gpu, "attempt", lambda program: (False, "AssertionError"))
    found, code = findings(capsys, "--gpu")
    assert code == 1 and list(found) == ["card"]
    assert "no CUDA device; with one: which kernel the loss takes" in found["card"]["detail"]


def test_with_a_card_dali_may_be_absent_and_nothing_else_may_fail(
    monkeypatch: Any, capsys: Any
) -> None:
    said = {"CARD": (True, "H100"), "dali": (False, "UserError: pip install nvidia-dali-cuda130")}

    def acted(program: str) -> tuple[bool, str]:
        return said.get("CARD" if program == gpu.CARD else "dali" if "dali'" in program else "",
                        (True, '"fine"'))  # fmt: skip

    monkeypatch.setattr(gpu, "attempt", acted)
    found, code = findings(capsys, "--gpu")
    assert code == 0 and found["card"]["detail"] == "H100" and found["dali"]["state"] == "missing"
    assert found["loss"]["detail"] == found["training step"]["detail"] == "fine"
    said[""] = (False, "RuntimeError: no kernel image")
    found, code = findings(capsys, "--gpu")
    assert code == 1 and found["loss"]["state"] == "broken"


@pytest.mark.slow
def test_what_it_measures_on_a_card_runs_on_a_cpu() -> None:
    assert "tiled (triton needs an NVIDIA GPU" in gpu.loss("cpu")
    for form in ("on_device", "image_folder"):
        assert "views/s at 32 px" in gpu.loader(form, "cpu", small=True)
    assert "slowest is " in gpu.step("cpu", small=True)
