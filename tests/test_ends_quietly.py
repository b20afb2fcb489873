"""How the program ends: by Ctrl+C at any moment, by a reader that has gone, without memory."""

import errno
import os
import pty
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from commands import TINY, TISSUE

import abbe.cli
from abbe.cli import main
from abbe.cli.shared.arguments import going_on_told
from abbe.errors import InputError
from abbe.progress import track

STOPPED = "\nabbe: stopped; what was computed is kept\n"
SUPERVISED = ["distill", "supervised", *TISSUE, *TINY, "--student.input-channels", "nucleus"]
AS_SCRIPT = "import sys; from abbe.start import main; sys.exit(main())"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and pipes of POSIX")


def run(code: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, **options)  # pyright: ignore


@pytest.mark.parametrize("module", ["abbe.cli", "abbe.errors", "abbe.cli.data", "tyro", "numpy"])
def test_ctrl_c_while_it_is_imported(module: str, tmp_path: Path) -> None:
    """The signal comes while this very module is looked for, and again in the next moment."""
    code = f"""
    import abbe.start, os, signal, sys

    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == {module!r}:
                os.kill(os.getpid(), signal.SIGINT)

    sys.meta_path.insert(0, Interrupting())
    sys.exit(abbe.start.main())
    """
    ended = run(textwrap.dedent(code), "data", "check", str(tmp_path), stdout=subprocess.PIPE)
    assert ended.stderr == STOPPED
    assert (ended.returncode, ended.stdout) == (130, "")


def test_a_library_that_swallows_the_interrupt_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "swallows.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "    for _ in range(1000): pass\nexcept BaseException:\n    raise ImportError('lost')\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport abbe.start, swallows"
    ended = run(code)
    assert (ended.returncode, ended.stderr) == (130, STOPPED)


def test_ctrl_c_after_the_imports_is_an_exception_that_cleans_up() -> None:
    code = """
    import abbe.start, abbe.cli, os, signal, sys
    def work(words):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000): pass
        finally:
            print("cleaned up", flush=True)
    abbe.cli._run = work
    code = abbe.start.main()
    os.kill(os.getpid(), signal.SIGINT)  # while threads end
    """
    ended = run(textwrap.dedent(code), stdout=subprocess.PIPE)
    assert ended.stdout == "cleaned up\n"
    assert (ended.returncode, ended.stderr) == (130, STOPPED * 2)


def test_ctrl_c_that_a_shell_has_ignored_stays_so() -> None:
    code = "import abbe.start, os, signal; os.kill(os.getpid(), signal.SIGINT); print('goes on')"
    ended = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, code],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("goes on\n", "")


def test_python_m_abbe_starts_there() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "abbe", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    own = [line.split("|")[-1].strip() for line in ended.stderr.splitlines() if "| " in line]
    assert [name for name in own if name.startswith("abbe")][:2] == ["abbe", "abbe.start"]
    assert ended.stdout.startswith("abbe ")


