"""The Dockerfile and the Kubernetes manifests, as far as they can be checked without Docker and a cluster: python tests/scale/test_containers.py

Needs tests/scale/requirements.txt; kubectl for the variants, and target/release/edge-reranker (or $EDGE_RERANKER) for the names of settings, where they are there.
"""

import fnmatch
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "examples/kubernetes"
PROGRAM = os.environ.get("EDGE_RERANKER", str(ROOT / "target/release/edge-reranker"))
VERSIONS = ["1.33", "1.37"]
OTHERS = ["Kustomization", "PodMonitor"]  # kinds that are no part of Kubernetes: no schema


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def manifests():
    """(file, object) of all that Kubernetes itself knows."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for document in documents(path.read_text()):
            if "kind" in document and document["kind"] not in OTHERS and path != KUBERNETES / "cuda/deployment.yaml":  # that one is a patch
                yield path, document


def of_kind(objects, kind):
    (found,) = [o for o in objects if o["kind"] == kind]
    return found


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.base = [document for path, document in manifests() if path.parent.name == "base"]
        self.deployment = of_kind(self.base, "Deployment")
        self.pod = self.deployment["spec"]["template"]
        (self.container,) = self.pod["spec"]["containers"]

    def check(self, document):
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)

    def test_every_manifest_fits_its_schema(self):
        for path, document in manifests():
            with self.subTest(path=path.relative_to(KUBERNETES)):
                self.check(document)

    def test_the_checker_sees_mistakes(self):
        self.deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            self.check(self.deployment)

    def test_they_mean_each_other(self):
        labels = self.pod["metadata"]["labels"].items()
        for kind, where in [("Deployment", ["matchLabels"]), ("Service", []), ("PodDisruptionBudget", ["matchLabels"])]:
            selector = of_kind(self.base, kind)["spec"]["selector"]
            for key in where:
                selector = selector[key]
            self.assertLessEqual(selector.items(), labels, kind)
        monitor = yaml.safe_load((KUBERNETES / "metrics/pod-monitor.yaml").read_text())["spec"]
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), labels)
        scaler = of_kind(self.base, "HorizontalPodAutoscaler")["spec"]
        self.assertEqual((scaler["scaleTargetRef"]["kind"], scaler["scaleTargetRef"]["name"]), ("Deployment", self.deployment["metadata"]["name"]))
        self.assertNotIn("replicas", self.deployment["spec"], "the autoscaler's number would be reset by every `kubectl apply`")
        ports = {port["name"] for port in self.container["ports"]}
        used = [self.container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
        used += [port["targetPort"] for port in of_kind(self.base, "Service")["spec"]["ports"]] + [
            point["port"] for point in monitor["podMetricsEndpoints"]
        ]
        self.assertEqual(set(used), ports)
        variables = {e["name"]: e.get("value") for e in self.container["env"]}
        drain = int(variables["EDGE_RERANKER_DRAIN_TIMEOUT"])
        self.assertGreater(drain, int(variables["EDGE_RERANKER_TIMEOUT"]), "requests would be cut off")
        least = self.container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain
        self.assertGreater(self.pod["spec"]["terminationGracePeriodSeconds"], least, "requests would be killed")

    def test_servers_with_cards_make_room_for_each_other(self):
        patch = yaml.safe_load((KUBERNETES / "cuda/deployment.yaml").read_text())["spec"]
        self.assertEqual(patch["strategy"]["rollingUpdate"], {"maxUnavailable": 1, "maxSurge": 0})
        patches = yaml.safe_load((KUBERNETES / "cuda/kustomization.yaml").read_text())["patches"]
        (scaler,) = [yaml.safe_load(p["patch"]) for p in patches if p.get("target", {}).get("kind") == "HorizontalPodAutoscaler"]
        replicas = {change["path"]: change["value"] for change in scaler}
        self.assertGreater(replicas["/spec/minReplicas"], 1, "nobody would answer during an update")
        self.assertGreaterEqual(replicas["/spec/maxReplicas"], replicas["/spec/minReplicas"])

    def test_the_server_has_what_they_name(self):
        server = ROOT / "pkg/src/server"
        routes = (server / "handler.js").read_text()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertIn(f"'{self.container[probe]['httpGet']['path']}'", routes)
        (rule,) = yaml.safe_load((KUBERNETES / "metrics/prometheus-adapter.yaml").read_text())["rules"]["custom"]
        self.assertNotIn("name", rule, "metrics are called as their series are")
        series = re.search(r'__name__=~"([^"]+)"', rule["seriesQuery"])[1]
        for name in self.scaled_by():
            self.assertRegex(name, f"^{series}$")

    def scaled_by(self):
        metrics = of_kind(self.base, "HorizontalPodAutoscaler")["spec"]["metrics"]
        return [metric["pods"]["metric"]["name"] for metric in metrics]

    def test_the_settings_are_those_of_serve(self):
        texts = [path.read_text() for path in [*KUBERNETES.rglob("*.yaml"), ROOT / "Dockerfile"]]
        used = set(re.findall(r"EDGE_RERANKER_[A-Z_]+", "\n".join(texts)))
        self.assertLessEqual(used, set(re.findall(r"EDGE_RERANKER_[A-Z_]+", self.help_of_serve())))

    def help_of_serve(self):
        help = subprocess.run([PROGRAM, "serve", "--help"], capture_output=True, encoding="utf8", check=False) if os.path.exists(PROGRAM) else None
        if help is None or help.returncode:
            self.skipTest(f"{PROGRAM} has no verb serve")
        return help.stdout

    def test_the_server_answers_probes_and_metrics(self):
        """The program, started as the container is."""
        self.help_of_serve()
        settings = {e["name"]: e.get("value", "the key") for e in self.container["env"]}
        env = {**settings, "EDGE_RERANKER_PORT": "0", "EDGE_RERANKER_DEVICE": "cpu", "PATH": os.environ["PATH"], "HF_HOME": "/not/there"}
        server = subprocess.Popen([PROGRAM, *self.container["args"]], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf8")
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        address = re.search(r"http://\S+", server.stdout.readline())[0].rstrip("/")

        def get(path, **headers):
            try:
                with urllib.request.urlopen(urllib.request.Request(address + path, headers=headers), timeout=60) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as e:
                with e:
                    return e.code, ""

        end = time.monotonic() + 120
        while get(self.container["startupProbe"]["httpGet"]["path"])[0] == 503 and time.monotonic() < end:
            time.sleep(0.1)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(get(self.container[probe]["httpGet"]["path"])[0], 200, probe)
        monitor = yaml.safe_load((KUBERNETES / "metrics/pod-monitor.yaml").read_text())["spec"]
        path = monitor["podMetricsEndpoints"][0]["path"]
        self.assertEqual(get(path)[0], 401)
        status, text = get(path, Authorization="Bearer the key")
        self.assertEqual(status, 200)
        for name in self.scaled_by():
            self.assertRegex(text, rf"(?m)^{name} 0$")
        server.terminate()
        self.assertEqual(server.wait(60), 0)

    def test_nothing_runs_as_root(self):
        self.assertIs(self.pod["spec"]["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(
            self.container["securityContext"], {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        )
        users = re.findall(r"^USER (\d+):\d+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        self.assertEqual(users, [str(self.pod["spec"]["securityContext"]["runAsUser"])] * 2)

    @unittest.skipUnless(shutil.which("kubectl"), "no kubectl here")
    def test_the_variants(self):
        for variant, model, gpus in [("base", "mini", None), ("cuda", "4b", "1")]:
            command = ["kubectl", "kustomize", KUBERNETES / variant]
            made = documents(subprocess.run(command, capture_output=True, encoding="utf8", check=True).stdout)
            for document in made:
                self.check(document)
            (container,) = of_kind(made, "Deployment")["spec"]["template"]["spec"]["containers"]
            self.assertIn({"name": "EDGE_RERANKER_MODEL", "value": model}, container["env"])
            self.assertEqual(container["resources"]["limits"].get("nvidia.com/gpu"), gpus)
            (volume,) = of_kind(made, "Deployment")["spec"]["template"]["spec"]["volumes"]
            self.assertEqual(len(volume), 2, f"{volume}: one kind of volume")


class Image(unittest.TestCase):
    text = (ROOT / "Dockerfile").read_text()

    def test_hadolint(self):
        program = shutil.which("hadolint")
        self.assertIsNotNone(program, "pip install -r tests/scale/requirements.txt, and its programs must be on PATH")
        said = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, encoding="utf8", check=False)
        self.assertEqual((said.returncode, said.stdout), (0, ""))

    def test_what_is_copied_is_enough_for_cargo(self):
        """The build's folder, as .dockerignore and the stages of the Dockerfile leave it, is a package that cargo understands."""
        kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        stages = re.split(r"^FROM ", self.text, flags=re.MULTILINE)[1:]
        builds = [stage for stage in stages if "cargo build" in stage]
        self.assertEqual(len(builds), 2)
        for stage in builds:
            with tempfile.TemporaryDirectory() as folder:
                for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", stage, re.MULTILINE):
                    for source in sources.split():
                        files = [ROOT / source] if (ROOT / source).is_file() else [p for p in (ROOT / source).rglob("*") if p.is_file()]
                        for file in files:
                            name = str(file.relative_to(ROOT))
                            if any(name == k or name.startswith(k + "/") or fnmatch.fnmatch(name, k) for k in kept):
                                target = Path(folder, name)
                                target.parent.mkdir(parents=True, exist_ok=True)
                                shutil.copy(file, target)
                subprocess.run(
                    ["cargo", "metadata", "--no-deps", "--locked", "--offline", "--format-version", "1"], cwd=folder, capture_output=True, check=True
                )
                for file in Path(folder, "src").rglob("*.rs"):
                    for included in re.findall(r'include_(?:bytes|str)!\("([^"]+)"\)', file.read_text()):
                        self.assertTrue((file.parent / included).is_file(), f"{file.relative_to(folder)} includes {included}")

    def test_healthcheck(self):
        checks = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", self.text, re.MULTILINE)
        self.assertEqual((len(checks), len(set(checks))), (2, 1))
        command = yaml.safe_load(checks[0])  # a JSON list, which is YAML

        class Handler(BaseHTTPRequestHandler):
            code = 200
            base = ""

            def do_GET(self):
                self.send_response(self.code if self.path == self.base + "/health" else 404)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)

        def run(port, **more):
            env = {**os.environ, "EDGE_RERANKER_PORT": str(port), **more}
            return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False).returncode

        self.assertEqual(run(server.server_port), 0)
        for base in ("/api", "/api/"):
            self.assertNotEqual(run(server.server_port, EDGE_RERANKER_BASE_PATH=base), 0)
            Handler.base = "/api"
            self.assertEqual(run(server.server_port, EDGE_RERANKER_BASE_PATH=base), 0)
            Handler.base = ""
        Handler.code = 503
        self.assertNotEqual(run(server.server_port), 0)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.assertNotEqual(run(unused.getsockname()[1]), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
