"""The `edge-reranker` program as a subprocess that loads its model once and answers one list of pairs after the other."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time

HUNG = 3600.0  # seconds without any answer after which the program is taken for hung
STARTS = 3  # times that a program is started which is killed before its first answer
SAID = 4000  # how much of what the program said last is told


class Refused(Exception):
    """The program ended because of what it was given, and says why."""


class Died(Exception):
    """The program ended for another reason: it was killed, or there was no memory."""


class Broken(Exception):
    """Scoring cannot go on: the program does not start, because there is no such model or no such device."""


class Engine:
    """`edge-reranker score`, fed through a pipe. It answers all pairs that it has read once it reads a blank line."""

    def __init__(self, command, hung=HUNG):
        self.command, self.hung = command, hung
        self.process = self.said = None
        self.start()

    def start(self):
        for _ in range(STARTS):
            try:
                self.close()
                return self.begin()
            except (OSError, Refused) as e:
                why = e
                break
            except Died as e:  # somebody may have killed it
                why = e
        self.close()
        raise Broken(f"{self.command[0]}: {why}")

    def begin(self):
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said)
        self.deadline = None
        threading.Thread(target=self.watch, args=(self.process,), daemon=True).start()
        self.score([{"query": "Does it start?", "document": "It does."}])

    @property
    def pid(self):
        return self.process.pid

    def score(self, pairs):
        """The answers to `{"query", "document", "instruction"?}`, one for each, in order."""
        if not pairs:
            return []
        writer = threading.Thread(target=self.write, args=(self.process, pairs), daemon=True)
        self.deadline = time.monotonic() + self.hung
        writer.start()  # the program answers while it reads: writing all before reading anything would block both
        answers = []
        while len(answers) < len(pairs):
            line = self.process.stdout.readline()
            if not line.endswith(b"\n"):
                raise self.ended()
            self.deadline = time.monotonic() + self.hung
            answers.append(json.loads(line))
        writer.join()
        self.deadline = None
        return answers

    @staticmethod
    def write(process, pairs):
        with contextlib.suppress(OSError, ValueError):  # whoever reads the answers finds out that it has ended
            for pair in pairs:
                process.stdin.write(json.dumps(pair).encode() + b"\n")
            process.stdin.write(b"\n")
            process.stdin.flush()

    def watch(self, process):
        while process.poll() is None:
            time.sleep(0.2)
            if (deadline := self.deadline) and time.monotonic() > deadline and self.process is process:
                process.kill()

    def ended(self):
        """The error that says why the program is gone."""
        code = self.process.wait()
        self.said.seek(0, os.SEEK_END)
        self.said.seek(max(0, self.said.tell() - SAID))
        said = self.said.read().decode(errors="replace").strip().removeprefix("error: ")
        if code in (2, 3, 4):  # bad input, no device, a bad model or numbers that are none
            return Refused(said)
        with contextlib.suppress(ValueError):
            code = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Died(f"ended with {code}" + (f": {said}" if said else ""))

    def close(self):
        files = [self.said]
        if self.process:
            self.process.kill()
            self.process.wait()
            files += [self.process.stdin, self.process.stdout]
        for file in filter(None, files):
            with contextlib.suppress(OSError):  # what was not written yet has nowhere to go
                file.close()
        self.process = self.said = None