@pytest.mark.parametrize("words", [["recipes"], ["--help"], ["data", "--help"], ["data", "list"]])
def test_a_reader_that_has_gone(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = run(AS_SCRIPT, *words, stdout=write)
    os.close(write)
    assert ended.stderr == ""
    assert ended.returncode == 128 + signal.SIGPIPE


def test_a_closed_stdout(tmp_path: Path) -> None:
    for words in ("recipes", "--help", "data list"):
        command = ["sh", "-c", f'"$0" -c "$1" {words} >&-', sys.executable, AS_SCRIPT]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_too_little_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Verb:
        @staticmethod
        def run(words: list[str]) -> int:
            raise MemoryError

    monkeypatch.setattr(abbe.cli, "import_module", lambda name: Verb)
    assert main(["demo"]) == 1
    assert "abbe demo: there is too little memory" in capsys.readouterr().err


class Tracking:
    """A verb that holds its bar in a variable, as those do that go on with what they read."""

    raised: BaseException

    def run(self, words: list[str]) -> int:
        images = track([1, 2, 3], "looking")
        for image in images:
            if image == 2:
                raise self.raised
        return 0


@pytest.mark.parametrize(
    ("raised", "code", "last"),
    [
        (KeyboardInterrupt(), 130, STOPPED.strip()),
        (InputError("a.png: is damaged"), 1, "abbe demo: a.png: is damaged"),
        (MemoryError(), 1, "abbe demo: there is too little memory. Close other programs"),
        (OSError(errno.ENOSPC, "No space", "a.tif"), 1, "abbe demo: a.tif: No space. Free"),
    ],
)
def test_what_is_said_of_the_end_stands_below_the_bar(
    raised: BaseException, code: int, last: str, monkeypatch, capsys
) -> None:
    verb = Tracking()
    verb.raised = raised
    monkeypatch.setattr(abbe.cli, "import_module", lambda name: verb)
    assert main(["demo"]) == code
    said = capsys.readouterr().err
    assert said.count("looking") == 1
    assert "1/3" in said
    assert said.strip().splitlines()[-1].startswith(last)


def test_how_to_go_on_stands_below_the_bar_too(tmp_path: Path, capsys) -> None:
    verb = Tracking()
    verb.raised = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), going_on_told("distill", tmp_path):
        verb.run([])
    said = capsys.readouterr().err
    assert said.index("1/3") < said.index(f"Go on with: abbe distill {tmp_path} --resume")


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True])
def test_ctrl_c_while_images_are_looked_at(terminal: bool, tmp_path: Path) -> None:
    """The bar is shown before there is a run folder; nothing of it stands below the last line."""
    code = """
    import abbe.start, os, signal, sys, threading, time
    from itertools import count
    from abbe import progress
    from abbe.runs import lost

    shown = threading.Event()

    class Bar(progress.Bar):
        def __init__(self, *given):
            super().__init__(*given)
            shown.set()

    progress.Bar = Bar

    def interrupted(image, channels, looked_at=count()):
        shown.wait()
        if next(looked_at) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(2)
        return ()

    lost.channel_digests = interrupted
    sys.exit(abbe.start.main())
    """
    out = tmp_path / "run"
    words = [*SUPERVISED, "--out", str(out)]
    command = [sys.executable, "-c", textwrap.dedent(code), *words]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=theirs
    ) as stopped:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # so a terminal says that nobody is left at its other end
            while part := os.read(ours, 4096):
                said += part
    os.close(ours)
    text = said.decode()
    assert stopped.returncode == 130, text
    assert "looking" in text
    assert "3/16" not in text  # what had not begun was not looked at
    assert "Traceback" not in text
    assert text.replace("\r", "").endswith(STOPPED)
    assert not out.exists()


def test_other_troubles_are_still_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Verb:
        raised: Exception = InputError("a.png: its name is b\udcffc")

        def run(self, words: list[str]) -> int:
            raise self.raised

    verb = Verb()
    monkeypatch.setattr(abbe.cli, "import_module", lambda name: verb)
    assert main(["demo"]) == 1
    assert r"its name is b\xffc" in capsys.readouterr().err
    verb.raised = OSError(errno.ENOSPC, "No space left on device", "a.tif")
    assert main(["demo"]) == 1
    assert "a.tif: No space left on device" in capsys.readouterr().err


def test_what_abbe_warns_of_shows_no_line_of_its_code(tmp_path: Path) -> None:
    words = "teach --teacher.kind package --teacher.path nuclei --teacher.input-channels nucleus"
    words = [*words.split(), *TISSUE, "--out", str(tmp_path / "a.zarr")]
    said = run(AS_SCRIPT, *words, stdout=subprocess.DEVNULL).stderr
    assert "note: the teacher Nuclei in fluorescence does not say for which pixel size" in said
    assert ".py:" not in said
