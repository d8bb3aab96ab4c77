import shutil
import subprocess
from pathlib import Path

from nakawari import provenance


def repository(folder: Path) -> str:
    """Make a folder a git repository with one commit; returns the commit."""

    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout

    git("init", "-q")
    (folder / "notes.txt").write_text("mine")
    git("add", "notes.txt")
    git("commit", "-qm", "mine")
    return git("rev-parse", "HEAD").strip()


def test_the_commit_is_the_products_wherever_it_is_run(tmp_path, monkeypatch):
    own = provenance.git_revision()
    theirs = repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert provenance.git_revision() == own
    assert own is None or not own.startswith(theirs)


def test_an_installed_package_has_no_commit_of_the_repository_around_it(tmp_path):
    repository(tmp_path)
    installed = tmp_path / "venv/nakawari"
    installed.mkdir(parents=True)
    shutil.copy(provenance.__file__, installed)
    assert provenance.git_revision(installed) is None
