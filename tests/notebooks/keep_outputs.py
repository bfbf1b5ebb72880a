"""The experiments run on synthetic clients with the quick profile, and what they show kept in the notebooks (`make experiments`).

A reader without Python sees them on the web. Library chapters are not among them: `make outputs` runs those.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "shared"))
from processes import RUMOS, end_process, find_free_port, is_open, wait_until

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "nbs" / "experiments"
FROM_A_PIPELINE = {  # experiment → the executed notebook of a pipeline run
    "explore": "explore",
    "search": "search-Decision_tree",
    "compare": "compare",
    "judge": "judge",
    "audit": "audit",
    "stress": "stress",
    "validate": "validate",
    "prices": "prices",
}
LEFT_OUT = ("stderr",)  # progress bars and warnings of one machine


def keep_outputs(notebook: Path, executed: Path, folder: Path) -> int:
    "Copy the outputs of a notebook executed in this folder, cell by cell; returns how many cells show something."
    kept = json.loads(notebook.read_text(encoding="utf-8"))
    cells = json.loads(executed.read_text(encoding="utf-8").replace(str(folder), "…"))["cells"]
    shown = {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}
    for cell in kept["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [one for one in shown[cell["id"]] if one.get("name") not in LEFT_OUT]
            for one in cell["outputs"]:
                one.pop("execution_count", None)
                if one["output_type"] == "execute_result":
                    one["execution_count"] = None
    text = json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    notebook.write_text(text, encoding="utf-8")
    return sum(bool(cell.get("outputs")) for cell in kept["cells"])


def execute(name: str, folder: Path, environment: dict[str, str], **parameters: str) -> Path:
    "Run one experiment by hand, as papermill's own command would."
    given = [word for key, value in parameters.items() for word in ("-r", key, value)]
    output = folder / f"{name}.ipynb"
    command = [sys.executable, "-m", "papermill", str(EXPERIMENTS / f"{name}.ipynb"), str(output), *given]
    subprocess.run([*command, "--no-progress-bar", "-k", "python3"], cwd=ROOT, env=environment, check=True)
    return output


def ask_services(folder: Path, environment: dict[str, str]) -> Path:
    "`ask.ipynb` over a running API and MLflow."
    ports = {name: find_free_port() for name in ("api", "mlflow")}
    served = environment | {f"RUMOS_PORTS_{name.upper()}": str(port) for name, port in ports.items()}
    started = [subprocess.Popen([*RUMOS, "serve", name], cwd=ROOT, env=served) for name in ports]
    try:
        wait_until(lambda: all(map(is_open, ports.values())), seconds=120)
        return execute("ask", folder, served)
    finally:
        for process in started:
            end_process(process)


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place)
        ours = {
            "RUMOS_STORE_PATH": str(folder / "store"),
            "RUMOS_STORE_REPORTS": str(folder / "reports"),
            "RUMOS_LEDGER_FOLDER": str(folder / "keys"),
            "RUMOS_DATA_CACHE": str(folder / "cache"),
            "RUMOS_DATA_SOURCES": "twin",
        }
        environment = os.environ | ours
        subprocess.run([*RUMOS, "run", "--profile", "quick"], cwd=ROOT, env=environment, check=True)
        report = folder / "reports" / "latest"
        executed = {name: report / f"{stem}.ipynb" for name, stem in FROM_A_PIPELINE.items()}
        executed["synthetic"] = execute("synthetic", folder, environment)
        executed["ask"] = ask_services(folder, environment)
        for name, path in executed.items():
            print(f"{name}: {keep_outputs(EXPERIMENTS / f'{name}.ipynb', path, folder)} cells show something")


if __name__ == "__main__":
    main()
