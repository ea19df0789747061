"""The Qwen3-Reranker prompt: three parts, tokenised separately and concatenated."""

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def body(instruction, query, document):
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"


# The body may be cut after "<Query>:" and after "<Document>:" without changing its tokens: the pre-tokenizer always ends a
# token there, because a space follows. (Cutting after that space, or before "\n<Document>", would change tokens.)
def head_part(instruction):
    return f"<Instruct>: {instruction}\n<Query>:"


def query_part(query):
    return f" {query}\n<Document>:"


def document_part(document):
    return f" {document}"
