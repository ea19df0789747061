"""Real Python clients of other rerankers against the native server.

    python3 -m venv venv && venv/bin/pip install -r tests/clients/requirements.txt
    venv/bin/python tests/clients/native.py [path of the binary]

Prints a line a client, and ends with 1 if any of them got something else than it should.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", LANGSMITH_TRACING="false", LITELLM_LOG="ERROR", HF_HUB_OFFLINE="1"
)  # nothing is to be fetched

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key"
QUERY = "What is the capital of China?"
DOCUMENTS = ["Bananas are yellow.", "Beijing is the capital of China.", "The capital of Korea is Seoul."]


class Server:
    """The binary with the built-in model, and what it should answer."""

    def __init__(self, binary):
        command = [binary, "serve", "--port", "0", "--api-key", KEY, "--quiet"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        while self.status("/health") != 200:
            time.sleep(0.02)
        results = self.post("/v1/rerank", {"query": QUERY, "documents": DOCUMENTS})["results"]
        self.order = [one["index"] for one in results]
        self.scores = [one["relevance_score"] for one in results]
        assert self.order[0] == 1, results

    def status(self, path):
        try:
            return urllib.request.urlopen(self.url + path).status
        except urllib.error.HTTPError as error:
            return error.code

    def post(self, path, body):
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        return json.load(urllib.request.urlopen(request))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def check(self, lines, top=None, texts=None):
        """`lines` are (index, score), the best first."""
        lines = list(lines)
        assert [index for index, _ in lines] == self.order[:top], lines
        assert all(abs(score - wanted) < 1e-6 for (_, score), wanted in zip(lines, self.scores)), lines
        if texts is not None:
            assert list(texts) == [DOCUMENTS[index] for index in self.order[:top]], texts


def refused(call, kind, status):
    try:
        call()
    except kind as error:
        assert error.status_code == status, error
    else:
        raise AssertionError(f"should be refused with {status}")


def cohere_v1(server):
    import cohere

    client = cohere.Client(KEY, base_url=server.url)
    reply = client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS, return_documents=True)
    texts = [one.document.text for one in reply.results]
    server.check(((one.index, one.relevance_score) for one in reply.results), texts=texts)
    assert reply.meta.billed_units.search_units == 1
    reply = client.rerank(query=QUERY, documents=[{"text": one} for one in DOCUMENTS], top_n=2)
    server.check(((one.index, one.relevance_score) for one in reply.results), top=2)
    refused(lambda: client.rerank(query="", documents=DOCUMENTS), cohere.BadRequestError, 400)
    stranger = cohere.Client("wrong", base_url=server.url)
    refused(lambda: stranger.rerank(query=QUERY, documents=DOCUMENTS), cohere.UnauthorizedError, 401)


def cohere_v2(server):
    import cohere

    client = cohere.ClientV2(KEY, base_url=server.url)
    reply = client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=4096)
    server.check((one.index, one.relevance_score) for one in reply.results)
    refused(lambda: client.rerank(model="m", query=QUERY, documents=[]), cohere.BadRequestError, 400)


def voyageai(server):
    import voyageai

    for base in (f"{server.url}/voyage/v1", f"{server.url}/v1"):
        client = voyageai.Client(api_key=KEY, base_url=base, max_retries=0)
        reply = client.rerank(QUERY, DOCUMENTS, model="rerank-2.5", top_k=2)
        server.check(((one.index, one.relevance_score) for one in reply.results), 2, (one.document for one in reply.results))
        assert reply.total_tokens > len(DOCUMENTS)


def langchain_cohere(server):
    from langchain_cohere import CohereRerank
    from langchain_core.documents import Document

    reranker = CohereRerank(cohere_api_key=KEY, base_url=server.url, model="rerank-v3.5", top_n=2)
    server.check(((one["index"], one["relevance_score"]) for one in reranker.rerank(DOCUMENTS, QUERY)), top=2)
    found = reranker.compress_documents([Document(page_content=text) for text in DOCUMENTS], QUERY)
    lines = [(DOCUMENTS.index(one.page_content), one.metadata["relevance_score"]) for one in found]
    server.check(lines, top=2)


def llama_index_postprocessor_cohere_rerank(server):
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    reranker = CohereRerank(api_key=KEY, base_url=server.url, model="rerank-v3.5", top_n=2)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in DOCUMENTS]
    found = reranker.postprocess_nodes(nodes, query_str=QUERY)
    server.check(((DOCUMENTS.index(one.node.text), one.score) for one in found), top=2)


def litellm_provider(model, path=""):
    def run(server):
        import litellm

        litellm.suppress_debug_info = True
        for top in (None, 2):
            options = {"api_key": KEY, "api_base": server.url + path}
            reply = litellm.rerank(model=model, query=QUERY, documents=DOCUMENTS, top_n=top, **options)
            server.check(((one["index"], one["relevance_score"]) for one in reply.results), top)

    return run


CLIENTS = [
    ("cohere", "Client.rerank", cohere_v1),
    ("cohere", "ClientV2.rerank", cohere_v2),
    ("voyageai", "Client.rerank", voyageai),
    ("langchain-cohere", "CohereRerank", langchain_cohere),
    ("llama-index-postprocessor-cohere-rerank", "CohereRerank", llama_index_postprocessor_cohere_rerank),
    ("litellm", "cohere", litellm_provider("cohere/rerank-v3.5")),
    ("litellm", "jina_ai", litellm_provider("jina_ai/jina-reranker-v2-base-multilingual")),
    ("litellm", "voyage", litellm_provider("voyage/rerank-2.5", "/v1")),
    ("litellm", "hosted_vllm", litellm_provider("hosted_vllm/Qwen/Qwen3-Reranker-0.6B")),
    ("litellm", "huggingface", litellm_provider("huggingface/BAAI/bge-reranker-base")),
    ("litellm", "dashscope", litellm_provider("dashscope/qwen3-rerank", "/compatible-api/v1")),
]


def main():
    default = os.environ.get("EDGE_RERANKER_BINARY", ROOT / "target/release/edge-reranker")
    server = Server(str(sys.argv[1] if len(sys.argv) > 1 else default))
    failed = 0
    for package, what, run in CLIENTS:
        try:
            run(server)
            outcome = "ok"
        except Exception:
            failed += 1
            outcome = f"FAILED\n{traceback.format_exc()}"
        print(f"{package} {version(package)}, {what}: {outcome}", flush=True)
    server.end()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
