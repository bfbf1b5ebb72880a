"""Do the three services answer, and does the API decide? Only the standard library: it runs beside the containers.

Addresses may be given as NAME=URL, for example api=http://127.0.0.1:6001.
"""

import json
import sys
import time
from urllib.request import Request, urlopen

SERVICES = {
    "mlflow": "http://127.0.0.1:5000",
    "api": "http://127.0.0.1:5001",
    "dashboard": "http://127.0.0.1:5002",
}
READY = {"mlflow": "/health", "api": "/health/ready", "dashboard": "/"}
PATIENCE = 900  # seconds: on an empty store a pipeline run comes before the services


def fetch(address: str, body: bytes | None = None) -> bytes:
    request = Request(address, body, {"Content-Type": "application/json"} if body else {})
    with urlopen(request, timeout=30) as answer:
        return answer.read()


def wait_for(address: str, end: float) -> None:
    "Until it answers with success."
    while True:
        try:
            fetch(address)
            return
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"no success from {address} within {PATIENCE} seconds: {error}")
            time.sleep(1)


def decide(api: str) -> str:
    "What the service decides about each example of its own description."
    described = json.loads(fetch(f"{api}/openapi.json"))["paths"]["/default_prediction"]["post"]
    examples = described["requestBody"]["content"]["application/json"]["examples"]
    answers = {}
    for name, example in examples.items():
        answer = json.loads(fetch(f"{api}/default_prediction", json.dumps(example["value"]).encode()))
        if answer["prediction"] not in (0, 1):
            sys.exit(f"a prediction is 0 or 1, the service answered {answer}")
        answers[name] = answer["prediction"]
    return ", ".join(f"{name}: {prediction}" for name, prediction in answers.items())


def main(given: list[str]) -> None:
    services = SERVICES | dict(part.split("=", 1) for part in given)
    end = time.monotonic() + PATIENCE
    for name, address in services.items():
        wait_for(address + READY[name], end)
        print(f"{name} answers")
    print(f"decisions: {decide(services['api'])}")


if __name__ == "__main__":
    main(sys.argv[1:])
