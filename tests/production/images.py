"What the images hold and start, read from the Dockerfile; and a place that is like one of them."

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ("mlflow", "service", "dashboard")
IMAGES = (*SERVICES, "runner")


def read_stages() -> dict[str, list[tuple[str, str]]]:
    "Stage → its instructions in order, with continued lines joined."
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    stages: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for word, _, rest in (line.partition(" ") for line in lines):
        if word == "FROM":
            name = rest.split()[-1]
            stages[name] = []
        stages[name].append((word, " ".join(rest.split())))
    return stages


def read_pins(path: Path) -> dict[str, set[str]]:
    "Name → versions, of a lock."
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE):
        pins.setdefault(name, set()).add(version)
    return pins


def fill(text: str, given: dict[str, str]) -> str:
    "The text with its variables as compose puts them in; what is required and missing is a KeyError."
    filled = re.compile(r"\$\{(\w+)(?::([-?])([^${}]*))?\}")
    while found := filled.search(text):
        name, kind, rest = found.groups()
        value = given.get(name) or (rest if kind == "-" else "")
        if kind == "?" and not value:
            raise KeyError(name)
        text = text.replace(found[0], value)
    return text


def _list_words(name: str, instruction: str) -> list[str]:
    rest = dict(read_stages()[name])[instruction]
    return json.loads(rest[rest.index("[") :])


@dataclass(frozen=True)
class Image:
    "An environment made as the Dockerfile makes it, in a folder."

    name: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def home(self) -> Path:
        "The image's /app: what its stages copy there."
        return self.folder / "app"

    @property
    def command(self) -> list[str]:
        "What the image starts, word by word."
        program, *words = _list_words(self.name, "CMD")
        return [str(self.python.with_name(program)), *words]

    def health(self, port: int, at: int) -> list[str]:
        "What the image asks for its health, at another port."
        program, *words = _list_words(self.name, "HEALTHCHECK")
        return [str(self.python.with_name(program)), *(word.replace(str(port), str(at)) for word in words)]

    def environment(self, **more: str) -> dict[str, str]:
        "Nothing of the caller's but the path of the system's own programs."
        (self.folder / "tmp").mkdir(exist_ok=True)
        own = {"HOME": str(self.folder / "tmp"), "TMPDIR": str(self.folder / "tmp")}
        own |= {"PATH": f"{self.python.parent}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        return own | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | more

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess:
        "A command in the image, to its end."
        return subprocess.run(
            words, cwd=self.home, env=self.environment(**more), capture_output=True, text=True, timeout=900
        )

    def scan(self) -> dict[str, tuple[int, int]]:
        "Size and time of everything that must not be written."
        places = [path for part in ("venv", "app") for path in (self.folder / part).rglob("*")]
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in places}


def build_wheel(folder: Path) -> Path:
    "The library, as the build stage makes it."
    words = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


def _install(python: Path, *words: str) -> None:
    "With uv where it is there, which takes seconds; with pip as the Dockerfile does otherwise."
    uv = (
        "uv",
        "pip",
        "install",
        "--quiet",
        "--link-mode",
        "copy",
        "--compile-bytecode",
        "--python",
        str(python),
    )
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    done = subprocess.run(
        [*(uv if shutil.which("uv") else pip), *words], capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr


def build_image(name: str, folder: Path, wheel: Path) -> Image:
    "An environment from the image's own lock, and its /app."
    image = Image(name, folder)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    lock = ROOT / "containers" / f"{name}.lock"
    _install(image.python, "--require-hashes", "--only-binary", ":all:", "-r", str(lock))
    _install(image.python, "--no-deps", str(wheel))
    subprocess.run(
        [image.python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip"], check=True, timeout=120
    )
    for word, rest in [*read_stages()["base"], *read_stages()[name]]:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, target = shlex.split(rest)
            for source in sources:
                place = image.home / (source if target == "./" else target)
                place.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-R", str(ROOT / source), str(place)], check=True)
    return image


def measure(folder: Path) -> int:
    "Bytes of all files below, each counted once."
    seen = {
        (stat.st_dev, stat.st_ino): stat.st_size for path in folder.rglob("*") if (stat := os.lstat(path))
    }
    return sum(seen.values())
