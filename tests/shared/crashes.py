"Machines that lose power in the middle of something."


class Crash(BaseException):
    "The machine loses power."


def crash_at(monkeypatch, owner: object, name: str, call: int, when: str, *others: object) -> None:
    "Let the call-th call of a function, by whichever of its owners, end the process before or after it has acted."
    calls = []

    def make_crashing(act):
        def crashing(*given, **named):
            calls.append(name)
            if len(calls) == call and when == "before":
                raise Crash
            answer = act(*given, **named)
            if len(calls) == call:
                raise Crash
            return answer

        return crashing

    for each in (owner, *others):
        monkeypatch.setattr(each, name, make_crashing(getattr(each, name)))
