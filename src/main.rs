//! The `edge-reranker` binary: see [`edge_reranker::cli`].

fn main() -> std::process::ExitCode {
    edge_reranker::cli::main()
}
