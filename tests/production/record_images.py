"Write reports/record/images.md: what the layers of each image hold, measured in environments made from their locks."

import tempfile
from pathlib import Path

from images import IMAGES, ROOT, build_image, build_wheel, measure, read_pins

HEAD = """# Images

What each image adds to its base, measured by `make containers` in an environment installed from the image's own lock
(files as they lie on the disk, not compressed). The base, `python:3.12-slim-bookworm`, is the same for all and comes on top.

| image | packages | MB of packages | of them the largest | MB of the project's own files |
|---|---|---|---|---|
"""


def describe(name: str, folder: Path, wheel: Path) -> str:
    "The image's line of the table."
    image = build_image(name, folder, wheel)
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    largest = sorted(
        ((measure(path), path.name) for path in packages.iterdir() if path.is_dir()), reverse=True
    )[:4]
    parts = ", ".join(f"{part} {size / 1e6:.0f}" for size, part in largest)
    pins = len(read_pins(ROOT / "containers" / f"{name}.lock"))
    return f"| {name} | {pins} | {measure(folder / 'venv') / 1e6:.0f} | {parts} | {measure(image.home) / 1e6:.1f} |\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        wheel = build_wheel(Path(place))
        lines = []
        for name in IMAGES:
            (Path(place) / name).mkdir()
            lines.append(describe(name, Path(place) / name, wheel))
    (ROOT / "reports" / "record" / "images.md").write_text(HEAD + "".join(lines))


if __name__ == "__main__":
    main()
