"A load of requests that remembers every answer, and the check of what it remembers."

import json
import socket
import threading
import time
from dataclasses import dataclass, field

from services import Service, set_alias, settings_of

from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import read_log


@dataclass
class Load:
    "Connections that ask one client after the other, and remember every whole answer."

    service: Service
    connections: int = 8
    answers: list[tuple[int, int, str, int, int]] = field(
        default_factory=list
    )  # client, status, id, version, prediction
    broken: list[Exception] = field(default_factory=list)  # what ended a connection too early
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        synthetic = make_synthetic_clients(200, seed=3)[list(CLIENT_COLUMNS)]
        self.clients = json.loads(synthetic.to_json(orient="records"))
        self.bodies = [json.dumps(client).encode() for client in self.clients]
        self.threads = [threading.Thread(target=self._ask, args=(k,)) for k in range(self.connections)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(timeout=120)
            assert not thread.is_alive(), "a connection waits for its answer for ever"

    def wait_for(self, more: int) -> None:
        "Until so many more were answered."
        needed, end = len(self.answers) + more, time.monotonic() + 60
        while len(self.answers) < needed:
            assert time.monotonic() < end, self.broken
            time.sleep(0.005)

    def _ask(self, number: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.service.port), timeout=30) as connection:
                reader = connection.makefile("rb")
                while not self.stopped.is_set():
                    number = (number + self.connections) % len(self.bodies)
                    self._ask_once(connection, reader, number)
        except Exception as error:  # a test that kills the service expects it; earlier answers are kept
            self.broken.append(error)

    def _ask_once(self, connection: socket.socket, reader, number: int) -> None:
        body = self.bodies[number]
        head = b"POST /default_prediction HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        if not (first := reader.readline()):
            raise OSError("the service died")
        status, headers = int(first.split(b" ")[1]), {}
        while line := reader.readline().strip():
            name, _, value = line.partition(b": ")
            headers[name] = value
        length = int(headers.get(b"content-length", -1))
        if length < 0 or len(known := reader.read(length)) < length:
            raise OSError("the service died")
        if status != 200:
            self.answers.append((number, status, "", 0, -1))
            return
        found = headers[b"x-decision-id"].decode(), int(headers[b"x-model-version"])
        self.answers.append((number, status, *found, json.loads(known)["prediction"]))


def find_champions(store) -> dict[int, Champion]:
    "Each version as it answers by itself; the last one is the champion again."
    champions = {}
    for version in (1, 2, 3):
        set_alias(store, version)
        champions[version] = Champion.load(settings_of(store))
    return champions


def check(load: Load, champions: dict[int, Champion], killed: bool = False) -> None:
    "Every answer is the one of the champion that it names, and on record with all its numbers; none failed to come."
    assert all(isinstance(error, OSError) for error in load.broken) if killed else not load.broken, (
        load.broken
    )
    logged = {entry["id"]: entry for entry in read_log(settings_of(load.service.store).audit_path)}
    expected = {
        (version, number): champion.decide(client).to_dict()
        for version, champion in champions.items()
        for number, client in enumerate(load.clients)
    }
    for number, status, decision_id, version, shown in load.answers:
        assert status == 200
        entry = logged[decision_id]
        assert entry["answer"] == expected[version, number] and shown == entry["answer"]["prediction"]
        assert entry["model"] == {"version": version, "digest": champions[version].digest}
        assert all(entry["input"][name] == load.clients[number][name] for name in champions[version].seen)
