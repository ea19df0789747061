# syntax=docker/dockerfile:1
# The HTTP server as a container: docs/scale-out.md.
#   docker build -t edge-reranker .                          for processors
#   docker build -t edge-reranker:cuda --target cuda .       for NVIDIA cards
ARG RUST=1.95.0

FROM rust:${RUST}-slim-bookworm AS rust

# The program for processors. It picks the instructions of the machine when it starts.
FROM rust AS build-cpu
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY models models
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features --features cli,threads \
    && install -D target/release/edge-reranker /out/edge-reranker

# The program for NVIDIA cards. CUDA_COMPUTE_CAP is the oldest generation that it is for; the driver compiles for newer ones.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build-cuda
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ARG CUDA_COMPUTE_CAP=80
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup CUDA_HOME=/usr/local/cuda CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP} \
    PATH=/usr/local/cargo/bin:/usr/local/cuda/bin:${PATH}
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY models models
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,id=target-cuda \
    cargo build --release --locked --no-default-features --features cli,threads,cuda \
    && install -D target/release/edge-reranker /out/edge-reranker

# The health check asks at the base path and the port of the environment: set these as EDGE_RERANKER_BASE_PATH and EDGE_RERANKER_PORT rather than as options.
# Models that are fetched go to /models: mount a volume there to keep them. Nothing else is written, so the rest may be read-only.
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04 AS cuda
COPY --from=build-cuda /out/edge-reranker /usr/local/bin/
RUN install -d -o 65532 -g 65532 /models
VOLUME /models
USER 65532:65532
ENV HF_HOME=/models EDGE_RERANKER_DEVICE=cuda EDGE_RERANKER_HOST=0.0.0.0 EDGE_RERANKER_PORT=8787
EXPOSE 8787
HEALTHCHECK --start-period=30m --start-interval=5s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$EDGE_RERANKER_PORT && printf 'GET %s/health HTTP/1.0\\r\\n\\r\\n' \"${EDGE_RERANKER_BASE_PATH%/}\" >&3 && read -r _ code _ <&3 && [ \"$code\" = 200 ]"]
ENTRYPOINT ["edge-reranker"]
CMD ["serve"]

FROM debian:bookworm-slim AS cpu
COPY --from=build-cpu /out/edge-reranker /usr/local/bin/
RUN install -d -o 65532 -g 65532 /models
VOLUME /models
USER 65532:65532
ENV HF_HOME=/models EDGE_RERANKER_DEVICE=cpu EDGE_RERANKER_HOST=0.0.0.0 EDGE_RERANKER_PORT=8787
EXPOSE 8787
HEALTHCHECK --start-period=30m --start-interval=5s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$EDGE_RERANKER_PORT && printf 'GET %s/health HTTP/1.0\\r\\n\\r\\n' \"${EDGE_RERANKER_BASE_PATH%/}\" >&3 && read -r _ code _ <&3 && [ \"$code\" = 200 ]"]
ENTRYPOINT ["edge-reranker"]
CMD ["serve"]
